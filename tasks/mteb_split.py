"""Between a collection and MTEB: its data of a split, and our metrics out of the results of its run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from datasets import Dataset
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData

from mr_st.evaluation.scoring import margin_metrics, mteb_name, rank_judged, ranking_metrics
from mr_st.search import TopK

if TYPE_CHECKING:
    from mr_st.evaluation import Collection
    from mr_st.measures import Judged

__all__ = ["graded_scores", "split_data"]


def split_data(
    collection: Collection, rows: np.ndarray | None = None, corpus: Dataset | None = None
) -> RetrievalSplitData:
    """A split as MTEB's retrieval runs on it.

    Args:
        collection: Of the whole split; a judged pool also fills ``top_ranked``.
        rows: Rows of the queries that are wanted; None for all.
        corpus: The corpus, where it has been made already.
    """
    judged = collection.judged
    wanted = range(collection.n_queries) if rows is None else rows.tolist()
    qrels: dict[str, dict[str, int]] = {}
    for query in wanted:
        pairs = slice(judged.offsets[query], judged.offsets[query + 1])
        ids = [collection.item_ids[item] for item in judged.items[pairs]]
        # tolist: MTEB refuses numpy's integers
        qrels[collection.query_ids[query]] = dict(zip(ids, judged.grades[pairs].tolist(), strict=True))
    if corpus is None:
        corpus = Dataset.from_dict({"id": collection.item_ids, "text": collection.item_texts})
    texts = [collection.query_texts[query] for query in wanted]
    return RetrievalSplitData(
        corpus=corpus,
        queries=Dataset.from_dict({"id": list(qrels), "text": texts}),
        relevant_docs=qrels,
        top_ranked={query: list(items) for query, items in qrels.items()} if collection.judged_pool else None,
    )


def graded_scores(
    collection: Collection, results: Mapping[str, Mapping[str, float]], ks: Sequence[int]
) -> dict[str, float]:
    """Means of the metrics that MTEB does not compute itself, under their names in its JSON.

    The judged share and figures at grades above 1; NDCG where the gains are not linear in the grade, as MTEB takes
    them; in a judged pool the margins too. A metric that no query has is left out.

    Args:
        collection: The split that was searched, of whose queries all or some were run.
        results: Query id to item id to score, as MTEB's search gives it.
        ks: Cut-offs.
    """
    row_of = {query_id: row for row, query_id in enumerate(collection.query_ids)}
    item_row = {item_id: row for row, item_id in enumerate(collection.item_ids)}
    query_ids = [query_id for query_id in results if query_id in row_of]
    judged, scale = collection.judged.take(np.array([row_of[query_id] for query_id in query_ids])), collection.scale
    if collection.judged_pool:
        scores = _pair_scores(judged, collection, query_ids, results)
        top = rank_judged(judged, scores)
    else:
        top = _ranked([{item_row[item]: s for item, s in results[q].items()} for q in query_ids], max(ks))
    values = ranking_metrics(judged, top.ids, ks, scale)
    is_linear = np.allclose(scale.gains, np.arange(scale.n_grades) * scale.gains[1])
    wanted = {
        name: value
        for name, value in values.items()
        if "/" in name or name.startswith("judged") or (name.startswith("ndcg") and not is_linear)
    }
    if collection.judged_pool:
        wanted |= margin_metrics(judged, scores, scale.n_grades)
    return {mteb_name(name): float(np.nanmean(v)) for name, v in wanted.items() if not np.isnan(v).all()}


def _pair_scores(
    judged: Judged, collection: Collection, query_ids: list[str], results: Mapping[str, Mapping[str, float]]
) -> np.ndarray:
    """The score of each judged pair, NaN where the run has none."""
    return np.array(
        [
            results[query_ids[query]].get(collection.item_ids[item], np.nan)
            for query, item in zip(judged.query_of_pair.tolist(), judged.items.tolist(), strict=True)
        ]
    )


def _ranked(found: list[dict[int, float]], width: int) -> TopK:
    """Each query's items, best score first; equal scores: lower item row first."""
    ids, scores = np.full((len(found), width), -1, dtype=np.int64), np.full((len(found), width), -np.inf, np.float32)
    for row, of_query in enumerate(found):
        items = np.fromiter(of_query, dtype=np.int64, count=len(of_query))
        values = np.fromiter(of_query.values(), dtype=np.float32, count=len(of_query))
        best = np.lexsort((items, -values))[:width]
        ids[row, : len(best)], scores[row, : len(best)] = items[best], values[best]
    return TopK(ids, scores)
