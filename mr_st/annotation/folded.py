"""A judge that never grades its own lessons: each pair goes to an annotator whose training never saw its query."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl

from mr_st.annotation.protocol import Annotations, Annotator, PairTable
from mr_st.data.dataset import GradedDataset
from mr_st.data.schema import arrow_table
from mr_st.errors import MrStError, UsageError
from mr_st.identity import settings_hash

__all__ = ["FoldedAnnotator", "cross_fit_annotators", "fold_queries"]


class FoldedAnnotator:
    """Grade each pair with the annotator of its query's fold.

    A model that learned from the labels it re-judges repeats their errors; one that learned from other queries has
    only their like to go by.

    Args:
        annotators: One for each fold; annotator f was trained without the queries of fold f.
        fold_of_query: The fold of each query, by the query's text.

    Raises:
        UsageError: no annotator, or a fold that has none.

    Example:
        >>> from mr_st.annotation import JudgmentAnnotator
        >>> low, high = (JudgmentAnnotator(lambda q, i, g=g: g, name=f"always {g}") for g in (0, 2))
        >>> folded = FoldedAnnotator([low, high], {"mug": 0, "lamp": 1})
        >>> pairs = PairTable(["q1", "q2"], ["i", "i"], ["mug", "lamp"], ["a cup", "a cup"], ["en", "en"])
        >>> folded.grade(pairs).grades.tolist()
        [0, 2]
    """

    def __init__(self, annotators: Sequence[Annotator], fold_of_query: Mapping[str, int]):
        self.annotators = list(annotators)
        self.fold_of_query = {str(text): int(fold) for text, fold in fold_of_query.items()}
        outside = set(self.fold_of_query.values()) - set(range(len(self.annotators)))
        if not self.annotators or outside:
            raise UsageError(
                f"{len(self.annotators)} annotators and folds {sorted(set(self.fold_of_query.values()))}; give one "
                "annotator for each fold, folds counted from 0"
            )
        self.reads_ids = any(getattr(annotator, "reads_ids", False) for annotator in self.annotators)
        folds = sorted(self.fold_of_query.items())
        content = {"annotators": [annotator.identity for annotator in self.annotators], "folds": folds}
        self._identity = f"folded-{settings_hash(content)}"

    @property
    def identity(self) -> str:
        """``folded-`` and a hash of the annotators' identities and of every query's fold."""
        return self._identity

    def grade(self, pairs: PairTable) -> Annotations:
        """Grade every pair with its fold's annotator.

        Raises:
            MrStError: a query of no fold, or annotators of different scales.
        """
        folds = np.empty(len(pairs), dtype=np.int64)
        for row, text in enumerate(pairs.query_texts):
            if text not in self.fold_of_query:
                raise MrStError(
                    f"pair {row + 1:,} (query {pairs.query_ids[row]!r}): the query is in no fold, so nothing says "
                    "which annotator has not learned from it; cross-fit on a dataset that holds it"
                )
            folds[row] = self.fold_of_query[text]
        present = np.unique(folds) if len(pairs) else np.zeros(1, dtype=np.int64)
        rows = [np.flatnonzero(folds == fold) for fold in present]
        parts = [self.annotators[fold].grade(pairs.take(r)) for fold, r in zip(present, rows, strict=True)]
        if len({part.n_grades for part in parts}) > 1:
            raise MrStError(
                f"{self.identity}: its annotators have scales of different length; fit them on one dataset"
            )
        return Annotations.concatenate(parts, parts[0].n_grades).take(np.argsort(np.concatenate(rows), kind="stable"))


def cross_fit_annotators(
    dataset: GradedDataset,
    fit: Callable[[GradedDataset, int], Annotator],
    k: int = 3,
    *,
    seed: int = 0,
) -> FoldedAnnotator:
    """Fit k annotators, each on the judgments of all queries but one fold's.

    Args:
        dataset: Judgments to learn from, wrong ones among them.
        fit: ``fit(part, fold)`` trains an annotator on a dataset without that fold's judgments, e.g. with
            ``mr_st.training.fit_cross_encoder``; it chooses the split.
        k: Folds, 2 or more.
        seed: Decides which query falls into which fold.

    Returns:
        The annotator that grades each of the dataset's queries by the one that did not see it.

    Raises:
        UsageError: k below 2, or more folds than queries.

    Source: ours; cross-fitting as in V. Chernozhukov et al., Double/debiased machine learning, 2018, and C. Northcutt
    et al., Confident Learning, 2021.
    """
    folds = fold_queries(dataset, k, seed)
    judgments = pl.DataFrame(arrow_table(dataset.judgments))
    annotators = []
    for fold in range(k):
        held = [query for query, number in folds.items() if number == fold]
        part = GradedDataset(
            dataset.queries, dataset.items, judgments.filter(~pl.col("query_id").is_in(held)),
            None, dataset.scale, dataset.name, dataset.license, dict(dataset.source),
        )  # fmt: skip
        annotators.append(fit(part, fold))
    texts = zip(dataset.queries["query_id"], dataset.query_texts(), strict=True)
    return FoldedAnnotator(annotators, {text: folds[query] for query, text in texts})


def fold_queries(dataset: GradedDataset, k: int, seed: int = 0) -> dict[str, int]:
    """The fold (``0 .. k-1``) of each query id; folds have about as many judged pairs each.

    A query stays with its variants (``source_query_id``) and with queries of the same text.

    Raises:
        UsageError: k below 2, or more folds than queries that differ.
    """
    ids = list(dataset.queries["query_id"])
    groups = _groups(ids, list(dataset.queries["source_query_id"]), dataset.query_texts())
    if k < 2 or k > len(groups):
        raise UsageError(
            f"{dataset.name}: {k} folds of {len(groups):,} different queries; give 2 or more, and not more"
        )
    pairs = pl.DataFrame(arrow_table(dataset.judgments)).group_by("query_id").len()
    n_pairs = dict(pairs.iter_rows())
    sizes = {name: sum(n_pairs.get(query, 0) for query in group) for name, group in groups.items()}
    order = sorted(groups, key=lambda name: hashlib.sha256(f"{seed}\0fold\0{name}".encode()).hexdigest())
    loads, folds = [(0, 0)] * k, {}  # pairs, queries
    for name in order:
        fold = loads.index(min(loads))
        loads[fold] = (loads[fold][0] + sizes[name], loads[fold][1] + len(groups[name]))
        folds.update(dict.fromkeys(groups[name], fold))
    return folds


def _groups(ids: list[str], sources: list[str | None], texts: list[str]) -> dict[str, list[str]]:
    """Queries that belong together, under the least of their ids."""
    parent = {query: query for query in ids}

    def top(query: str) -> str:
        while parent[query] != query:
            parent[query] = query = parent[parent[query]]
        return query

    first: dict[str, str] = {}
    for query, source, text in zip(ids, sources, texts, strict=True):
        for other in (source, first.setdefault(text, query)):
            if other in parent:
                low, high = sorted((top(query), top(other)))
                parent[high] = low
    groups: dict[str, list[str]] = {}
    for query in ids:
        groups.setdefault(top(query), []).append(query)
    return groups
