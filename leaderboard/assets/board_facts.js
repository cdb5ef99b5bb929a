"use strict";
/* What there is to know of a model beside its scores: the columns that a reader may choose. */
(() => {
  const large = (n) => (n >= 1e9 ? `${Number((n / 1e9).toPrecision(3))}B` : n >= 1e6 ? `${Number((n / 1e6).toPrecision(3))}M` : n.toLocaleString("en"));
  MR.sizeText = (n) => (typeof n === "number" ? large(n) : null);

  /** Zero-shot on the given tasks: yes (on all), no (trained on some), unknown; with the count of each. */
  MR.zeroShot = (D, m, tasks) => {
    const codes = D.zero_shot?.[m] ?? "", count = { y: 0, n: 0 };
    for (const t of tasks) if (codes[t] === "y" || codes[t] === "n") count[codes[t]] += 1;
    return { ...count, answer: count.n ? "no" : count.y === tasks.length && tasks.length ? "yes" : "unknown" };
  };

  /** Columns: key, label, whether shown from the start, known(m), value(m) to sort by, text(m) or null where nobody says. */
  MR.boardFacts = (D) => {
    const plain = (key, label, field, { usual = false, title = label, width = 7, text = (x) => x, full } = {}) => {
      const value = (m) => D.models[m][field] ?? null;
      const number = D.models.some((x) => typeof x[field] === "number");
      return { key, label, title, usual, width, number, value, known: (m) => value(m) !== null, text: (m) => (value(m) === null ? null : text(value(m))), full };
    };
    const training = (m) => D.models[m].training ?? null;
    const trainingText = (m) => {
      const names = training(m);
      if (names === null) return null;
      return names.length === 0 ? "none" : names.slice(0, 2).join(", ") + (names.length > 2 ? ` and ${names.length - 2} more` : "");
    };
    const facts = [
      plain("size", "Size", "n_parameters", { usual: true, title: "Parameters", width: 5.5, text: large }),
      plain("dim", "Dimensions", "dim", { usual: true, width: 6.5, text: String }),
      plain("tokens", "Max tokens", "max_tokens", { width: 5.5, text: (x) => x.toLocaleString("en") }),
      plain("speed", "Texts/s", "texts_per_second", { title: "Items encoded per second, on the machine that evaluated it", width: 5.5, full: (m) => D.models[m].hardware, text: (x) => (x < 10 ? x.toFixed(1) : Math.round(x).toLocaleString("en")) }),
      plain("kind", "Kind", "kind", { width: 6.5 }),
      plain("base", "Base model", "base", { width: 11 }),
      plain("license", "Licence", "license", { width: 7.5 }),
      { key: "training", label: "Training data", title: "Training data", width: 12, value: trainingText, text: trainingText, known: (m) => training(m) !== null, full: (m) => training(m)?.join(", ") },
      { key: "revision", label: "Revision", title: "Revision", width: 7, value: (m) => D.models[m].revision || null, text: (m) => D.models[m].revision.slice(0, 10) || null, known: (m) => D.models[m].revision !== "", full: (m) => D.models[m].revision },
    ];
    const zero = {
      key: "zero", label: "Zero-shot", title: "Zero-shot on the tasks shown", usual: true, width: 6, perTasks: true,
      known: (m) => /[yn]/.test(D.zero_shot?.[m] ?? ""),
      value: (m, tasks) => { const z = MR.zeroShot(D, m, tasks); return z.y + z.n ? z.y / tasks.length : null; },
      text: (m, tasks) => { const z = MR.zeroShot(D, m, tasks); return z.y + z.n === 0 ? null : z.answer === "yes" ? "yes" : z.y === 0 && z.n === tasks.length ? "no" : `${z.y} of ${tasks.length}`; },
      full: (m, tasks) => { const named = tasks.filter((t) => D.zero_shot?.[m]?.[t] === "n").map((t) => D.tasks[t].label); return named.length ? `trained on the data of ${named.join(", ")}` : null; },
    };
    return [...facts.slice(0, 2), zero, ...facts.slice(2)];
  };
})();
