"use strict";
/* The first page: data, state and the parts of the table put together. */
(async () => {
  const $ = (id) => document.getElementById(id);
  const page = document.documentElement.dataset;
  const ready = () => { if (!page.ready) { page.ready = "1"; performance.mark("mr-ready"); } };
  const D = await MR.get("board").catch((error) => { $("lede").textContent = error.message; return null; });
  if (!D) { ready(); return; }
  if (!D.models.length || !D.tasks.length || !D.metrics.length) { ready(); return; }

  const facts = MR.boardFacts(D), state = MR.boardState(D, facts), { S } = state;
  const viewOf = MR.boardView(D, state, facts);
  const nothing = Array(D.models.length * D.tasks.length).fill(null);
  const none = { value: nothing, low: nothing, high: nothing, n: nothing };

  // ---- scores: kept once loaded, so that a filter draws at once
  const loaded = new Map(), trouble = new Map();
  const name = (metric) => `scores/${metric}-${S.subset}`;
  const load = async (metric) => {
    const key = name(metric), absent = D.scores && !D.scores[metric]?.includes(S.subset);
    if (!loaded.has(key)) loaded.set(key, absent ? none : await MR.get(key).catch((error) => { trouble.set(key, error.message); return none; }));
  };
  /* Metrics beside the chosen one, where one task is shown: others at the same K. */
  const beside = (t) => {
    if (!S.columns.includes("other")) return [];
    const chosen = D.metrics[state.metric()];
    const same = D.metrics.map((metric, i) => [metric, i]).filter(([metric]) => metric.k !== null && metric.k === chosen.k && metric.family !== chosen.family);
    const order = ["ndcg", "recall", "recall/2", "precision/2", "mrr", "map", "precision"];
    const place = ([metric]) => { const i = order.indexOf(metric.family); return i < 0 ? order.length : i; };
    return same.filter(([metric]) => place([metric]) < order.length).sort((a, b) => place(a) - place(b)).slice(0, 3).map(([, i]) => i)
      .filter((i) => loaded.get(name(i))?.value.some((x, cell) => x !== null && cell % D.tasks.length === t) ?? true);
  };

  // ---- drawing
  let view = null, drawn = 0, asked = 0;
  const othersOf = (t) => new Map(beside(t).filter((i) => loaded.has(name(i))).map((i) => [i, loaded.get(name(i))]));
  const onSort = (key) => {
    if (view.sort === key) S.up = !S.up; else { S.sort = key; S.up = key === "name"; }
    update();
  };
  const choice = MR.boardChoice(D, state, () => { state.write(); drawChoice(); });
  const table = MR.boardTable(D, state, facts, onSort, choice.choose);
  const drawControls = MR.boardControls(D, state, facts, () => update());
  const drawChoice = () => { table.drawChosen(); choice.draw(view); page.drawn = String(++drawn); };

  const about = () => {
    const list = (tasks) => tasks.map((t) => D.tasks[t].label).join(", ");
    const part = S.subset ? `Queries: ${D.subsets[S.subset].label}. ` : "";
    const without = view.without.length && view.tasks.length ? ` No such figure on ${list(view.without)}.` : "";
    if (view.tasks.length === 1) return `${part}${D.tasks[view.tasks[0]].label}: ${D.tasks[view.tasks[0]].protocol || "no result says how it was made"}.${without}`;
    return `${part}Each task has its own queries and items: compare down a column, not across.${without}`;
  };
  const draw = () => {
    const scores = loaded.get(name(state.metric()));
    view = viewOf(scores, new Map());
    if (view.tasks.length === 1) view = viewOf(scores, othersOf(view.tasks[0]));
    drawControls();
    $("protocol").textContent = about();
    table.draw(view);
    const n = view.models.length, empty = n === 0 || view.tasks.length === 0;
    $("board").hidden = empty;
    $("empty").hidden = !empty;
    $("empty-text").textContent = trouble.get(name(state.metric())) ?? (view.tasks.length === 0 ? `No model has ${D.metrics[state.metric()].title} on ${S.subset ? "these queries" : "these tasks"}.` : "No model is left by these filters.");
    $("status").textContent = empty ? "No model shown" : n === D.models.length ? `${n} ${n === 1 ? "model" : "models"}` : `${n} of ${D.models.length} models`;
    drawChoice();
    ready();
  };
  /* What is loaded is drawn at once; other metrics beside come when they are there. */
  const show = async () => {
    const mine = ++asked;
    if (!loaded.has(name(state.metric()))) { await load(state.metric()); if (mine !== asked) return; }
    draw();
    if (view.tasks.length !== 1) return;
    const missing = beside(view.tasks[0]).filter((i) => !loaded.has(name(i)));
    if (!missing.length) return;
    await Promise.all(missing.map(load));
    if (mine === asked) draw();
  };
  const update = () => { state.write(); return show(); };

  MR.boardDownloads(D, state, () => view);
  $("board").append(table.table);
  addEventListener("hashchange", () => { state.read(); show(); });
  state.read();
  $("view").hidden = false;
  await show();
})();
