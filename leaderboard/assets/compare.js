"use strict";
/* The comparison's page: what is chosen on top, then differences, queries and charts of it. */
MR.get("board").then((board) => {
  const { el } = MR, compare = MR.compare;
  const page = document.getElementById("compare");
  const parts = { models: el("section", { "aria-label": "Models" }), controls: el("div", { class: "controls" }), said: el("p", { class: "progress", role: "status" }), view: el("div") };
  page.append(...Object.values(parts));
  let state = compare.read(board), turn = 0, cells = [], shared = new Map();

  const ready = () => { document.documentElement.dataset.ready = "1"; };
  const save = () => compare.write(board, state);
  const label = (slice) => (slice ? `${slice.attribute}: ${slice.value}` : "All queries");
  const has = (row, task) => board.details[row][task].includes("q");
  /** Tasks that the baseline and another chosen model have by query. */
  const common = () => board.tasks.map((_, task) => task).filter((task) => has(state.models[0], task) && state.models.slice(1).some((row) => has(row, task)));
  const change = (models, focus, task) => {
    state = { ...state, models, ...(task === undefined ? {} : { task, metric: null }) };
    update();
    if (focus) (document.getElementById("pick").disabled ? parts.models.querySelector("button") : document.getElementById("pick"))?.focus();
  };

  // ---- controls
  const field = (name, id, options, chosen, set) => {
    const select = el("select", { id }, options);
    select.value = chosen;
    select.onchange = () => { set(select.value); update(id); };
    return el("div", { class: "field" }, el("label", { for: id }, name), select);
  };
  const option = (value, text) => el("option", { value }, text);
  const controls = (tasks, metrics, slices) => {
    const groups = slices.map(({ attribute, values }, i) => el("optgroup", { label: attribute }, values.map(({ value, n }, j) => option(`${i} ${j}`, `${value} (${n.toLocaleString("en")})`))));
    const at = slices.flatMap(({ attribute, values }, i) => values.map(({ value }, j) => [compare.sliceText({ attribute, value }), `${i} ${j}`]));
    parts.controls.replaceChildren(
      field("Task", "task", tasks.map((task) => option(String(task), board.tasks[task].label)), String(state.task), (value) => { state = { ...state, task: Number(value), query: null }; }),
      field("Metric", "metric", metrics.map((metric) => option(String(metric), board.metrics[metric].title)), String(state.metric), (value) => { state = { ...state, metric: Number(value) }; }),
      field("Queries", "slice", [option("", "All queries"), ...groups], new Map(at).get(compare.sliceText(state.slice)) ?? "", (value) => {
        const [i, j] = value.split(" ").map(Number);
        state = { ...state, slice: value ? { attribute: slices[i].attribute, value: slices[i].values[j].value } : null };
      }));
  };

  // ---- loading
  const load = async (tasks, wanted) => {
    const failed = [];
    cells = await Promise.all(board.tasks.map((_, task) => Promise.all(state.models.map((row) => (tasks.includes(task) && has(row, task)
      ? compare.queries(task, row).catch((error) => { failed.push(error.message); return null; }) : null)))));
    shared = new Map(await Promise.all(wanted.map(async (task) => [task, await MR.get(`tasks/${task}`).catch((error) => { failed.push(error.message); return null; })])));
    return failed;
  };
  const whyNot = (row, task) => {
    const code = board.status[row][task], note = new Map(Object.entries(board.notes)).get(`${row}-${task}`);
    if (has(row, task)) return `no ${board.metrics[state.metric].title} by query`;
    return code === "-" ? "not evaluated on this task" : note ?? "its result has no values by query";
  };

  // ---- differences
  /** Comparisons of a task, one for each model but the baseline; `jobs` gets the work. */
  const comparisons = (task, kept, jobs) => state.models.slice(1).map((model, i) => {
    const of = cells[task], place = i + 1, entry = { model, place, found: null, why: null };
    const lacking = [0, place].find((at) => !of[at]?.metrics.has(state.metric));
    if (lacking !== undefined) entry.why = `${compare.LETTERS[lacking]}: ${whyNot(state.models[lacking], task)}`;
    else jobs.push(() => { const length = compare.lengthOf(of); entry.found = MR.statistics.compare(compare.column(of[0], state.metric, length), compare.column(of[place], state.metric, length), kept); });
    return entry;
  });
  /** Buttons of which one is pressed. */
  const segments = (label, id, choices, choose) => {
    const box = el("div", { class: "segments", role: "group", "aria-label": label });
    choices.forEach(([content, pressed], i) => {
      const button = el("button", { type: "button", id: `${id}-${i}`, "aria-pressed": String(pressed) }, content);
      button.onclick = () => choose(i);
      box.append(button);
    });
    return box;
  };
  const section = (title, sub, ...children) => el("section", { class: "part" }, el("h2", {}, title), sub ? el("p", { class: "lede" }, sub) : null, ...children);
  const differences = async (tasks, alive) => {
    const jobs = [], metric = board.metrics[state.metric].title, baseline = board.models[state.models[0]].short;
    const byTask = tasks.map((task) => {
      const known = shared.get(task), kept = state.slice ? (known ? compare.inSlice(known, state.slice) : new Uint8Array(0)) : null;
      const page = board.tasks[task].page;
      return { head: page ? el("a", { href: page }, board.tasks[task].label) : board.tasks[task].label, rows: comparisons(task, kept, jobs) };
    });
    const own = shared.get(state.task), attributes = (own ? compare.slicesOf(own) : []).filter(({ values }) => values.length > 1);
    const by = attributes.find(({ attribute }) => attribute === (state.by ?? state.slice?.attribute)) ?? attributes[0];
    const bySlice = (by?.values ?? []).map(({ value }) => ({ head: value, rows: comparisons(state.task, compare.inSlice(own, { attribute: by.attribute, value }), jobs) }));
    const done = await MR.statistics.inTurn(jobs, { alive, progress: (n, of) => { parts.said.textContent = `Compared ${n} of ${of}`; } });
    if (!done) return null;
    const against = `${metric}; each model against ${compare.LETTERS[0]}, ${baseline}, on the queries that both have`;
    const nodes = [section("Differences by task", `${against}${state.slice ? `; ${label(state.slice)} only` : ""}.`, ...compare.table(board, byTask, { first: "Task", label: "Paired differences by task" }))];
    const task = board.tasks[state.task].label;
    if (bySlice.length) nodes.push(section("Differences by slice", `${metric} on ${task}. A slice of fewer than ${MR.statistics.FEWEST} queries gets no interval and no verdict.`,
      segments("Slices by", "by", attributes.map(({ attribute }) => [attribute, attribute === by.attribute]), (i) => { state = { ...state, by: attributes[i].attribute }; update(`by-${i}`); }),
      ...compare.table(board, bySlice, { first: by.attribute, brief: true, label: `Paired differences by slice of ${task}` })));
    return nodes;
  };

  // ---- queries
  const moved = () => {
    const known = shared.get(state.task), of = cells[state.task];
    if (!known || !of[0]) return null;
    const columns = of.map((cell) => compare.column(cell, state.metric, known.queries.length));
    state = { ...state, pair: Math.min(state.pair, state.models.length - 1) };
    const box = el("div"), searchBox = el("div", { class: "field grow" });
    const choices = state.models.slice(1).map((row, i) => [[compare.badge(i + 1), board.models[row].short], i + 1 === state.pair]);
    const pairs = segments("Compared with the baseline", "pair", choices, (i) => { state = { ...state, pair: i + 1 }; save(); fill(); });
    const fill = () => {
      for (const [i, button] of [...pairs.children].entries()) button.setAttribute("aria-pressed", String(i + 1 === state.pair));
      const made = compare.moved(board, state, known, columns, compare.inSlice(known, state.slice), state.pair, (query) => { state = { ...state, query }; save(); });
      searchBox.replaceChildren(el("label", { for: "find-query" }, "Search all queries"), made.input);
      box.replaceChildren(...made.box);
    };
    fill();
    const sub = `${board.metrics[state.metric].title} on ${board.tasks[state.task].label}${state.slice ? `, ${label(state.slice)}` : ""}. Open a query to see the first items of every model.`;
    return section("Queries that moved most", sub, el("div", { class: "controls" }, state.models.length > 2 ? pairs : null, searchBox), box);
  };

  // ---- charts: drawn when they come near the screen, since their runtime is large
  const watcher = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) if (isIntersecting) { watcher.unobserve(target); target.draw(); }
  }, { rootMargin: "400px" });
  const charts = async (alive) => {
    const made = await Promise.all([compare.separation(board, state, cells[state.task]), compare.cost(board, state)]);
    if (!alive()) return [];
    const titles = [["How well the grades stand apart", `On ${board.tasks[state.task].label}, over all judged pairs.`], ["Quality and its cost", `${board.metrics[state.metric].title} on ${board.tasks[state.task].label}, every model of the leaderboard; the letters are the compared ones.`]];
    return made.map(({ nodes, draw }, i) => {
      const node = section(titles[i][0], titles[i][1], el("div", { class: "pair" }, nodes));
      node.draw = draw;
      watcher.observe(node);
      return node;
    });
  };

  // ---- all of it
  const update = async (focus) => {
    const mine = ++turn, alive = () => mine === turn;
    parts.models.replaceChildren(...(state.models.length ? [compare.chosen(board, state.models, change)] : []), compare.picker(board, state.models, change));
    watcher.disconnect();
    const tasks = state.models.length > 1 ? common() : [];
    parts.controls.hidden = !tasks.length;
    parts.said.textContent = "";
    if (!tasks.length) {
      save();
      const node = state.models.length > 1
        ? el("p", { class: "notice" }, "The baseline and the others have no task in common with values by query, so nothing can be compared. Results of mteb itself have none; evaluate again with mr-st evaluate.")
        : await compare.start(board, state.models, change);
      if (alive()) { parts.view.replaceChildren(node); parts.view.removeAttribute("aria-busy"); ready(); }
      return;
    }
    if (!tasks.includes(state.task)) state = { ...state, task: tasks[0], query: null };
    parts.view.setAttribute("aria-busy", "true");
    parts.said.textContent = "Loading";
    let failed = await load(tasks, state.slice ? tasks : [state.task]);
    if (!alive()) return;
    const metrics = [...new Set(tasks.flatMap((task) => cells[task].flatMap((cell) => [...(cell?.metrics.keys() ?? [])])))].sort((a, b) => a - b);
    if (!metrics.includes(state.metric)) state = { ...state, metric: metrics.includes(board.tasks[state.task].main) ? board.tasks[state.task].main : metrics[0] ?? board.tasks[state.task].main };
    const known = shared.get(state.task), slices = known ? compare.slicesOf(known) : [];
    if (state.slice && known && !compare.inSlice(known, state.slice).includes(1)) state = { ...state, slice: null };
    if (state.query !== null && known && !known.queries.includes(state.query)) state = { ...state, query: null };
    save();
    controls(tasks, metrics, slices);
    if (focus) document.getElementById(focus)?.focus();
    const nodes = await differences(tasks, alive);
    if (!nodes) return;
    const drawn = await charts(alive);
    if (!alive()) return;
    const left = state.models.flatMap((row, place) => board.tasks.map((_, task) => task).filter((task) => !tasks.includes(task) && has(row, task)).map((task) => [place, task]));
    const alone = [...new Set(left.map(([, task]) => board.tasks[task].label))];
    failed = [...new Set(failed)];
    parts.view.replaceChildren(...[
      failed.length ? el("p", { class: "notice" }, failed.join("; ")) : null,
      nodes[0],
      alone.length ? el("p", { class: "foot-note" }, `Not compared, since the baseline or all others lack them: ${alone.join(", ")}.`) : null,
      ...nodes.slice(1), moved(), ...drawn].filter(Boolean));
    parts.view.removeAttribute("aria-busy");
    parts.said.textContent = "";
    if (focus?.startsWith("by-")) document.getElementById(focus)?.focus();
    document.title = `${state.models.map((row) => board.models[row].short).join(" and ")} \u00b7 ${board.title}`;
    ready();
  };
  addEventListener("hashchange", () => { state = compare.read(board); update(); });
  update();
}).catch((error) => { document.getElementById("compare").append(MR.el("p", { class: "notice" }, error.message)); });
