"use strict";
/* One query's ranked lists beside each other; what several lists share is marked, and lights up together. */
(() => {
  const { el, number } = MR, { LETTERS, badge } = MR.compare;

  const gradeMark = (grade, names) => {
    const name = grade < 0 ? "not judged" : names[grade] ?? `grade ${grade}`;
    return el("span", { class: `swatch ${grade < 0 ? "unjudged" : `tone-grade-${Math.min(grade, 3)}`}`, title: name }, el("span", { "aria-hidden": "true" }, grade < 0 ? "?" : String(grade)), el("span", { class: "sr" }, grade < 0 ? name : `grade ${grade}, ${name}`));
  };
  const legend = (names) => el("ul", { class: "chart-legend" }, names.map((name, grade) => [grade, name]).reverse().map(([grade, name]) => el("li", {}, gradeMark(grade, []), name)),
    el("li", {}, gradeMark(-1, []), "not judged"));

  /** Where else an item stands: "A 3", or that only this list has it. */
  const elsewhere = (item, own, places) => {
    const others = places.flatMap((of, place) => (place !== own && of?.has(item) ? [`${LETTERS[place]}\u00a0${of.get(item)}`] : []));
    const compared = places.filter((of, place) => of && place !== own).length;
    if (!compared) return null;
    return others.length ? el("span", { class: "else" }, el("span", { class: "sr" }, "also at "), others.join(" \u00b7 ")) : el("span", { class: "else only" }, "only here");
  };

  /** Lists of the chosen models for one query; `values`: each one's value of the metric. */
  const lists = async (board, state, shared, query, values) => {
    const task = board.tasks[state.task], names = task.grades ?? [];
    const found = await Promise.all(state.models.map((row) => (board.details[row][state.task].includes("r") ? MR.compare.rankings(state.task, row).then((all) => all.of(query)).catch(() => null) : null)));
    const places = found.map((list) => (list ? new Map(list.map(({ item }, i) => [item, i + 1])) : null));
    const same = new Map();
    const light = (item, on) => { for (const node of same.get(item) ?? []) node.classList.toggle("lit", on && same.get(item).length > 1); };
    const columns = found.map((list, place) => {
      const value = values[place], head = el("h4", {}, badge(place), el("span", { class: "name" }, board.models[state.models[place]].short), el("span", { class: "value" }, Number.isNaN(value) ? "\u2013" : number(value)));
      if (!list) return el("div", { class: "ranking" }, head, el("p", { class: "what" }, "Its run was not kept."));
      if (!list.length) return el("div", { class: "ranking" }, head, el("p", { class: "what" }, "It found nothing for this query."));
      return el("div", { class: "ranking" }, head, el("ol", {}, list.map(({ item, grade }, i) => {
        const title = shared.titles?.[item], id = shared.items[item];
        const node = el("li", { tabindex: "-1", class: title ? null : "bare" }, el("span", { class: "rank" }, String(i + 1)), gradeMark(grade, names),
          el("span", { class: "item" }, el("span", { class: "title" }, title || id), title ? el("span", { class: "id" }, id) : null), elsewhere(item, place, places));
        same.set(item, [...(same.get(item) ?? []), node]);
        node.onmouseenter = node.onfocus = () => light(item, true);
        node.onmouseleave = node.onblur = () => light(item, false);
        return node;
      })));
    });
    const box = el("div", { class: `rankings of-${columns.length}` }, columns);
    keys(box);
    return el("div", {}, legend(names), box, shared.texts_from ? el("p", { class: "foot-note" }, `Texts: ${shared.texts_from.name}${shared.texts_from.license ? `, ${shared.texts_from.license}` : ""}.`) : null);
  };

  /** One item of the lists is in the order of tabs; the arrow keys go on from there. */
  const keys = (box) => {
    const grid = [...box.querySelectorAll("ol")].map((list) => [...list.children]);
    let current = grid[0]?.[0];
    current?.setAttribute("tabindex", "0");
    const go = (node) => { current.setAttribute("tabindex", "-1"); current = node; node.setAttribute("tabindex", "0"); node.focus(); };
    box.onclick = (event) => { const node = event.target.closest("li"); if (node) go(node); };
    box.onkeydown = (event) => {
      const step = { ArrowDown: [0, 1], ArrowUp: [0, -1], ArrowRight: [1, 0], ArrowLeft: [-1, 0] }[event.key];
      const x = grid.findIndex((list) => list.includes(current)), y = x < 0 ? -1 : grid[x].indexOf(current);
      if (!step || y < 0) return;
      event.preventDefault();
      const list = grid[x + step[0]], node = list?.[Math.min(y + step[1], list.length - 1)];
      if (node) go(node);
    };
  };

  Object.assign(MR.compare, { lists });
})();
