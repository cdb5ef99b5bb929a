"use strict";
/* The comparison's charts: similarity by grade, margins, quality against size and speed. */
(() => {
  const { el, number } = MR, { LETTERS } = MR.compare;
  const SCALE = 100_000;
  const MARGIN = /^margin_average_(\d+)_(\d+)$/;

  const figure = (title, ...more) => { const box = el("div"); return { box, node: el("section", { class: "figure" }, el("h3", {}, title), ...more, box) }; };
  const nothing = (box, why) => box.replaceChildren(el("p", { class: "what" }, why));

  /** Violins of similarity and of margins. */
  const separation = async (board, state, cells) => {
    const models = await Promise.all(state.models.map(async (row, place) => {
      const model = board.models[row], margins = new Map(), cell = cells[place];
      const found = board.details[row][state.task].includes("s") ? await MR.get(`separability/${state.task}-${row}`).catch(() => null) : null;
      const pairs = [...(cell?.metrics.keys() ?? [])].map((metric) => [metric, MARGIN.exec(board.metrics[metric].key)]).filter(([, match]) => match)
        .sort(([, p], [, q]) => (q[1] - q[2]) - (p[1] - p[2]) || q[1] - p[1]);
      for (const [metric, [, high, low]] of pairs) margins.set(`${high} over ${low}`, cell.metrics.get(metric));
      return { letter: LETTERS[place], name: model.short, tone: `model-${place}`, histograms: found?.histograms, margins };
    }));
    const similarity = figure("Similarity by grade", el("p", { class: "what" }, "How the similarities of judged pairs spread; the bar is the median. The less the grades overlap, the better one threshold can part them."));
    const margins = figure("Margins", el("p", { class: "what" }, "By query: the mean similarity of the higher grade less that of the lower; the bar is the mean. Below zero the grades are in the wrong order."));
    const draw = async () => {
      const without = (list, key) => list.filter((model) => !(key === "margins" ? model.margins.size : model.histograms)).map((model) => model.letter);
      const said = (letters) => (letters.length ? ` Without ${letters.join(", ")}: it keeps no similarities.` : "");
      const shapes = MR.violins.similarity(models), lacking = said(without(models, "histograms"));
      if (shapes) { if (lacking) similarity.node.append(el("p", { class: "foot-note" }, lacking.trim())); } else nothing(similarity.box, "None of these models keeps its similarities on this task.");
      const drawn = [shapes ? MR.chart(similarity.box, "similarity", shapes.datasets, { ...shapes, label: `Similarity by grade of ${models.map((m) => m.name).join(", ")}; medians are in the table below` }) : null];
      const outlines = MR.violins.margins(models.filter((model) => model.margins.size));
      if (outlines) drawn.push(MR.chart(margins.box, "margins", outlines.datasets, { ...outlines, label: `Margins of ${models.map((m) => m.name).join(", ")}; means are in the table below` }));
      else nothing(margins.box, "None of these models has margins on this task: they need judged grades and similarities.");
      await Promise.all(drawn);
    };
    return { nodes: [similarity.node, margins.node], draw };
  };

  /** Quality of every model of the task against its size and its speed. */
  const cost = async (board, state) => {
    const task = board.tasks[state.task], metric = board.metrics[state.metric], n = board.tasks.length;
    const scores = board.scores[state.metric].includes(0) ? await MR.get(`scores/${state.metric}-0`).catch(() => null) : null;
    const all = board.models.map((_, row) => row).filter((row) => board.status[row][state.task] === "o" && scores && scores.value[row * n + state.task] !== null);
    const one = (title, name, field, unit) => {
      const known = all.filter((row) => typeof board.models[row][field] === "number" && board.models[row][field] > 0), { box, node } = figure(title);
      const left = all.length - known.length, chosen = (row) => state.models.indexOf(row);
      const missing = state.models.filter((row) => all.includes(row) && !known.includes(row)).map((row) => LETTERS[chosen(row)]);
      const machines = new Set(field === "texts_per_second" ? known.map((row) => board.models[row].hardware ?? "a machine that is not named") : []);
      const note = [
        left ? `${left} of ${all.length} models left out: ${unit} not known${missing.length ? ` (${missing.join(", ")} among them)` : ""}.` : "",
        machines.size ? (machines.size === 1 ? `Measured on ${[...machines][0]}.` : `Measured on ${machines.size} different machines: only orders of magnitude compare.`) : "",
      ].filter(Boolean).join(" ");
      const draw = async () => {
        if (!known.length) { nothing(box, all.length ? `The ${unit} is not known of any model on this task.` : `No model has ${metric.title} on this task.`); return; }
        const at = (list, row) => (list[row * n + state.task] === null ? null : list[row * n + state.task] / SCALE);
        const points = known.sort((p, q) => (chosen(p) < 0 ? -1 : chosen(p)) - (chosen(q) < 0 ? -1 : chosen(q))).map((row) => ({
          x: board.models[row][field], value: at(scores.value, row), low: at(scores.low, row), high: at(scores.high, row), model: board.models[row].short,
          tone: chosen(row) < 0 ? "strong" : `model-${chosen(row)}`, letter: chosen(row) < 0 ? "" : LETTERS[chosen(row)],
        }));
        const rows = [...points].sort((p, q) => q.value - p.value).map((p) => [`${p.letter ? p.letter + " " : ""}${p.model}`, p.x.toLocaleString("en", { maximumFractionDigits: 1 }), number(p.value), p.low === null ? "\u2013" : `${number(p.low)} to ${number(p.high)}`]);
        await MR.chart(box, name, { points }, { label: `${metric.title} on ${task.label} against ${unit}, ${points.length} models; the table below has the numbers`, yTitle: metric.title, table: { head: ["Model", title.split(" ").pop(), metric.title, "95\u00a0% interval"], rows } });
        if (note) node.append(el("p", { class: "foot-note" }, note));
      };
      return { node, draw };
    };
    const parts = [one("Quality against size", "size", "n_parameters", "number of parameters"), one("Quality against encoding speed", "speed", "texts_per_second", "encoding speed")];
    return { nodes: parts.map((part) => part.node), draw: () => Promise.all(parts.map((part) => part.draw())) };
  };

  Object.assign(MR.compare, { separation, cost });
})();
