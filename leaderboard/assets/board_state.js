"use strict";
/* What the table shows, kept in the address. What is read from there counts only where the site has such a thing. */
(() => {
  /** Sizes as ranges of parameters: key (as in the address), label, from, up to. */
  MR.SIZES = [
    ["0-50M", "under 50M", 0, 50e6], ["50M-150M", "50M to 150M", 50e6, 150e6], ["150M-500M", "150M to 500M", 150e6, 500e6],
    ["500M-2B", "500M to 2B", 500e6, 2e9], ["2B-", "2B and more", 2e9, Infinity], ["unknown", "not said", NaN, NaN],
  ];
  MR.ZERO_SHOT = [["yes", "on every task shown"], ["no", "trained on some task shown"], ["unknown", "not said"]];
  MR.MOST_CHOSEN = 4;

  MR.boardState = (D, facts) => {
    const families = new Map();
    D.metrics.forEach((metric, index) => {
      if (!families.has(metric.family)) families.set(metric.family, { name: metric.family, label: metric.label, ks: new Map() });
      families.get(metric.family).ks.set(metric.k, index);
    });
    const rowKeys = D.models.map((m) => `${m.name} @ ${m.revision}`);
    const kinds = [...new Set(D.models.map((m) => m.kind ?? ""))].sort((a, b) => (a === "") - (b === "") || a.localeCompare(b));
    const first = D.metrics[D.metric];
    const defaultColumns = ["other", ...facts.filter((f) => f.usual && D.models.some((_, m) => f.known(m))).map((f) => f.key)];
    const start = () => ({
      tasks: [], family: first.family, k: first.k, subset: 0, find: "", kinds: [], sizes: [], zero: [],
      columns: defaultColumns, sort: "", up: false, chosen: [],
    });
    const S = start();

    /** Sort keys: "" (the main column), name, task:3, metric:5, or a fact's key; in the address tasks and metrics go by name. */
    const readSort = (text) => {
      const of = (list, field, name) => list.findIndex((x) => x[field] === name);
      if (text.startsWith("task:")) { const t = of(D.tasks, "label", text.slice(5)); return t < 0 ? "" : `task:${t}`; }
      if (text.startsWith("metric:")) { const m = of(D.metrics, "key", text.slice(7)); return m < 0 ? "" : `metric:${m}`; }
      return text === "name" || facts.some((f) => f.key === text) ? text : "";
    };
    const sortText = (sort) => {
      const index = Number(sort.slice(sort.indexOf(":") + 1));
      return sort.startsWith("task:") ? `task:${D.tasks[index].label}` : sort.startsWith("metric:") ? `metric:${D.metrics[index].key}` : sort;
    };
    const known = (texts, allowed) => allowed.filter((x) => (texts ?? []).includes(x));

    const read = () => {
      const hash = MR.readHash(), one = (key) => hash.get(key)?.[0];
      Object.assign(S, start());
      S.tasks = D.tasks.flatMap((task, t) => ((hash.get("task") ?? []).includes(task.label) ? [t] : []));
      if (S.tasks.length === D.tasks.length && D.tasks.length > 1) S.tasks = [];
      const whole = D.metrics.find((metric) => metric.key === one("metric"));
      if (families.has(one("metric"))) S.family = one("metric");
      else if (whole) [S.family, S.k] = [whole.family, whole.k];
      const ks = families.get(S.family).ks;
      const k = one("k") === "" ? null : Number(one("k") ?? NaN);
      if (ks.has(k)) S.k = k;
      else if (!ks.has(S.k)) S.k = ks.keys().next().value;
      const subset = D.subsets.findIndex((s) => s.key === one("subset"));
      if (subset >= 0) S.subset = subset;
      S.find = (one("find") ?? "").slice(0, 200);
      S.kinds = known(hash.get("kind"), kinds);
      S.sizes = known(hash.get("size"), MR.SIZES.map(([key]) => key));
      S.zero = known(hash.get("zero"), MR.ZERO_SHOT.map(([key]) => key));
      if (hash.has("col")) S.columns = known(hash.get("col"), ["other", ...facts.map((f) => f.key)]);
      S.sort = readSort(one("sort") ?? "");
      S.up = one("up") === "1";
      S.chosen = (hash.get("m") ?? []).map((key) => rowKeys.indexOf(key)).filter((m, i, all) => m >= 0 && all.indexOf(m) === i).slice(0, MR.MOST_CHOSEN);
    };
    const write = () => {
      const usual = start(), changed = (key, text) => (S[key] === usual[key] ? [] : [text ?? String(S[key] ?? "")]);
      MR.writeHash({
        task: S.tasks.map((t) => D.tasks[t].label), metric: changed("family"), k: changed("k"),
        subset: changed("subset", D.subsets[S.subset].key), find: changed("find"), kind: S.kinds, size: S.sizes, zero: S.zero,
        col: S.columns.join() === defaultColumns.join() ? [] : S.columns.length ? S.columns : ["none"],
        sort: changed("sort", sortText(S.sort)), up: S.up ? ["1"] : [], m: S.chosen.map((m) => rowKeys[m]),
      });
    };

    const setFamily = (name) => {
      const ks = families.get(name)?.ks;
      if (!ks) return;
      S.family = name;
      if (!ks.has(S.k)) S.k = ks.has(first.k) ? first.k : ks.keys().next().value;
    };
    const isFiltered = () => Boolean(S.tasks.length || S.subset || S.find.trim() || S.kinds.length || S.sizes.length || S.zero.length);
    const clearFilters = () => Object.assign(S, { tasks: [], subset: 0, find: "", kinds: [], sizes: [], zero: [] });
    return { S, families, kinds, rowKeys, read, write, setFamily, isFiltered, clearFilters, metric: () => families.get(S.family).ks.get(S.k) };
  };
})();
