"""The rows of a card's tables: from reports, comparisons and what the stages recorded to what the template prints."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mr_st.evaluation.wording import metric_label, protocol_line
from mr_st.text.markdown import Markdown, code, escape, number, p_value, signed

if TYPE_CHECKING:
    from mr_st.evaluation import Comparison, GradedReport

__all__ = [
    "annotator_facts",
    "comparison_rows",
    "data_facts",
    "default_limits",
    "item_format",
    "mining_facts",
    "result_tables",
    "stage_rows",
]

_ARMS = {
    "base": "Base, not trained",
    "stage1": "Stage 1: graded SupCon",
    "control": "Control: stage 1 trained on for as many steps",
    "stage2": "Stage 2: mined and refined",
}
_FIRST = ("ndcg", "recall", "precision")
_COMPARED = 8  # metrics of a comparison that a card shows
_SHOWN_VALUES = 12  # entries of a nested record that a card shows


def result_tables(arms: Mapping[str, Sequence[GradedReport]], primary: str | None) -> list[dict[str, Any]]:
    """One entry a task: its protocol, the arms' main metrics, and every K of the primary arm."""
    tasks: dict[str, dict[str, GradedReport]] = {}
    for arm, reports in arms.items():
        for report in reports:
            tasks.setdefault(report.task_name, {})[arm] = report
    tables = []
    for task, by_arm in tasks.items():
        main = by_arm.get(primary or "") or next(iter(by_arm.values()))
        columns = _main_metrics(main)
        tables.append(
            {
                "task": task,
                "protocol": protocol_line(main.protocol),
                "columns": [metric_label(name) for name in columns],
                "rows": [
                    {"name": _ARMS.get(arm, arm), "cells": [_cell(report, name) for name in columns]}
                    for arm, report in by_arm.items()
                ],
                "primary": _ARMS.get(primary or "", primary or ""),
                **_by_k(main),
            }
        )
    return tables


def _main_metrics(report: GradedReport) -> list[str]:
    ks = _ks(report)
    wanted = [f"{family}@{ks[0]}" for family in _FIRST] if ks else []
    return [n for n in (*wanted, "margin_average_2_0", "margin_worst_2_0") if n in report.metrics]


def _ks(report: GradedReport) -> list[int]:
    return sorted({int(m[1]) for name in report.metrics if (m := re.fullmatch(r"ndcg@(\d+)", name))})


def _by_k(report: GradedReport) -> dict[str, Any]:
    ks = _ks(report)
    families: dict[str, tuple[str, str]] = {}
    for name in report.metrics:
        if match := re.fullmatch(r"([a-z_]+)@\d+(/\d+)?", name):
            families.setdefault(match[1] + (match[2] or ""), (match[1], match[2] or ""))
    rows = [
        {
            "name": metric_label(f"{family}@1{suffix}", with_k=False),
            "cells": [_cell(report, f"{family}@{k}{suffix}") for k in ks],
        }
        for family, suffix in families.values()
    ]
    return {"ks": [f"K = {k}" for k in ks], "by_k": rows if len(ks) > 1 else []}


def _cell(report: GradedReport, name: str) -> Markdown:
    interval = report.metrics.get(name)
    if interval is None or not interval.n:
        return Markdown("–")
    if interval.low != interval.low:  # NaN: one query
        return number(interval.value)
    return Markdown(f"{number(interval.value)} [{number(interval.low)}, {number(interval.high)}]")


def comparison_rows(comparisons: Mapping[tuple[str, str], Mapping[str, Comparison]]) -> list[dict[str, Any]]:
    """One row a comparison and metric; the main metrics only."""
    rows = []
    for (treatment, control), by_metric in comparisons.items():
        first = [n for n in by_metric if re.match(r"(ndcg|recall|precision)@10$|margin_(average|worst)_2_0$", n)]
        for name in (first or list(by_metric))[:_COMPARED]:
            c = by_metric[name]
            rows.append(
                {
                    "name": f"{_short(treatment)} against {_short(control)}",
                    "metric": metric_label(name),
                    "difference": signed(c.difference),
                    "interval": Markdown(f"{signed(c.low)} to {signed(c.high)}"),
                    "p": p_value(c.p_value),
                    "queries": f"{c.wins:,} / {c.losses:,} / {c.ties:,}",
                }
            )
    return rows


def _short(arm: str) -> str:
    return {"base": "base", "stage1": "stage 1", "stage2": "stage 2", "control": "control arm"}.get(arm, arm)


