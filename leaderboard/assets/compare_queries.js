"use strict";
/* The queries that moved most between the baseline and one model, and a search over all; each opens its ranked lists. */
(() => {
  const { el, number, signed } = MR, { LETTERS } = MR.compare;
  const FIRST = 6, MORE = 20, FOUND = 40;
  const value = (x) => (Number.isNaN(x) ? "\u2013" : number(x));

  /** The section's contents for one pair. columns: each chosen model's values by query; kept: queries of the slice. */
  const queries = (board, state, shared, columns, kept, pair, save) => {
    const ids = shared.queries, texts = shared.texts, name = (q) => texts?.[q] || ids[q];
    const [a, b] = [columns[0], columns[pair]], difference = (q) => b[q] - a[q];
    const all = ids.map((_, q) => q).filter((q) => !kept || kept[q]), compared = all.filter((q) => !Number.isNaN(difference(q)));
    const moved = compared.filter((q) => Math.abs(difference(q)) > MR.statistics.EQUAL).sort((p, q) => difference(q) - difference(p) || p - q);
    const gains = moved.filter((q) => difference(q) > 0), losses = moved.filter((q) => difference(q) < 0).reverse();
    const most = moved.reduce((greatest, q) => Math.max(greatest, Math.abs(difference(q))), 0);
    const attributes = Object.values(shared.attributes);
    let open = null, serial = 0;

    const bar = (d) => {
      const mark = el("span", { class: `move ${d > 0 ? "gain" : "loss"}`, "aria-hidden": "true" }, el("i"));
      if (most) mark.firstChild.style.width = `${(50 * Math.abs(d) / most).toFixed(1)}%`;
      return mark;
    };
    const shut = () => { open?.button.setAttribute("aria-expanded", "false"); open?.panel.replaceChildren(); if (open) open.panel.hidden = true; open = null; };
    const show = async (entry, focus) => {
      if (open?.q === entry.q && open.panel === entry.panel) { shut(); save(null); return; }
      shut();
      open = entry;
      entry.button.setAttribute("aria-expanded", "true");
      entry.panel.hidden = false;
      entry.panel.replaceChildren(el("p", { class: "what", role: "status" }, "Loading the ranked lists"));
      if (focus) save(ids[entry.q]);
      const known = attributes.map(({ values, of }) => values[of[entry.q]]).filter(Boolean);
      const about = el("p", { class: "what" }, [texts?.[entry.q] ? `Query ${ids[entry.q]}` : null, ...known].filter(Boolean).join(" \u00b7 "));
      const lists = await MR.compare.lists(board, state, shared, entry.q, columns.map((column) => column[entry.q])).catch((error) => el("p", { class: "notice" }, error.message));
      if (open === entry) entry.panel.replaceChildren(about, lists);
    };
    const line = (q) => {
      const d = difference(q), panel = el("div", { class: "opened", id: `query-${++serial}`, hidden: true }), known = !Number.isNaN(d);
      const button = el("button", { type: "button", class: "line", "aria-expanded": "false", "aria-controls": panel.id },
        el("span", { class: "text" }, name(q)), el("span", { class: "from" }, `${LETTERS[0]} ${value(a[q])}`), el("span", { class: "to" }, `${LETTERS[pair]} ${value(b[q])}`),
        known ? bar(d) : el("span", { class: "move" }), el("span", { class: known && d ? (d > 0 ? "by up" : "by down") : "by" }, known ? signed(d) : "\u2013"));
      const entry = { q, button, panel };
      button.onclick = () => show(entry, true);
      return { entry, node: el("li", { class: "query" }, button, panel) };
    };
    const listOf = (title, found, empty, first = FIRST) => {
      const list = el("ul", { class: "queries" }), lines = [];
      const add = (n) => { for (const q of found.slice(lines.length, lines.length + n)) { const one = line(q); lines.push(one); list.append(one.node); } };
      add(first);
      const more = el("button", { type: "button", class: "plain" });
      const label = () => { more.textContent = `Show ${Math.min(MORE, found.length - lines.length)} more of ${found.length - lines.length}`; more.hidden = lines.length >= found.length; };
      more.onclick = () => { const at = lines.length; add(MORE); label(); lines[at]?.entry.button.focus(); };
      label();
      return { node: el("div", { class: "moved" }, el("h3", {}, title, el("span", { class: "count" }, found.length.toLocaleString("en"))), found.length ? list : el("p", { class: "what" }, empty), more), lines };
    };

    const results = el("div", { class: "moved-lists" }), said = el("p", { class: "sr", role: "status" });
    const input = el("input", { id: "find-query", type: "search", autocomplete: "off", spellcheck: "false", maxlength: "200", placeholder: texts ? "words of a query, or its id" : "id of a query" });
    const fill = () => {
      shut();
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let parts;
      if (words.length) {
        const found = all.filter((q) => { const text = `${texts?.[q] ?? ""} ${ids[q]}`.toLowerCase(); return words.every((word) => text.includes(word)); });
        parts = [listOf("Queries found", found, "No query has these words.", FOUND)];
        said.textContent = found.length === 1 ? "1 query found" : `${found.length} queries found`;
      } else {
        parts = [listOf(`Gains of ${LETTERS[pair]} over ${LETTERS[0]}`, gains, "No query gained."), listOf(`Losses of ${LETTERS[pair]} to ${LETTERS[0]}`, losses, "No query lost.")];
        said.textContent = "";
      }
      results.className = `moved-lists of-${parts.length}`;
      results.replaceChildren(...parts.map((part) => part.node));
      return parts.flatMap((part) => part.lines);
    };
    let timer = 0;
    input.oninput = () => { clearTimeout(timer); timer = setTimeout(fill, 60); };
    const lines = fill();
    if (state.query !== null) {  // a link's query: opened where it stands, else alone on top
      const q = ids.indexOf(state.query), there = lines.find((one) => one.entry.q === q);
      if (there) show(there.entry, false);
      else if (q >= 0) { const part = listOf("From the link", [q], ""); results.prepend(part.node); show(part.lines[0].entry, false); }
    }
    return { box: [said, results], input };
  };

  Object.assign(MR.compare, { moved: queries });
})();
