"use strict";
/* Paired differences as a table that is a forest plot: one row a comparison, grouped by task or by slice. */
(() => {
  const { el, number, signed } = MR, { LETTERS, badge } = MR.compare;

  /** p-values corrected over all comparisons of a table, into each one's `holm`. */
  const correct = (groups) => {
    const all = groups.flatMap((group) => group.rows.map((row) => row.found).filter(Boolean));
    const corrected = MR.statistics.holm(all.map((found) => found.p));
    all.forEach((found, i) => { found.holm = corrected[i]; });
    return all.filter((found) => !Number.isNaN(found.p)).length;
  };
  const verdict = (found) => {
    if (!found.n) return "no shared query";
    if (Number.isNaN(found.holm)) return "too few queries";
    if (found.holm >= 0.05) return "no difference shown";
    return found.difference > 0 ? "better" : "worse";
  };
  const pShort = (p) => (p < 0.001 ? "< .001" : p >= 0.9995 ? "1" : p.toFixed(3).replace(/^0/, ""));

  /** One scale for all rows: its ends a little beyond the furthest interval, zero within, and its ticks. */
  const scaleOf = (groups) => {
    const ends = [0];
    for (const { rows } of groups) for (const { found } of rows) if (found?.n) ends.push(...[found.low, found.high, found.difference].filter(Number.isFinite));
    let low = Math.min(...ends), high = Math.max(...ends);
    const air = (high - low || 0.02) * 0.06;
    low -= air; high += air;
    const raw = (high - low) / 4, power = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 5, 10].map((x) => x * power).find((x) => x >= raw);
    const ticks = [];
    for (let i = Math.ceil(low / step); i * step <= high; i++) ticks.push(i * step);
    const digits = Math.max(0, -Math.floor(Math.log10(step)));
    return { at: (x) => `${(100 * (x - low) / (high - low)).toFixed(2)}%`, ticks: ticks.map((x) => ({ x, text: Math.abs(x) < step / 2 ? "0" : signed(x, digits) })) };
  };
  const forest = (found, scale, place) => {
    const svg = el("svg:svg", { class: `forest model-${place}`, "aria-hidden": "true", focusable: "false" });
    for (const { x, text } of scale.ticks) svg.append(el("svg:line", { class: text === "0" ? "zero" : "tick", x1: scale.at(x), x2: scale.at(x), y1: "0", y2: "100%" }));
    if (!found.n) return svg;
    if (Number.isFinite(found.low)) svg.append(el("svg:line", { class: "whisker", x1: scale.at(found.low), x2: scale.at(found.high), y1: "50%", y2: "50%" }));
    svg.append(el("svg:circle", { class: found.holm < 0.05 ? "dot sure" : "dot", cx: scale.at(found.difference), cy: "50%", r: "5" }));
    return svg;
  };
  const axis = (scale) => el("span", { class: "axis", "aria-hidden": "true" }, scale.ticks.map(({ x, text }) => { const tick = el("span", {}, text); tick.style.left = scale.at(x); return tick; }));

  const cell = (name, ...children) => el("td", { class: name, role: "cell" }, ...children);
  const row = (board, { model, place, found, why }, head, scale, many) => {
    const who = cell("who", badge(place), el("span", { class: "name" }, board.models[model].short));
    if (!found || !found.n) return el("tr", { role: "row" }, head, who, el("td", { class: "why", role: "cell", colspan: "6" }, why ?? "no query in both has a value"));
    const said = verdict(found), sure = said === "better" || said === "worse", hasInterval = Number.isFinite(found.low);
    const raw = many && !Number.isNaN(found.p) && pShort(found.p) !== pShort(found.holm) ? el("span", { class: "ci" }, `alone ${pShort(found.p)}`) : null;
    return el("tr", { role: "row" }, head, who,
      cell("means num", number(found.b), el("span", { class: "ci" }, `against ${number(found.a)}`)),
      cell("diff num", el("span", { class: sure ? (found.difference > 0 ? "up" : "down") : null }, signed(found.difference)), hasInterval ? el("span", { class: "ci" }, `${signed(found.low)} to ${signed(found.high)}`) : null),
      cell("plot", forest(found, scale, place)),
      cell("pvalue num", Number.isNaN(found.holm) ? MR.dash("not tested") : pShort(found.holm), raw),
      cell(`verdict${sure ? " sure" : ""}`, said),
      cell("won num", `${found.wins} \u00b7 ${found.ties} \u00b7 ${found.losses}`, el("span", { class: "ci" }, `${found.n.toLocaleString("en")} ${found.n === 1 ? "query" : "queries"}`, found.onlyOne ? `, ${found.onlyOne} left out` : "")));
  };

  /** The table of groups [{head, rows: [{model, place, found, why}]}]; first: what its first column is; brief: models by
      their letters only. */
  const table = (board, groups, { first, label, brief }) => {
    const tests = correct(groups), scale = scaleOf(groups);
    const th = (text, name, ...more) => el("th", { scope: "col", role: "columnheader", class: name }, text, ...more);
    const head = el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, th(first, "group"), th("Model", "who"), th("Mean", "means num"), th("Difference", "diff num", el("span", { class: "ci" }, "95\u00a0% interval")),
      th("", "plot", el("span", { class: "sr" }, "Plot of the difference"), axis(scale)), th(tests > 1 ? "p (Holm)" : "p", "pvalue num"), th("Verdict", "verdict"), th("Won \u00b7 tied \u00b7 lost", "won num")));
    const bodies = groups.map((group) => el("tbody", { role: "rowgroup" }, group.rows.map((each, i) => row(board, each,
      i ? null : el("th", { scope: "rowgroup", role: "rowheader", class: "group", rowspan: String(group.rows.length) }, group.head), scale, tests > 1))));
    const note = tests > 1 ? `p is corrected (Holm) for the ${tests} comparisons of this table; \u201calone\u201d is p before that.` : "";
    return [el("table", { class: `differences${groups.every((group) => group.rows.length === 1) ? " single" : ""}${brief ? " brief" : ""}`, role: "table", "aria-label": label }, head, ...bodies), note ? el("p", { class: "foot-note" }, note) : null].filter(Boolean);
  };

  Object.assign(MR.compare, { table, verdict, pShort });
})();