def stage_rows(stages: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a training stage: its loss with the parameters it learned, its steps and its time."""
    rows = []
    for name, record in stages.items():
        settings = _mapping(record.get("loss_config")) or _mapping(record.get("loss_state"))
        names = [record.get("loss"), settings.pop("loss", None), settings.pop("name", None)]
        loss = next((str(name) for name in names if name), "–")
        steps, seconds = record.get("steps"), record.get("seconds")
        rows.append(
            {
                "name": _ARMS.get(name, name),
                "loss": code(loss) if loss != "–" else Markdown("–"),
                "steps": f"{steps:,}" if isinstance(steps, int) else Markdown("–"),
                "time": _duration(seconds),
                "parameters": Markdown(
                    ", ".join(f"{escape(_words(k))} {escape(v)}" for k, v in _loss_settings(settings).items()) or "–"
                ),
            }
        )
    return rows


def _loss_settings(settings: Mapping[str, Any]) -> dict[str, str]:
    """What is set, in a few words; a temperature that was learned says so."""
    shown = {key: _plain(value) for key, value in settings.items() if value is not None}
    is_learned = shown.pop("learn_temperature", "no") == "yes"
    if "temperature" in shown and is_learned:
        shown["temperature"] += " (learned)"
        shown.pop("temperature_range", None)
    return shown


def data_facts(data: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What the training data is, under which licence, and how much of it there is."""
    if not data:
        return []
    shares = {split: _split_text(_mapping(facts)) for split, facts in _mapping(data.get("splits")).items()}
    kept = {k: data.get(k) for k in ("name", "license", "fingerprint", "source", "counts", "judgment_sources")}
    known = {*kept, "splits", "scale", "query_characters", "title_characters", "category_levels", "query_kinds"}
    more = {k: v for k, v in data.items() if k not in known}
    return _facts({**kept, **{f"{split} split": text for split, text in shares.items()}, **more})


def _split_text(facts: Mapping[str, Any]) -> str:
    """A split as ``GradedDataset.describe`` counts it, in a few words."""
    shares = ", ".join(f"{name} {share:.0%}" for name, share in _mapping(facts.get("label_shares")).items())
    counts = f"{_plain(facts.get('judgments', '?'))} judgments of {_plain(facts.get('queries', '?'))} queries"
    return f"{counts} ({shares})" if shares else counts


def mining_facts(report: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What the miner searched, had graded and took."""
    return _facts(report or {})


def annotator_facts(annotator: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Who graded the mined pairs, and how well, as measured."""
    return _facts(annotator or {})


def _facts(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for key, value in record.items():
        if value is None or value in ("", {}, []):
            continue
        name = _words(key)
        rows.append({"name": name[:1].upper() + name[1:], "text": _plain(value)})
    return rows


def _words(key: Any) -> str:
    """A recorded key as words; ``n_queries`` is a number of queries."""
    key = str(key)
    return (f"number of {key[2:]}" if key.startswith("n_") else key).replace("_", " ")


def _plain(value: Any) -> str:
    """A recorded value in a few words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        items = [(k, v) for k, v in value.items() if v is not None]
        text = ", ".join(f"{_words(k)}: {_nested(v)}" for k, v in items[:_SHOWN_VALUES])
        return text + (", …" if len(items) > _SHOWN_VALUES else "")
    if isinstance(value, (list, tuple)):
        text = ", ".join(_nested(v) for v in value[:_SHOWN_VALUES])
        return text + (", …" if len(value) > _SHOWN_VALUES else "")
    return str(value)


def _nested(value: Any) -> str:
    return f"({_plain(value)})" if isinstance(value, (Mapping, list, tuple)) else _plain(value)


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _duration(seconds: Any) -> Markdown:
    if not isinstance(seconds, (int, float)):
        return Markdown("–")
    if seconds < 120:
        return Markdown(f"{seconds:.0f} s")
    return Markdown(f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h")


def item_format(recipe: Mapping[str, Any]) -> tuple[str, str]:
    """An example item text as the model was trained on, and a sentence that says how it is made."""
    from mr_st.data import format_item

    data = _mapping(recipe.get("data"))
    levels, max_chars = data.get("item_text_levels", 2), data.get("max_chars", 400)
    path = ["Sports", "Shoes", "Running shoes"]
    example = format_item("Trail running shoes, red", path, levels=levels, max_chars=max_chars)
    if not data:
        return example, "Write an item as its title, a full stop, and its category path, as in the example."
    if levels == 0:
        return example, f"An item is its title alone, cut at {max_chars} characters."
    depth = "the whole category path" if levels is None else f"the first {levels} levels of its category path"
    return example, f"An item is its title, then {depth}, as in the example, cut at {max_chars} characters."


def default_limits(reports: Sequence[GradedReport], data: Mapping[str, Any] | None) -> list[str]:
    """What a reader must not conclude, as far as the inputs say."""
    limits = []
    for report in reports:
        n = max((interval.n for interval in report.metrics.values()), default=0)
        if 0 < n < 200:
            limits.append(
                f"Measured on {n} test queries of {report.task_name}: compare systems by the paired differences, "
                "not by the absolute scores."
            )
    source = _mapping((data or {}).get("source")).get("name")
    if source == "marketplace":
        limits.append("Trained and tested on a synthetic shop: it says nothing of how it fares on yours.")
    limits.append("Tested on the catalogue and language of its own test set only; measure it on your judgments first.")
    return limits
