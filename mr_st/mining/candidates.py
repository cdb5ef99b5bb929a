"""What the searches found: pairs of a query and an item, one row a pair, with every source's rank."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mr_st.errors import UsageError
from mr_st.search.protocol import TopK

__all__ = [
    "Candidates",
    "candidates_of",
    "drop_judged",
    "found_by",
    "is_judged",
    "merge_sources",
    "with_scores",
]

_BLOCK_PAIRS = 1 << 20  # pairs looked at together: what bounds the memory of every step here
_BLOCK_VALUES = 1 << 24  # float64 values of vectors held at once


@dataclass(frozen=True, eq=False)
class Candidates:
    """Retrieved pairs, sorted by query row, best rank and item row; each pair stands there once.

    Args:
        query_rows: int64 (n,), rows of the dataset's queries.
        item_rows: int64 (n,), rows of the dataset's items.
        ranks: int32 (n, S), the pair's rank in each of S sources, from 1; 0 where that source did not retrieve it.
            Source 0 is the model that is refined.
        scores: float32 (n,), cosine under source 0; NaN until :func:`with_scores` has computed it, for pairs that
            only another source found.

    Example:
        >>> top = TopK(np.array([[2, 0], [1, -1]]), np.array([[0.9, 0.5], [0.7, -np.inf]], dtype=np.float32))
        >>> found = candidates_of(top, query_rows=np.array([4, 7]), pool=np.array([10, 11, 12]))
        >>> found.query_rows.tolist(), found.item_rows.tolist(), found.ranks[:, 0].tolist()
        ([4, 4, 7], [12, 10, 11], [1, 2, 1])
    """

    query_rows: np.ndarray
    item_rows: np.ndarray
    ranks: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.query_rows)

    @property
    def n_sources(self) -> int:
        """S, how many searches the ranks are of."""
        return self.ranks.shape[1]

    @property
    def best_ranks(self) -> np.ndarray:
        """int32 (n,): the pair's best rank over the sources that retrieved it."""
        return best_ranks(self.ranks)

    @property
    def source_ranks(self) -> np.ndarray:
        """int32 (n,): the pair's rank under the model that is refined, 0 where it did not retrieve the pair."""
        return self.ranks[:, 0]

    def take(self, where: np.ndarray) -> Candidates:
        """The pairs at a mask (bool (n,)) or at rows in ascending order (int (m,))."""
        return Candidates(self.query_rows[where], self.item_rows[where], self.ranks[where], self.scores[where])

    @classmethod
    def empty(cls, n_sources: int = 1) -> Candidates:
        """No pair at all."""
        rows = np.empty(0, dtype=np.int64)
        return cls(rows, rows, np.empty((0, n_sources), dtype=np.int32), np.empty(0, dtype=np.float32))


def best_ranks(ranks: np.ndarray) -> np.ndarray:
    """The smallest rank of each pair over the sources that retrieved it.

    Args:
        ranks: int (n,) or (n, S), from 1; 0 where a source did not retrieve the pair.

    Returns:
        int (n,); 0 where no source did.
    """
    if ranks.ndim == 1:
        return ranks
    if ranks.shape[1] == 1:
        return ranks[:, 0]
    best = ranks[:, 0].copy()
    for source in range(1, ranks.shape[1]):
        ranked = ranks[:, source]
        np.copyto(best, ranked, where=(ranked > 0) & ((best == 0) | (ranked < best)))
    return best


def candidates_of(top: TopK, query_rows: np.ndarray, pool: np.ndarray) -> Candidates:
    """What one search found, as pairs of the dataset's rows; empty places (id -1) are dropped.

    Args:
        top: ids (q, k): rows of ``pool``.
        query_rows: int (q,), the dataset's row of each searched query; in any order, none twice.
        pool: int (N,), the dataset's row of each searched item.

    Raises:
        UsageError: the searched queries are not those of ``query_rows``, or a query stands there twice.
    """
    query_rows = np.asarray(query_rows, dtype=np.int64)
    ids, scores = top.ids, top.scores
    if len(query_rows) != len(ids):
        raise UsageError(f"a search of {len(ids):,} queries for {len(query_rows):,} query rows; give one of each")
    steps = np.diff(query_rows)
    if (steps <= 0).any():
        order = np.argsort(query_rows, kind="stable")
        query_rows, ids, scores = query_rows[order], ids[order], scores[order]
        if (np.diff(query_rows) == 0).any():
            raise UsageError("a query row stands twice among the searched queries; search each query once")
    k = ids.shape[1]
    ranks = np.tile(np.arange(1, k + 1, dtype=np.int32), len(query_rows))
    there = ids.ravel() >= 0
    if there.all():
        flat, queries = ids.ravel(), np.repeat(query_rows, k)
        return Candidates(queries, np.asarray(pool, dtype=np.int64)[flat], ranks[:, None], scores.ravel())
    queries = np.repeat(query_rows, k)[there]
    items = np.asarray(pool, dtype=np.int64)[ids.ravel()[there]]
    return Candidates(queries, items, ranks[there][:, None], scores.ravel()[there].astype(np.float32))


