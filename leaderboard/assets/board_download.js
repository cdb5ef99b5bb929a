"use strict";
/* What the table shows, as CSV and JSON, and the address of it. */
(() => {
  const $ = (id) => document.getElementById(id);

  /** One record for each model and task shown, in the order shown. */
  MR.boardRecords = (D, state, view) => {
    const metric = D.metrics[state.metric()].key, subset = D.subsets[state.S.subset].key;
    const figure = (x) => (x === null ? null : x / MR.SCORE_SCALE);
    return view.models.flatMap((m) => view.tasks.map((t) => {
      const { code, score, n } = view.cell(m, t), model = D.models[m], task = D.tasks[t];
      const status = code === "o" && !score ? "missing" : (MR.STATUS.get(code) ?? MR.STATUS.get("-"))[0];
      return {
        model: model.name, revision: model.revision, kind: model.kind, n_parameters: model.n_parameters, task: task.name, split: task.split,
        metric, subset, value: figure(score?.[0] ?? null), low: figure(score?.[1] ?? null), high: figure(score?.[2] ?? null), n,
        status, note: D.notes[`${m}-${t}`] ?? null,
      };
    }));
  };

  MR.boardDownloads = (D, state, viewNow) => {
    $("csv").onclick = () => {
      const records = MR.boardRecords(D, state, viewNow());
      const keys = ["model", "revision", "kind", "n_parameters", "task", "split", "metric", "subset", "value", "low", "high", "n", "status", "note"];
      MR.download("leaderboard.csv", MR.csv([keys, ...records.map((r) => keys.map((key) => r[key]))]), "text/csv");
    };
    $("json").onclick = () => MR.download("leaderboard.json", JSON.stringify({ title: D.title, results: MR.boardRecords(D, state, viewNow()) }, null, 1), "application/json");
    $("link").onclick = async () => {
      let copied = true;
      try { await navigator.clipboard.writeText(location.href); } catch {
        const box = MR.el("textarea", { class: "sr", "aria-hidden": "true" });
        box.value = location.href;
        document.body.append(box);
        box.select();
        copied = document.execCommand("copy");
        box.remove();
        $("link").focus();
      }
      $("link").textContent = copied ? "Link copied" : "Copy the address";
      setTimeout(() => { $("link").textContent = "Copy link"; }, 2000);
    };
  };
})();
