"use strict";
/* The controls above the table: each writes into the state and says that it changed. */
(() => {
  const $ = (id) => document.getElementById(id);
  const el = MR.el;

  MR.boardControls = (D, state, facts, onChange) => {
    const { S } = state;
    const option = (value, label, disabled) => el("option", { value, disabled }, label);
    const grouped = (select, entries) => {
      const groups = new Map();
      for (const [group, node] of entries) groups.set(group, [...(groups.get(group) ?? []), node]);
      select.replaceChildren(...[...groups].flatMap(([group, nodes]) => (group ? [el("optgroup", { label: group }, nodes)] : nodes)));
    };
    const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

    // ---- selects
    const isMargin = (name) => name.startsWith("margin");
    grouped($("metric"), [...state.families.values()].map((f) => [[...state.families.keys()].some(isMargin) ? (isMargin(f.name) ? "Margins between grades" : "Ranking") : "", option(f.name, f.label)]));
    const subsetName = (s) => (s.value && s.value !== s.label && s.label !== "All queries" ? `${s.label} (${s.value})` : s.label);
    grouped($("subset"), D.subsets.map((s, i) => [i === 0 ? "" : capital(s.group.replaceAll("_", " ") || "Other parts"), option(i, subsetName(s))]));
    const drawK = () => {
      const ks = [...state.families.get(S.family).ks.keys()];
      $("k").replaceChildren(...ks.map((k) => option(k ?? "", k === null ? "\u2013" : String(k))));
      $("k-box").hidden = ks.length === 1 && ks[0] === null;
    };
    $("metric").onchange = (event) => { state.setFamily(event.target.value); onChange(); };
    $("k").onchange = (event) => { S.k = event.target.value === "" ? null : Number(event.target.value); onChange(); };
    $("subset").onchange = (event) => { S.subset = Number(event.target.value); onChange(); };
    $("find").oninput = (event) => { S.find = event.target.value.slice(0, 200); onChange(); };
    $("controls").onsubmit = (event) => event.preventDefault();

    // ---- menus of boxes to tick
    /* entries: [value, label, count]; `some`: how the button names a choice; nothing ticked means all. */
    const menu = (id, entries, field, none, some) => {
      const box = $(id);
      box.hidden = entries.length < 2;
      const list = el("div", { class: "options" }, entries.map(([value, label, count]) => {
        const input = el("input", { type: "checkbox" });
        input.onchange = () => { S[field] = entries.map(([v]) => v).filter((v) => (v === value ? input.checked : S[field].includes(v))); onChange(); };
        return Object.assign(el("label", {}, input, el("span", {}, label), count === undefined ? null : el("span", { class: "count" }, String(count))), { mrValue: value });
      }));
      box.querySelector("fieldset").append(list);
      return () => {
        for (const label of list.children) label.firstChild.checked = S[field].includes(label.mrValue);
        const names = entries.filter(([value]) => S[field].includes(value)).map(([, label]) => label);
        box.querySelector(".chosen-of").textContent = names.length === 0 ? none : names.length === 1 && some ? names[0] : `${names.length} of ${entries.length}`;
        box.classList.toggle("on", names.length > 0 && field !== "columns");
      };
    };
    const count = (test) => D.models.reduce((n, _, m) => n + Boolean(test(m)), 0);
    const everyTask = D.tasks.map((_, t) => t);
    const sizeOf = (m) => MR.SIZES.find(([, , from, to]) => D.models[m].n_parameters >= from && D.models[m].n_parameters < to)?.[0] ?? "unknown";
    const sizes = MR.SIZES.map(([key, label]) => [key, label, count((m) => sizeOf(m) === key)]).filter(([, , n]) => n);
    const answers = MR.ZERO_SHOT.filter(([key]) => key === "unknown" || everyTask.some((t) => D.models.some((_, m) => D.zero_shot?.[m]?.[t] === (key === "yes" ? "y" : "n"))));
    const menus = [
      menu("tasks", D.tasks.map((task, t) => [t, task.label, count((m) => D.status[m][t] === "o")]), "tasks", `all ${D.tasks.length}`, true),
      menu("kinds", state.kinds.map((kind) => [kind, kind || "not said", count((m) => (D.models[m].kind ?? "") === kind)]), "kinds", "any", true),
      menu("sizes", sizes, "sizes", "any", true),
      menu("zero", answers, "zero", "any", false),
      menu("columns", [["other", "Other metrics (one task)"], ...facts.filter((f) => D.models.some((_, m) => f.known(m))).map((f) => [f.key, f.label])], "columns", "none", false),
    ];
    const details = [...document.querySelectorAll("details.menu")];
    for (const box of details) {
      box.ontoggle = () => {
        if (!box.open) return;
        for (const other of details) if (other !== box) other.open = false;
        box.classList.remove("end");
        box.classList.toggle("end", box.querySelector("fieldset").getBoundingClientRect().right > document.documentElement.clientWidth - 8);
      };
      box.onkeydown = (event) => { if (event.key === "Escape" && box.open) { box.open = false; box.querySelector("summary").focus(); } };
    }
    addEventListener("pointerdown", (event) => { for (const box of details) if (box.open && !box.contains(event.target)) box.open = false; });

    for (const button of document.querySelectorAll("[data-clear]")) button.onclick = () => { state.clearFilters(); onChange(); $("find").focus(); };

    /** Show the state in the controls. */
    return () => {
      drawK();
      $("metric").value = S.family;
      $("k").value = String(S.k ?? "");
      for (const x of $("subset").options) x.disabled = Boolean(D.scores && !D.scores[state.metric()]?.includes(Number(x.value)) && Number(x.value) !== S.subset);
      $("subset").value = String(S.subset);
      if ($("find").value !== S.find) $("find").value = S.find;
      for (const draw of menus) draw();
      $("clear").hidden = !state.isFiltered();
    };
  };
})();
