"""The graded retrieval metrics of mr_st as a module of the ``evaluate`` library; README.md beside it tells of its use.

Thin by intent: it turns rows into a run and qrels, and :func:`mr_st.evaluation.scoring.score_run` does the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import evaluate
import numpy as np

from mr_st.errors import UsageError
from mr_st.evaluation.scoring import score_run

_DESCRIPTION = """\
NDCG with linear, exponential or custom gains, recall, precision, MAP and MRR at any grade threshold, and judged@k,
over graded judgments. Figures and order of ties are trec_eval's.
"""

_INPUTS = """
Args:
    predictions: One row a query: {"item_ids": [str, ...], "scores": [float, ...]}, the items it returned, in any
        order. A query that returned nothing has two empty lists; it counts, and scores 0.
    references: One row a query, in the same order: {"item_ids": [str, ...], "grades": [int, ...]}, all items judged
        for it, 0 the lowest grade. A query that nobody judged has two empty lists; it is left out.
    ks: Cut-offs [default: (10, 50, 100)].
    gains: "linear", "exponential", or one number a grade, lowest first [default: "linear"].
    n_grades: Number of grades [default: as many as the references show, two at least].
    ties: "trec_eval" (equal float32 scores by descending item id) or "given" (as they stand) [default: "trec_eval"].
    empty: Recall, map and mrr of a query with nothing relevant: 0 as trec_eval, or NaN: the mean leaves it out.
    per_query: Give the figures of each row too, under "per_query"; NaN where a row is left out [default: False].

Returns:
    ndcg@k, recall@k, precision@k, map@k, mrr@k (an item is relevant from grade 1 on; "/2" behind the name: from grade
    2, and so on) and judged@k, each the mean over queries, and n_queries.

Example:
    >>> metric = evaluate.load(metric_folder())
    >>> found = metric.compute(
    ...     predictions=[{"item_ids": ["a", "b"], "scores": [0.9, 0.5]}],
    ...     references=[{"item_ids": ["b", "c"], "grades": [2, 0]}],
    ...     ks=[10],
    ... )
    >>> found["mrr@10"], found["recall@10/2"], found["n_queries"]
    (0.5, 1.0, 1)
"""


class GradedRetrieval(evaluate.Metric):
    """See the module's description and README."""

    def _info(self) -> evaluate.MetricInfo:
        ids, numbers = datasets.Sequence(datasets.Value("string")), datasets.Sequence(datasets.Value("float64"))
        features = {"predictions": {"item_ids": ids, "scores": numbers},
                    "references": {"item_ids": ids, "grades": numbers}}  # fmt: skip
        return evaluate.MetricInfo(
            description=_DESCRIPTION, citation="", inputs_description=_INPUTS, features=datasets.Features(features)
        )

    def _compute(
        self,
        predictions: Sequence[Mapping[str, Any]],
        references: Sequence[Mapping[str, Any]],
        ks: Sequence[int] = (10, 50, 100),
        gains: str | Sequence[float] = "linear",
        n_grades: int | None = None,
        ties: str = "trec_eval",
        empty: float = 0.0,
        per_query: bool = False,
    ) -> dict[str, Any]:
        run = {str(row): _table(row, found, "predictions", "scores") for row, found in enumerate(predictions)}
        qrels = {
            str(row): {
                item: _whole(row, item, grade) for item, grade in _table(row, found, "references", "grades").items()
            }
            for row, found in enumerate(references)
        }
        rows, values = score_run(run, qrels, ks=ks, gains=gains, n_grades=n_grades, ties=ties, empty=empty)
        means: dict[str, Any] = {
            name: float(np.nanmean(found)) if not np.isnan(found).all() else float("nan")
            for name, found in values.items()
        }
        means["n_queries"] = len(rows)
        if per_query:
            means["per_query"] = {name: np.full(len(predictions), np.nan) for name in values}
            for name, found in values.items():
                means["per_query"][name][[int(row) for row in rows]] = found
            means["per_query"] = {name: found.tolist() for name, found in means["per_query"].items()}
        return means


def _table(row: int, found: Mapping[str, Any], side: str, values: str) -> dict[str, float]:
    """Item id to score or grade, of one row."""
    ids, numbers = list(found["item_ids"] or ()), list(found[values] or ())
    if len(ids) != len(numbers):
        raise UsageError(f"{side}, row {row}: {len(ids)} item_ids and {len(numbers)} {values}; give one for each")
    table = dict(zip(ids, numbers, strict=True))
    if len(table) < len(ids):
        twice = next(item for at, item in enumerate(ids) if item in ids[:at])
        raise UsageError(f"{side}, row {row}: item {twice!r} stands there twice; keep one")
    return table


def _whole(row: int, item: str, grade: float) -> int:
    if grade is None or not float(grade).is_integer():
        raise UsageError(f"references, row {row}, item {item!r}: grade {grade}; expected a whole number")
    return int(grade)
