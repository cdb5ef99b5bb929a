"""Two reports query by query: the difference, its interval, and whether chance explains it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mr_st.errors import UsageError
from mr_st.evaluation.report import GradedReport
from mr_st.measures import Interval, paired_bootstrap, paired_permutation_test

__all__ = ["Comparison", "compare"]

_EQUAL = 1e-9


@dataclass(frozen=True, eq=False)
class Comparison:
    """System B against system A on one metric, over the queries where both are defined.

    Args:
        metric: The metric.
        model_a, model_b: Names of the systems.
        value_a, value_b: Their means over these queries.
        difference: Mean of B - A: above 0, B is better.
        low, high: Its 95 % interval (BCa bootstrap over queries).
        p_value: Two-sided paired permutation test.
        wins, losses, ties: Queries on which B is better, worse, equal.
        n: How many queries.
        query_ids: Of these queries.
        differences: float64 (n,), B - A of each.
        notes: Where the two protocols differ, in words; empty when only the model does.
    """

    metric: str
    model_a: str
    model_b: str
    value_a: float
    value_b: float
    difference: float
    low: float
    high: float
    p_value: float
    wins: int
    losses: int
    ties: int
    n: int
    query_ids: list[str]
    differences: np.ndarray
    notes: list[str]

    @property
    def interval(self) -> Interval:
        """The difference with its interval."""
        return Interval(self.difference, self.low, self.high, self.n)

    def most_moved(self, n: int = 10) -> list[tuple[str, float]]:
        """The ``n`` queries that moved most, as (query_id, B - A), the greatest change first."""
        order = np.argsort(-np.abs(self.differences), kind="stable")[:n]
        return [(self.query_ids[i], float(self.differences[i])) for i in order]

    def to_dict(self) -> dict[str, Any]:
        """The comparison without its per-query part, ready for JSON (NaN as None)."""
        fields = {k: v for k, v in vars(self).items() if k not in ("query_ids", "differences")}
        return {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in fields.items()}

    def __str__(self) -> str:
        return (
            f"{self.metric}: {self.value_b:.4f} against {self.value_a:.4f}, {self.difference:+.4f} "
            f"[{self.low:+.4f}, {self.high:+.4f}], p = {self.p_value:.4f}, "
            f"{self.wins} won, {self.losses} lost, {self.ties} equal"
        )


def compare(
    report_a: GradedReport,
    report_b: GradedReport,
    metric: str | None = None,
    *,
    seed: int = 0,
    n_resamples: int = 10_000,
    n_bootstrap: int = 2000,
) -> Comparison:
    """Compare report B with report A, paired by query.

    Args:
        report_a: The baseline.
        report_b: What is compared with it.
        metric: A metric of both; None for A's main metric.
        seed: Seed of bootstrap and permutation.
        n_resamples: Random sign vectors of the permutation test.
        n_bootstrap: Bootstrap samples of the interval.

    Raises:
        UsageError: the reports are of different data, splits, gains or corpora, a metric is missing, or no query is
            in both.
    """
    metric = report_a.main_metric if metric is None else metric
    report_a[metric], report_b[metric]
    for key in ("dataset", "split", "gains", "corpus", "n_items"):
        a, b = report_a.protocol[key], report_b.protocol[key]
        if key == "dataset":
            a, b = a["fingerprint"], b["fingerprint"]
        if a != b:
            raise UsageError(
                f"these reports cannot be compared: {key} is {a} in {report_a.model_name} and {b} in "
                f"{report_b.model_name}; evaluate both on the same data"
            )
    place = {query_id: row for row, query_id in enumerate(report_b.per_query["query_id"].to_pylist())}
    query_ids = report_a.per_query["query_id"].to_pylist()
    a = report_a.values(metric)
    rows = np.array([place.get(query_id, -1) for query_id in query_ids], dtype=np.int64)
    b = np.where(rows >= 0, report_b.values(metric)[rows], np.nan)
    both = ~np.isnan(a) & ~np.isnan(b)
    if not both.any():
        raise UsageError(f"{metric} is defined for no query in both reports; choose another metric")
    a, b = a[both], b[both]
    differences = b - a
    interval = paired_bootstrap(a, b, seed, n_bootstrap)
    return Comparison(
        metric=metric,
        model_a=report_a.model_name,
        model_b=report_b.model_name,
        value_a=float(a.mean()),
        value_b=float(b.mean()),
        difference=interval.value,
        low=interval.low,
        high=interval.high,
        p_value=paired_permutation_test(a, b, seed, n_resamples),
        wins=int((differences > _EQUAL).sum()),
        losses=int((differences < -_EQUAL).sum()),
        ties=int((np.abs(differences) <= _EQUAL).sum()),
        n=len(differences),
        query_ids=[query_id for query_id, kept in zip(query_ids, both, strict=True) if kept],
        differences=differences,
        notes=[
            f"{key}: {report_a.protocol.get(key)} against {report_b.protocol.get(key)}"
            for key in ("item_text", "max_seq_length")
            if report_a.protocol.get(key) != report_b.protocol.get(key)
        ],
    )
