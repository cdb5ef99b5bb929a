"use strict";
/* What every page of the site shares: data files, elements, numbers as text, state in the address, the theme. */
const MR = (() => {
  const root = document.currentScript.dataset.root;

  // ---- data: script files, each loaded once, when something in it is asked for
  const values = new Map(), loading = new Map();
  const put = (name, value) => { values.set(name, value); };
  /* What belongs to one cell of the table stands in one file. */
  const fileOf = (name) => name.replace(/^(?:queries|rankings|separability)\//, "cells/");
  /** A promise of a value by its name; rejected with a plain sentence where its file is not there or lacks it. */
  const get = (name) => {
    if (values.has(name)) return Promise.resolve(values.get(name));
    const file = fileOf(name);
    const lost = (what) => { loading.delete(file); return new Error(`data/${file}.js is ${what}; build the site again`); };
    if (!loading.has(file)) loading.set(file, new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = `${root}data/${file}.js`;
      script.onerror = () => reject(lost("not there"));
      script.onload = resolve;
      document.head.append(script);
    }));
    return loading.get(file).then(() => { if (!values.has(name)) throw lost("damaged"); return values.get(name); });
  };
  const numbers = (text, Type) => { const raw = atob(text), bytes = new Uint8Array(raw.length); for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i); return new Type(bytes.buffer); };

  // ---- elements: text is always set as text
  const el = (tag, attributes = {}, ...children) => {
    const node = tag.startsWith("svg:") ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4)) : document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
    node.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return node;
  };
  const dash = (why = "not measured") => el("span", { class: "dash", "aria-label": why, title: why, role: "img" }, "\u2013");

  // ---- numbers as text
  const MINUS = "\u2212";
  const number = (x, digits = 3) => (x < 0 && Number(x.toFixed(digits)) !== 0 ? MINUS : "") + Math.abs(x).toFixed(digits);
  const signed = (x, digits = 3) => (Number(x.toFixed(digits)) > 0 ? "+" : "") + number(x, digits);
  const pText = (p) => (p < 0.001 ? "p < .001" : "p = " + p.toFixed(3).replace(/^0/, ""));

  // ---- state in the address's hash, so that a link shows what the sender saw
  /** The hash as lists of texts by key: {task: ["a", "b"]}. */
  const readHash = () => {
    const found = new Map();
    for (const [key, value] of new URLSearchParams(location.hash.slice(1))) found.set(key, [...(found.get(key) ?? []), value]);
    return found;
  };
  /** Put lists of texts into the hash; what is empty is left out. */
  const writeHash = (state) => {
    const q = new URLSearchParams();
    for (const [key, list] of Object.entries(state)) for (const value of list ?? []) q.append(key, value);
    try { history.replaceState(null, "", q.size ? "#" + q : location.pathname + location.search); } catch { /* a sandboxed frame */ }
  };

  // ---- download
  const download = (name, text, type) => {
    const link = el("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  /** Rows as CSV; a text that a spreadsheet would take for a formula gets an apostrophe before it. */
  const csv = (rows) => {
    const quote = (x) => { let text = String(x ?? ""); if (/^[=+\-@\t\r]/.test(text) && typeof x === "string") text = "'" + text; return `"${text.replaceAll('"', '""')}"`; };
    return rows.map((row) => row.map(quote).join(",")).join("\r\n") + "\r\n";
  };

  // ---- theme
  const themes = ["auto", "light", "dark"];
  let theme = "auto";
  try { theme = themes.find((x) => x === localStorage.getItem("mr-st-theme")) ?? "auto"; } catch { /* storage is off */ }
  const applyTheme = () => {
    if (theme === "auto") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (button) button.textContent = "Theme: " + theme;
  };
  applyTheme();
  addEventListener("DOMContentLoaded", () => {
    applyTheme();
    document.getElementById("theme").onclick = () => {
      theme = themes[(themes.indexOf(theme) + 1) % 3];
      try { localStorage.setItem("mr-st-theme", theme); } catch { /* storage is off */ }
      applyTheme();
      dispatchEvent(new Event("mr-theme"));
    };
  });

  return { root, put, get, numbers, el, dash, number, signed, pText, readHash, writeHash, download, csv };
})();
