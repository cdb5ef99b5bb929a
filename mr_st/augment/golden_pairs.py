"""Random items for the golden set's queries, labelled, until enough of each query's pairs have grade 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from math import ceil

import numpy as np

from mr_st.annotation import Annotator
from mr_st.augment.labelling import label_pairs
from mr_st.data.dataset import GradedDataset
from mr_st.data.schema import arrow_table

__all__ = ["QueryPairs", "RandomItems", "add_random_items", "zeros_missing"]


@dataclass(eq=False)
class QueryPairs:
    """What one query brings, and the random items that were added.

    Args:
        query_row: The query.
        judged: How many judged pairs it brings.
        judged_zeros: How many of them have grade 0.
        items: Rows of the random items.
        grades: Their grades.
        confidence: The probability of each.
        n_unsure: Labels that were dropped for their confidence.
        is_full: Whether the share of grade 0 holds.
    """

    query_row: int
    judged: int
    judged_zeros: int
    items: list[int] = field(default_factory=list)
    grades: list[int] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)
    n_unsure: int = 0
    is_full: bool = False

    @property
    def n_pairs(self) -> int:
        """How many pairs it has in all."""
        return self.judged + len(self.items)

    @property
    def n_zeros(self) -> int:
        """How many of them have grade 0."""
        return self.judged_zeros + self.grades.count(0)


def zeros_missing(n_pairs: int, n_zeros: int, zero_share: float) -> int:
    """How many more pairs of grade 0 bring their share to ``zero_share``.

    Example:
        >>> zeros_missing(20, 0, 0.65), zeros_missing(20, 13, 0.65)
        (38, 0)
    """
    missing = max(0, ceil((zero_share * n_pairs - n_zeros) / (1 - zero_share) - 1e-9))
    while n_zeros + missing < zero_share * (n_pairs + missing):  # what rounding of floats took
        missing += 1
    return missing


class RandomItems:
    """Items in random order, none twice, those of the query's language first.

    Args:
        pools: int64 arrays of item rows, to be used up one after the other.
        taken: Rows never to give.
        rng: Where chance comes from.
    """

    def __init__(self, pools: Sequence[np.ndarray], taken: set[int], rng: np.random.Generator):
        self.pools, self.taken, self.rng = pools, set(taken), rng

    def take(self, n: int) -> list[int]:
        """Up to ``n`` more rows; fewer when there are no more."""
        found: list[int] = []
        for pool in self.pools:
            if len(found) < n:
                found += self._from(pool, n - len(found))
        return found

    def _from(self, pool: np.ndarray, n: int) -> list[int]:
        if 2 * (n + len(self.taken)) > len(pool):
            free = np.setdiff1d(pool, np.fromiter(self.taken, np.int64, len(self.taken)))
            found = self.rng.choice(free, min(n, len(free)), replace=False).tolist()
            self.taken.update(found)
            return found
        found = []
        while len(found) < n:
            row = int(pool[self.rng.integers(len(pool))])
            if row not in self.taken:
                self.taken.add(row)
                found.append(row)
        return found


def add_random_items(
    dataset: GradedDataset,
    annotator: Annotator,
    queries: Sequence[QueryPairs],
    taken: Mapping[int, set[int]],
    meaning: np.ndarray,
    *,
    zero_share: float,
    n_random: int,
    max_random: int,
    min_confidence: float | None,
    item_text_levels: int | None,
    max_chars: int | None,
    seed: int,
    show_progress: bool = False,
) -> None:
    """Add to each query ``n_random`` random items, and more until ``zero_share`` of its pairs have grade 0.

    An item that the annotator finds relevant stays with its grade. A query that finds too few of grade 0 among
    ``max_random`` items, or in the catalogue, is left with ``is_full`` False.

    Args:
        dataset: Where the texts are.
        annotator: Who grades.
        queries: Filled in place.
        taken: Query row to the item rows that must not be drawn (judged for the query or its variants).
        meaning: (n_queries,) the row whose text the annotator reads for each query.
        zero_share: Below 1.
        n_random: Random items that every query gets.
        max_random: The most random items of a query.
        min_confidence: Labels below are dropped.
        item_text_levels: Taxonomy levels in an item's text.
        max_chars: Where an item's text is cut.
        seed: With the query's id, all that the draw depends on.
        show_progress: Draw progress bars.
    """
    pools = _pools(dataset)
    table = arrow_table(dataset.queries)
    query_ids, locales = table["query_id"].to_pylist(), table["locale"].to_pylist()
    draws: dict[int, RandomItems] = {}
    drawn: dict[int, int] = {}
    for query in queries:
        row = query.query_row
        rng = np.random.default_rng([seed, 2, int(sha256(query_ids[row].encode()).hexdigest()[:12], 16)])
        language = _language(locales[row])
        own = [pools[language]] if language in pools and language != "" else []
        draws[row] = RandomItems([*own, pools[""]], taken[row], rng)
        drawn[row] = 0
    wanted = {query.query_row: max(n_random, _missing(query, zero_share)) for query in queries}
    open_queries = list(queries)
    while open_queries:
        batch: list[tuple[QueryPairs, list[int]]] = []
        for query in open_queries:
            row = query.query_row
            items = draws[row].take(min(wanted[row], max_random - drawn[row]))
            drawn[row] += len(items)
            batch.append((query, items))
        query_rows = np.repeat([query.query_row for query, _ in batch], [len(items) for _, items in batch])
        item_rows = np.array([item for _, items in batch for item in items], dtype=np.int64)
        answer = label_pairs(
            dataset, annotator, meaning[query_rows], item_rows, item_text_levels, max_chars, show_progress
        )
        start, still_open = 0, []
        for query, items in batch:
            part = slice(start, start + len(items))
            start += len(items)
            for item, grade, sure in zip(
                items, answer.grades[part].tolist(), answer.confidence[part].tolist(), strict=True
            ):
                if min_confidence is not None and sure < min_confidence:
                    query.n_unsure += 1
                    continue
                query.items.append(item)
                query.grades.append(grade)
                query.confidence.append(sure)
            wanted[query.query_row] = _missing(query, zero_share)
            query.is_full = not wanted[query.query_row]
            if not query.is_full and items:
                still_open.append(query)
        open_queries = still_open


def _missing(query: QueryPairs, zero_share: float) -> int:
    return zeros_missing(query.n_pairs, query.n_zeros, zero_share)


def _pools(dataset: GradedDataset) -> dict[str, np.ndarray]:
    """Item rows by language, and all of them under ""."""
    locales = arrow_table(dataset.items)["locale"].to_pylist()
    languages = np.array([_language(locale) for locale in locales], dtype=object)
    pools = {language: np.flatnonzero(languages == language) for language in sorted(set(languages.tolist()))}
    return {**pools, "": np.arange(len(locales))}


def _language(locale: str) -> str:
    language = locale.replace("_", "-").partition("-")[0].lower()
    return "" if language == "und" else language
