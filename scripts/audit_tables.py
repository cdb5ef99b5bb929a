"""What study_audit.py prints and draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mr_st.measures.plots import OKABE_ITO, save_figure

BROAD = 1.0
RAW = "raw rates, one threshold"
SIZES = (50, 100, 200, 400, 800)


def percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def with_interval(share: dict[str, Any]) -> str:
    if share["low"] is None:
        return percent(share["value"])
    return f"{share['value']:.1%} [{share['low']:.1%}, {share['high']:.1%}]"


def tables(result: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = [
        "| | noise | looked at | flagged | judges differ | experts sided with the judges | experts asked | "
        "flagged errors mended | errors of all labels before | after | fall |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        "| paper | its own | 30% | | 23.4% | 81.8% | | | | | 5.74% |",
    ]
    for kind, figures in result["noises"].items():
        for one in figures["audits"]:
            errors = one["errors"]
            total = errors["total"]
            lines.append(
                f"| {one['experts']} expert{'s' if one['experts'] > 1 else ''} a pair | {kind} | {one['share']:.0%} | "
                f"{one['flagged']:,} ({one['share_flagged']['value']:.1%}) | {with_interval(one['disagreement'])} | "
                f"{with_interval(one['sided_with_judges'])} | {one['differing']:,} | "
                f"{with_interval(errors['mended_of_flagged_errors'])} | {total['before']:,} | {total['after']:,} | "
                f"{percent(total['reduction'])} |"
            )
    lines += [
        "",
        "Precision of the flags, against as many random pairs of the sample's kind (any), and against random pairs "
        "with the same labels that were shown as often (alike); p one-sided.",
        "",
        "| noise | looked at | flags | wrong labels among them | random, any | p | random, alike | p |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for kind, figures in result["noises"].items():
        for share in ("0.3", "1.0"):
            one = figures[f"against_random_share_{share}"]
            lines.append(
                f"| {kind} | {float(share):.0%} | {one['flags']:,} | {with_interval(one['precision'])} | "
                f"{percent(one['random'])} | {one['p']:.1g} | {percent(one['random_alike'])} | {one['p_alike']:.1g} |"
            )
    lines += [
        "",
        "Share of wrong labels among the first n pairs of each rule, all training labels looked at; ends: only the "
        "lowest and the highest grade, as in the paper.",
        "",
        f"| noise | grades | rule | {' | '.join(f'first {n}' for n in SIZES)} |",
        f"|---|---|---|{'---|' * len(SIZES)}",
    ]
    for kind, figures in result["noises"].items():
        for one in figures["rules"]:
            shares = " | ".join(percent(one["precision_at"].get(str(n))) for n in SIZES)
            lines.append(f"| {kind} | {'all' if one['middle'] else 'ends'} | {one['rule']} | {shares} |")
    lines += [
        "",
        "By threshold, all training labels looked at, one expert a pair:",
        "",
        "| noise | min_probability | flagged | precision | recall of all errors | experts asked | mended | introduced "
        "| errors after |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for kind, figures in result["noises"].items():
        for one in figures["curve"]:
            lines.append(
                f"| {kind} | {one['min_probability']} | {one['flagged']:,} | {percent(one['precision'])} | "
                f"{percent(one['recall'])} | {one['experts_asked']:,} | {one['mended']:,} | {one['introduced']:,} | "
                f"{one['errors_after']:,} |"
            )
    lines += [
        "",
        "The query's own standard against one for all queries (lowest and highest grade, average precision of the "
        "ranking by score), in the shop as it is (each of n relevant items is carted n^-0.35 times as often) and "
        f"where broad queries convert far less (n^-{BROAD:g}):",
        "",
        "| noise | breadth | signals | its own | one for all |",
        "|---|---|---|---|---|",
    ]
    for kind, figures in result["noises"].items():
        for own, one in zip(figures["breadth"][::2], figures["breadth"][1::2], strict=True):
            signals = " + ".join(own["signals"]).replace("add_to_carts", "carts")
            found = (of["average_precision"] for of in (own, one))
            values = " | ".join("" if value is None else f"{value:.3f}" for value in found)
            lines.append(f"| {kind} | {own['breadth']} | {signals} | {values} |")
    first = next(iter(result["noises"].values()))["audits"][0]
    lines += [
        "",
        f"Of the sampled pairs {percent(first['share_shown'])} stand in the log at all, and "
        f"{percent(first['share_judged_by_engagement'])} were shown often enough to be judged by engagement; the "
        "others cannot be flagged.",
    ]
    return "\n".join(lines)


def plot(result: dict[str, Any], path: Path) -> None:
    """Share of wrong labels against the number of flags, a panel a noise, a line a rule."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * len(result["noises"]), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(result["noises"]), sharey=True, squeeze=False)[0]
    for axes, (kind, figures) in zip(panels, result["noises"].items(), strict=True):
        for n, (name, values) in enumerate(figures["precision_curve"].items()):
            at = 10 * np.arange(1, len(values) + 1)
            color, style = OKABE_ITO[n % len(OKABE_ITO)], "-" if n < len(OKABE_ITO) else ":"
            axes.plot(at, values, style, color=color, linewidth=2.4 if not n else 1.2, label=name)
        axes.axhline(figures["against_random_share_1.0"]["random"], color="#555555", linestyle="--", label="random")
        axes.set_title(f"{kind} noise", fontsize=11)
        axes.set_xlabel("pairs flagged")
        axes.grid(color="#DDDDDD", linewidth=0.6)
        axes.set_ylim(0, 1)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("share of wrong labels among them")
    panels[-1].legend(fontsize=8, frameon=False)
    save_figure(figure, path, dpi=110)
