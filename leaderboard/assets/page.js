"use strict";
/* Small comforts of the pages of models and tasks: charts where they come into view, a button that copies code. */
(() => {
  const { el, get, numbers } = MR;
  const page = document.querySelector("article.page");
  const model = page.dataset.model;

  // ---- code to copy
  const say = (button, text) => { button.textContent = text; setTimeout(() => { button.textContent = "Copy"; }, 1500); };
  for (const pre of page.querySelectorAll("pre.code")) {
    const button = el("button", { type: "button", class: "quiet copy", "aria-live": "polite" }, "Copy");
    const box = el("div", { class: "code-box" });
    pre.before(box);
    box.append(pre, button);
    button.onclick = async () => {
      try { await navigator.clipboard.writeText(pre.textContent); say(button, "Copied"); } catch {
        getSelection().selectAllChildren(pre);  // no clipboard here: what is chosen can be copied by hand
        say(button, "Selected");
      }
    };
  }

  // ---- charts
  const MARGIN = /^margin_average_(\d+)_(\d+)$/;
  /** Margins of each query by pair of grades: Map of "2 over 0" to values. */
  const marginsOf = (board, { metrics, values, rows }) => {
    const n = numbers(rows, Int32Array).length, flat = numbers(values, Float32Array), found = new Map();
    metrics.forEach((metric, i) => {
      const match = MARGIN.exec(board.metrics[metric].key);
      if (match) found.set(`${match[1]} over ${match[2]}`, flat.subarray(i * n, (i + 1) * n));
    });
    return found;
  };
  const add = (place, title, chart, label, made, yTitle) => {
    const stage = el("div");
    place.append(el("div", {}, el("h3", {}, title), stage));
    if (!made.datasets.groups.length) made.datasets.groups.push({ left: 0, text: "", tone: "ink" });  // Vega complains of none
    return MR.chart(stage, chart, made.datasets, { label, legend: made.legend, table: made.table, yTitle });
  };
  const fill = async (place) => {
    const { task, files, label } = place.dataset, name = page.dataset.label, wanted = [];
    const { histograms } = await get(`separability/${task}-${model}`);
    const similarity = MR.violins.similarity([{ letter: "", name, histograms }]);
    if (similarity) wanted.push(() => add(place, "Similarity of judged pairs", "similarity", `How the similarities of judged pairs of ${label} spread, by grade`, similarity));
    if (files.includes("q")) {
      const [board, queries] = await Promise.all([get("board"), get(`queries/${task}-${model}`)]);
      const margins = MR.violins.margins([{ letter: "", name, tone: "mark", margins: marginsOf(board, queries) }]);
      if (margins) wanted.push(() => add(place, "Margins of the queries", "margins", `How the margins between grades spread over the queries of ${label}`, margins));
    }
    place.classList.toggle("two", wanted.length > 1);
    for (const draw of wanted) await draw();
  };
  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      fill(target).catch((error) => target.append(el("p", { class: "aside" }, error.message)));
    }
  }, { rootMargin: "300px" });
  for (const place of page.querySelectorAll(".charts")) seen.observe(place);
  document.documentElement.dataset.ready = "1";
})();
