"""Exact search for long lists: where k is a good part of the catalogue, most of the time goes into scoring candidates.

The other walk (:mod:`mr_st.search.waiting`) lets candidates wait until no bound rules them out, then fetches their
vectors from all over memory. Here a guess of each query's k-th best score is at hand, so that nothing is gained by
waiting: a block's candidates are scored while its items are still in the cache, item by item.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from mr_st.search.bfloat16 import Bfloat16Room, Bfloat16Side, bfloat16_holds, bfloat16_passing
from mr_st.search.canonical import in_fixed_order, settled
from mr_st.search.first_pass import Float32Side, Room, float32_passing, int8_is_exact
from mr_st.search.top import BestSoFar, keys_of

if TYPE_CHECKING:
    import torch

__all__ = ["deep_best", "deep_pays"]

_HELD = 3  # times k candidates a query may hold on average; a guess lets about 1.3 through


@dataclass(eq=False)
class _Queries:
    """A block of queries, and what it has found: ``rows`` of queries, ``keys`` of items with their scores."""

    vectors: np.ndarray
    rounded: Bfloat16Side | Float32Side
    wide: torch.Tensor
    guesses: np.ndarray
    rows: list[np.ndarray] = field(default_factory=list)
    keys: list[np.ndarray] = field(default_factory=list)
    n_held: int = 0


def deep_best(
    vectors: np.ndarray,
    queries: np.ndarray,
    k: int,
    guesses: np.ndarray,
    longest: float,
    blocks: tuple[int, int],
) -> BestSoFar | None:
    """The best k items of each query among those that score above its guess.

    Args:
        vectors: float32 or float16 (N, d), the items.
        queries: float (n, d).
        k: At most N.
        guesses: float32 (n,), believed to be below the k-th best score. A query whose guess is wrong gets fewer than k
            items, and a threshold of -inf.
        longest: A length that no item exceeds.
        blocks: Queries and items that meet at once; at most 65,536 queries.

    Returns:
        The best, scored as :func:`mr_st.search.canonical.canonical_scores` does; None where so much passes that
        another walk is better.
    """
    import torch

    size, item_block = blocks
    d = vectors.shape[1]
    rounded_to, passing = _first_pass(size, item_block, d)
    wide = torch.empty(item_block * d, dtype=torch.float64)
    with torch.inference_mode():
        of_queries = []
        for start in range(0, len(queries), size):
            side = Float32Side.of(queries[start : start + size], "cpu")
            of_queries.append(
                _Queries(side.values, rounded_to(side, True), side.device.double(), guesses[start : start + size])
            )
        for first in range(0, len(vectors), item_block):
            items = Float32Side.of(vectors[first : first + item_block], "cpu")
            rounded = rounded_to(items, False)
            wide_items = wide[: items.values.size].view(items.values.shape).copy_(items.device)
            for block in of_queries:
                n, m = len(block.guesses), len(items.values)
                places = passing(rounded, block.rounded, block.guesses, most=max(n * m // 16, 4 * n))
                if places is None:
                    return None
                _score(block, places, items, wide_items, longest, first)
                if block.n_held > _HELD * k * n:
                    return None
    best = BestSoFar(len(queries), k)
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:  # each writes rows of its own
        starts = range(0, len(queries), size)
        list(threads.map(lambda start, block: _settle(block, best, start), starts, of_queries))
    return best


def _first_pass(n: int, m: int, d: int) -> tuple[Callable[[Float32Side, bool], Any], Callable[..., np.ndarray | None]]:
    """What makes a side of vectors (to be kept, or until the next), and what rules pairs of two sides out.

    In bfloat16 where this machine multiplies it, else in float32.
    """
    if bfloat16_holds(d):
        narrow = Bfloat16Room(n, m, d)
        return lambda side, kept: Bfloat16Side.of(side, None if kept else narrow), partial(
            bfloat16_passing, room=narrow
        )
    return lambda side, kept: side, partial(float32_passing, room=Room(n, m, "cpu"))


@lru_cache(maxsize=64)
def deep_pays(d: int) -> bool:
    """Whether this machine has what :func:`deep_best` needs, for vectors of d components, and nothing that is better.

    (Where int8 products are fast and bfloat16's are not, the other walk rules pairs out at a quarter of the cost.)
    """
    import torch

    if int8_is_exact(d) and not bfloat16_holds(d):
        return False
    places = np.array([1, 3, 4])  # of 3 items and 2 queries
    try:
        found = _products(torch.arange(6.0).double().view(3, 2), torch.arange(4.0).double().view(2, 2), places)
    except (RuntimeError, NotImplementedError):  # a build of torch without sampled products
        return False
    return found.tolist() == [3.0, 13.0, 5.0]


def _score(
    block: _Queries, places: np.ndarray, items: Float32Side, wide_items: torch.Tensor, longest: float, first: int
) -> None:
    """Keep those of the pairs that score above their query's guess."""
    item_rows, query_rows = np.divmod(places, len(block.guesses))
    sums = _products(wide_items, block.wide, places)
    scores, unsure = settled(sums, wide_items.shape[1], float(block.rounded.norms.max()) * longest)
    scores[unsure] = in_fixed_order(block.vectors, items.values, query_rows[unsure], item_rows[unsure])
    above = np.flatnonzero(scores > block.guesses[query_rows])
    block.rows.append(query_rows[above].astype(np.uint16))
    block.keys.append(keys_of(scores[above], item_rows[above] + first))
    block.n_held += len(above)


def _products(items: torch.Tensor, queries: torch.Tensor, places: np.ndarray) -> np.ndarray:
    """Inner products, float64 (p,), of the pairs at some rising places of a table items x queries."""
    import torch

    m, n = len(items), len(queries)
    ends = np.searchsorted(places, np.arange(m + 1) * n)
    nothing = torch.zeros(1, dtype=items.dtype).expand(len(places))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # sparse tensors are in beta, torch says
        table = torch.sparse_csr_tensor(torch.from_numpy(ends), torch.from_numpy(places % n), nothing, (m, n))
    return torch.sparse.sampled_addmm(table, items, queries.T, beta=0.0).values().numpy()


def _settle(block: _Queries, best: BestSoFar, start: int) -> None:
    """Give the k best of each query to ``best``, whose rows of this block begin at ``start``."""
    n, k = len(block.guesses), best.k
    rows, keys = np.concatenate(block.rows), np.concatenate(block.keys)
    counts = np.bincount(rows, minlength=n)
    table = np.full((n, max(int(counts.max(initial=0)), k)), best.EMPTY)
    table[np.arange(table.shape[1]) < counts[:, None]] = keys[np.argsort(rows, kind="stable")]
    table.partition(table.shape[1] - k, axis=1)
    best.add_table(np.arange(start, start + n), table[:, table.shape[1] - k :])
