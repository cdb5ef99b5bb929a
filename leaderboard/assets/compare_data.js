"use strict";
/* The data scripts of the compared cells, unpacked. */
(() => {
  const unpacked = new Map();
  const once = (key, make) => {
    if (!unpacked.has(key)) unpacked.set(key, make().catch((error) => { unpacked.delete(key); throw error; }));
    return unpacked.get(key);
  };

  /** Values by query of one cell: {rows, metrics: Map of metric to Float32Array}. */
  const queries = (task, model) => once(`q${task}-${model}`, async () => {
    const data = await MR.get(`queries/${task}-${model}`), rows = MR.numbers(data.rows, Int32Array), all = MR.numbers(data.values, Float32Array);
    return { rows, metrics: new Map(data.metrics.map((metric, i) => [metric, all.subarray(i * rows.length, (i + 1) * rows.length)])) };
  });

  /** The first items of one cell's rankings: of(query) gives [{item, grade}], grade -1 where nobody judged. */
  const rankings = (task, model) => once(`r${task}-${model}`, async () => {
    const data = await MR.get(`rankings/${task}-${model}`), { depth } = data;
    const places = new Map([...MR.numbers(data.rows, Int32Array)].map((query, i) => [query, i]));
    const items = MR.numbers(data.items, Int32Array), grades = MR.numbers(data.grades, Int8Array);
    return { depth, of: (query) => {
      const at = places.get(query), list = [];
      for (let i = 0; at !== undefined && i < depth && items[at * depth + i] >= 0; i++) list.push({ item: items[at * depth + i], grade: grades[at * depth + i] });
      return list;
    } };
  });

  /** One metric's values by the task's query number; NaN where the model has none. */
  const column = (cell, metric, length) => {
    const values = new Float64Array(length).fill(NaN), found = cell?.metrics.get(metric);
    if (found) cell.rows.forEach((row, i) => { values[row] = found[i]; });
    return values;
  };
  const lengthOf = (cells) => cells.reduce((most, cell) => (cell ? cell.rows.reduce((a, b) => Math.max(a, b + 1), most) : most), 0);

  /** Which queries of a task are in a slice; null for all. */
  const inSlice = (shared, slice) => {
    if (!slice) return null;
    const coded = new Map(Object.entries(shared.attributes)).get(slice.attribute), code = coded ? coded.values.indexOf(slice.value) : -1;
    return Uint8Array.from(shared.queries, (_, i) => (code >= 0 && coded.of[i] === code ? 1 : 0));
  };

  const CUTS = ["traffic", "locale", "kind", "seen"], ORDER = ["head", "torso", "tail", "seen", "unseen"];
  const place = (value) => (ORDER.indexOf(value) + 1 || 9);
  /** The slices of a task that cut it: [{attribute, values: [{value, n}]}], in the order of mr-st compare. */
  const slicesOf = (shared) => Object.entries(shared.attributes).map(([attribute, { values, of }]) => {
    const counts = values.map((value, code) => ({ value, n: of.reduce((sum, x) => sum + (x === code), 0) })).filter(({ n }) => n);
    return { attribute, values: counts.sort((a, b) => place(a.value) - place(b.value) || b.n - a.n || (a.value < b.value ? -1 : 1)) };
  }).filter(({ values }) => values.length).sort((a, b) => CUTS.indexOf(a.attribute) - CUTS.indexOf(b.attribute));

  Object.assign(MR.compare, { queries, rankings, column, lengthOf, inSlice, slicesOf });
})();