def merge_sources(sources: Sequence[Candidates]) -> Candidates:
    """One table of all that several sources found: their ranks side by side, each pair once.

    Args:
        sources: The refined model's candidates first; its scores are kept, and pairs that it did not retrieve get NaN.

    Raises:
        UsageError: no source.
    """
    if not sources:
        raise UsageError("no candidate source to merge; give at least the model's own candidates")
    if len(sources) == 1:
        return sources[0]
    parts = [_merge_block(block) for block in _query_blocks(sources)]
    if not parts:
        return Candidates.empty(sum(source.n_sources for source in sources))
    return Candidates(*(np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS))


_COLUMNS = ("query_rows", "item_rows", "ranks", "scores")


def _query_blocks(sources: Sequence[Candidates]) -> Iterator[list[Candidates]]:
    """The same span of queries of every source, about ``_BLOCK_PAIRS`` pairs at a time."""
    starts = [0] * len(sources)
    while any(start < len(source) for start, source in zip(starts, sources, strict=True)):
        share = max(1, _BLOCK_PAIRS // len(sources))
        ends = [s.query_rows[min(start + share, len(s)) - 1] for start, s in zip(starts, sources, strict=True)
                if start < len(s)]  # fmt: skip
        last = min(ends)
        stops = [int(np.searchsorted(source.query_rows, last, side="right")) for source in sources]
        yield [source.take(slice(a, b)) for source, a, b in zip(sources, starts, stops, strict=True)]  # type: ignore[arg-type]
        starts = stops


def _merge_block(sources: Sequence[Candidates]) -> Candidates:
    query_rows = np.concatenate([source.query_rows for source in sources])
    item_rows = np.concatenate([source.item_rows for source in sources])
    first_query, width = int(query_rows.min()), int(item_rows.max()) + 1
    keys = (query_rows - first_query) * width + item_rows
    order = np.argsort(keys)
    keys = keys[order]
    is_first = np.ones(len(keys), dtype=bool)
    is_first[1:] = keys[1:] != keys[:-1]
    pair = np.empty(len(keys), dtype=np.int64)  # of each found row, the pair it is of
    pair[order] = np.cumsum(is_first) - 1
    keys = keys[is_first]
    ranks = np.zeros((len(keys), sum(source.n_sources for source in sources)), dtype=np.int32)
    start = column = 0
    for source in sources:
        rows = pair[start : start + len(source)]
        ranks[rows, column : column + source.n_sources] = source.ranks
        start, column = start + len(source), column + source.n_sources
    scores = np.full(len(keys), np.nan, dtype=np.float32)
    scores[pair[: len(sources[0])]] = sources[0].scores
    queries, items = np.divmod(keys, width)
    best = best_ranks(ranks)
    placed = np.argsort(queries * (int(best.max()) + 1) + best, kind="stable")  # equal ones are in item order already
    return Candidates(queries[placed] + first_query, items[placed], ranks[placed], scores[placed])


def with_scores(
    candidates: Candidates,
    query_vectors: np.ndarray,
    item_vectors: np.ndarray,
    query_rows: np.ndarray | None = None,
    pool: np.ndarray | None = None,
) -> Candidates:
    """Compute the scores that are missing: inner products accumulated in float64, rounded to float32.

    Args:
        candidates: Scores that are there stay as they are.
        query_vectors: float (q, d), of source 0; may be a memory map.
        item_vectors: float (N, d), of source 0; may be a memory map.
        query_rows: int (q,), the dataset's row of each query vector; None: they are the dataset's rows.
        pool: int (N,), the dataset's row of each item vector; None: they are the dataset's rows.

    Raises:
        UsageError: a pair without a score has no vector.
    """
    missing = np.flatnonzero(np.isnan(candidates.scores))
    if not len(missing):
        return candidates
    query_at = positions_of(candidates.query_rows[missing], query_rows, len(query_vectors), "query")
    item_at = positions_of(candidates.item_rows[missing], pool, len(item_vectors), "item")
    scores = candidates.scores.copy()
    step = max(1, _BLOCK_VALUES // max(1, 2 * query_vectors.shape[1]))
    for start in range(0, len(missing), step):
        rows = slice(start, start + step)
        queries, items = _lifted(query_vectors[query_at[rows]]), _lifted(item_vectors[item_at[rows]])
        scores[missing[rows]] = np.einsum("nd,nd->n", queries, items)
    return Candidates(candidates.query_rows, candidates.item_rows, candidates.ranks, scores)


def _lifted(vectors: np.ndarray) -> np.ndarray:
    """Float64, from float32 or narrower: a searcher sees no more digits."""
    return (vectors.astype(np.float32) if vectors.dtype == np.float64 else vectors).astype(np.float64)


def positions_of(
    rows: np.ndarray, known: np.ndarray | None, n_vectors: int, what: str, allow_missing: bool = False
) -> np.ndarray:
    """Where the vectors of the dataset's rows stand.

    Args:
        rows: int (n,), rows of the dataset.
        known: int (m,), the row of each vector, in any order; None: vector i is of row i.
        n_vectors: m.
        what: "query" or "item", for the message.
        allow_missing: Give a row that is not known the position -1.

    Returns:
        int64 (n,), positions in ``known``.

    Raises:
        UsageError: a row that is not known, unless that is allowed; or another number of rows than of vectors.
    """
    rows = np.asarray(rows, dtype=np.int64)
    if known is None:
        positions, missing = rows, (rows < 0) | (rows >= n_vectors)
    else:
        known = np.asarray(known, dtype=np.int64)
        if len(known) != n_vectors:
            raise UsageError(f"{n_vectors:,} {what} vectors for {len(known):,} {what} rows; give one of each")
        order = np.arange(n_vectors) if (known[1:] > known[:-1]).all() else np.argsort(known, kind="stable")
        positions = np.append(order, -1)[np.searchsorted(known, rows, sorter=order)]
        missing = (positions < 0) | (np.append(known, -1)[positions] != rows)
    if missing.any():
        if not allow_missing:
            row = int(rows[np.argmax(missing)])
            raise UsageError(f"{what} row {row:,} has no vector under the model; encode every searched {what}")
        positions = np.where(missing, -1, positions)
    return positions


def is_judged(
    query_rows: np.ndarray, item_rows: np.ndarray, judged_query_rows: np.ndarray, judged_item_rows: np.ndarray
) -> np.ndarray:
    """Which of n pairs stand among m judged ones.

    Args:
        query_rows: int (n,).
        item_rows: int (n,), not negative.
        judged_query_rows: int (m,).
        judged_item_rows: int (m,), not negative.

    Returns:
        bool (n,).
    """
    found = np.zeros(len(query_rows), dtype=bool)
    if not len(judged_query_rows):
        return found
    width = 1 + max(int(item_rows.max(initial=0)), int(judged_item_rows.max(initial=0)))
    judged = judged_query_rows.astype(np.int64) * width + judged_item_rows
    judged.sort()
    for start in range(0, len(query_rows), _BLOCK_PAIRS):
        rows = slice(start, start + _BLOCK_PAIRS)
        keys = query_rows[rows].astype(np.int64) * width + item_rows[rows]
        at = np.searchsorted(judged, keys)
        found[rows] = judged[np.minimum(at, len(judged) - 1)] == keys
    return found


def drop_judged(
    candidates: Candidates, judged_query_rows: np.ndarray, judged_item_rows: np.ndarray
) -> tuple[Candidates, int]:
    """Leave out the pairs that have a label: they keep it, and are never mined.

    Args:
        candidates: What was found.
        judged_query_rows: int (m,), of every judged pair, of whatever split, and of earlier rounds' mined pairs.
        judged_item_rows: int (m,).

    Returns:
        The other pairs, with the ranks they had among all, and how many were dropped.
    """
    judged = is_judged(candidates.query_rows, candidates.item_rows, judged_query_rows, judged_item_rows)
    n_judged = int(judged.sum())
    return (candidates.take(~judged) if n_judged else candidates), n_judged


def check_window(name: str, window: tuple[int, int | None]) -> None:
    """Refuse a window of ranks that holds none."""
    first, last = window
    if first < 1 or (last is not None and last < first):
        raise UsageError(f"{name} is {first}..{last}; it must begin at 1 or later and not end before it begins")


def found_by(ranks: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Who retrieved each pair, as text: "model", "bm25", "model+bm25".

    Args:
        ranks: int (n, S), 0 where a source did not retrieve the pair.
        names: S names, without "+".

    Returns:
        object (n,), one ``str`` a pair.

    Raises:
        UsageError: another number of names than of sources.

    Example:
        >>> found_by(np.array([[1, 0], [0, 3], [2, 1]]), ["model", "bm25"]).tolist()
        ['model', 'bm25', 'model+bm25']
    """
    if ranks.ndim != 2 or ranks.shape[1] != len(names):
        raise UsageError(f"{len(names)} source names for ranks of shape {ranks.shape}; give one name a source")
    seen, which = np.unique(source_codes(ranks), return_inverse=True)
    texts = [source_text(code, names) for code in seen.tolist()]
    return np.array(texts, dtype=object)[which] if len(seen) else np.empty(0, dtype=object)


def source_codes(ranks: np.ndarray) -> np.ndarray:
    """Which sources retrieved each pair, as a number: bit s is set where source s did.

    Args:
        ranks: int (n, S), S up to 62; 0 where a source did not retrieve the pair.

    Returns:
        int64 (n,).
    """
    codes = np.zeros(len(ranks), dtype=np.int64)
    for source in range(ranks.shape[1]):
        codes |= (ranks[:, source] > 0).astype(np.int64) << source
    return codes


def source_text(code: int, names: Sequence[str]) -> str:
    """The names of the sources whose bits are set, e.g. "model+bm25" for 3."""
    return "+".join(name for source, name in enumerate(names) if code >> source & 1)
