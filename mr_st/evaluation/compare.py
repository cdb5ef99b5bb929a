"""Reports query by query: the difference, its interval, and whether chance explains it; several against one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mr_st.errors import UsageError
from mr_st.evaluation.report import GradedReport
from mr_st.measures import Interval, holm, paired_bootstrap, paired_permutation_test

__all__ = ["Comparison", "Paired", "compare", "compare_part", "compare_several", "corrected", "paired_values",
           "protocol_notes"]  # fmt: skip

N_BOOTSTRAP = 2000
"""Bootstrap samples of an interval."""

_EQUAL = 1e-9
_SAME = ("split", "gains", "corpus", "n_items")
_NOTED = ("item_text", "max_seq_length", "prompts", "search", "ties", "n_queries", "mr_st")
_ARRAYS = ("query_ids", "values_a", "differences")


@dataclass(frozen=True, eq=False)
class Comparison:
    """System B against system A on one metric, over the queries where both are defined.

    Args:
        metric: The metric.
        model_a, model_b: Names of the systems.
        value_a, value_b: Their means over these queries.
        difference: Mean of B - A: above 0, B is better.
        low, high: Its 95 % interval (bootstrap over queries); NaN where the queries are too few to tell.
        p_value: Two-sided paired permutation test; NaN where the queries are too few to tell.
        wins, losses, ties: Queries on which B is better, worse, equal.
        n: How many queries.
        query_ids: Of these queries.
        values_a: float64 (n,), A's value of each.
        differences: float64 (n,), B - A of each.
        notes: Where the two protocols differ, in words; empty when only the model does.
        p_holm: The p-value corrected for the others of its family (several models, or the slices of one attribute);
            None where it stands alone.
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
    values_a: np.ndarray
    differences: np.ndarray
    notes: list[str]
    p_holm: float | None = None

    @property
    def interval(self) -> Interval:
        """The difference with its interval."""
        return Interval(self.difference, self.low, self.high, self.n)

    @property
    def p(self) -> float:
        """What a verdict rests on: the corrected p-value where there is one."""
        return self.p_value if self.p_holm is None else self.p_holm

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, ``no difference shown`` at p < .05, or ``too few queries``."""
        if np.isnan(self.p):
            return "too few queries"
        if self.p >= 0.05:
            return "no difference shown"
        return "better" if self.difference > 0 else "worse"

    def most_moved(self, n: int = 10) -> list[tuple[str, float]]:
        """The ``n`` queries that moved most, as (query_id, B - A), the greatest change first; no query that did not.

        Queries that moved alike come in the order of the report.
        """
        order = np.argsort(-np.abs(self.differences), kind="stable")[:n]
        return [(self.query_ids[i], float(self.differences[i])) for i in order if abs(self.differences[i]) > _EQUAL]

    def to_dict(self) -> dict[str, Any]:
        """The comparison without its per-query part, ready for JSON (NaN as None)."""
        fields = {k: v for k, v in vars(self).items() if k not in _ARRAYS}
        fields = {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in fields.items()}
        return {**fields, "verdict": self.verdict}

    def __str__(self) -> str:
        corrected = "" if self.p_holm is None else f" (Holm: {self.p_holm:.4f})"
        return (
            f"{self.metric}: {self.value_b:.4f} against {self.value_a:.4f}, {self.difference:+.4f} "
            f"[{self.low:+.4f}, {self.high:+.4f}], p = {self.p_value:.4f}{corrected}, "
            f"{self.wins} won, {self.losses} lost, {self.ties} equal"
        )


@dataclass(frozen=True, eq=False)
class Paired:
    """The values of two reports on one metric, query by query, where both are defined.

    Args:
        metric: The metric.
        query_ids: n queries, in A's order.
        a, b: float64 (n,), their values.
        rows_a, rows_b: int64 (n,), where the queries stand in each report's ``per_query``.
    """

    metric: str
    query_ids: list[str]
    a: np.ndarray
    b: np.ndarray
    rows_a: np.ndarray
    rows_b: np.ndarray


def compare(
    report_a: GradedReport,
    report_b: GradedReport,
    metric: str | None = None,
    *,
    seed: int = 0,
    n_resamples: int = 10_000,
    n_bootstrap: int = N_BOOTSTRAP,
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
        UsageError: the reports are of different data, splits, parts, gains or corpora, a metric is missing, or no
            query is in both.
    """
    pairs = paired_values(report_a, report_b, metric)
    return _comparison(report_a, report_b, pairs, seed, n_resamples, n_bootstrap)


