"""How many queries of each kind to take so that asked shares hold: a small integer programme over the kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mr_st.errors import UsageError

__all__ = ["Quota", "choose_counts", "shortfalls"]

_MISSING_COSTS = 10.0  # a query too few, against one query off in a share
_TOLERANCE = 0.5 + 1e-6  # queries: a share of a whole number is rounded


@dataclass(frozen=True, eq=False)
class Quota:
    """A share of the chosen queries that must be of some kinds.

    Args:
        name: What to call it.
        kinds: bool (k,), which kinds count.
        share: In 0..1.
        at_most: Fewer will do.
    """

    name: str
    kinds: np.ndarray
    share: float
    at_most: bool = False


def choose_counts(
    available: Sequence[int] | np.ndarray,
    quotas: Sequence[Quota],
    n: int,
    *,
    exactly: bool = True,
    allow_shortfall: bool = False,
) -> np.ndarray:
    """How many to take of each kind. Every quota holds to within half a query; kinds that no quota tells apart are
    taken in proportion to what there is of them.

    Args:
        available: (k,) how many there are of each kind.
        quotas: The shares that must hold.
        n: How many to take.
        exactly: Take ``n``; else the largest number up to ``n`` with which all quotas hold.
        allow_shortfall: Where that cannot be, take as many and come as near to the quotas as can be, rather than
            raise.

    Returns:
        int64 (k,).

    Raises:
        UsageError: the quotas cannot hold; it says which fall short and by how much.

    Example:
        >>> unseen = Quota("unseen", np.array([True, False]), 0.3)
        >>> choose_counts([50, 50], [unseen], 20).tolist()
        [6, 14]
        >>> choose_counts([3, 50], [unseen], 40, exactly=False).tolist()
        [3, 8]
    """
    limits = np.asarray(available, dtype=np.float64)
    counts = _solve(limits, quotas, n, exactly, strict=True)
    if counts is None or (not counts.any() and limits.any()):
        nearest = _solve(limits, quotas, n, exactly, strict=False)
        if nearest is None:
            raise UsageError(f"golden set: the asked shares contradict each other ({_said(quotas)}); ask for less")
        if not allow_shortfall:
            raise UsageError(_short(quotas, nearest, n, exactly))
        counts = nearest
    return _spread(limits, quotas, counts)


def shortfalls(quotas: Sequence[Quota], counts: np.ndarray) -> list[str]:
    """One line for each quota that the counts miss by more than half a query."""
    total = int(counts.sum())
    lines = []
    for quota in quotas:
        have, want = int(counts[quota.kinds].sum()), quota.share * total
        if have > want + _TOLERANCE or (have < want - _TOLERANCE and not quota.at_most):
            lines.append(f"{quota.name}: asked {quota.share:.0%} of {total:,} queries, {have:,} can be had")
    return lines


def _solve(limits: np.ndarray, quotas: Sequence[Quota], n: int, exactly: bool, strict: bool) -> np.ndarray | None:
    """The most queries (nearest the quotas, where not ``strict``), or None where nothing fits."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    k, q = len(limits), len(quotas)
    # variables: k counts, then q slacks
    cost = np.concatenate([np.full(k, -_MISSING_COSTS), np.ones(q)])
    slack_limit = 0.0 if strict else np.inf
    constraints = [LinearConstraint(np.r_[np.ones(k), np.zeros(q)], n if exactly and strict else 0, n)]
    for place, quota in enumerate(quotas):
        off = quota.kinds.astype(float) - quota.share
        slack = np.zeros(q)
        slack[place] = 1.0
        constraints.append(LinearConstraint(np.r_[off, -slack], -np.inf, _TOLERANCE))
        if not quota.at_most:
            constraints.append(LinearConstraint(np.r_[off, slack], -_TOLERANCE, np.inf))
    bounds = Bounds(np.zeros(k + q), np.r_[limits, np.full(q, slack_limit)])
    result = milp(cost, constraints=constraints, bounds=bounds, integrality=np.r_[np.ones(k), np.zeros(q)])
    return np.rint(result.x[:k]).astype(np.int64) if result.success else None


def _spread(limits: np.ndarray, quotas: Sequence[Quota], counts: np.ndarray) -> np.ndarray:
    """Other counts with the same sums in all quotas, as near as can be to what proportional fitting gives."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    k, total = len(limits), int(counts.sum())
    target = _fitted(limits, quotas, counts)
    ones, nothing, unit = np.ones(k), np.zeros(k), np.eye(k)
    constraints = [LinearConstraint(np.r_[ones, nothing], total, total)]
    for quota in quotas:
        have = int(counts[quota.kinds].sum())
        low = 0 if quota.at_most else have
        high = max(have, int(np.floor(quota.share * total + _TOLERANCE))) if quota.at_most else have
        constraints.append(LinearConstraint(np.r_[quota.kinds.astype(float), nothing], low, high))
    constraints.append(LinearConstraint(np.hstack([unit, -unit]), -np.inf, target))  # x - d <= target
    constraints.append(LinearConstraint(np.hstack([unit, unit]), target, np.inf))  # x + d >= target
    result = milp(
        np.r_[nothing, ones],
        constraints=constraints,
        bounds=Bounds(np.zeros(2 * k), np.r_[limits, np.full(k, np.inf)]),
        integrality=np.r_[ones, nothing],
    )
    return np.rint(result.x[:k]).astype(np.int64) if result.success else counts


def _fitted(limits: np.ndarray, quotas: Sequence[Quota], counts: np.ndarray) -> np.ndarray:
    """float64 (k,): what there is of each kind, scaled in turns until the quotas' sums fit."""
    total = float(counts.sum())
    target = limits * (total / max(limits.sum(), 1.0))
    for _ in range(60):
        for quota in quotas:
            if quota.at_most:
                continue
            have = float(counts[quota.kinds].sum())
            for kinds, wanted in ((quota.kinds, have), (~quota.kinds, total - have)):
                mass = target[kinds].sum()
                if mass > 0:
                    target[kinds] *= wanted / mass
        target = np.minimum(target, limits)
    return target


def _said(quotas: Sequence[Quota]) -> str:
    return ", ".join(f"{quota.name} {quota.share:.0%}" for quota in quotas)


def _short(quotas: Sequence[Quota], nearest: np.ndarray, n: int, exactly: bool) -> str:
    lines = shortfalls(quotas, nearest)
    total = int(nearest.sum())
    if exactly and total < n:
        lines.insert(0, f"{n:,} queries asked, {total:,} can be used")
    found = "; ".join(lines) or f"no number of queries holds {_said(quotas)}"
    return f"golden set: {found}; ask for less or for fewer queries, or allow a shortfall (--allow-shortfall)"
