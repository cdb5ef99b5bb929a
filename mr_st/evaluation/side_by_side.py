"""The paper's end-to-end protocol: two whole systems, one component swapped, over queries as shoppers type them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from mr_st.errors import UsageError
from mr_st.evaluation.collection import Collection
from mr_st.evaluation.compare import N_BOOTSTRAP, paired_values, protocol_notes
from mr_st.evaluation.evaluate import evaluate_system
from mr_st.evaluation.query_sample import QuerySample, draw_queries, restrict
from mr_st.evaluation.report import RUN_DEPTH, GradedReport
from mr_st.evaluation.swapped import Swap, swapped
from mr_st.evaluation.system import System
from mr_st.measures import Interval, paired_bootstrap, paired_permutation_test
from mr_st.measures.weighted import effective_number, ratio_interval

__all__ = ["N_DRAWS", "Arms", "SideBySide", "run_side_by_side", "side_by_side", "swaps_between"]

N_DRAWS = 12_000
"""How many queries are drawn. Source: arXiv 2602.17654, section 5.2."""

_EQUAL = 1e-9
_JUDGED_APART = 0.05  # a difference of the judged share that is worth a word


@dataclass(frozen=True)
class Arms:
    """The figures of both arms over one way of counting the queries.

    Args:
        control, treatment: Mean NDCG@k.
        difference: Treatment minus control, with its interval; ``n`` is how many distinct queries count.
        relative: The same as a share of the control's mean.
        p_value: Two-sided paired permutation test; all draws of a query change sign together.
        won, lost, equal: Share of the searches on which the treatment is better, worse, equal; they sum to 1.
        judged_control, judged_treatment: Mean share of the first k that somebody judged, over the queries where
            something was found.
        overlap: Mean share of the first k that both lists hold.
        n_effective: How many equally frequent queries would tell as much.
    """

    control: float
    treatment: float
    difference: Interval
    relative: Interval
    p_value: float
    won: float
    lost: float
    equal: float
    judged_control: float
    judged_treatment: float
    overlap: float
    n_effective: float

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON, NaN as None."""
        fields = {k: v.to_dict() if isinstance(v, Interval) else v for k, v in vars(self).items()}
        return {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in fields.items()}


@dataclass(frozen=True, eq=False)
class SideBySide:
    """A side-by-side evaluation.

    Args:
        task_name, split, k: What was evaluated, and the cut-off.
        control, treatment: Names of the two systems.
        revisions: Of the two systems.
        swaps: The components in which they differ.
        sample: How often each query counts, in the order of ``query_ids``.
        traffic: Over the queries as drawn: a mean over searches.
        uniform: Over every query once.
        query_ids: n queries.
        a, b: float64 (n,), NDCG@k of control and treatment.
        overlaps: float64 (n,), the share of the first k that both lists hold.
        notes: Where the protocols of the two differ.
    """

    task_name: str
    split: str
    k: int
    control: str
    treatment: str
    revisions: tuple[str, str]
    swaps: list[Swap]
    sample: QuerySample
    traffic: Arms
    uniform: Arms
    query_ids: list[str]
    a: np.ndarray
    b: np.ndarray
    overlaps: np.ndarray
    notes: list[str]

    @property
    def metric(self) -> str:
        """``ndcg@k``."""
        return f"ndcg@{self.k}"

    @property
    def n_draws(self) -> int:
        """How many queries were drawn, repeats counted."""
        return int(self.sample.draws.sum())

    def most_moved(self) -> np.ndarray:
        """Rows of the drawn queries, the greatest change first; of equal ones the more frequent first."""
        drawn = np.flatnonzero(self.sample.draws)
        change = np.round(np.abs(self.b - self.a)[drawn], 12)
        return drawn[np.lexsort((drawn, -self.sample.draws[drawn], -change))]

    def to_dict(self) -> dict[str, Any]:
        """The evaluation without its per-query part, ready for JSON."""
        sample = self.sample
        return {
            "task": self.task_name,
            "split": self.split,
            "metric": self.metric,
            "control": {"model": self.control, "revision": self.revisions[0]},
            "treatment": {"model": self.treatment, "revision": self.revisions[1]},
            "swapped": [swap.to_dict() for swap in self.swaps],
            "queries": {
                "by_frequency": sample.by_frequency,
                "drawn": self.n_draws,
                "distinct": int(np.count_nonzero(sample.draws)),
                "effective": round(self.traffic.n_effective, 1),
                "pool": sample.n_pool,
                "without_frequency": sample.n_unknown,
                "seed": sample.seed,
            },
            "traffic": self.traffic.to_dict() if sample.by_frequency else None,
            "uniform": self.uniform.to_dict(),
            "notes": self.notes,
        }