def compare_several(
    baseline: GradedReport, others: Sequence[GradedReport], metric: str | None = None, **options: Any
) -> list[Comparison]:
    """Compare several reports with one, with Holm's correction of the p-values over them.

    Args:
        baseline: What the others are compared with.
        others: At least one report; a single one needs no correction and gets none.
        metric: A metric of all; None for the baseline's main metric.
        options: Further arguments of :func:`compare`.

    Raises:
        UsageError: as :func:`compare`.
    """
    return corrected([compare(baseline, other, metric, **options) for other in others])


def corrected(family: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with ``p_holm`` over those that have a p-value; as they are where fewer than two have one."""
    tested = [i for i, found in enumerate(family) if not np.isnan(found.p_value)]
    result = list(family)
    if len(tested) > 1:
        for i, p in zip(tested, holm(np.array([family[i].p_value for i in tested])), strict=True):
            result[i] = replace(family[i], p_holm=float(p))
    return result


def paired_values(report_a: GradedReport, report_b: GradedReport, metric: str | None = None) -> Paired:
    """Bring the values of two reports on one metric together, query by query.

    Raises:
        UsageError: as :func:`compare`.
    """
    metric = report_a.main_metric if metric is None else metric
    report_a[metric], report_b[metric]
    _check_same_data(report_a, report_b)
    place = {query_id: row for row, query_id in enumerate(report_b.per_query["query_id"].to_pylist())}
    query_ids = report_a.per_query["query_id"].to_pylist()
    a = report_a.values(metric)
    rows = np.array([place.get(query_id, -1) for query_id in query_ids], dtype=np.int64)
    b = np.where(rows >= 0, report_b.values(metric)[rows], np.nan)
    both = np.flatnonzero(~np.isnan(a) & ~np.isnan(b))
    if not len(both):
        raise UsageError(f"{metric} is defined for no query in both reports; choose another metric")
    return Paired(metric, [query_ids[i] for i in both], a[both], b[both], both, rows[both])


def compare_part(
    report_a: GradedReport,
    report_b: GradedReport,
    pairs: Paired,
    where: np.ndarray,
    least: int,
    seed: int = 0,
    n_resamples: int = 10_000,
    n_bootstrap: int = N_BOOTSTRAP,
) -> Comparison:
    """Compare over some of the paired queries (bool (n,)); with fewer than ``least``, no interval and no p-value."""
    kept = np.flatnonzero(where)
    part = Paired(
        pairs.metric, [pairs.query_ids[i] for i in kept], pairs.a[kept], pairs.b[kept],
        pairs.rows_a[kept], pairs.rows_b[kept],
    )  # fmt: skip
    return _comparison(report_a, report_b, part, seed, n_resamples, n_bootstrap, least)


def _comparison(
    report_a: GradedReport, report_b: GradedReport, pairs: Paired, seed: int, n_resamples: int, n_bootstrap: int,
    least: int = 0,
) -> Comparison:  # fmt: skip
    a, b = pairs.a, pairs.b
    differences = b - a
    interval, p = Interval(float(differences.mean()), np.nan, np.nan, len(a)), np.nan
    if len(a) >= least:
        interval = paired_bootstrap(a, b, seed, n_bootstrap)
        p = paired_permutation_test(a, b, seed, n_resamples)
    return Comparison(
        metric=pairs.metric,
        model_a=report_a.model_name,
        model_b=report_b.model_name,
        value_a=float(a.mean()),
        value_b=float(b.mean()),
        difference=interval.value,
        low=interval.low,
        high=interval.high,
        p_value=p,
        wins=int((differences > _EQUAL).sum()),
        losses=int((differences < -_EQUAL).sum()),
        ties=int((np.abs(differences) <= _EQUAL).sum()),
        n=len(differences),
        query_ids=pairs.query_ids,
        values_a=a,
        differences=differences,
        notes=protocol_notes(report_a, report_b),
    )


def _check_same_data(report_a: GradedReport, report_b: GradedReport) -> None:
    """Refuse reports whose figures are not of the same thing."""
    said = [
        {key: report.protocol[key] for key in _SAME}
        | {"dataset": report.protocol["dataset"]["fingerprint"], "subset": report.subset}
        for report in (report_a, report_b)
    ]
    for key, a in said[0].items():
        if a != (b := said[1][key]):
            raise UsageError(
                f"these reports cannot be compared: {key} is {a} in {report_a.model_name} and {b} in "
                f"{report_b.model_name}; evaluate both on the same data"
            )


def protocol_notes(report_a: GradedReport, report_b: GradedReport, without: Sequence[str] = ()) -> list[str]:
    """Where the protocols differ in what does not forbid comparing, but for the keys in ``without``.

    What only one of two systems has (a lexical one has no prompts) is no difference between protocols.
    """
    a, b = report_a.protocol, report_b.protocol
    both = [key for key in _NOTED if key not in without and a.get(key) is not None and b.get(key) is not None]
    return [f"{key}: {a[key]} against {b[key]}" for key in both if a[key] != b[key]]
