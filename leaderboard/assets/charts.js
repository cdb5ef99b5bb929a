"use strict";
/* Charts: a specification of data/charts.js, rows put in, drawn by Vega in the page's own colours and fonts.

   MR.chart(container, name, datasets, options) fills the container:
   - datasets: rows by data name; a row's `tone` names a CSS token (grade-2, model-0, ink) and becomes its `colour`;
   - options.label: what the chart shows, for a screen reader; options.table: {head, rows} with the same numbers;
     options.legend: [{tone, mark, text}]; options.yTitle: a text beside the values. */
(() => {
  let runtime = null;
  const drawn = new Map();  // container: how to draw it again

  const loadRuntime = () => {
    runtime ??= new Promise((resolve, reject) => {
      const script = MR.el("script", { src: `${MR.root}assets/vega.js` });
      script.onload = () => (window.vegaEmbed ? resolve(window.vegaEmbed) : reject(new Error("assets/vega.js is damaged; build the site again")));
      script.onerror = () => { runtime = null; reject(new Error("assets/vega.js is not there; build the site again")); };
      document.head.append(script);
    });
    return runtime;
  };
  const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  const looks = () => {
    const font = getComputedStyle(document.body).fontFamily, ink = token("ink"), soft = token("soft"), line = token("line");
    return {
      background: "transparent", font, aria: false, padding: { left: 2, right: 8, top: 8, bottom: 4 },
      view: { stroke: null },
      axis: { gridColor: line, domain: false, ticks: false, labelColor: soft, titleColor: soft, labelPadding: 6, titlePadding: 10, labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal" },
      rule: { color: ink }, text: { color: ink, font },
    };
  };
  /** Rows with their colours; a copy, since Vega adds to what it is given. */
  const coloured = (datasets) => {
    const paper = token("paper"), found = {};
    for (const [name, rows] of Object.entries(datasets)) found[name] = rows.map((row) => ({ ...row, paper, colour: token(row.tone ?? "ink") }));
    return found;
  };
  const withTitle = (spec, title) => {
    if (title !== undefined) for (const layer of spec.layer) if (layer.encoding?.y?.field) layer.encoding.y.title = title;
    return spec;
  };
  const refuse = () => Promise.reject(new Error("a chart loads nothing"));
  const loader = { load: refuse, sanitize: refuse, http: refuse, file: refuse };

  const draw = async (stage, spec, datasets, yTitle) => {
    const embed = await loadRuntime();
    const whole = { ...withTitle(structuredClone(spec), yTitle), autosize: { type: "fit-x", contains: "padding" }, datasets: coloured(datasets) };
    stage.vega?.finalize();
    stage.vega = await embed(stage, whole, {
      mode: "vega-lite", renderer: "svg", actions: false, logLevel: 1, config: looks(), loader, tooltip: { theme: "custom", disableDefaultStyle: true },
    });
  };

  const numbersTable = ({ head, rows }) => MR.el("details", { class: "chart-numbers" }, MR.el("summary", {}, "The numbers"),
    MR.el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "The numbers" }, MR.el("table", {},
      MR.el("thead", {}, MR.el("tr", {}, head.map((text, i) => MR.el("th", { scope: "col", class: i ? "num" : null }, text)))),
      MR.el("tbody", {}, rows.map((row) => MR.el("tr", {}, row.map((cell, i) => MR.el(i ? "td" : "th", { scope: i ? null : "row", class: i ? "num" : null }, cell))))))));
  const legendOf = (entries) => MR.el("ul", { class: "chart-legend" }, entries.map(({ tone, mark, text }) =>
    MR.el("li", {}, MR.el("span", { class: `swatch tone-${tone}`, "aria-hidden": "true" }, mark ?? ""), text)));

  /** Draw a chart; resolves to whether it could be drawn (why not stands in the container then). */
  MR.chart = async (container, name, datasets, options = {}) => {
    drawn.get(container)?.stage.vega?.finalize();
    const stage = MR.el("div", { "aria-hidden": "true" });  // what it shows is said by the figure's name and the table
    const figure = MR.el("div", { class: "chart-stage", role: "img", "aria-label": options.label ?? name }, stage);
    const parts = [options.legend ? legendOf(options.legend) : null, figure, options.table ? numbersTable(options.table) : null];
    container.classList.add("chart");
    container.replaceChildren(...parts.filter(Boolean));
    try {
      const charts = await MR.get("charts");
      if (!charts.specs) throw new Error(charts.missing);
      const again = () => draw(stage, charts.specs[name], datasets, options.yTitle);
      drawn.set(container, { stage, again });
      await again();
      return true;
    } catch (error) {
      figure.replaceWith(MR.el("p", { class: "lede" }, error.message));
      return false;
    }
  };

  const redraw = () => {
    for (const [container, { again }] of drawn) if (container.isConnected) again().catch(() => {}); else drawn.delete(container);
  };
  addEventListener("mr-theme", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
})();
