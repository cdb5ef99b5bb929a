"use strict";
/* The table itself: each row and cell is made once, then filled, moved or taken out. Rows are grids of the same
   columns, so that the browser may leave out those that are not in sight (content-visibility); roles are said. */
(() => {
  MR.boardTable = (D, state, facts, onSort, onChoose) => {
    const { S } = state, scale = MR.SCORE_SCALE, el = MR.el;
    const text = (x) => MR.number(x / scale);
    const words = (label) => label.split(/(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[_\-])/).flatMap((part, i) => (i ? [el("wbr"), part] : [part]));
    const fraction = ([low, high], x) => ((x - low) / (high - low)).toFixed(4);

    const head = el("tr", { role: "row" }), body = el("tbody", { role: "rowgroup" });
    const table = el("table", { class: "scores", role: "table" }, el("thead", { role: "rowgroup" }, head), body);

    // ---- a model's row: made when first shown
    const cellMould = el("td", { role: "cell" }, el("span", { class: "rk" }), el("b"), el("span", { class: "ci" }));
    const rows = D.models.map(() => null);
    const sameName = new Map();
    for (const m of D.models) sameName.set(m.short, (sameName.get(m.short) ?? 0) + 1);
    const nameCell = (m) => {
      const model = D.models[m], id = `choose-${m}`;
      const box = el("input", { type: "checkbox", id, "data-model": m, "aria-label": `Choose ${model.label} to compare` });
      box.onchange = () => onChoose(m, box.checked);
      const parts = [model.org, sameName.get(model.short) > 1 && model.revision ? model.revision.slice(0, 8) : null, model.kind, MR.sizeText(model.n_parameters)].filter(Boolean);
      const name = el(model.page ? "a" : "span", { class: "model-name", href: model.page, title: model.name.slice(0, 300) }, model.short);
      return { box, th: el("th", { scope: "row", role: "rowheader", class: "name" }, el("div", {}, el("label", { class: "pick", for: id }, box), el("div", { class: "who" }, name,
        el("span", { class: "sub" }, parts.flatMap((part, i) => [i ? " \u00b7 " : "", el("bdi", {}, part)]))))) };
    };
    const row = (m) => {
      if (rows[m]) return rows[m];
      const { box, th } = nameCell(m);
      rows[m] = { tr: el("tr", { class: "model", role: "row" }), box, th, rank: el("td", { class: "rank", role: "cell" }), mean: cellMould.cloneNode(true), tasks: new Map(), content: new Map(), extra: new Map(), filled: null };
      return rows[m];
    };

    // ---- cells: what stays the same is left alone, so that the browser need not lay it out again
    const setText = (node, value) => {
      const only = node.firstChild;
      if (only === null || only !== node.lastChild || only.nodeType !== Node.TEXT_NODE) node.textContent = value;
      else if (only.nodeValue !== value) only.nodeValue = value;
    };
    const setChildren = (node, children) => {
      if (node.children.length !== children.length || children.some((child, i) => node.children[i] !== child)) node.replaceChildren(...children);
    };
    const fillScore = (td, className, score, domain, rank) => {
      const [value, low, high] = score, bare = low === null || high === null;
      td.className = `${className} cell${bare ? " bare" : ""}`;
      /* --a: where the whisker stands among the places that its width leaves, as background-position counts. */
      const width = bare ? 0 : (high - low) / (domain[1] - domain[0]), left = bare ? 0 : Number(fraction(domain, low));
      td.style.cssText = `--v:${fraction(domain, value)}` + (bare ? "" : `;--a:${(width < 1 ? left / (1 - width) : 0).toFixed(4)};--w:${width.toFixed(4)}`);
      setText(td.children[0], rank);
      setText(td.children[1], text(value));
      setText(td.children[2], bare ? "no interval" : `${text(low)} to ${text(high)}`);
      td.title = bare ? "no interval: it came without per-query values" : `${text(value)}, 95 % interval ${text(low)} to ${text(high)}${rank ? `, rank ${rank}` : ""}`;
    };
    /* What does not count looks like what it is: a muted figure or a dash, a word, and why. */
    const fillOther = (td, className, figure, word, why) => {
      td.className = `${className} off`;
      td.style.cssText = "";
      setText(td.children[0], "");
      setText(td.children[1], figure);
      td.children[2].replaceChildren(word, el("span", { class: "sr" }, word ? `: ${why}` : why));
      td.title = why;
    };
    const fillCell = (td, c, column, m, t) => {
      const range = column.ranks[m];
      if (range) return fillScore(td, "task", c.score, column.domain, MR.rankText(range, c.score[1] === null));
      const [, word, meaning] = MR.STATUS.get(c.code) ?? MR.STATUS.get("-");
      const why = c.code === "o" ? "not measured: no such figure on these queries" : D.notes[`${m}-${t}`] ?? meaning;
      return fillOther(td, "task", c.score ? text(c.score[0]) : "\u2013", word, why);
    };
    const plainCell = (content, full, numeric) => {
      const td = el("td", { role: "cell", class: numeric ? "fact num" : "fact", title: full ?? null });
      td.append(content === null ? MR.dash("not said") : numeric ? content : el("span", { class: "clamp" }, content));
      return td;
    };
    const otherCell = (c) => el("td", { class: "fact num", role: "cell" }, c.score === null ? MR.dash("not measured") : c.code === "o" ? text(c.score[0]) : el("span", { class: "muted" }, text(c.score[0])));

    // ---- one row for one view
    const grid = (domain) => MR.ticks(domain[0] / scale, domain[1] / scale, 5).at.map((x) => el("i", { style: `left:calc(var(--l) + (100% - var(--l) - var(--r)) * ${fraction(domain, x * scale)})` }));
    /* `inSight`: the tasks whose cells are wanted now; the others keep what they hold until the row is filled whole. */
    const fill = (m, view, key, inSight = null) => {
      const r = row(m);
      if (r.filled === key) return;
      if (!inSight) r.filled = key;
      const main = view.main?.scores[m], place = main && view.main.ranks[m];
      if (place) setText(r.rank, MR.rankText(place, main[1] === null)); else r.rank.replaceChildren(MR.dash("not ranked"));
      r.rank.classList.toggle("top", place?.[0] === 1);
      const cells = [r.rank, r.th];
      if (view.mean) {
        if (main) fillScore(r.mean, "mean", main, view.mean.domain, "");
        else fillOther(r.mean, "mean", "\u2013", `${view.nOf[m]} of ${view.tasks.length} tasks`, "no mean, no rank: not every task shown has a comparable result");
        cells.push(r.mean);
      }
      for (const t of view.tasks) {
        if (!r.tasks.has(t)) r.tasks.set(t, cellMould.cloneNode(true));
        const td = r.tasks.get(t), content = `${state.metric()}|${S.subset}`;
        cells.push(td);
        if (inSight && !inSight.has(t)) continue;
        if (r.content.get(t) !== content) { r.content.set(t, content); fillCell(td, view.cell(m, t), view.columns.get(t), m, t); }
        while (td.children[3]) td.lastChild.remove();
        if (view.mode === "single" && td.classList.contains("cell")) td.append(...grid(view.columns.get(t).domain));
      }
      for (const k of view.others) cells.push(otherCell(view.otherCell(m, k)));
      for (const fact of view.facts) {
        const name = fact.perTasks ? `${fact.key}|${view.tasks}` : fact.key;
        if (!r.extra.has(name)) r.extra.set(name, plainCell(fact.text(m, view.tasks), fact.full?.(m, view.tasks), fact.number));
        cells.push(r.extra.get(name));
      }
      setChildren(r.tr, cells);
    };

    // ---- the header
    const sorters = new Map();
    const header = (key, className, label, title, ...more) => {
      const arrow = el("span", { class: "arrow", "aria-hidden": "true" });
      const button = el("button", { type: "button", "data-sort": key, title: title ?? null }, el("span", { class: "clamp" }, label), arrow);
      button.onclick = () => onSort(key);
      const th = el("th", { scope: "col", role: "columnheader", class: className }, button, more);
      sorters.set(key, { th, arrow });
      return th;
    };
    /* The scale: round places where there is room, else its two ends. */
    const axis = (domain, hasRoom) => {
      if (!hasRoom) return el("div", { class: "axis ends", "aria-hidden": "true" }, domain.map((x) => el("span", {}, MR.number(x / scale, 2))));
      const { at, digits } = MR.ticks(domain[0] / scale, domain[1] / scale, 5);
      return el("div", { class: "axis", "aria-hidden": "true" }, at.map((x) => el("span", { style: `left:${(100 * fraction(domain, x * scale)).toFixed(2)}%` }, MR.number(x, digits))));
    };
    const drawHead = (view) => {
      sorters.clear();
      const about = (t) => (D.tasks[t].page ? el("a", { class: "about", href: D.tasks[t].page }, "about", el("span", { class: "sr" }, ` ${D.tasks[t].label}`)) : null);
      const metric = D.metrics[state.metric()].title, single = view.mode === "single";
      const cells = [["rank", el("th", { scope: "col", role: "columnheader", class: "rank" }, el("span", {}, "Rank"))], ["name", header("name", "name", "Model")]];
      if (view.mean) cells.push(["mean", header("", "num mean", "Mean", `Mean of the ${view.tasks.length} tasks shown, ${metric}`, axis(view.mean.domain))]);
      for (const t of view.tasks)
        cells.push(["task", header(single ? "" : `task:${t}`, "num task", single ? metric : words(D.tasks[t].label), `${D.tasks[t].label}, ${metric}`, about(t), axis(view.columns.get(t).domain, single))]);
      for (const k of view.others) cells.push(["other", header(`metric:${k}`, "num", D.metrics[k].title)]);
      for (const fact of view.facts) cells.push([`${fact.width}rem`, header(fact.key, fact.number ? "num" : "", fact.label, fact.title)]);
      const widths = cells.map(([width]) => (width.endsWith("rem") ? width : `var(--${width})`));
      /* Only when it changes: every row inherits it. */
      const set = (name, value) => { if (table.style.getPropertyValue(name) !== value) table.style.setProperty(name, value); };
      set("--columns", widths.map((width, i) => (cells[i][0] === "rank" ? width : `minmax(${width}, ${{ name: 3, mean: 2, task: 2 }[cells[i][0]] ?? 1}fr)`)).join(" "));
      set("--total", `calc(${widths.join(" + ")})`);
      head.replaceChildren(...cells.map(([, th]) => th));
    };

    /* What is in sight is filled and put in its place at once, other columns and rows a few at a time when the browser is
       idle: out of sight they may hold older figures, or stand in the older order, for a moment. */
    const ROW = 50, AROUND = 3, A_FEW = 2;
    const tasksInSight = (view) => {
      const first = head.children.length - view.facts.length - view.others.length - view.tasks.length;
      return new Set(view.tasks.filter((_, i) => {
        const { left, right } = head.children[first + i].getBoundingClientRect();
        return right > 0 && left < innerWidth;
      }));
    };
    const whenIdle = (work) => (window.requestIdleCallback ? requestIdleCallback(work, { timeout: 500 }) : setTimeout(() => work({ timeRemaining: () => 0 })));
    let turn = 0, shown = [];
    const place = (view, key) => {
      const mine = ++turn;
      const height = body.firstElementChild?.offsetHeight || ROW, top = body.getBoundingClientRect().top;
      const first = Math.max(0, Math.floor(-top / height) - AROUND), last = Math.max(Math.ceil((innerHeight - top) / height), 0) + AROUND;
      const next = view.models.map((m) => row(m).tr), stays = new Set(next);
      for (const tr of shown) if (!stays.has(tr)) tr.remove();
      shown = next;
      let at = body.firstChild, placed = 0;
      /* A row that stays where it is stays untouched: the browser keeps its layout, and the focus its place. */
      const putUpTo = (end) => {
        const focused = document.activeElement;
        for (; placed < Math.min(end, next.length); placed++) {
          if (next[placed] === at) at = at.nextSibling; else body.insertBefore(next[placed], at);
        }
        if (focused !== document.activeElement && body.contains(focused)) focused.focus({ preventScroll: true });
      };
      const now = view.models.slice(first, last), inSight = tasksInSight(view);
      for (const m of now) fill(m, view, key, inSight);
      putUpTo(last);
      const rest = [...now, ...view.models.slice(last), ...view.models.slice(0, first)];
      const some = (idle) => {
        if (mine !== turn) return;
        do {
          for (const m of rest.splice(0, A_FEW)) fill(m, view, key);
          putUpTo(placed + A_FEW);
        } while ((rest.length || placed < next.length) && idle.timeRemaining() > 5);
        if (rest.length || placed < next.length) whenIdle(some);
      };
      if (rest.length) whenIdle(some);
    };

    let headKey = null;
    const draw = (view) => {
      view.facts = facts.filter((f) => S.columns.includes(f.key));
      const key = [state.metric(), S.subset, view.tasks, view.others, view.facts.map((f) => f.key)].join("|");
      if (headKey !== key) {
        headKey = key;
        drawHead(view);
        if (table.className !== `scores ${view.mode}`) table.className = `scores ${view.mode}`;
        table.setAttribute("aria-label", `${view.tasks.length === 1 ? D.tasks[view.tasks[0]].label : `${view.tasks.length} tasks`}, ${D.metrics[state.metric()].title}, ${D.subsets[S.subset].label}`);
      }
      for (const [name, { th, arrow }] of sorters) {
        const active = name === view.sort;
        th.setAttribute("aria-sort", active ? (view.up ? "ascending" : "descending") : "none");
        arrow.textContent = active ? (view.up ? "\u2191" : "\u2193") : "";
      }
      place(view, key);
    };
    const drawChosen = () => {
      const full = S.chosen.length >= MR.MOST_CHOSEN;
      rows.forEach((r, m) => {
        if (!r) return;
        const chosen = S.chosen.includes(m);
        r.box.checked = chosen;
        r.box.disabled = full && !chosen;
        r.tr.classList.toggle("chosen", chosen);
      });
    };
    return { table, draw, drawChosen };
  };
})();
