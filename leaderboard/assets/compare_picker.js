"use strict";
/* Choosing the models: those chosen, and a search field that suggests the others. */
(() => {
  const { el } = MR, { MOST, LETTERS, badge } = MR.compare;
  const SHOWN = 60;

  const size = (n) => (typeof n === "number" ? (n >= 1e9 ? `${(n / 1e9).toPrecision(2)} B` : n >= 1e6 ? `${Math.round(n / 1e6)} M` : n.toLocaleString("en")) + " parameters" : null);
  const facts = (model) => [model.kind, size(model.n_parameters)].filter(Boolean).join(" \u00b7 ");
  const tasksOf = (board, row) => board.details[row].filter((found) => found.includes("q")).length;

  /** The chosen models as a list with buttons; `change(rows, focus)` gets the new choice. */
  const chosen = (board, rows, change) => el("ol", { class: "chosen-models" }, rows.map((row, place) => {
    const model = board.models[row], name = model.page ? el("a", { href: model.page }, model.label) : model.label;
    const first = el("button", { type: "button", class: "plain" }, "Make baseline");
    first.onclick = () => change([row, ...rows.filter((other) => other !== row)]);
    const remove = el("button", { type: "button", class: "plain", "aria-label": `Remove ${model.label}` }, "Remove");
    remove.onclick = () => change(rows.filter((other) => other !== row), true);
    return el("li", {}, badge(place), el("span", { class: "who" }, el("b", {}, name), el("span", { class: "what" }, facts(model))),
      el("span", { class: "acts" }, place ? first : el("span", { class: "role" }, "Baseline"), remove));
  }));

  /** A combobox over the models that are not chosen yet. */
  const picker = (board, rows, change) => {
    const full = rows.length >= MOST;
    const input = el("input", { id: "pick", type: "text", role: "combobox", "aria-expanded": "false", "aria-controls": "pick-list", "aria-autocomplete": "list",
      autocomplete: "off", spellcheck: "false", maxlength: "200", placeholder: full ? "Four at most; remove one first" : "name, organisation or kind", disabled: full });
    const list = el("ul", { id: "pick-list", role: "listbox", "aria-label": "Models", hidden: true }), said = el("p", { class: "sr", role: "status" });
    const texts = board.models.map((model) => [model.name, model.revision, model.kind, model.base].filter(Boolean).join(" ").toLowerCase());
    let options = [], active = -1;

    const close = () => { list.hidden = true; active = -1; input.setAttribute("aria-expanded", "false"); input.removeAttribute("aria-activedescendant"); };
    const point = (to) => {
      options[active]?.node.setAttribute("aria-selected", "false");
      active = to;
      if (!options[to]) return;
      options[to].node.setAttribute("aria-selected", "true");
      options[to].node.scrollIntoView({ block: "nearest" });
      input.setAttribute("aria-activedescendant", options[to].node.id);
    };
    const take = (row) => { close(); change([...rows, row], true); };
    const open = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      const found = texts.map((text, row) => row).filter((row) => !rows.includes(row) && words.every((word) => texts[row].includes(word)));
      options = found.slice(0, SHOWN).map((row, i) => {
        const model = board.models[row], n = tasksOf(board, row);
        const node = el("li", { role: "option", id: `pick-${i}`, "aria-selected": "false" }, el("span", {}, model.label),
          el("span", { class: "what" }, [facts(model), n ? `${n} ${n === 1 ? "task" : "tasks"}` : "no values by query"].filter(Boolean).join(" \u00b7 ")));
        node.onmousedown = (event) => { event.preventDefault(); take(row); };
        return { row, node };
      });
      const rest = found.length - options.length;
      list.replaceChildren(...options.map(({ node }) => node), ...(rest > 0 ? [el("li", { class: "more", role: "presentation" }, `${rest} more: type a part of the name`)] : []),
        ...(found.length ? [] : [el("li", { class: "more", role: "presentation" }, "No model with these words")]));
      said.textContent = found.length === 1 ? "1 model" : `${found.length} models`;
      list.hidden = false;
      input.setAttribute("aria-expanded", "true");
      point(words.length && options.length ? 0 : -1);
    };
    input.oninput = open;
    input.onclick = () => (list.hidden ? open() : null);
    input.onblur = close;
    input.onkeydown = (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step) {
        event.preventDefault();
        if (list.hidden) open();
        if (options.length) point((active + step + options.length + (active < 0 && step < 0 ? 1 : 0)) % options.length);
      } else if (event.key === "Enter" && !list.hidden && options[active]) { event.preventDefault(); take(options[active].row); }
      else if (event.key === "Escape") { if (list.hidden) input.value = ""; close(); }
    };
    return el("div", { class: "pick" }, el("label", { for: "pick" }, rows.length ? `Add model ${full ? "" : LETTERS[rows.length]}`.trim() : "Add a model"), el("div", { class: "pick-box" }, input, list), said);
  };

  /** The two best of a task by its own metric, among those that can be compared query by query. */
  const best = async (board, task) => {
    if (!board.scores[board.tasks[task].main].includes(0)) return [];
    const scores = await MR.get(`scores/${board.tasks[task].main}-0`), n = board.tasks.length;
    return board.models.map((_, row) => row)
      .filter((row) => board.status[row][task] === "o" && board.details[row][task].includes("q") && scores.value[row * n + task] !== null)
      .sort((a, b) => scores.value[b * n + task] - scores.value[a * n + task]);
  };

  /** What stands there while there are fewer than two models. */
  const start = async (board, rows, change) => {
    const suggestions = [];
    for (let task = 0; task < board.tasks.length && suggestions.length < 4; task++) {
      const found = (await best(board, task).catch(() => [])).filter((row) => !rows.includes(row)).slice(0, 2 - rows.length);
      if (rows.length + found.length < 2) continue;
      const choice = [...found, ...rows].reverse();
      const button = el("button", { type: "button", class: "quiet" }, el("span", { class: "what" }, rows.length ? `With the best on ${board.tasks[task].label}` : `The two best on ${board.tasks[task].label}`),
        ...found.map((row) => el("span", { class: "name" }, board.models[row].label)));
      button.onclick = () => change(choice, false, task);
      suggestions.push(el("li", {}, button));
    }
    if (!suggestions.length) return el("p", { class: "notice" }, "No two results have values by query. Evaluate two models with mr-st evaluate on one task, then build the site again.");
    return el("section", { class: "start", "aria-labelledby": "start-title" }, el("h2", { id: "start-title" }, rows.length ? "Choose a second model" : "Choose two to four models"),
      el("p", { class: "lede" }, "Search above, or begin with these:"), el("ul", {}, suggestions));
  };

  Object.assign(MR.compare, { chosen, picker, start });
})();