def run_side_by_side(
    control: System,
    treatment: System,
    collection: Collection,
    *,
    task_name: str = "GradedRetrieval",
    n_draws: int = N_DRAWS,
    k: int = 10,
    seed: int = 0,
    **options: Any,
) -> tuple[SideBySide, GradedReport, GradedReport]:
    """Let two systems search for the drawn queries, and hold their lists side by side.

    Args:
        control, treatment: The systems.
        collection: What is searched and judged, in full; queries that are not drawn are not searched for.
        task_name: Of the task.
        n_draws, seed: Of :func:`~mr_st.evaluation.query_sample.draw_queries`.
        k: Cut-off.
        options: Further arguments of :func:`~mr_st.evaluation.evaluate_system`.

    Returns:
        The evaluation, and the reports of control and treatment over the queries that were searched for.

    Raises:
        UsageError: both are the same system, or a cut-off that runs are not kept to.
    """
    _check_cutoff(k)
    if control.revision == treatment.revision:
        raise UsageError(_same(control.name, treatment.name, control.revision))
    sample = draw_queries(collection.attributes.get("frequency") or [None] * collection.n_queries, n_draws, seed)
    part = restrict(collection, sample.rows)
    options = {"ks": (k,), **options}
    first, second = (
        evaluate_system(system, part, task_name=task_name, seed=seed, **options) for system in (control, treatment)
    )
    return side_by_side(first, second, k=k, sample=sample.take(sample.rows)), first, second


def side_by_side(
    control: GradedReport,
    treatment: GradedReport,
    *,
    n_draws: int = N_DRAWS,
    k: int = 10,
    seed: int = 0,
    sample: QuerySample | None = None,
) -> SideBySide:
    """Hold two reports side by side over queries drawn by frequency.

    The intervals are over queries, not over draws (:func:`mr_st.measures.weighted.ratio_interval`). Where every query
    counts once, the difference has the interval and the p-value that :func:`~mr_st.evaluation.compare.compare` gives.

    Args:
        control, treatment: Reports of two systems on the same data, with ``ndcg@k`` and ``judged@k``.
        n_draws, seed: Of :func:`~mr_st.evaluation.query_sample.draw_queries`.
        k: Cut-off.
        sample: A sample that is already drawn, over the queries of the control's report; None draws one.

    Raises:
        UsageError: reports that cannot be compared or are of the same system, or a metric is missing.
    """
    _check_cutoff(k)
    if control.revision == treatment.revision:
        raise UsageError(_same(control.model_name, treatment.model_name, control.revision))
    pairs = paired_values(control, treatment, f"ndcg@{k}")
    if sample is None:
        known = "frequency" in control.per_query.column_names
        frequencies = control.per_query["frequency"].to_pylist() if known else [None] * control.per_query.num_rows
        sample = draw_queries(frequencies, n_draws, seed)
    sample = sample.take(pairs.rows_a)
    judged = [
        report.values(f"judged@{k}")[rows] for report, rows in ((control, pairs.rows_a), (treatment, pairs.rows_b))
    ]
    overlaps = _overlaps(control, treatment, pairs.query_ids, k)
    per_query = pairs.a, pairs.b, judged[0], judged[1], overlaps
    traffic, uniform = (
        _arms(weights.astype(np.float64), *per_query, seed=sample.seed) for weights in (sample.draws, sample.once)
    )
    notes = protocol_notes(control, treatment, without=("prompts", "max_seq_length", "search"))
    return SideBySide(
        task_name=control.task_name,
        split=control.split,
        k=k,
        control=control.model_name,
        treatment=treatment.model_name,
        revisions=(control.revision, treatment.revision),
        swaps=swaps_between(control, treatment),
        sample=sample,
        traffic=traffic,
        uniform=uniform,
        query_ids=pairs.query_ids,
        a=pairs.a,
        b=pairs.b,
        overlaps=overlaps,
        notes=notes + _judged_note(uniform, k),
    )


