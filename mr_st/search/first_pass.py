"""Which pairs of a block may beat a threshold: cheap products with proven errors, so that no true pair is missed.

Each function returns the :class:`Found` pairs of n queries and m items. With u = 2**-24, a float32 product of d terms
is off by at most g |q| |x|, g = d u / (1 - d u), in whatever order it is added (Higham, Accuracy and Stability of
Numerical Algorithms, section 3.1); a margin of a few u covers the rounding of thresholds and of canonical scores.
``_TINY`` covers what underflows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from mr_st.search.canonical import canonical_scores
from mr_st.search.checks import row_norms

if TYPE_CHECKING:
    import torch

__all__ = [
    "Float32Side",
    "Found",
    "Int8Side",
    "Room",
    "double_scores",
    "float32_pairs",
    "float32_passing",
    "int8_is_exact",
    "int8_pairs",
    "kth",
    "product_error",
]

_U = 2.0**-24
_TINY = 2.0**-100


@dataclass(frozen=True)
class Found:
    """Pairs that may beat their query's threshold, query by query.

    Args:
        rows: int64 (p,), query rows in the block, never falling.
        columns: int64 (p,), item rows in the block, rising for a query.
        low: float32 (p,), not above the canonical score.
        high: float32 (p,), not below it.
    """

    rows: np.ndarray
    columns: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Float32Side:
    """Vectors as float32: values (n, d) float32 on the host, norms (n,) float64, device the same values for torch."""

    values: np.ndarray
    norms: np.ndarray
    device: torch.Tensor

    @classmethod
    def of(cls, vectors: np.ndarray, device: str) -> Float32Side:
        """Of float (n, d) vectors, their products made on ``device``."""
        import torch

        values = np.ascontiguousarray(vectors, dtype=np.float32)
        if not values.flags.writeable:
            values = values.copy()  # torch takes no read-only memory
        return cls(values, row_norms(values), torch.from_numpy(values).to(device))


@dataclass(frozen=True)
class Int8Side:
    """Vectors as int8 codes: x is codes * step, off by a vector of length ``residuals`` at most.

    Args:
        codes: int8 (n, d).
        steps: float32 (n,), above 0.
        norms: float32 (n,), not below the true lengths.
        residuals: float32 (n,), not below the true lengths of ``x - codes * step``.
    """

    codes: torch.Tensor
    steps: torch.Tensor
    norms: torch.Tensor
    residuals: torch.Tensor

    @classmethod
    def of(cls, side: Float32Side) -> Int8Side:
        """The codes of float32 vectors."""
        import torch

        values = torch.from_numpy(side.values)
        d = values.shape[1]
        steps = (torch.maximum(values.amax(dim=1), -values.amin(dim=1)) / 127).clamp_(min=2.0**-126)
        scaled = (values / steps[:, None]).round_().clamp_(-127, 127)
        codes = scaled.to(torch.int8)
        off = torch.linalg.vector_norm(scaled.mul_(steps[:, None]).sub_(values), dim=1, dtype=torch.float64)
        norms = torch.from_numpy(side.norms * (1 + 4 * _U))
        # the residual itself was rounded: three roundings a component, and those of its length
        residuals = off * (1 + (d + 8) * _U) + 4 * _U * norms + _TINY
        return cls(codes, steps, (norms + _TINY).float(), residuals.float())

    def part(self, rows: slice) -> Int8Side:
        """Some of the rows, sharing their memory."""
        return Int8Side(self.codes[rows], self.steps[rows], self.norms[rows], self.residuals[rows])

    @property
    def n_bytes(self) -> int:
        """Bytes that all of it takes."""
        return sum(t.numel() * t.element_size() for t in (self.codes, self.steps, self.norms, self.residuals))


@lru_cache(maxsize=64)
def int8_is_exact(d: int) -> bool:
    """Whether this machine multiplies int8 vectors of d components fast (VNNI) and without error, as tried out here.

    Older instructions saturate, and torch 2.13 returns garbage for d = 1.
    """
    import torch

    if not 8 <= d <= 2**31 // 127**2 - 1 or not torch.cpu._is_vnni_supported():
        return False
    rng = np.random.default_rng(0)
    left = rng.integers(-127, 128, size=(48, d), dtype=np.int8)
    right = rng.integers(-127, 128, size=(80, d), dtype=np.int8)
    left[:2], right[:2] = 127, [[-127], [127]]
    out = torch.empty((48, 80), dtype=torch.int32)
    torch._int_mm(torch.from_numpy(left), torch.from_numpy(right).T, out=out)
    return bool(np.array_equal(out.numpy(), left.astype(np.int64) @ right.astype(np.int64).T))


def int8_pairs(queries: Int8Side, items: Int8Side, thresholds: np.ndarray, room: Room, most: int) -> Found | None:
    """Pairs that may score above their query's threshold, by a product of int8 codes.

    With q = s q8 + e and x = t x8 + f, Cauchy and Schwarz give
    ``<q, x> - s t <q8, x8> = <e, x> + <s q8, f> <= |e| |x| + (|q| + |e|) |f|``. Divided by s, and with the largest
    ``a = |e| / s`` and ``b = (|q| + |e|) / s`` of the block's queries, a pair can only pass where
    ``t <q8, x8> + a |x| + b |f| > threshold / s``. The codes' product is exact in int32.

    Args:
        queries, items: n and m vectors.
        thresholds: float32 (n,), finite.
        room: Buffers for at least (n, m).
        most: With more pairs than this the answer is None.
    """
    import torch

    n, m = len(queries.codes), len(items.codes)
    acc, upper = room.integers(n, m), room.floats(n, m)
    torch._int_mm(queries.codes, items.codes.T, out=acc)
    steps = queries.steps.double()
    a = float((queries.residuals.double() / steps).max())
    b = float(((queries.norms.double() + queries.residuals.double()) / steps).max())
    lengths, off = items.norms.double(), items.residuals.double()
    bias = (a * lengths + b * off) * (1 + 16 * _U) + 16 * _U * b * (lengths + off) + _TINY
    upper.copy_(acc).mul_(items.steps).add_(bias.float())
    limits = torch.from_numpy(thresholds).double() / steps
    limits -= limits.abs() * (4 * _U) + _TINY
    places = _above(upper, limits.float().numpy())
    if len(places) > most:
        return None
    rows, columns = np.divmod(places, m)
    high = upper.numpy().reshape(-1)[places].astype(np.float64)
    wide = bias.numpy()[columns]
    step = steps.numpy()[rows]
    # bias holds the roundings of the sum, far more than those of its double and of the way back to float32
    return Found(rows, columns, _down((high - 2.001 * wide) * step), _up((high + 0.001 * wide) * step))


def float32_pairs(
    queries: Float32Side, items: Float32Side, thresholds: np.ndarray, k: int, room: Room, most: int
) -> Found | None:
    """The same by a float32 product, and of these only what may be among the block's best k where all might be many.

    Args:
        queries, items: n and m vectors.
        thresholds: float32 (n,), -inf where anything may enter.
        k: How many are sought.
        room: Buffers for at least (n, m).
        most: With more pairs than this the answer is None.
    """
    import torch

    n, m = len(queries.values), len(items.values)
    products = room.floats(n, m)
    torch.mm(queries.device, items.device.T, out=products)
    d = queries.values.shape[1]
    error = product_error(d) * queries.norms * items.norms.max() + d * 2.0**-120
    limits = thresholds - error
    places = _above(products, _down(limits)) if np.isfinite(thresholds).all() else None
    if places is None or len(places) > most:
        if k < m:
            limits = np.maximum(limits, kth(products, k) - 2 * error)
        places = _above(products, _down(limits))
        if len(places) > most:
            return None
    rows, columns = np.divmod(places, m)
    if products.device.type == "cpu":
        found = products.numpy().reshape(-1)[places]
    else:
        found = products.reshape(-1)[torch.from_numpy(places).to(products.device)].cpu().numpy()
    return Found(rows, columns, _down(found - error[rows]), _up(found + error[rows]))


def float32_passing(
    items: Float32Side, queries: Float32Side, thresholds: np.ndarray, room: Room, most: int
) -> np.ndarray | None:
    """Pairs that may score above their query's threshold, by a float32 product on a CPU; item by item.

    Args:
        items, queries: m and n vectors.
        thresholds: float32 (n,), finite.
        room: Buffers for at least (n, m).
        most: With more pairs than this the answer is None.

    Returns:
        int64 (p,), rising: item row times n, plus query row.
    """
    import torch

    m, n = len(items.values), len(queries.values)
    products, passed = room.floats(m, n), room.flags(m, n)
    torch.mm(items.device, queries.device.T, out=products)
    d = queries.values.shape[1]
    error = product_error(d) * queries.norms * items.norms.max() + d * 2.0**-120
    torch.gt(products, torch.from_numpy(_down(thresholds - error)), out=passed)
    places = np.flatnonzero(passed.numpy())
    return places if len(places) <= most else None


def double_scores(queries: Float32Side, items: Float32Side, thresholds: np.ndarray, k: int) -> np.ndarray:
    """Canonical scores of a whole block by one float64 product; what cannot matter may be a float32 step off.

    Both this product and the canonical one are off by ``g |q| |x|`` at most (g for float64), so the rounding to
    float32 is certain unless a rounding boundary lies within twice that; those few are summed the canonical way.

    Args:
        queries, items: n and m vectors.
        thresholds: float32 (n,); a score that is surely not above it cannot matter.
        k: A score that is surely not among the block's best k cannot matter.

    Returns:
        float32 (n, m).
    """
    wide_queries, wide_items = queries.values.astype(np.float64), items.values.astype(np.float64)
    exact = wide_queries @ wide_items.T
    d = queries.values.shape[1]
    error = 4 * (d + 2) * 2.0**-53 * np.outer(queries.norms, items.norms)
    scores = exact.astype(np.float32)
    unsure = _unsure(exact, error, thresholds, k)
    if len(unsure) > scores.size // 32:  # e.g. one-hot vectors, most of whose products are exactly zero
        np.abs(wide_queries, out=wide_queries)
        np.abs(wide_items, out=wide_items)
        error = 4 * (d + 2) * 2.0**-53 * (wide_queries @ wide_items.T)
        unsure = _unsure(exact, error, thresholds, k)
    rows, columns = np.divmod(unsure, scores.shape[1])
    scores.reshape(-1)[unsure] = canonical_scores(queries.values, items.values, rows, columns)
    return scores


def _unsure(exact: np.ndarray, error: np.ndarray, thresholds: np.ndarray, k: int) -> np.ndarray:
    low, high = (exact - error).astype(np.float32), (exact + error).astype(np.float32)
    matters = high > thresholds[:, None]
    if k < low.shape[1]:
        kth = np.partition(low, low.shape[1] - k, axis=1)[:, low.shape[1] - k]
        matters &= high >= kth[:, None]
    return np.flatnonzero(matters & (low != high))


def product_error(d: int) -> float:
    """The most a product of two unit vectors by ``torch.mm`` in float32 can be off, as torch is set now."""
    import torch

    # tf32 keeps 10 bits of each factor's mantissa, bfloat16 7; "highest" keeps all
    rounded = {"highest": 0.0, "high": 2.0**-9, "medium": 2.0**-6}[torch.get_float32_matmul_precision()]
    return _gamma(d) + rounded


def _gamma(d: int) -> float:
    return 1.01 * (d + 8) * _U


def _down(values: np.ndarray) -> np.ndarray:
    """float64 to float32, never up."""
    return np.nextafter(values.astype(np.float32), np.float32(-np.inf))


def _up(values: np.ndarray) -> np.ndarray:
    """float64 to float32, never down."""
    return np.nextafter(values.astype(np.float32), np.float32(np.inf))


def kth(products: torch.Tensor, k: int) -> np.ndarray:
    """The k-th largest of each row, of more than k."""
    if products.device.type != "cpu":
        return products.topk(k, dim=1).values[:, -1].cpu().numpy()
    place = products.shape[1] - k
    return np.partition(products.numpy(), place, axis=1)[:, place]


def _above(block: torch.Tensor, limits: np.ndarray) -> np.ndarray:
    import torch

    if block.device.type == "cpu":
        return np.flatnonzero(block.numpy() > limits[:, None])
    mask = block > torch.from_numpy(limits).to(block.device)[:, None]
    return torch.nonzero(mask.reshape(-1)).reshape(-1).cpu().numpy()


class Room:
    """Buffers that every block reuses.

    Args:
        n: The most queries of a block.
        m: The most items of a block.
        device: Where products are made.
    """

    def __init__(self, n: int, m: int, device: str):
        import torch

        self._integers = torch.empty(0, dtype=torch.int32)
        self._flags = torch.empty(0, dtype=torch.bool)
        self._floats = torch.empty(n * m, dtype=torch.float32, device=device)
        self._size = n * m

    def integers(self, n: int, m: int) -> torch.Tensor:
        """int32 (n, m), of whatever was in it."""
        import torch

        if not len(self._integers):
            self._integers = torch.empty(self._size, dtype=torch.int32)
        return self._integers[: n * m].view(n, m)

    def floats(self, n: int, m: int) -> torch.Tensor:
        """float32 (n, m), of whatever was in it."""
        return self._floats[: n * m].view(n, m)

    def flags(self, n: int, m: int) -> torch.Tensor:
        """bool (n, m), of whatever was in it."""
        import torch

        if not len(self._flags):
            self._flags = torch.empty(self._size, dtype=torch.bool)
        return self._flags[: n * m].view(n, m)
