"use strict";
/* From scores and state to what the table shows: columns, ranks, means, order, which models. No element is touched. */
(() => {
  MR.SCORE_SCALE = 100000;
  MR.STATUS = new Map([
    ["o", ["ok", "", ""]],
    ["p", ["partial", "partial", "on some of the queries only"]],
    ["s", ["stale", "older data", "on another revision of the data"]],
    ["x", ["other", "other protocol", "made in another way"]],
    ["f", ["failed", "failed", "its result cannot be read"]],
    ["-", ["missing", "", "not evaluated"]],
  ]);

  MR.boardView = (D, state, facts) => {
    const { S } = state, nTasks = D.tasks.length, all = D.models.map((_, m) => m);
    const names = D.models.map((m) => `${m.name} ${m.revision}`);
    const haystack = D.models.map((m) => [m.name, m.revision, m.base, m.kind].filter(Boolean).join(" ").toLowerCase());
    const collator = new Intl.Collator("en", { numeric: true });
    const place = new Uint32Array(all.length);
    all.slice().sort((a, b) => collator.compare(names[a], names[b]) || a - b).forEach((m, i) => { place[m] = i; });
    const byName = (a, b) => place[a] - place[b];

    /** A cell: status code, [value, low, high] or null, n. */
    const cell = (scores, m, t) => {
      const i = m * nTasks + t, value = scores.value[i];
      return { code: D.status[m][t], score: value === null ? null : [value, scores.low[i], scores.high[i]], n: scores.n[i] };
    };
    const bounds = ([value, low, high]) => [low ?? value, high ?? value];
    const domain = (found) => {
      if (!found.length) return [0, MR.SCORE_SCALE];
      let low = Infinity, high = -Infinity;
      for (const score of found) { const [a, b] = bounds(score); low = Math.min(low, a); high = Math.max(high, b); }
      const pad = (high - low || 0.1 * MR.SCORE_SCALE) * 0.05;
      return [low >= 0 ? Math.max(0, low - pad) : low - pad, high <= MR.SCORE_SCALE ? Math.min(MR.SCORE_SCALE, high + pad) : high + pad];
    };
    /** A column: each model's score where it counts, its place, and the scale that they share. */
    const column = (scoreOf) => {
      const scores = all.map(scoreOf);
      return { scores, ranks: MR.ranks(scores.map((x) => x && bounds(x))), domain: domain(scores.filter(Boolean)) };
    };

    let last = { key: null };
    /** Columns of the chosen tasks, and their mean: the same for every filter on models. */
    const columnsOf = (scores) => {
      const key = [state.metric(), S.subset, S.tasks].join("|");
      if (last.key === key && last.scores === scores) return last;
      const asked = S.tasks.length ? S.tasks : D.tasks.map((_, t) => t);
      const has = (t) => all.some((m) => scores.value[m * nTasks + t] !== null);
      const tasks = asked.filter(has), columns = new Map();
      for (const t of tasks) columns.set(t, column((m) => { const c = cell(scores, m, t); return c.code === "o" ? c.score : null; }));
      const nOf = all.map((m) => tasks.reduce((n, t) => n + (columns.get(t).scores[m] !== null), 0));
      const mean = tasks.length > 1 ? column((m) => (nOf[m] === tasks.length ? MR.mean(tasks.map((t) => columns.get(t).scores[m])) : null)) : null;
      last = { key, scores, tasks, without: asked.filter((t) => !has(t)), columns, nOf, mean, main: mean ?? columns.get(tasks[0]) ?? null };
      return last;
    };

    const sizeOf = (m) => {
      const n = D.models[m].n_parameters;
      return MR.SIZES.find(([, , from, to]) => n >= from && n < to)?.[0] ?? "unknown";
    };
    const sizes = all.map(sizeOf);
    const isShown = (words, tasks) => (m) => words.every((word) => haystack[m].includes(word))
      && (!S.kinds.length || S.kinds.includes(D.models[m].kind ?? "")) && (!S.sizes.length || S.sizes.includes(sizes[m]))
      && (!S.zero.length || S.zero.includes(MR.zeroShot(D, m, tasks).answer));

    /** The value to sort by, and the class that goes before: 0 counts, 1 has a figure that does not, 2 has none. */
    const sortKey = (view, scores, others) => {
      const { sort } = view, of = (t) => (m) => { const c = cell(scores, m, t); return [c.score?.[0] ?? null, c.score === null ? 2 : c.code === "o" ? 0 : 1]; };
      if (sort === "name") return (m) => [place[m], 0];
      if (sort.startsWith("task:")) return of(Number(sort.slice(5)));
      if (sort.startsWith("metric:")) { const other = others.get(Number(sort.slice(7))); return (m) => { const c = other ? cell(other, m, view.tasks[0]) : { score: null }; return [c.score?.[0] ?? null, c.score === null ? 2 : c.code === "o" ? 0 : 1]; }; }
      const fact = facts.find((f) => f.key === sort);
      if (fact) return (m) => { const x = fact.value(m, view.tasks); return [x, x === null ? 2 : 0]; };
      if (view.mean) return (m) => { const x = view.mean.scores[m]; return x ? [x[0], 0] : [null, 1 + view.tasks.length - view.nOf[m]]; };
      return view.tasks.length ? of(view.tasks[0]) : () => [null, 0];
    };

    /** Everything that the table needs. `others`: scores of other metrics, by metric, where one task is shown. */
    return (scores, others) => {
      const shared = columnsOf(scores);
      const usable = S.sort === "name" || facts.some((f) => f.key === S.sort) || (S.sort.startsWith("task:") && shared.tasks.includes(Number(S.sort.slice(5))))
        || (S.sort.startsWith("metric:") && others.has(Number(S.sort.slice(7))));
      const fallback = shared.mean && !shared.mean.scores.some(Boolean) ? `task:${shared.tasks[0]}` : "";
      const sort = usable ? (shared.tasks.length === 1 && S.sort.startsWith("task:") ? "" : S.sort) : fallback;
      const view = { ...shared, sort, up: S.up, cell: (m, t) => cell(scores, m, t) };
      view.mode = shared.tasks.length <= 1 ? "single" : shared.tasks.length <= 4 ? "roomy" : "dense";
      const keys = all.map(sortKey(view, scores, others)), direction = S.up ? 1 : -1;
      const compare = (a, b) => {
        const [x, i] = keys[a], [y, j] = keys[b];
        if (i !== j) return i - j; // what is missing stands last, either way
        const order = x === null ? 0 : typeof x === "string" ? collator.compare(x, y) : x - y;
        return direction * order || byName(a, b);
      };
      const words = S.find.toLowerCase().split(/\s+/).filter(Boolean);
      view.models = all.filter(isShown(words, shared.tasks)).sort(compare);
      view.others = [...others.keys()];
      view.otherCell = (m, k) => cell(others.get(k), m, shared.tasks[0]);
      return view;
    };
  };

  /** Round places on a scale. */
  MR.ticks = (low, high, about = 4) => {
    const raw = (high - low || 1) / about, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((x) => x * power).find((x) => x >= raw);
    const at = [];
    for (let x = Math.ceil(low / step - 1e-9) * step; x <= high + 1e-9 * step; x += step) at.push(Number(x.toFixed(10)));
    return { at, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
  };
})();
