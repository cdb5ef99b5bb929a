"""About where the k-th best score lies, told from a sample of the items; whoever uses it checks the outcome."""

from __future__ import annotations

import numpy as np

from mr_st.search.first_pass import Float32Side, kth, product_error

__all__ = ["guess_thresholds", "worth_guessing"]

_LEAST_ITEMS = 16_384
_PLACES = 40  # of the places sought, so many fall into the sample on average
_DOUBT = 4.0  # standard deviations by which the guess stays on the safe side
_BLOCK = 256


def worth_guessing(n_items: int, k: int) -> bool:
    """Whether a sample is much smaller than the catalogue, and saves more than it costs."""
    return n_items >= _LEAST_ITEMS and 8 * k <= n_items <= 400 * k


def guess_thresholds(items: np.ndarray, queries: np.ndarray, k: int, device: str) -> np.ndarray | None:
    """For each query a score that its k-th best very likely exceeds, and by little; float32 (n,).

    Of a sample of s of the N items, some ``r = k s / N`` are among a query's best k, give or take ``sqrt(r)``, however
    the scores are distributed. The guess is the score at rank ``r + 4 sqrt(r) + 4``: too high for about one query in
    30,000. Then fewer than k items exceed it, which the search sees. The sample is seeded, and the guess changes no
    result.

    Args:
        items: float (N, d).
        queries: float (n, d).
        k: How many are sought.
        device: Where torch multiplies.

    Returns:
        None where a sample does not pay.
    """
    import torch

    n_items, d = items.shape
    if not worth_guessing(n_items, k) or not len(queries):
        return None
    n = min(max(_PLACES * n_items // k, 2048), n_items // 4)
    expected = k * n / n_items
    rank = int(expected + _DOUBT * expected**0.5 + 4)
    if rank >= n:
        return None
    rows = np.sort(np.random.default_rng(0).choice(n_items, n, replace=False))
    sample = Float32Side.of(items[rows], device)
    guesses = np.empty(len(queries), dtype=np.float64)
    for first in range(0, len(queries), _BLOCK):
        block = Float32Side.of(queries[first : first + _BLOCK], device)
        with torch.inference_mode():
            found = kth(torch.mm(block.device, sample.device.T), rank)
        error = product_error(d) * block.norms * sample.norms.max() + d * 2.0**-120
        guesses[first : first + _BLOCK] = found - 4 * error
    return np.nextafter(guesses.astype(np.float32), np.float32(-np.inf))
