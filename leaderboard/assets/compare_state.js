"use strict";
/* What is compared, kept in the address: models (the first is the baseline), task, metric, slice; what the differences
   are cut by, the model whose queries are listed, the opened query. */
MR.compare = {};
(() => {
  const MOST = 4, LETTERS = "ABCD";
  const keyOf = (model) => `${model.name} @ ${model.revision}`;

  const read = (board) => {
    const hash = MR.readHash(), rows = new Map(board.models.map((model, row) => [keyOf(model), row]));
    const tasks = new Map(board.tasks.map((task, row) => [task.label, row])), metrics = new Map(board.metrics.map((metric, row) => [metric.key, row]));
    const first = (key) => hash.get(key)?.[0];
    const models = [...new Set((hash.get("m") ?? []).map((key) => rows.get(key)).filter((row) => row !== undefined))].slice(0, MOST);
    return {
      models, task: tasks.get(first("task")) ?? null, metric: metrics.get(first("metric")) ?? null, slice: sliceOf(first("slice")), query: first("q") ?? null,
      by: first("by") ?? null, pair: Math.max(1, LETTERS.indexOf(first("pair") || "B")),
    };
  };
  /** "traffic:head" as its two parts; whether there is such a slice only the data tell. */
  const sliceOf = (text) => {
    const at = text?.indexOf(":") ?? -1;
    return at > 0 ? { attribute: text.slice(0, at), value: text.slice(at + 1) } : null;
  };
  const sliceText = (slice) => (slice ? `${slice.attribute}:${slice.value}` : "");

  const write = (board, state) => MR.writeHash({
    m: state.models.map((row) => keyOf(board.models[row])),
    task: state.models.length && state.task !== null ? [board.tasks[state.task].label] : [],
    metric: state.models.length && state.metric !== null ? [board.metrics[state.metric].key] : [],
    slice: state.slice ? [sliceText(state.slice)] : [],
    by: state.by !== null ? [state.by] : [],
    pair: state.models.length > 2 && state.pair > 1 ? [LETTERS[state.pair]] : [],
    q: state.query !== null ? [state.query] : [],
  });

  /** A model's letter as a coloured mark. */
  const badge = (place) => MR.el("span", { class: `swatch tone-model-${place}` }, LETTERS[place]);

  Object.assign(MR.compare, { MOST, LETTERS, keyOf, read, write, sliceOf, sliceText, badge });
})();
