"use strict";
/* What violins are drawn from: outlines of how values spread, as rows for the charts "similarity" and "margins".

   MR.violins.similarity([{letter, name, histograms}]) and MR.violins.margins([{letter, name, tone, margins}]), margins a
   Map of "2 over 0" to values, give {datasets, legend, table} for MR.chart; null where there is nothing to draw. */
(() => {
  const HALF = 0.42, GAP = 0.55, LEAST = 0.004;

  /** Silverman's bandwidth of values, as the cards' plots have it. */
  const bandwidth = (values) => {
    const n = values.length, sorted = Float64Array.from(values).sort(), mean = values.reduce((a, b) => a + b, 0) / n;
    const at = (share) => { const place = share * (n - 1), low = Math.floor(place); return sorted[low] + (place - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]); };
    const deviation = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / n), quartiles = (at(0.75) - at(0.25)) / 1.34;
    return Math.max(0.9 * Math.min(deviation, quartiles || deviation) * n ** -0.2, 1e-3);
  };
  const kernelDensity = (values, n = 80) => {
    const h = bandwidth(values), low = Math.min(...values) - 2 * h, high = Math.max(...values) + 2 * h;
    return Array.from({ length: n }, (_, i) => {
      const y = low + (high - low) * i / (n - 1);
      let density = 0;
      for (const value of values) density += Math.exp(-0.5 * ((y - value) / h) ** 2);
      return { y, density };
    });
  };
  /** Counts blurred by two bins. */
  const smooth = ({ counts, centres }) => centres.map((y, i) => {
    let density = 0;
    for (let step = -8; step <= 8; step++) density += (counts[i + step] ?? 0) * Math.exp(-0.5 * (step / 2) ** 2);
    return { y, density };
  });
  const outline = (curve, at, violin, tone) => {
    const greatest = Math.max(...curve.map((point) => point.density));
    return curve.filter((point) => point.density > LEAST * greatest)
      .map(({ y, density }) => ({ violin, tone, y, left: at - HALF * density / greatest, right: at + HALF * density / greatest }));
  };
  const mark = (y, at) => ({ y, left: at - 0.22, right: at + 0.22, tone: "ink" });

  /** Violins side by side: groups of {text, violins: [{curve, centre, tone, label}]}. */
  const layOut = (groups) => {
    const shapes = [], marks = [], labels = [], heads = [];
    let at = 0;
    groups.forEach((group, g) => {
      const first = at;
      group.violins.forEach((violin, v) => {
        if (violin.curve) { shapes.push(...outline(violin.curve, at, `${g}-${v}`, violin.tone)); marks.push(mark(violin.centre, at)); }
        labels.push({ left: at, text: violin.label, tone: "soft" });
        at += 1;
      });
      if (group.text) heads.push({ left: (first + at - 1) / 2, text: group.text, tone: "ink" });
      at += GAP;
    });
    labels.push({ left: -0.6, text: "", tone: "soft" }, { left: at - GAP - 0.4, text: "", tone: "soft" });  // room at both ends
    return { shapes, marks, labels, groups: heads, zero: [{ y: 0, tone: "soft" }] };
  };

  const median = (counts, centres) => {
    const half = counts.reduce((a, b) => a + b, 0) / 2;
    let sum = 0;
    for (let i = 0; i < counts.length; i++) if ((sum += counts[i]) >= half) return centres[i];
    return NaN;
  };

  const similarity = (models) => {
    const known = models.filter((model) => model.histograms);
    if (!known.length) return null;
    const grades = new Map(), rows = [];
    const groups = known.map(({ letter, name, histograms: { edges, grades: of } }) => {
      const centres = edges.slice(1).map((edge, i) => (edge + edges[i]) / 2);
      return { text: known.length > 1 ? letter : "", violins: of.map(({ grade, name: called, counts }) => {
        grades.set(grade, called);
        const n = counts.reduce((a, b) => a + b, 0), centre = median(counts, centres);
        rows.push([`${letter ? letter + " " : ""}${name}`, `${grade} ${called}`, n.toLocaleString("en"), n ? MR.number(centre) : "\u2013"]);
        return { curve: n ? smooth({ counts, centres }) : null, centre, tone: `grade-${Math.min(grade, 3)}`, label: String(grade) };
      }) };
    });
    const legend = [...grades].sort((a, b) => b[0] - a[0]).map(([grade, text]) => ({ tone: `grade-${Math.min(grade, 3)}`, mark: String(grade), text }));
    return { datasets: layOut(groups), legend, table: { head: ["Model", "Grade", "Judged pairs", "Median similarity"], rows } };
  };

  const margins = (models) => {
    const pairs = [...new Set(models.flatMap(({ margins: of }) => [...of.keys()]))], rows = [];
    const groups = pairs.map((pair) => ({ text: pair, violins: models.map(({ letter, name, tone, margins: of }) => {
      const values = [...(of.get(pair) ?? [])].filter((x) => !Number.isNaN(x));
      const mean = values.reduce((a, b) => a + b, 0) / values.length;
      rows.push([`${letter ? letter + " " : ""}${name}`, pair, values.length.toLocaleString("en"), values.length ? MR.number(mean) : "\u2013"]);
      return { curve: values.length > 1 ? kernelDensity(values) : null, centre: mean, tone, label: letter ?? "" };
    }) }));
    if (!groups.some((group) => group.violins.some((violin) => violin.curve))) return null;
    const legend = models.length > 1 ? models.map(({ letter, name, tone }) => ({ tone, mark: letter, text: name })) : null;
    return { datasets: layOut(groups), legend, table: { head: ["Model", "Grades", "Queries", "Mean margin"], rows } };
  };

  MR.violins = { similarity, margins };
})();
