"use strict";
/* The board: state in the address's hash, everything drawn from the JSON in the page, every text set as text. */
(() => {
  const D = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  if (!D.scores.length) return;

  // ---- small helpers
  const el = (tag, attributes = {}, ...children) => {
    const node = tag.startsWith("svg:") ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4)) : document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
    node.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return node;
  };
  const MINUS = "\u2212";
  const number = (x, digits = 3) => (x < 0 && Number(x.toFixed(digits)) !== 0 ? MINUS : "") + Math.abs(x).toFixed(digits);
  const signed = (x) => (Number(x.toFixed(3)) > 0 ? "+" : "") + number(x);
  const pText = (p) => (p < 0.001 ? "p < .001" : "p = " + p.toFixed(3).replace(/^0/, ""));
  const dash = () => el("span", { class: "dash", "aria-label": "not measured" }, "\u2013");

  // ---- lookups: scores[task][model] -> Map(metric index -> [value, low, high, n])
  const table = D.tasks.map(() => new Map());
  for (const s of D.scores) table[s.t].set(s.m, { values: new Map(s.v.map(([k, ...rest]) => [k, rest])), hist: s.hist, file: s.file });
  const pairs = new Map();
  for (const [t, k, a, b, d, low, high, p] of D.pairs) {
    pairs.set([t, k, a, b].join(), [d, low, high, p]);
    pairs.set([t, k, b, a].join(), [-d, -high, -low, p]);
  }
  const families = [];
  D.metrics.forEach((m, index) => {
    let family = families.find((f) => f.name === m.family);
    if (!family) families.push((family = { name: m.family, label: m.label, ks: new Map() }));
    family.ks.set(m.k, index);
  });

  // ---- state
  const ALL = -1;
  const first = families.find((f) => f.ks.has(D.metrics[D.tasks[0].main].k) && f.name === D.metrics[D.tasks[0].main].family);
  const defaults = { task: D.tasks.length > 1 ? ALL : 0, family: first.name, k: D.metrics[D.tasks[0].main].k, ref: "best", find: "", sort: "score", up: false };
  let S = { ...defaults };
  const open = new Set();

  const readHash = () => {
    const q = new URLSearchParams(location.hash.slice(1));
    S = { ...defaults };
    const task = D.tasks.findIndex((t) => t.label === q.get("task"));
    if (task >= 0) S.task = task;
    if (families.some((f) => f.name === q.get("metric"))) S.family = q.get("metric");
    if (q.has("k")) S.k = q.get("k") === "" ? null : Number(q.get("k"));
    if (q.has("ref")) S.ref = q.get("ref");
    if (q.has("find")) S.find = q.get("find");
    if (q.has("sort")) S.sort = q.get("sort");
    S.up = q.get("up") === "1";
  };
  const writeHash = () => {
    const q = new URLSearchParams();
    if (S.task !== defaults.task) q.set("task", S.task === ALL ? "" : D.tasks[S.task].label);
    if (S.family !== defaults.family) q.set("metric", S.family);
    if (S.k !== defaults.k) q.set("k", S.k === null ? "" : S.k);
    for (const key of ["ref", "find", "sort"]) if (S[key] !== defaults[key]) q.set(key, S[key]);
    if (S.up) q.set("up", "1");
    try { history.replaceState(null, "", q.size ? "#" + q : location.pathname + location.search); } catch { /* a sandboxed frame */ }
  };

  const taskHas = (t, k) => [...table[t].values()].some((s) => s.values.has(k));
  const inView = (k) => (S.task === ALL ? D.tasks.some((_, t) => taskHas(t, k)) : taskHas(S.task, k));
  const metricIndex = () => families.find((f) => f.name === S.family).ks.get(S.k);
  const score = (t, m, k) => table[t].get(m)?.values.get(k) ?? null;
  const modelKey = (m) => D.models[m].name + " @ " + D.models[m].revision;
  const best = (t, k) => D.models.map((_, m) => m).filter((m) => score(t, m, k)).sort((a, b) => score(t, b, k)[0] - score(t, a, k)[0])[0] ?? null;
  const reference = (t, k) => (S.ref === "best" ? best(t, k) : S.ref === "none" ? null : D.models.findIndex((_, m) => modelKey(m) === S.ref));

  /* A rank as a range: models whose whole interval lies above come before, those whose whole interval lies below come after. */
  const ranks = (t, k) => {
    const scored = D.models.map((_, m) => m).filter((m) => score(t, m, k));
    const bounds = (m) => { const [v, low, high] = score(t, m, k); return [low ?? v, high ?? v]; };
    const out = new Map();
    for (const m of scored) {
      const [low, high] = bounds(m);
      let above = 0, below = 0;
      for (const other of scored) {
        const [otherLow, otherHigh] = bounds(other);
        if (otherLow > high) above += 1;
        if (otherHigh < low) below += 1;
      }
      out.set(m, [above + 1, scored.length - below]);
    }
    return out;
  };

  const rankText = (range, value) => range ? (value[1] === null ? "~" : "") + (range[0] === range[1] ? String(range[0]) : `${range[0]}\u2013${range[1]}`) : null;

  const ticks = (low, high) => {
    const span = high - low || 1;
    const raw = span / 4, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((x) => x * power).find((x) => x >= raw);
    const out = [];
    for (let x = Math.ceil(low / step - 1e-9) * step; x <= high + 1e-9; x += step) out.push(Number(x.toFixed(10)));
    return { at: out, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
  };
  const domain = (values) => {
    const low = Math.min(...values.map((v) => v[1] ?? v[0])), high = Math.max(...values.map((v) => v[2] ?? v[0]));
    const pad = (high - low || 0.1) * 0.06;
    return [low - pad, high + pad];
  };
  const percent = ([low, high], x) => (100 * (x - low) / (high - low)).toFixed(2) + "%";
  const plot = (value, range, refValue, name) => {
    const [v, low, high] = value;
    const say = `${name}: ${number(v)}` + (low === null ? ", no interval" : `, 95 % interval ${number(low)} to ${number(high)}`);
    return el("div", { class: "plot", role: "img", "aria-label": say, title: say },
      ticks(...range).at.map((x) => el("i", { class: "grid", style: `left:${percent(range, x)}` })),
      refValue === null ? null : el("i", { class: "refline", style: `left:${percent(range, refValue)}` }),
      low === null ? null : el("i", { class: "whisker", style: `left:${percent(range, low)};width:${(100 * (high - low) / (range[1] - range[0])).toFixed(2)}%` }),
      el("i", { class: low === null ? "dot bare" : "dot", style: `left:${percent(range, v)}` }));
  };
  const scoreText = (value) => value === null ? dash() : [el("b", {}, number(value[0])),
    el("span", { class: "ci" }, value[1] === null ? "no interval" : `${number(value[1])} to ${number(value[2])}`)];
  const differenceText = (pair) => {
    if (!pair) return dash();
    const [d, low, high, p] = pair;
    return [el("span", { class: p < 0.05 ? (d > 0 ? "up" : "down") : "", title: `95 % interval ${signed(low)} to ${signed(high)}` }, signed(d)),
      el("span", { class: "p" }, pText(p))];
  };

  // ---- the frame around the table
  const drawTasks = () => {
    const nav = $("tasks");
    nav.hidden = D.tasks.length < 2;
    nav.replaceChildren(...[[ALL, "All tasks"], ...D.tasks.map((t, i) => [i, t.label])].map(([index, label]) => {
      const button = el("button", { type: "button", "aria-pressed": String(S.task === index) }, label);
      button.onclick = () => { S.task = index; S.sort = "score"; S.up = false; update(); focusAgain("#tasks [aria-pressed=true]"); };
      return button;
    }));
  };
  const fill = (select, options, chosen) => select.replaceChildren(...options.map(([value, label]) => {
    const option = el("option", { value }, label);
    option.selected = value === chosen;
    return option;
  }));
  const drawControls = () => {
    const usable = families.filter((f) => [...f.ks.values()].some(inView));
    if (!usable.some((f) => f.name === S.family)) S.family = usable[0].name;
    const family = families.find((f) => f.name === S.family);
    const ks = [...family.ks.entries()].filter(([, index]) => inView(index)).map(([k]) => k);
    if (!ks.includes(S.k)) S.k = ks[0];
    fill($("metric"), usable.map((f) => [f.name, f.label]), S.family);
    fill($("k"), ks.map((k) => [String(k ?? ""), k === null ? "\u2013" : String(k)]), String(S.k ?? ""));
    $("k-box").hidden = ks.length === 1 && ks[0] === null;
    $("ref-box").hidden = S.task === ALL;
    const present = S.task === ALL ? [] : [...table[S.task].keys()];
    const known = present.map((m) => [modelKey(m), D.models[m].label]);
    if (S.ref !== "best" && S.ref !== "none" && !known.some(([key]) => key === S.ref)) S.ref = "best";
    fill($("ref"), [["best", "the best"], ["none", "nothing"], ...known], S.ref);
    if ($("find").value !== S.find) $("find").value = S.find;
    $("protocol").textContent = S.task === ALL
      ? "Each task has its own corpus and queries; scores of different tasks are not comparable with each other. Choose a task for ranks, plots and paired differences."
      : D.tasks[S.task].protocol;
  };

  const shown = () => {
    const wanted = S.find.trim().toLowerCase();
    return D.models.map((_, m) => m).filter((m) => !wanted || (D.models[m].name + " " + D.models[m].revision).toLowerCase().includes(wanted));
  };
  const sorted = (models, value) => {
    const direction = S.up ? 1 : -1;
    return models.slice().sort((a, b) => {
      const x = value(a), y = value(b);
      if (x === null || y === null) return x === y ? compareNames(a, b) : x === null ? 1 : -1; // a missing score stands last, either way
      const order = typeof x === "string" ? x.localeCompare(y) : x - y;
      return order ? direction * order : compareNames(a, b);
    });
  };
  const compareNames = (a, b) => D.models[a].name.localeCompare(D.models[b].name) || D.models[a].revision.localeCompare(D.models[b].revision);

  const header = (key, label, className, extra) => {
    const active = S.sort === key;
    const th = el("th", { scope: "col", role: "columnheader", class: className, "aria-sort": active ? (S.up ? "ascending" : "descending") : "none" });
    const button = el("button", { type: "button", "data-sort": key }, label, el("span", { class: "arrow", "aria-hidden": "true" }, active ? (S.up ? "\u2191" : "\u2193") : ""));
    button.onclick = () => {
      if (S.sort === key) S.up = !S.up; else { S.sort = key; S.up = key === "name"; }
      update();
      focusAgain(`[data-sort="${CSS.escape(key)}"]`);
    };
    th.append(button, ...(extra ? [extra] : []));
    return th;
  };
  const focusAgain = (selector) => document.querySelector(selector)?.focus();
  const nameCell = (m, sub) => {
    const isOpen = open.has(m);
    const button = el("button", { type: "button", "aria-expanded": String(isOpen), "data-model": m, title: D.models[m].name.slice(0, 300), "aria-label": D.models[m].label },
      el("span", { class: "caret", "aria-hidden": "true" }), el("span", {}, D.models[m].short));
    button.onclick = () => { if (isOpen) open.delete(m); else open.add(m); draw(); focusAgain(`[data-model="${m}"]`); };
    return el("th", { scope: "row", role: "rowheader", class: "name" }, button, el("span", { class: "sub" }, sub.flatMap((part, i) => [i ? " \u00b7 " : "", el("bdi", {}, part)])));
  };

  // ---- one task
  const drawTask = (t, k) => {
    const metric = D.metrics[k], range = domain(D.models.map((_, m) => score(t, m, k)).filter(Boolean));
    const place = ranks(t, k), ref = reference(t, k), refScore = ref === null || ref < 0 ? null : score(t, ref, k);
    const extras = D.metrics.map((_, i) => i).filter((i) => i !== k && metric.beside.includes(D.metrics[i].key) && taskHas(t, i)).slice(0, 4);
    const value = (m) => {
      if (S.sort === "name") return D.models[m].name;
      if (S.sort === "diff") return pairs.get([t, k, m, ref].join())?.[0] ?? null;
      const extra = extras.find((i) => S.sort === D.metrics[i].key);
      return score(t, m, extra ?? k)?.[0] ?? null;
    };
    const scale = ticks(...range);
    const axis = el("div", { class: "axis", "aria-hidden": "true" }, scale.at.map((x) => el("span", { style: `left:${percent(range, x)}` }, number(x, scale.digits))));
    const head = el("tr", { role: "row" }, el("th", { scope: "col", role: "columnheader", class: "rank" }, "Rank"), header("name", "Model", "name"), header("score", metric.title, "score num"),
      el("th", { scope: "col", role: "columnheader", class: "plot-cell", "aria-label": "score with its interval" }, axis),
      ref === null ? null : header("diff", "Difference", "diff num"),
      extras.map((i) => header(D.metrics[i].key, D.metrics[i].title, "extra num")));
    const rows = sorted(shown(), value).flatMap((m) => {
      const mine = score(t, m, k), range2 = place.get(m);
      const row = el("tr", { class: "model", role: "row" },
        el("td", { class: "rank" + (range2?.[0] === 1 ? " top" : ""), role: "cell" }, rankText(range2, mine) ?? dash()),
        nameCell(m, D.models[m].sub),
        el("td", { class: "score num", role: "cell" }, scoreText(mine)),
        el("td", { class: "plot-cell", role: "cell" }, mine ? plot(mine, range, refScore?.[0] ?? null, D.models[m].label) : dash()),
        ref === null ? null : el("td", { class: "diff num", role: "cell", "data-label": m === ref ? null : "difference" }, m === ref ? el("span", { class: "p" }, "reference") : differenceText(pairs.get([t, k, m, ref].join()))),
        extras.map((i) => el("td", { class: "extra num", role: "cell" }, score(t, m, i) ? number(score(t, m, i)[0]) : dash())));
      return open.has(m) ? [row, el("tr", { class: "details", role: "row" }, el("td", { role: "cell", colspan: 5 + extras.length }, details(t, m, k)))] : [row];
    });
    $("board").replaceChildren(el("table", { class: "single", role: "table", "aria-label": `${D.tasks[t].label}, ${metric.title}` },
      el("thead", { role: "rowgroup" }, head), el("tbody", { role: "rowgroup" }, rows)));
    return rows.filter((r) => r.classList.contains("model")).length;
  };

  // ---- all tasks
  const drawMatrix = (k) => {
    const columns = D.tasks.map((_, t) => t).filter((t) => taskHas(t, k));
    if (S.sort === "score") S.sort = "task:" + columns[0];
    const value = (m) => S.sort === "name" ? D.models[m].name : score(Number(S.sort.slice(5)), m, k)?.[0] ?? null;
    const places = new Map(columns.map((t) => [t, ranks(t, k)]));
    const domains = new Map(columns.map((t) => [t, domain(D.models.map((_, m) => score(t, m, k)).filter(Boolean))]));
    const head = el("tr", {}, header("name", "Model", "name"), columns.map((t) => header("task:" + t, D.tasks[t].label, "num task")));
    const rows = sorted(shown(), value).flatMap((m) => {
      const row = el("tr", { class: "model" }, nameCell(m, D.models[m].sub), columns.map((t) => {
        const place = places.get(t).get(m);
        const mine = score(t, m, k);
        return el("td", { class: "num" }, el("div", { class: "cell" },
          mine && columns.length <= 4 ? plot(mine, domains.get(t), null, D.tasks[t].label) : el("span", { class: "plot" }),
          el("div", {}, scoreText(mine), place ? el("span", { class: "ci" }, "rank " + rankText(place, mine)) : null)));
      }));
      const known = columns.concat(D.tasks.map((_, t) => t)).find((t) => table[t].has(m));
      return open.has(m) && known !== undefined ? [row, el("tr", { class: "details" }, el("td", { colspan: 1 + columns.length }, facts(m)))] : [row];
    });
    $("board").replaceChildren(el("div", { class: "matrix" }, el("table", { "aria-label": `All tasks, ${D.metrics[k].title}` }, el("thead", {}, head), el("tbody", {}, rows))));
    return rows.filter((r) => r.classList.contains("model")).length;
  };

  // ---- a model's details
  const facts = (m, file) => {
    const entries = D.models[m].facts.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text)));
    if (file) entries.push(el("div", {}, el("dt", {}, "Result"), el("dd", {}, el("code", {}, file))));
    if (D.models[m].card) entries.push(el("div", {}, el("dt", {}, "Card"), el("dd", {}, el("a", { href: D.models[m].card }, "read the model card"))));
    return el("dl", { class: "facts" }, entries);
  };
  const details = (t, m, k) => {
    const entry = table[t].get(m);
    if (!entry) return el("div", { class: "panel" }, el("section", { class: "wide" }, facts(m)), el("section", {}, "Not evaluated on this task."));
    return el("div", { class: "panel" }, el("section", { class: "wide" }, facts(m, entry.file)), metricsTable(entry), separability(t, entry), marginsTable(entry), comparisons(t, m, k));
  };
  const metricsTable = (entry) => {
    const ks = [...new Set(D.metrics.filter((x, i) => x.k !== null && entry.values.has(i)).map((x) => x.k))].sort((a, b) => a - b);
    const rows = families.filter((f) => [...f.ks.keys()].some((k) => k !== null) && [...f.ks.values()].some((i) => entry.values.has(i)));
    if (!rows.length) return null;
    const main = ks.filter((k) => rows.filter((f) => entry.values.has(f.ks.get(k))).length > 1 || ks.length <= 3);
    const columns = (main.length ? main : ks).slice(0, 6);
    return el("section", {}, el("h3", {}, "Scores, with 95 % intervals"), el("div", { class: "scroll" }, el("table", {},
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "at K ="), columns.map((k) => el("th", { scope: "col", class: "num" }, String(k))))),
      el("tbody", {}, rows.filter((f) => columns.some((k) => entry.values.has(f.ks.get(k)))).map((f) => el("tr", {}, el("th", { scope: "row" }, f.label), columns.map((k) => {
        const value = entry.values.get(f.ks.get(k));
        return el("td", { class: "num" }, value ? [number(value[0]), value[1] === null ? null : el("span", { class: "ci" }, `${number(value[1])} to ${number(value[2])}`)] : dash());
      })))))));
  };
  const marginsTable = (entry) => {
    const rows = D.metrics.map((x, i) => [x, entry.values.get(i)]).filter(([x, v]) => v && x.family.startsWith("margin"));
    const order = (name) => [name.includes("_overlap"), name.includes("_worst"), !name.includes("_2_0"), name];
    rows.sort(([a], [b]) => { const x = order(a.family), y = order(b.family); return x.map((v, i) => (v < y[i] ? -1 : v > y[i] ? 1 : 0)).find(Boolean) ?? 0; });
    if (!rows.length) return null;
    const range = domain(rows.map(([, v]) => v).concat([[0, 0, 0]]));
    return el("section", {}, el("h3", {}, "Margins between grades, cosine"), el("table", {}, el("tbody", {}, rows.map(([x, v]) => el("tr", {},
      el("th", { scope: "row" }, x.label.replace(/^Margin /, ""), el("span", { class: "ci" }, `${v[3]} queries`)),
      el("td", { style: "width:45%" }, plot(v, range, 0, x.label)), el("td", { class: "num" }, number(v[0])))))));
  };
  const separability = (t, entry) => {
    const h = entry.hist;
    if (!h) return null;
    const low = h.edges[0], high = h.edges[h.edges.length - 1], span = high - low;
    const shares = h.grades.map((g) => { const sum = g.counts.reduce((a, b) => a + b, 0); return g.counts.map((c) => (sum ? c / sum : 0)); });
    const top = Math.max(...shares.flat(), 1e-9);
    const figures = h.grades.map((g, row) => {
      const total = g.counts.reduce((a, b) => a + b, 0);
      const points = shares[row].flatMap((share, i) => { const y = (100 - 96 * share / top).toFixed(2); return [`${(1000 * (h.edges[i] - low) / span).toFixed(1)},${y}`, `${(1000 * (h.edges[i + 1] - low) / span).toFixed(1)},${y}`]; });
      const mean = total ? g.counts.reduce((a, c, i) => a + c * (h.edges[i] + h.edges[i + 1]) / 2, 0) / total : null;
      const say = `${g.name}: ${total} pairs` + (mean === null ? "" : `, mean similarity ${number(mean, 2)}`);
      return el("figure", {}, el("figcaption", {}, g.name, el("span", {}, `${total.toLocaleString("en")} pairs`), mean === null ? null : el("span", {}, `mean ${number(mean, 2)}`)),
        el("svg:svg", { viewBox: "0 0 1000 100", preserveAspectRatio: "none", role: "img", "aria-label": say },
          el("svg:line", { class: "base-line", x1: 0, x2: 1000, y1: 100, y2: 100 }),
          el("svg:polygon", { class: "area-" + Math.min(g.grade, 3), points: `0,100 ${points.join(" ")} 1000,100` }),
          mean === null ? null : el("svg:line", { class: "mean-line", x1: 1000 * (mean - low) / span, x2: 1000 * (mean - low) / span, y1: 0, y2: 100 })));
    });
    const scale = ticks(low, high);
    return el("section", {}, el("h3", {}, "Similarity of judged pairs, by grade"), el("div", { class: "multiples" }, figures.reverse(),
      el("div", { class: "scale", "aria-hidden": "true" }, el("div", {}, scale.at.map((x) => el("span", { style: `left:${percent([low, high], x)}` }, number(x, scale.digits)))))));
  };
  const comparisons = (t, m, k) => {
    const rows = [...table[t].keys()].filter((other) => other !== m && pairs.has([t, k, m, other].join()));
    if (!rows.length) return null;
    return el("section", {}, el("h3", {}, `${D.metrics[k].title}: paired difference to the others`), el("table", {}, el("tbody", {}, rows.map((other) => {
      const [d, low, high, p] = pairs.get([t, k, m, other].join());
      return el("tr", {}, el("th", { scope: "row" }, D.models[other].label), el("td", { class: "num" }, el("span", { class: p < 0.05 ? (d > 0 ? "up" : "down") : "" }, signed(d)), el("span", { class: "ci" }, `${signed(low)} to ${signed(high)}`)), el("td", { class: "num" }, pText(p)));
    }))));
  };

  // ---- download
  const csv = () => {
    const quote = (x) => { let text = String(x ?? ""); if (/^[=+\-@\t\r]/.test(text) && typeof x === "string") text = "'" + text; return `"${text.replaceAll('"', '""')}"`; };
    const lines = [["task", "split", "subset", "model", "revision", "metric", "value", "low", "high", "n"]];
    for (const s of D.scores) if (S.task === ALL || s.t === S.task) for (const [k, value, low, high, n] of s.v)
      lines.push([D.tasks[s.t].name, D.tasks[s.t].split, D.tasks[s.t].subset, D.models[s.m].name, D.models[s.m].revision, D.metrics[k].key, value, low, high, n]);
    const link = el("a", { href: URL.createObjectURL(new Blob([lines.map((l) => l.map(quote).join(",")).join("\r\n") + "\r\n"], { type: "text/csv" })), download: "leaderboard.csv" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  // ---- theme
  const themes = ["auto", "light", "dark"];
  const setTheme = (name) => {
    if (name === "auto") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = name;
    $("theme").textContent = "Theme: " + name;
    try { localStorage.setItem("mr-st-theme", name); } catch { /* storage is off */ }
  };
  let theme = "auto";
  try { theme = themes.find((x) => x === localStorage.getItem("mr-st-theme")) ?? "auto"; } catch { /* storage is off */ }
  setTheme(theme);
  $("theme").onclick = () => setTheme(theme = themes[(themes.indexOf(theme) + 1) % 3]);

  // ---- drawing
  const draw = () => {
    drawTasks();
    drawControls();
    const k = metricIndex();
    const n = S.task === ALL ? drawMatrix(k) : drawTask(S.task, k);
    $("status").textContent = n ? (n === D.models.length ? `${n} models` : `${n} of ${D.models.length} models`) : "No model with that name.";
  };
  const update = () => { draw(); writeHash(); };
  $("metric").onchange = (event) => { S.family = event.target.value; update(); };
  $("k").onchange = (event) => { S.k = event.target.value === "" ? null : Number(event.target.value); update(); };
  $("ref").onchange = (event) => { S.ref = event.target.value; update(); };
  $("find").oninput = (event) => { S.find = event.target.value; update(); };
  $("csv").onclick = csv;
  addEventListener("hashchange", () => { readHash(); draw(); });
  readHash();
  $("view").hidden = false;
  draw();
})();