def swaps_between(control: GradedReport, treatment: GradedReport) -> list[Swap]:
    """The components in which the systems of two reports differ, the item text among them."""
    found = swapped(_settings(control), _settings(treatment))
    texts = control.protocol.get("item_text"), treatment.protocol.get("item_text")
    if texts[0] != texts[1]:
        found.append(Swap("the item text", "changed", "text", "text", {"item_text": texts}))
    if not found:  # settings that do not tell: the revisions do
        both = control.revision, treatment.revision
        found.append(Swap("the system", "changed", "system", "system", {"revision": both}))
    return found


def _settings(report: GradedReport) -> dict[str, Any]:
    """The system's settings; reports of an older mr-st have but the revision."""
    found = report.protocol.get("system")
    return found if isinstance(found, dict) else {"kind": "system", "revision": report.revision}


def _arms(
    weights: np.ndarray, a: np.ndarray, b: np.ndarray, judged_a: np.ndarray, judged_b: np.ndarray,
    overlaps: np.ndarray, seed: int,
) -> Arms:  # fmt: skip
    differences = b - a

    def mean(values: np.ndarray) -> float:
        of = np.where(np.isnan(values), 0.0, weights)  # an empty list has no judged share
        return float((of * np.nan_to_num(values)).sum() / of.sum()) if of.any() else float("nan")

    return Arms(
        control=mean(a),
        treatment=mean(b),
        difference=_difference(a, b, weights, seed),
        relative=ratio_interval(weights * differences, weights * a),
        p_value=paired_permutation_test(np.zeros(len(a)), weights * differences, seed),
        won=mean((differences > _EQUAL).astype(float)),
        lost=mean((differences < -_EQUAL).astype(float)),
        equal=mean((np.abs(differences) <= _EQUAL).astype(float)),
        judged_control=mean(judged_a),
        judged_treatment=mean(judged_b),
        overlap=mean(overlaps),
        n_effective=effective_number(weights),
    )


def _difference(a: np.ndarray, b: np.ndarray, weights: np.ndarray, seed: int) -> Interval:
    """Mean of b - a: where all queries count alike, just as ``mr-st compare`` gives it."""
    counted = weights > 0
    if counted.any() and np.ptp(weights[counted]) == 0:
        return paired_bootstrap(a[counted], b[counted], seed, N_BOOTSTRAP)
    return ratio_interval(weights * (b - a), weights)


def _overlaps(first: GradedReport, second: GradedReport, query_ids: list[str], k: int) -> np.ndarray:
    """The share of the first k that both lists hold: of the longer list where both are shorter than k."""
    lists = [top_items(report, k) for report in (first, second)]
    found = np.zeros(len(query_ids))
    for i, query_id in enumerate(query_ids):
        a, b = (set(of.get(query_id, ())) for of in lists)
        found[i] = len(a & b) / max(len(a), len(b), 1)
    return found


def top_items(report: GradedReport, k: int) -> dict[str, list[str]]:
    """Query id to the first k items of its list."""
    run = report.run.filter(pa.compute.less_equal(report.run["rank"], k)).sort_by("rank")
    found: dict[str, list[str]] = {}
    for query_id, item_id in zip(run["query_id"].to_pylist(), run["item_id"].to_pylist(), strict=True):
        found.setdefault(query_id, []).append(item_id)
    return found


def _judged_note(arms: Arms, k: int) -> list[str]:
    """A warning where one arm finds many more unjudged items than the other."""
    a, b = arms.judged_control, arms.judged_treatment
    if not abs(a - b) >= _JUDGED_APART:
        return []
    name = "control" if a < b else "treatment"
    return [
        f"judged@{k} is {a:.1%} and {b:.1%}: unjudged items count as grade 0, so the {name} may be better than it "
        "seems"
    ]


def _check_cutoff(k: int) -> None:
    if not 1 <= k <= RUN_DEPTH:
        raise UsageError(f"k is {k}; it must be in 1..{RUN_DEPTH}, as deep as lists are kept")


def _same(control: str, treatment: str, revision: str) -> str:
    return (
        f"control ({control}) and treatment ({treatment}) are the same system (revision {revision}); "
        "swap one component"
    )
