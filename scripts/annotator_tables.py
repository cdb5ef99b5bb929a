"""What bench_annotators.py prints, and how the annotators' scripts put tables into docs/annotators.md."""

from __future__ import annotations

import json
from typing import Any

from doc_pages import DOCS, interval_cell, put_into_docs

PAPER = "87.6 % and 98.8 % within one grade: other data (105k pairs of a food delivery's shop), another mix of grades"
BAR = 0.01
TITLES = {
    "majority": "majority class",
    "thresholds-accuracy": "MiniLM as it comes, thresholds for accuracy",
    "thresholds-macro-f1": "MiniLM as it comes, thresholds for macro-F1",
    "noisy-labels": "labels with the same noise",
    "cross-encoder": "fitted cross-encoder",
    "llm": "fitted language model",
}
FITTED = ("cross-encoder", "llm")
METRICS = {"accuracy": "accuracy", "within_one": "within one", "kappa": "kappa", "macro_f1": "macro-F1"}


def tables(found: dict[str, Any]) -> str:
    """The figures of one dataset as Markdown."""
    learned, scored = found["learned_from"], found["scored_on"]
    total = sum(scored["by_grade"])
    mix = ", ".join(f"{grade}: {n / total:.1%}" for grade, n in enumerate(scored["by_grade"]))
    labels = f"{learned['n_pairs']:,} pairs of {learned['n_queries']:,} train queries"
    if learned["noise"]:
        errs = "to a neighbouring grade" if learned["noise"] == "near" else "to any other grade"
        labels += f", {learned['error_rate']:.1%} of them wrong ({errs})"
    drawn = f", up to {scored['pairs_per_query']} of each at random" if scored.get("pairs_per_query") else ""
    aside = " of the train split that were set aside" if scored.get("set_aside") else ""
    truth = "true labels" if learned["noise"] else "human labels"
    lines = [
        f"Learned from {labels}; scored on the {truth} of {scored['n_pairs']:,} pairs of {scored['n_queries']:,} "
        f"other queries{aside}{drawn} (grade {mix}). In brackets 95 % intervals over queries. `{found['command']}`",
        "",
        f"| annotator | {' | '.join(METRICS.values())} | calibration error |",
        f"|---|{'---|' * len(METRICS)}---|",
    ]
    for name, figures in found["annotators"].items():
        cells = [interval_cell(figures["intervals"][metric], none="undefined") for metric in METRICS]
        ece = "" if name == "noisy-labels" else interval_cell(figures["intervals"]["expected_calibration_error"])
        lines.append(f"| {TITLES[name]} | {' | '.join(cells)} | {ece} |")
    lines += ["", f"| paired difference | {' | '.join(METRICS.values())} |", f"|---|{'---|' * len(METRICS)}"]
    for key, compared in found["comparisons"].items():
        name, other = key.split(" - ")
        cells = [_difference(compared[metric]) for metric in METRICS]
        lines.append(f"| {TITLES[name]} less {TITLES[other]} | {' | '.join(cells)} |")
    lines += ["", *_verdicts(found)]
    for name in FITTED:
        if name in found["annotators"]:
            lines.append(_about(TITLES[name], found["annotators"][name]))
    if learned["noise"]:
        lines += ["", f"The mark to pass in the paper: {PAPER}."]
    return "\n".join(lines)


def _verdicts(found: dict[str, Any]) -> list[str]:
    """Whether the bars are met: better in kappa, macro-F1 and accuracy with p < .01; righter than the noisy labels."""
    lines = []
    for name in FITTED:
        said = []
        for key, compared in found["comparisons"].items():
            other = key.removeprefix(f"{name} - ")
            if other == key or other == "noisy-labels":
                continue
            missed = [
                METRICS[metric] for metric in ("kappa", "macro_f1", "accuracy")
                if not (compared[metric]["difference"]["value"] > 0 and compared[metric]["p"] < BAR)
            ]  # fmt: skip
            verdict = f"**not in {', '.join(missed)}**" if missed else "in all three"
            said.append(f"{TITLES[other]}: {verdict}")
        if said:
            lines.append(
                f"Is the {TITLES[name]} better in kappa, macro-F1 and accuracy (p < {BAR})? Than {'; '.join(said)}."
            )
        noisy = found["comparisons"].get(f"{name} - noisy-labels")
        if noisy:
            ours, theirs = noisy["accuracy"]["b"], noisy["accuracy"]["a"]
            verdict = "above" if ours > theirs else "**not above**"
            lines.append(f"Its accuracy, {ours:.3f}, is {verdict} that of labels with the same noise, {theirs:.3f}.")
    return lines


def _about(title: str, figures: dict[str, Any]) -> str:
    random_items = figures.get("random_items")
    share = ""
    if random_items and random_items["n_pairs"]:
        share = (
            f" Of {random_items['n_pairs']:,} random items for its held-out queries it grades "
            f"{random_items['share_above_lowest']:.1%} above the lowest."
        )
    few = figures.get("learned_from")
    of = f" on {few['n_pairs']:,} pairs of {few['n_queries']:,} of these queries" if few else ""
    return f"The {title} starts from {figures['base']} and was fitted{of} in {figures['seconds']:,.0f} s.{share}"


def _difference(compared: dict[str, Any]) -> str:
    difference = compared["difference"]
    if difference["value"] is None or difference["low"] is None:
        return "undefined"
    p = "p < .001" if compared["p"] < 0.001 else f"p = {compared['p']:.3f}".replace("0.", ".")
    return f"{difference['value']:+.3f} [{difference['low']:+.3f}, {difference['high']:+.3f}], {p}"


def write_docs(figures: dict[str, Any], tables: dict[str, str]) -> None:
    """Put figures beside those that docs/annotators.json has of other data, and tables into docs/annotators.md.

    Args:
        figures: By key of docs/annotators.json.
        tables: Markdown by the name in the page's markers.
    """
    path, page = DOCS / "annotators.json", DOCS / "annotators.md"
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(json.dumps({**known, **figures}, indent=2) + "\n", encoding="utf-8")
    for name, table in tables.items():
        put_into_docs(page, name, table)
