"""Runs with names, in the order that trec_eval gives them: from dictionaries or arrays to what the metrics take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mr_st.errors import UsageError
from mr_st.measures.judged import Judged

__all__ = ["NamedRun", "run_order", "trec_order"]

TIES = ("trec_eval", "given")


def run_order(scores: np.ndarray, tie_keys: np.ndarray | None = None) -> np.ndarray:
    """The order (n, K) that puts each run best first; equal float32 scores go by ``tie_keys``, lower first.

    Our own searches take the lower item row first, so for them the keys are the item rows; :func:`trec_order` gives
    trec_eval's order.

    Args:
        scores: float (n, K); compared as float32, as trec_eval does.
        tie_keys: integers (n, K) or (K,). None keeps the given order.

    Example:
        >>> run_order(np.array([[0.1, 0.9, 0.9]])).tolist()
        [[1, 2, 0]]
    """
    with np.errstate(over="ignore"):
        scores = np.asarray(scores).astype(np.float32)
    keys = np.arange(scores.shape[1]) if tie_keys is None else np.asarray(tie_keys)
    return np.lexsort((np.broadcast_to(keys, scores.shape), -scores), axis=-1)


def trec_order(
    item_ids: np.ndarray, scores: np.ndarray, names: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """A run in trec_eval's order: scores as float32, best first; equal scores by descending name, byte by byte.

    A run that was cut at K cannot be mended at its end: which of the equal scores around place K were kept was decided
    by whoever cut it.

    Args:
        item_ids: integers (n, K), item rows, -1 where there is none (these go last).
        scores: float (n, K).
        names: The id of each item row as a string; None where rows ascend with the ids.

    Returns:
        The item rows and the scores, both (n, K), in the new order.

    Example:
        >>> trec_order(np.array([[0, 1]]), np.array([[0.5, 0.5]]), names=["b", "a"])[0].tolist()
        [[0, 1]]
    """
    item_ids, scores = np.asarray(item_ids), np.asarray(scores)
    keys = -item_ids
    if names is not None:
        rows, where = np.unique(item_ids, return_inverse=True)
        name_of = ["" if row < 0 else names[row] for row in rows.tolist()]
        by_name = sorted(range(len(rows)), key=name_of.__getitem__)
        rank = np.empty(len(rows), dtype=np.int64)
        rank[by_name] = np.arange(len(rows))
        keys = -rank[where.reshape(item_ids.shape)]
    keys = np.where(item_ids < 0, np.iinfo(np.int64).max, keys)
    order = run_order(np.where(item_ids < 0, -np.inf, scores), keys)
    return np.take_along_axis(item_ids, order, axis=1), np.take_along_axis(scores, order, axis=1)


@dataclass(frozen=True, eq=False)
class NamedRun:
    """A run and its judgments, both as arrays over the same queries and items, with the names of both.

    Build it with :meth:`from_dicts`.

    Args:
        query_ids: n queries.
        item_ids: The items that are returned or judged, ascending.
        ids: int64 (n, K), item rows, best first, -1 behind the end of a shorter run.
        scores: float32 (n, K), -inf there.
        judged: Judgments of the n queries over the same item rows.
    """

    query_ids: list[str]
    item_ids: list[str]
    ids: np.ndarray
    scores: np.ndarray
    judged: Judged

    @classmethod
    def from_dicts(
        cls,
        run: Mapping[str, Mapping[str, float]],
        qrels: Mapping[str, Mapping[str, int]],
        *,
        ties: str = "trec_eval",
        count_missing: bool = False,
    ) -> NamedRun:
        """Line up a run and qrels as pytrec_eval takes them, under trec_eval's rules.

        Queries of the run that nobody judged are left out, and so are judged queries that the run lacks, unless
        ``count_missing``. A query that was judged and returned nothing stays, and so does one with nothing relevant
        (it scores 0). A grade below zero is as good as no judgment.

        Args:
            run: Query id to item id to score.
            qrels: Query id to item id to grade.
            ties: Equal float32 scores go by ``trec_eval``: descending item id; or ``given``: as in the dictionary.
            count_missing: Keep judged queries that the run lacks, with an empty run (trec_eval's ``-c``).

        Raises:
            UsageError: an id that is not a string, a score that is not a number, a grade that is no whole number, or
                no such way with ties.

        Example:
            >>> from mr_st.measures import reciprocal_rank
            >>> named = NamedRun.from_dicts({"q": {"a": 0.5, "b": 0.5}, "nobody's": {"a": 1.0}}, {"q": {"a": 1}})
            >>> reciprocal_rank(named.judged.look_up(named.ids)).tolist()
            [0.5]
        """
        if ties not in TIES:
            raise UsageError(f"ties {ties!r}: expected {' or '.join(TIES)}")
        kept = [query for query, grades in qrels.items() if grades and (count_missing or query in run)]
        returned: list[Mapping[str, float]] = [run.get(query, {}) for query in kept]
        names = set().union(*returned, *(qrels[query] for query in kept))
        if odd := [name for name in (*kept, *names) if not isinstance(name, str)]:
            raise UsageError(f"id {odd[0]!r}: expected a string; trec_eval orders equal scores by ids as strings")
        item_ids = sorted(names)  # by code point, which is the order of UTF-8 bytes
        row_of = {name: row for row, name in enumerate(item_ids)}

        grades = _values(kept, [qrels[query] for query in kept], "grade", "iu", "a whole number")
        rows, items = _flat((qrels[query] for query in kept), row_of)
        counted = grades >= 0
        judged = Judged.from_pairs(rows[counted], items[counted], grades[counted], len(kept))

        scores = _values(kept, returned, "score", "iuf", "a number")
        rows, items = _flat(returned, row_of)
        with np.errstate(over="ignore"):
            singles = scores.astype(np.float32)
        order = np.lexsort((np.arange(len(rows)) if ties == "given" else -items, -singles, rows))
        lengths = np.bincount(rows, minlength=len(kept))
        places = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        shape = (len(kept), int(lengths.max(initial=0)))
        ids, ranked = np.full(shape, -1, dtype=np.int64), np.full(shape, -np.inf, dtype=np.float32)
        ids[rows, places], ranked[rows, places] = items[order], singles[order]
        return cls(kept, item_ids, ids, ranked, judged)


def _flat(tables: Iterable[Mapping[str, object]], row_of: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """The query row and the item row of each entry."""
    lengths, items = [], []
    for table in tables:
        lengths.append(len(table))
        items.extend([row_of[name] for name in table])
    return np.repeat(np.arange(len(lengths)), np.array(lengths, dtype=np.int64)), np.array(items, dtype=np.int64)


def _values(
    queries: Sequence[str], tables: Sequence[Mapping[str, float]], what: str, kinds: str, wanted: str
) -> np.ndarray:
    """All values, one table behind the other, if each is of a kind of number that is wanted and none is NaN."""
    values = [value for table in tables for value in table.values()]
    if not values:
        return np.zeros(0, dtype=np.int64)
    try:
        found = np.array(values)
    except ValueError:  # some are sequences
        found = np.array(0)
    if found.ndim == 1 and found.dtype.kind in kinds and not np.isnan(found).any():
        return found
    for query, table in zip(queries, tables, strict=True):
        for item, value in table.items():
            one = np.asarray(value)
            if one.ndim or one.dtype.kind not in kinds or np.isnan(one):
                raise UsageError(f"query {query!r}, item {item!r}: {what} {value!r}; expected {wanted}")
    raise UsageError(f"{what}s of kinds that do not go together ({found.dtype}); expected each to be {wanted}")
