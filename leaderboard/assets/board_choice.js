"use strict";
/* Two to four chosen models, and the way from the table to their comparison. */
(() => {
  const $ = (id) => document.getElementById(id);

  MR.boardChoice = (D, state, onChange) => {
    const { S } = state;
    const choose = (m, isChosen) => {
      S.chosen = S.chosen.filter((x) => x !== m);
      if (isChosen && S.chosen.length < MR.MOST_CHOSEN) S.chosen = [...S.chosen, m];
      onChange();
    };
    /* The task sorted by, or else the one on which most of the chosen have a comparable result. */
    const taskOf = (view) => {
      if (view.sort.startsWith("task:")) return Number(view.sort.slice(5));
      const n = (t) => S.chosen.filter((m) => D.status[m][t] === "o").length;
      return view.tasks.reduce((best, t) => (best === null || n(t) > n(best) ? t : best), null);
    };
    const address = (view) => {
      const q = new URLSearchParams(S.chosen.map((m) => ["m", state.rowKeys[m]])), t = taskOf(view), subset = D.subsets[S.subset];
      if (t !== null) q.append("task", D.tasks[t].label);
      q.append("metric", D.metrics[state.metric()].key);
      if (subset.group) q.append("slice", `${subset.group}:${subset.value}`);
      return `compare.html#${q}`;
    };
    $("unchoose").onclick = () => { S.chosen = []; onChange(); $("find").focus(); };
    return {
      choose,
      draw: (view) => {
        const n = S.chosen.length;
        $("choice").hidden = n === 0;
        $("choice-names").replaceChildren(...S.chosen.map((m) => {
          const drop = MR.el("button", { type: "button", class: "chip", title: `Take ${D.models[m].label} out` }, MR.el("bdi", {}, D.models[m].short), MR.el("span", { "aria-hidden": "true" }, "\u00d7"), MR.el("span", { class: "sr" }, ", take out"));
          drop.onclick = () => { choose(m, false); (document.querySelector("#choice-names button") ?? $("find")).focus(); };
          return drop;
        }));
        $("choice-hint").textContent = n === 1 ? "Choose one more to compare." : n === MR.MOST_CHOSEN ? "Four at most." : "";
        $("compare").hidden = n < 2;
        $("compare").textContent = `Compare ${n}`;
        if (n) $("compare").href = address(view);
      },
    };
  };
})();
