"use strict";
{
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const n = data.items.length;
  const storeKey = `mr_st review ${data.hash}`;
  const many = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

  // ---- what is kept: expert, place, and for each pair its grade, note and whether it was skipped ----

  let state = { expert: "", at: 0, answers: {} };
  let asksToClear = false;

  function load() {
    let found = null;
    try { found = JSON.parse(localStorage.getItem(storeKey)); } catch { /* no storage, or not ours */ }
    if (!found || typeof found !== "object" || !found.answers) return;
    const answers = {};
    for (let i = 0; i < n; i++) {
      const { grade, note, skipped } = found.answers[i] ?? {};
      const answer = {};
      if (Number.isInteger(grade) && grade >= 0 && grade < data.grades.length) answer.grade = grade;
      if (typeof note === "string" && note) answer.note = note;
      if (skipped === true) answer.skipped = true;
      if (Object.keys(answer).length) answers[i] = answer;
    }
    const at = Number.isInteger(found.at) ? Math.min(Math.max(found.at, 0), n) : 0;
    state = { expert: String(found.expert ?? ""), at, answers };
  }

  function keep() {
    try { localStorage.setItem(storeKey, JSON.stringify(state)); } catch {
      $("kept").textContent = "This browser keeps no answers: download them before you close the page.";
    }
  }

  const answer = (i) => state.answers[i] ?? {};
  const change = (i, what) => {
    const merged = { ...answer(i), ...what };
    for (const key of Object.keys(merged)) if (merged[key] === undefined || merged[key] === "") delete merged[key];
    if (Object.keys(merged).length) state.answers[i] = merged; else delete state.answers[i];
    keep();
  };

  // ---- what is shown ----

  const buttons = data.grades.map((name, grade) => {
    const button = document.createElement("button");
    const number = document.createElement("b"), text = document.createElement("span");
    button.type = "button";
    number.textContent = grade;
    text.textContent = name;
    button.append(number, text);
    button.addEventListener("click", () => give(grade));
    $("grades").append(button);
    return button;
  });
  const siblings = data.queries.map(() => []);
  data.items.forEach(([query], i) => siblings[query].push(i));

  function scrollable(element) {
    if (element.scrollHeight > element.clientHeight + 1) element.tabIndex = 0; else element.removeAttribute("tabindex");
  }

  function counts() {
    let graded = 0, skipped = 0;
    for (let i = 0; i < n; i++) {
      if (answer(i).grade !== undefined) graded++; else if (answer(i).skipped) skipped++;
    }
    return { graded, skipped, open: n - graded - skipped };
  }

  function render() {
    const { graded, skipped, open } = counts();
    $("count").textContent = `${graded.toLocaleString("en")} of ${many(n, "pair")} graded`;
    $("track").setAttribute("aria-valuenow", graded);
    $("bar").style.width = `${(100 * graded) / n}%`;
    $("pair").hidden = state.at >= n;
    $("end").hidden = state.at < n;
    if (state.at >= n) {
      $("end-title").textContent = graded === n ? "All pairs are graded" : "End of the sheet";
      const rows = [["Graded", graded], ["Skipped", skipped], ["Not looked at", open]];
      $("counts").replaceChildren(...rows.flatMap(([name, count]) => {
        const term = document.createElement("dt"), value = document.createElement("dd");
        term.textContent = name;
        value.textContent = count.toLocaleString("en");
        return [term, value];
      }));
      $("open").hidden = graded === n;
      return;
    }
    const [q, item] = data.items[state.at];
    const [query, locale] = data.queries[q];
    const place = siblings[q].indexOf(state.at) + 1;
    $("place").textContent =
      `Query ${(q + 1).toLocaleString("en")} of ${data.queries.length.toLocaleString("en")}, item ${place} of ${siblings[q].length}`;
    const { grade, skipped: isSkipped, note } = answer(state.at);
    $("state").textContent = grade !== undefined ? "Graded" : isSkipped ? "Skipped" : "";
    $("query").textContent = query;
    $("item").textContent = item;
    $("query").lang = locale;
    for (const id of ["query", "item"]) scrollable($(id));
    if (data.labels) {
      $("label").hidden = false;
      $("label").textContent = `Label so far: ${data.labels[state.at]} ${data.grades[data.labels[state.at]] ?? ""}`;
    }
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === grade)));
    $("note").value = note ?? "";
    $("back").disabled = state.at === 0;
  }

  function say(text, isBad = false) {
    $("status").textContent = text;
    $("status").classList.toggle("bad", isBad);
  }

  // ---- what a person does ----

  function go(at) {
    state.at = Math.min(Math.max(at, 0), n);
    keep();
    say("");
    render();
    const shown = $(state.at < n ? "pair" : "end");
    shown.focus({ preventScroll: true });
    if (shown.getBoundingClientRect().top < 0) shown.scrollIntoView({ block: "start" });
    for (const id of ["query", "item"]) $(id).scrollTop = 0;
  }

  function give(grade) {
    change(state.at, { grade, skipped: undefined });
    go(state.at + 1);
  }

  function skip() {
    change(state.at, { grade: undefined, skipped: true });
    go(state.at + 1);
  }

  function cell(value) {
    let text = String(value ?? "");
    if (text && data.guard.includes(text[0])) text = `'${text}`;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  function download() {
    const expert = state.expert.trim();
    if (!expert) {
      say("Enter your name first: it tells the answers of several experts apart.", true);
      $("expert").focus();
      return;
    }
    const rows = [["key", "grade", "note", "expert"]];
    for (let i = 0; i < n; i++) {
      const { grade, note } = answer(i);
      rows.push([`s${data.hash}-${i + 1}`, grade, note, expert]);
    }
    const text = `\ufeff${rows.map((row) => row.map(cell).join(",")).join("\r\n")}\r\n`;
    const link = document.createElement("a");
    const plain = expert.normalize("NFKD").replace(/[^A-Za-z0-9]+/g, "-").replace(/^-+|-+$/g, "").toLowerCase();
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = `answers${plain ? `-${plain}` : ""}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    const { graded } = counts();
    say(`${link.download}: ${graded.toLocaleString("en")} of ${many(n, "pair")} graded. Send the file back.`);
  }

  function clear() {
    if (!asksToClear) {
      asksToClear = true;
      $("clear").textContent = "Really clear all answers?";
      return;
    }
    state = { expert: state.expert, at: 0, answers: {} };
    keep();
    restoreClear();
    go(0);
    say("All answers are cleared.");
  }

  function restoreClear() {
    asksToClear = false;
    $("clear").textContent = "Clear all answers";
  }

  $("back").addEventListener("click", () => go(state.at - 1));
  $("end-back").addEventListener("click", () => go(n - 1));
  $("next").addEventListener("click", () => go(state.at + 1));
  $("skip").addEventListener("click", skip);
  $("open").addEventListener("click", () => {
    const first = data.items.findIndex((_, i) => answer(i).grade === undefined);
    go(first < 0 ? n : first);
  });
  for (const id of ["download", "end-download"]) $(id).addEventListener("click", download);
  $("clear").addEventListener("click", clear);
  $("clear").addEventListener("blur", restoreClear);
  $("note").addEventListener("input", () => change(state.at, { note: $("note").value }));
  $("expert").addEventListener("input", () => { state.expert = $("expert").value; keep(); });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target.matches("input, textarea")) {
      if (event.key === "Escape") $(state.at < n ? "pair" : "end").focus();
      return;
    }
    const key = event.key.toLowerCase();
    const isPair = state.at < n;
    if (key === "arrowleft") go(state.at - 1);
    else if (key === "arrowright" && isPair) go(state.at + 1);
    else if (key === "s" && isPair) skip();
    else if (key === "n" && isPair) $("note").focus();
    else if (/^[0-9]$/.test(key) && isPair && Number(key) < data.grades.length) give(Number(key));
    else return;
    event.preventDefault();
  });
  addEventListener("storage", (event) => {
    if (event.key !== storeKey && event.key !== null) return;
    const { at } = state;  // another tab changed answers; this one stays where it is
    state = { expert: "", at: 0, answers: {} };
    load();
    state.at = at;
    $("expert").value = state.expert;
    render();
  });

  load();
  $("expert").value = state.expert;
  keep();
  if (!matchMedia("(min-width: 64rem)").matches && Object.keys(state.answers).length) $("guideline").open = false;
  render();
}
