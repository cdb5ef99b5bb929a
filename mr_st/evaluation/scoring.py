"""From a run and similarities to one value a query and a metric, under the names that reports use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mr_st.errors import UsageError
from mr_st.grades import GradeScale
from mr_st.measures import (
    Judged,
    NamedRun,
    average_precision,
    gain_table,
    gains_of,
    grade_pairs,
    judged_share,
    margins,
    ndcg,
    precision,
    recall,
    reciprocal_rank,
)
from mr_st.search import TopK

__all__ = [
    "check_cutoffs",
    "main_metric",
    "margin_metrics",
    "mteb_name",
    "pair_similarities",
    "rank_judged",
    "ranking_metrics",
    "score_run",
]

_PAIR_BLOCK = 1024  # pairs whose vectors stay in a core's cache


def main_metric(ks: Sequence[int]) -> str:
    """``ndcg@10``, or NDCG at the first cut-off where 10 is none of them."""
    return f"ndcg@{10 if 10 in ks else ks[0]}"


def check_cutoffs(ks: Sequence[int]) -> tuple[int, ...]:
    """The cut-offs, ascending and distinct.

    Raises:
        UsageError: none is given, or one is below 1.
    """
    if not ks or min(ks) < 1:
        raise UsageError(f"cut-offs must be 1 or more and at least one is needed, got {list(ks)}")
    return tuple(sorted(set(ks)))


def ranking_metrics(
    judged: Judged,
    item_ids: np.ndarray,
    ks: Sequence[int],
    scale: GradeScale,
    *,
    thresholds: Sequence[int] | None = None,
    empty: float = np.nan,
) -> dict[str, np.ndarray]:
    """Metrics of a run at each cut-off: ndcg@k, recall@k, precision@k, map@k, mrr@k (grade >= 1), .../g, judged@k.

    Grades are looked up once, and each metric is summed once over all cut-offs.

    Args:
        judged: Judgments of n queries.
        item_ids: int64 (n, K), item rows best first, -1 where there is none; K is at least the largest cut-off or
            the whole catalogue.
        ks: Cut-offs.
        scale: Gains of the grades.
        thresholds: Least grades that count as relevant, one after the other; None for each grade above 0. Those above
            1 are named ``.../g``.
        empty: Recall, map and mrr of a query with no item of that grade or better: NaN, so that means leave it out,
            or 0 as trec_eval.

    Returns:
        Metric name to float64 (n,). NDCG is 0 where nothing has a gain; judged@k is NaN where nothing was returned.

    Example:
        >>> judged = Judged.from_pairs([0, 0], [5, 6], [1, 2], n_queries=1)
        >>> found = ranking_metrics(judged, np.array([[6, 9]]), (2,), GradeScale())
        >>> {name: round(float(value[0]), 3) for name, value in found.items() if "/" not in name}
        {'ndcg@2': 0.76, 'recall@2': 0.5, 'precision@2': 0.5, 'map@2': 0.5, 'mrr@2': 1.0, 'judged@2': 0.5}
    """
    ks = tuple(ks)
    grades = judged.look_up(item_ids)
    ideal = gains_of(judged.best_grades(min(max(ks), int(judged.per_query.max(initial=0)))), scale.gains)
    tables = {"ndcg@{}": ndcg(gains_of(grades, scale.gains), ideal, ks)}
    for grade in range(1, scale.n_grades) if thresholds is None else thresholds:
        suffix = "" if grade == 1 else f"/{grade}"
        n_relevant = judged.count_at_least(grade)
        first = reciprocal_rank(grades, ks, grade)
        first[n_relevant == 0] = empty
        tables["recall@{}" + suffix] = recall(grades, n_relevant, ks, grade, empty)
        tables["precision@{}" + suffix] = precision(grades, ks, grade)
        tables["map@{}" + suffix] = average_precision(grades, n_relevant, ks, grade, empty)
        tables["mrr@{}" + suffix] = first
    tables["judged@{}"] = judged_share(grades, ks)
    return {name.format(k): table[:, at].copy() for name, table in tables.items() for at, k in enumerate(ks)}


def score_run(
    run: Mapping[str, Mapping[str, float]],
    qrels: Mapping[str, Mapping[str, int]],
    *,
    ks: Sequence[int] = (10, 50, 100),
    gains: str | Sequence[float] = "linear",
    n_grades: int | None = None,
    ties: str = "trec_eval",
    count_missing: bool = False,
    empty: float = 0.0,
) -> tuple[list[str], dict[str, np.ndarray]]:
    """Score a run given by names, with trec_eval's figures: the metrics of :func:`ranking_metrics` for each query.

    Which queries count is written at :meth:`NamedRun.from_dicts <mr_st.measures.NamedRun.from_dicts>`.

    Args:
        run: Query id to item id to score.
        qrels: Query id to item id to grade, as pytrec_eval takes them.
        ks: Cut-offs.
        gains: Of NDCG (:func:`mr_st.measures.gain_table`).
        n_grades: Number of grades; None for as many as the qrels show, two at least.
        ties: ``trec_eval`` or ``given``.
        count_missing: Keep judged queries that the run lacks.
        empty: Recall, map and mrr of a query with nothing relevant: 0 as trec_eval, or NaN.

    Returns:
        The query ids, and metric name to float64 (n,) in their order.

    Raises:
        UsageError: no query is both judged and in the run, a grade beyond ``n_grades``, or what the parts refuse.

    Example:
        >>> queries, found = score_run({"q": {"a": 0.9, "b": 0.5}}, {"q": {"b": 1}}, ks=(1, 2))
        >>> queries, found["mrr@2"].tolist(), found["precision@1"].tolist()
        (['q'], [0.5], [0.0])
    """
    ks = check_cutoffs(ks)
    named = NamedRun.from_dicts(run, qrels, ties=ties, count_missing=count_missing)
    if not named.query_ids:
        raise UsageError(f"none of the {len(run)} queries of the run is among the {len(qrels)} that are judged")
    best = int(named.judged.grades.max(initial=0))
    n_grades = max(2, best + 1) if n_grades is None else n_grades
    if best >= n_grades:
        raise UsageError(f"the qrels hold grade {best}, outside the scale 0..{n_grades - 1}; give n_grades={best + 1}")
    scale = GradeScale(tuple(str(grade) for grade in range(n_grades)), gain_table(gains, n_grades))
    return named.query_ids, ranking_metrics(named.judged, named.ids, ks, scale, empty=empty)


def margin_metrics(
    judged: Judged, similarities: np.ndarray, n_grades: int, overlaps: np.ndarray | None = None, least: float = 0.7
) -> dict[str, np.ndarray]:
    """Margins of each query: margin_average_2_0, margin_worst_2_0 and so on, over all judged pairs.

    Args:
        judged: Judgments of n queries.
        similarities: float (m,), of each judged pair.
        n_grades: Number of grades; every pair of them has its margins.
        overlaps: float (m,), token overlap of each judged pair, or None.
        least: With ``overlaps``: adds the same margins over hard pairs only, those with at least this overlap, under
            names that end in ``_overlap70``.

    Returns:
        Metric name to float64 (n,), NaN where the query lacks one of the two grades.
    """
    kinds: dict[str, np.ndarray | None] = {"": None}
    if overlaps is not None:
        kinds[f"_overlap{round(100 * least)}"] = overlaps >= least - 1e-9
    found: dict[str, np.ndarray] = {}
    for suffix, counted in kinds.items():
        for high, low in grade_pairs(n_grades):
            margin = margins(judged, similarities, high, low, counted)
            found[f"margin_average_{high}_{low}{suffix}"] = margin.average
            found[f"margin_worst_{high}_{low}{suffix}"] = margin.worst
    return found


def pair_similarities(query_vectors: np.ndarray, item_vectors: np.ndarray, judged: Judged) -> np.ndarray:
    """Inner product of every judged pair, float64 (m,), computed directly from the vectors."""
    queries, similarities = judged.query_of_pair, np.empty(judged.n_pairs)
    for start in range(0, judged.n_pairs, _PAIR_BLOCK):
        block = slice(start, start + _PAIR_BLOCK)
        a, b = query_vectors[queries[block]], item_vectors[judged.items[block]]
        similarities[block] = np.einsum("pd,pd->p", a, b, dtype=np.float64)
    return similarities


def rank_judged(judged: Judged, scores: np.ndarray) -> TopK:
    """Each query's judged items, best score first; equal scores: lower item row first; NaN last.

    Args:
        judged: Judgments of n queries.
        scores: float (m,), of each judged pair, in the order of ``judged``.

    Returns:
        As wide as the largest pool; -1 and -inf behind the end of a smaller one.

    Example:
        >>> judged = Judged.from_pairs([0, 0, 1], [4, 7, 4], [0, 2, 1], n_queries=2)
        >>> rank_judged(judged, np.array([0.1, 0.3, 0.2])).ids.tolist()
        [[7, 4], [4, -1]]
    """
    found = np.where(np.isnan(scores), -np.inf, scores).astype(np.float32)
    order = np.lexsort((-found, judged.query_of_pair))  # stable, and items ascend within a query
    queries = judged.query_of_pair[order]
    places = np.arange(judged.n_pairs) - judged.offsets[queries]
    shape = (judged.n_queries, int(judged.per_query.max(initial=0)))
    ids, ranked = np.full(shape, -1, dtype=np.int64), np.full(shape, -np.inf, dtype=np.float32)
    ids[queries, places] = judged.items[order]
    ranked[queries, places] = found[order]
    return TopK(ids, ranked)


def mteb_name(metric: str) -> str:
    """The key of a metric in MTEB's result JSON.

    Example:
        >>> mteb_name("recall@10/2"), mteb_name("ndcg@10")
        ('recall_at_10_grade_2', 'ndcg_at_10')
    """
    return metric.replace("@", "_at_").replace("/", "_grade_")
