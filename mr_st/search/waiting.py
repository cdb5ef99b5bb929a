"""Candidates of a block of queries, held between two bounds and scored only when no bound can rule them out."""

from __future__ import annotations

import numpy as np

from mr_st.search.canonical import canonical_scores
from mr_st.search.first_pass import Found
from mr_st.search.top import BestSoFar, keys_of

__all__ = ["HELD", "Waiting", "bytes_waiting"]

HELD = 12
"""Times k candidates a query may wait."""


def bytes_waiting(k: int, held: int = HELD) -> int:
    """The most bytes one query's candidates take, while they are also being joined or settled."""
    return 3 * 12 * held * k


class Waiting:
    """What one block of queries has found and not scored yet.

    Args:
        items: float (N, d), all item vectors.
        queries: float (n, d), the block's.
        first: Where the block begins in ``best``.
        best: Takes the canonical scores.
        longest: A length that no item exceeds, where one is known.
        guesses: float32 (n,), scores that the k-th best are believed to exceed: what is not above them is not
            wanted. None for none.
        held: Times k candidates a query may wait.
    """

    def __init__(
        self,
        items: np.ndarray,
        queries: np.ndarray,
        first: int,
        best: BestSoFar,
        longest: float | None = None,
        guesses: np.ndarray | None = None,
        held: int = HELD,
    ):
        self.items = items
        self.queries = queries
        self.rows = slice(first, first + len(queries))
        self.best = best
        self.longest = longest
        self.guesses = guesses
        self._most = held * best.k * len(queries)
        self._held: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._n_held = 0
        # the k best lower bounds: no k-th best score is below the least of them
        # (not kept up where there are guesses, which are nearly as high from the start)
        self._lows = np.full((len(queries), best.k if guesses is None else 1), -np.inf, dtype=np.float32)

    def limits(self) -> np.ndarray:
        """A score that each query's k-th best does not fall below, or is guessed not to: float32 (n,)."""
        sure = self.best.thresholds[self.rows]
        return np.maximum(sure, _before(self._lows[:, 0]) if self.guesses is None else self.guesses)

    def add(self, found: Found, first_item: int) -> None:
        """Hold pairs found in the block of items that begins at ``first_item``."""
        if not len(found.rows):
            return
        self._held.append((found.rows.astype(np.int32), (found.columns + first_item).astype(np.uint32), found.high))
        self._n_held += len(found.rows)
        if self.guesses is None:
            met, table = _table(found.rows, found.low)
            both = np.concatenate([self._lows[met], table], axis=1)
            both.partition(table.shape[1], axis=1)
            self._lows[met] = both[:, table.shape[1] :]
        if self._n_held > self._most:
            self._drop_beaten()
            if self._n_held > self._most // 2:
                self.settle()

    def settle(self) -> None:
        """Score what may still be among the best: each query's k of the highest bounds, then what these leave."""
        self._drop_beaten()
        if not self._n_held:
            return
        rows, item_rows, high = self._held.pop()
        order = np.argsort(rows, kind="stable")
        rows, item_rows, high = rows[order].astype(np.int64), item_rows[order].astype(np.int64), high[order]
        met, table = _table(rows, high)
        place = max(table.shape[1] - self.best.k, 0)
        table.partition(place, axis=1)
        cuts = np.full(len(self.queries), -np.inf, dtype=np.float32)
        cuts[met] = table[:, place]
        likely = high >= cuts[rows]
        self._score(rows[likely], item_rows[likely])
        rest = ~likely & (high >= self.best.thresholds[self.rows][rows])  # equal ones may be of a lower row
        self._score(rows[rest], item_rows[rest])
        self._n_held = 0
        self._lows.fill(-np.inf)

    def _drop_beaten(self) -> None:
        """Join what is held, without what the limits have ruled out since."""
        if self._held:
            rows, item_rows, high = (np.concatenate(parts) for parts in zip(*self._held, strict=True))
            may = high > self.limits()[rows]
            self._held = [(rows[may], item_rows[may], high[may])]
            self._n_held = len(self._held[0][0])

    def _score(self, rows: np.ndarray, item_rows: np.ndarray) -> None:
        scores = canonical_scores(self.queries, self.items, rows, item_rows, self.longest)
        self.best.add_pairs(self.rows.start, rows, keys_of(scores, item_rows))


def _before(values: np.ndarray) -> np.ndarray:
    """The float32 before each: what equals a bound is not beaten by it."""
    return np.nextafter(values, np.float32(-np.inf))


def _table(rows: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values of never falling rows, one line a row that occurs, filled up with -inf."""
    met, starts, counts = np.unique(rows, return_index=True, return_counts=True)
    table = np.full((len(met), int(counts.max())), -np.inf, dtype=np.float32)
    at = np.repeat(np.arange(len(met)), counts)
    table[at, np.arange(len(rows)) - starts[at]] = values
    return met, table
