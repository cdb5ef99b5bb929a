"""Products in bfloat16, on CPUs that multiply it: half of float32's time, bounds tight enough for deep lists."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from mr_st.search.first_pass import Float32Side, _down, _gamma

if TYPE_CHECKING:
    import torch

__all__ = ["Bfloat16Room", "Bfloat16Side", "bfloat16_holds", "bfloat16_passing"]

_ROUNDED = 1.01 * 2.0**-8  # of a product that was rounded to bfloat16


@dataclass(frozen=True)
class Bfloat16Side:
    """Vectors rounded to bfloat16.

    Args:
        values: bfloat16 (n, d).
        norms: float64 (n,), not below the true lengths.
        residuals: float64 (n,), not below the lengths of what rounding took away.
    """

    values: torch.Tensor
    norms: np.ndarray
    residuals: np.ndarray

    @classmethod
    def of(cls, side: Float32Side, room: Bfloat16Room | None = None) -> Bfloat16Side:
        """A block of vectors, in the room's memory where one is given: until the next is put there."""
        import torch

        n, d = side.values.shape
        room = room or Bfloat16Room(0, n, d)
        values = room.rounded[: n * d].view(n, d).copy_(side.device)
        off = room.differences[: n * d].view(n, d)
        torch.sub(side.device, values, out=off)
        off = torch.linalg.vector_norm(off, dim=1)  # the differences are exact, their length is not
        margin = 1 + 2 * _gamma(values.shape[1])
        return cls(values, side.norms * margin, off.double().numpy() * margin)


class Bfloat16Room:
    """Buffers that every block reuses.

    Args:
        n: The most queries of a block; 0 for no room for products.
        m: The most items of a block.
        d: Components of a vector.
    """

    def __init__(self, n: int, m: int, d: int):
        import torch

        self.rounded = torch.empty(m * d, dtype=torch.bfloat16)
        self.differences = torch.empty(m * d)
        self.products = torch.empty(n * m, dtype=torch.bfloat16)
        self.passed = torch.empty(n * m, dtype=torch.bool)


def bfloat16_passing(
    items: Bfloat16Side, queries: Bfloat16Side, thresholds: np.ndarray, room: Bfloat16Room, most: int
) -> np.ndarray | None:
    """Pairs that may score above their query's threshold, by a bfloat16 product; item by item.

    With q = q' + e and x = x' + f, q' and x' in bfloat16, ``|<q, x> - <q', x'>| <= |e| |x| + (|q| + |e|) |f|``. The
    products of bfloat16 values are exact in float32, their sum is off by a float32 product's bound, and the result is
    rounded to bfloat16 once more.

    Args:
        items, queries: m and n vectors.
        thresholds: float32 (n,), finite.
        room: With room for at least (n, m) products.
        most: With more pairs than this the answer is None.

    Returns:
        int64 (p,), rising: item row times n, plus query row.
    """
    import torch

    n, d = queries.values.shape
    m = len(items.values)
    products, passed = (buffer[: n * m].view(m, n) for buffer in (room.products, room.passed))
    torch.mm(items.values, queries.values.T, out=products)
    length, off = items.norms.max(), items.residuals.max()
    wide = queries.norms + queries.residuals
    error = queries.residuals * length + wide * off + 2 * _gamma(d) * wide * (length + off)
    error += d * 2.0**-120 * (1 + wide + length)  # what underflows, factors among it
    limits = _down(thresholds.astype(np.float64) - error).astype(np.float64)
    limits = _down(np.where(limits > 0, limits / (1 + _ROUNDED), limits / (1 - _ROUNDED)))
    lowered = torch.from_numpy(limits).bfloat16()
    lowered = torch.where(lowered.float() > torch.from_numpy(limits), _next_below(lowered), lowered)
    if bool((lowered.view(torch.int16) >= 0).all()):  # then the bits compare as the numbers do, and much faster
        torch.gt(products.view(torch.int16), lowered.view(torch.int16), out=passed)
    else:
        torch.gt(products, lowered, out=passed)
    places = np.flatnonzero(passed.numpy())
    return places if len(places) <= most else None


@lru_cache(maxsize=64)
def bfloat16_holds(d: int) -> bool:
    """Whether this machine multiplies bfloat16 vectors of d components fast and within the bound, as tried out."""
    import torch

    if not torch.cpu._is_avx512_bf16_supported():
        return False
    rng = np.random.default_rng(0)
    left, right = (rng.standard_normal((n, d)).astype(np.float32) for n in (48, 80))
    left[:2], right[:2] = 1, [[-1.0], [1.0]]
    sides = [Bfloat16Side.of(Float32Side.of(vectors, "cpu")) for vectors in (left, right)]
    room = Bfloat16Room(48, 80, d)
    exact = left.astype(np.float64) @ right.astype(np.float64).T
    for of_row in (-np.abs(exact).max(axis=1) - 1, np.median(exact, axis=1), exact.max(axis=1) * 0.9):
        limits = of_row.astype(np.float32)
        found = bfloat16_passing(sides[1], sides[0], limits, room, 48 * 80)
        if found is None or not set(np.flatnonzero((exact > limits[:, None]).T).tolist()) <= set(found.tolist()):
            return False
    return True


def _next_below(values: torch.Tensor) -> torch.Tensor:
    """The bfloat16 before each finite value."""
    import torch

    bits = values.view(torch.int16)
    steps = torch.where(values > 0, bits - 1, bits + 1)
    least = torch.tensor(-(2**15) + 1, dtype=torch.int16)  # the smallest negative number
    return torch.where(values == 0, least, steps).view(torch.bfloat16)
