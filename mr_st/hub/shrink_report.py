"""ShrinkReport: what each setting costs in quality and gives in size and speed, and which one to take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mr_st.evaluation.separation import whole_separability
from mr_st.hub.shrink_settings import FULL, Setting
from mr_st.text.wording import metric_label

if TYPE_CHECKING:
    from mr_st.evaluation import GradedReport
    from mr_st.evaluation.compare import Comparison

__all__ = ["ShrinkReport", "ShrinkRow", "recommended"]

FORMAT = 1
MOST_LOST = 0.01
"""The share of the full setting's main metric that a recommended setting may lose."""

_PAIR = ("high", "low", "margin_average", "margin_worst", "auc_per_query", "auc_pooled", "overlap")


@dataclass(frozen=True, eq=False)
class ShrinkRow:
    """One setting.

    Args:
        setting: The setting.
        report: Its figures: metrics, separability, values per query.
        comparison: Its main metric against the full setting's, paired by query; None for the full setting.
        search_ms: Milliseconds that one query takes; None where it was not measured.
        encode_speed: Texts that are encoded in a second; None where it is the full setting's.
    """

    setting: Setting
    report: GradedReport
    comparison: Comparison | None
    search_ms: float | None = None
    encode_speed: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Everything but the values per query, JSON-ready."""
        found, separability = self.report, whole_separability(self.report)
        deep = f"recall@{max(found.protocol['ks'])}"
        return {
            "name": self.setting.name,
            "dims": self.setting.dims,
            "dtype": self.setting.dtype,
            "rescored_with": self.setting.rescored_with,
            "encoder": self.setting.encoder,
            "bytes_per_vector": self.setting.bytes_per_vector,
            "bytes_searched": self.setting.bytes_searched,
            "metrics": {name: found[name].to_dict() for name in (found.main_metric, deep)},
            "difference": None if self.comparison is None else _difference(self.comparison),
            "separability": [{key: pair.get(key) for key in _PAIR} for pair in separability["pairs"]],
            "thresholds": [
                {key: boundary[key] for key in ("boundary", "threshold", "precision", "recall", "f1")}
                for boundary in separability["boundaries"]
            ],
            "search_ms": None if self.search_ms is None else round(self.search_ms, 4),
            "encode_texts_per_second": None if self.encode_speed is None else round(self.encode_speed, 1),
        }


@dataclass(frozen=True, eq=False)
class ShrinkReport:
    """A model at several settings on one task. Make it with :func:`mr_st.hub.shrink.shrink`.

    Args:
        model_name: ``org/name``.
        revision: The model's content hash.
        task_name: What was searched and judged.
        rows: One a setting, the full one first.
        protocol: How the figures were made; JSON-ready.
        left_out: Settings that could not be measured here, and why.
    """

    model_name: str
    revision: str
    task_name: str
    rows: Sequence[ShrinkRow]
    protocol: dict[str, Any]
    left_out: dict[str, str]

    def __getitem__(self, name: str) -> ShrinkRow:
        """The row of a setting, by its name."""
        return next(row for row in self.rows if row.setting.name == name)

    @property
    def full(self) -> ShrinkRow:
        """What the others are compared with."""
        return self[FULL]

    def to_dict(self) -> dict[str, Any]:
        """What ``shrink.json`` holds."""
        rows = [row.to_dict() for row in self.rows]
        metric = self.full.report.main_metric
        return {
            "format": FORMAT,
            "model": {"name": self.model_name, "revision": self.revision, "dims": self.full.setting.dims},
            "task": self.task_name,
            "metric": metric,
            "protocol": self.protocol,
            "settings": rows,
            "left_out": self.left_out,
            "recommendation": recommended(rows, metric),
        }

    def save(self, folder: str | Path) -> dict[str, Path]:
        """Write ``shrink.json``, ``shrink.md`` and ``plots/shrink.png``; returns their paths by name.

        Raises:
            MrStError: the folder cannot be written.
        """
        from mr_st.files import ensure_writable, write_json, write_text
        from mr_st.hub.shrink_plot import plot_shrink
        from mr_st.hub.shrink_table import markdown
        from mr_st.measures.plots import save_figure

        folder, found = ensure_writable(folder), self.to_dict()
        paths = {"json": folder / "shrink.json", "table": folder / "shrink.md", "plot": folder / "plots/shrink.png"}
        save_figure(plot_shrink(found), paths["plot"])
        write_text(paths["table"], markdown(found))
        write_json(paths["json"], found)
        return paths


def recommended(rows: Sequence[dict[str, Any]], metric: str, most_lost: float = MOST_LOST) -> dict[str, Any]:
    """The setting of the fewest bytes whose metric is within a share of the full one's; of equal bytes, the best.

    Args:
        rows: As in ``shrink.json``; the first is the full one.
        metric: The metric.
        most_lost: The share that may be lost.

    Returns:
        ``setting``, the setting by the point estimate, ``excludes_more``: whether its 95 % interval excludes a greater
        loss, ``sure``: the smallest setting whose interval does, and ``text``, a sentence.

    Example:
        >>> def row(name, size, value, low):
        ...     change = None if low is None else {"value": value - 0.5, "low": low}
        ...     figures = {"metrics": {"m": {"value": value}}, "difference": change}
        ...     return {"name": name, "encoder": "float32", "bytes_per_vector": size, **figures}
        >>> rows = [row("float32", 8, 0.5, None), row("int8", 2, 0.498, -0.1), row("binary", 1, 0.4, -0.2)]
        >>> found = recommended(rows, "m")
        >>> found["setting"], found["excludes_more"], found["sure"]
        ('int8', False, 'float32')
    """
    full = rows[0]
    value = full["metrics"][metric]["value"]
    least = -most_lost * value
    vectors = [row for row in rows if row["encoder"] == "float32"]
    near = [row for row in vectors if _change(row) >= least]
    sure = [row for row in vectors if row is full or (row["difference"]["low"] or -1.0) >= least]
    chosen, surest = _smallest(near, metric), _smallest(sure, metric)
    excludes = chosen in sure
    share = chosen["bytes_per_vector"] / full["bytes_per_vector"]
    verdict = "excludes" if excludes else "does not exclude"
    text = (
        f"{chosen['name']}: {chosen['bytes_per_vector']:,} bytes a vector, {share:.1%} of {full['name']}'s; "
        f"{metric_label(metric)} {chosen['metrics'][metric]['value']:.4f} against {value:.4f} "
        f"({_change(chosen) / value if value else 0:+.1%}). The 95 % interval of the difference {verdict} a loss of "
        f"more than {most_lost:.0%}."
    )
    if chosen is full:
        text = f"No smaller setting is within {most_lost:.0%} of {full['name']}'s {metric_label(metric)}, {value:.4f}."
    elif not excludes and surest is not full:
        text += f" The smallest whose interval excludes it: {surest['name']}, {surest['bytes_per_vector']:,} bytes."
    return {
        "most_lost": most_lost,
        "setting": chosen["name"],
        "excludes_more": excludes,
        "sure": surest["name"],
        "text": text,
    }


def _smallest(rows: Sequence[dict[str, Any]], metric: str) -> dict[str, Any]:
    return min(rows, key=lambda row: (row["bytes_per_vector"], -row["metrics"][metric]["value"]))


def _change(row: dict[str, Any]) -> float:
    return row["difference"]["value"] if row["difference"] else 0.0


def _difference(comparison: Comparison) -> dict[str, Any]:
    found = {**comparison.interval.to_dict(), "p_value": comparison.p_value, "p_holm": comparison.p_holm}
    return {key: None if isinstance(value, float) and isnan(value) else value for key, value in found.items()}
