"""Vectors made smaller, as arrays: cut, rounded, as bytes, as bits; and the search that scores its candidates twice.

The codes are those of :func:`sentence_transformers.util.quantize_embeddings`, so what is measured is what a user of
that library stores. Read back as numbers, an int8 code stands for the middle of its step, a bit for +1 or -1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mr_st.errors import MrStError
from mr_st.hub.shrink_settings import Setting
from mr_st.search import ExactSearcher, QueryBatch, TopK
from mr_st.search.canonical import canonical_scores

__all__ = ["Shrunk", "cut", "int8_codes", "int8_ranges", "int8_values", "rescored", "shrink_vectors", "signs"]


def cut(vectors: np.ndarray, dims: int) -> np.ndarray:
    """The first ``dims`` components of unit vectors, again of length 1: float32 (n, dims).

    Raises:
        MrStError: a vector whose first components are all zero.

    Example:
        >>> cut(np.array([[0.6, 0.0, 0.8]], np.float32), 1).tolist()
        [[1.0]]
    """
    if dims == vectors.shape[1]:
        return vectors
    short = vectors[:, :dims].astype(np.float32)
    lengths = np.linalg.norm(short.astype(np.float64), axis=1, keepdims=True)
    zero = np.flatnonzero(lengths[:, 0] == 0)
    if len(zero):
        raise MrStError(f"vector {zero[0]}: its first {dims} components are all zero; cut to more dimensions")
    return (short / lengths).astype(np.float32)


def int8_ranges(items: np.ndarray) -> np.ndarray:
    """The least and the greatest value of each dimension, float32 (2, d): what int8 codes are calibrated with.

    Args:
        items: float (N, d), catalogue vectors; never the queries of a test.
    """
    return np.vstack([items.min(axis=0), items.max(axis=0)]).astype(np.float32)


def int8_codes(vectors: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    """int8 codes (n, d): in which of 256 equal steps of its dimension's range a value lies; beyond it, the nearest.

    Example:
        >>> ranges = np.array([[0.0], [255.0]], np.float32)
        >>> int8_codes(np.array([[0.0], [1.5], [300.0]], np.float32), ranges).ravel().tolist()
        [-128, -127, 127]
    """
    from sentence_transformers.util import quantize_embeddings

    return np.asarray(quantize_embeddings(vectors, precision="int8", ranges=ranges))


def int8_values(codes: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    """What int8 codes stand for, float32 (n, d): the middle of the step; a value in range is at most half a step off.

    Example:
        >>> int8_values(np.array([[-128], [127]], np.int8), np.array([[0.0], [255.0]], np.float32)).ravel().tolist()
        [0.5, 255.5]
    """
    steps = (ranges[1] - ranges[0]) / 255
    values = ranges[0] + (codes.astype(np.float32) + 128.5) * steps
    return np.where(steps == 0, ranges[0], values).astype(np.float32)


def signs(vectors: np.ndarray) -> np.ndarray:
    """The bits of binary codes as numbers of unit vectors: ``1 / sqrt(d)`` above 0, else ``-1 / sqrt(d)``, float32.

    The inner product of two is ``1 - 2 h / d``, h being the number of bits in which they differ.

    Example:
        >>> signs(np.array([[0.2, 0.0, -0.1, 0.9]])).tolist()
        [[0.5, -0.5, -0.5, 0.5]]
    """
    length = np.float32(1 / np.sqrt(vectors.shape[1]))
    return np.where(vectors > 0, length, -length).astype(np.float32)


def rescored(top: TopK, queries: np.ndarray, items: np.ndarray, k: int) -> TopK:
    """The best ``k`` of each query's candidates by the inner product; equal scores: lower item row first.

    Args:
        top: The candidates, -1 where there is none.
        queries: float32 (n, d).
        items: float32 (N, d), what the candidates are scored with.
        k: How many to keep.

    Example:
        >>> candidates = TopK(np.array([[2, 0, -1]]), np.array([[9.0, 8.0, -np.inf]], np.float32))
        >>> rescored(candidates, np.array([[1.0]], np.float32), np.array([[3], [4], [2]], np.float32), 2).ids.tolist()
        [[0, 2]]
    """
    rows, places = np.nonzero(top.ids >= 0)
    scores = np.full(top.ids.shape, -np.inf, dtype=np.float32)
    scores[rows, places] = canonical_scores(queries, items, rows, top.ids[rows, places])
    ids = np.where(top.ids >= 0, top.ids, np.iinfo(np.int64).max)
    order = np.lexsort((ids, -scores), axis=1)[:, :k]
    return TopK(np.take_along_axis(top.ids, order, axis=1), np.take_along_axis(scores, order, axis=1))


@dataclass(frozen=True, eq=False)
class Shrunk:
    """Queries and items at one setting, as arrays whose inner products are its scores.

    Args:
        first: Queries (n, d) and items (N, d) of the first search, float32.
        again: Queries and items that the candidates are scored with again; None where they are not.
        similarity: Queries and items whose inner product is the pair's similarity, on the scale of the cosine.
    """

    first: tuple[np.ndarray, np.ndarray]
    again: tuple[np.ndarray, np.ndarray] | None
    similarity: tuple[np.ndarray, np.ndarray]

    def search(self, k: int, n_candidates: int) -> TopK:
        """The best ``k`` items of each query; of ``n_candidates`` where they are scored again."""
        queries, items = _never_zero(*self.first)
        if self.again is None:
            return ExactSearcher(items).search(QueryBatch(vectors=queries), k)
        n_candidates = min(max(k, n_candidates), len(items))
        found = rescored(ExactSearcher(items).search(QueryBatch(vectors=queries), n_candidates), *self.again, k)
        missing = k - found.ids.shape[1]
        if missing <= 0:
            return found
        wide = ((0, 0), (0, missing))
        return TopK(np.pad(found.ids, wide, constant_values=-1), np.pad(found.scores, wide, constant_values=-np.inf))


def shrink_vectors(queries: np.ndarray, items: np.ndarray, setting: Setting) -> Shrunk:
    """Unit vectors at a setting.

    Args:
        queries: float32 (n, D), unit vectors.
        items: float32 (N, D), unit vectors; int8 codes are calibrated on all of them.
        setting: How to store and search them.

    Raises:
        MrStError: a vector that is zero when cut.
    """
    queries, items = cut(queries, setting.dims), cut(items, setting.dims)
    exact = (queries, items)
    if setting.dtype == "float32":
        return Shrunk(exact, None, exact)
    if setting.dtype == "float16":
        rounded = (queries, items.astype(np.float16).astype(np.float32))
        return Shrunk(rounded, None, rounded)
    as_numbers = (signs(queries), signs(items))
    if setting.dtype == "int8":
        ranges = int8_ranges(items)
        codes = (int8_codes(queries, ranges), int8_codes(items, ranges))
        as_numbers = (int8_values(codes[0], ranges), int8_values(codes[1], ranges))
    elif setting.rescored_with == "int8":
        ranges = int8_ranges(items)
    first = as_numbers if setting.dtype == "binary" else (codes[0].astype(np.float32), codes[1].astype(np.float32))
    if setting.rescored_with is None:
        return Shrunk(first, None, as_numbers)
    if setting.rescored_with == "float32":
        again = exact
    elif setting.rescored_with == "int8":
        again = (queries, int8_values(int8_codes(items, ranges), ranges))
    else:
        again = (queries, as_numbers[1])
    return Shrunk(first, again, again)


def _never_zero(queries: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same inner products from vectors of which none is zero, as a code can be."""
    if all(side.any(axis=1).all() for side in (queries, items)):
        return queries, items
    more = [np.zeros((len(side), 2), dtype=np.float32) for side in (queries, items)]
    more[0][:, 0] = more[1][:, 1] = 1
    return np.hstack([queries, more[0]]), np.hstack([items, more[1]])
