"""ROAR's two losses as plain loops over Python floats. Slow, and meant to be read."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

import torch


def log_sum_exp(values: Iterable[float]) -> float:
    values = list(values)
    if not values:
        return -math.inf
    return max(values) + math.log(math.fsum(math.exp(v - max(values)) for v in values))


def log_one_plus_exp(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def all_cosines(queries: torch.Tensor, items: torch.Tensor) -> list[list[float]]:
    def unit(rows: torch.Tensor) -> list[list[float]]:
        return [[x / math.sqrt(math.fsum(y * y for y in row)) for x in row] for row in rows.tolist()]

    return [[math.fsum(a * b for a, b in zip(q, u, strict=True)) for u in unit(items)] for q in unit(queries)]


def masked_infonce(
    cosines: list[list[float]],
    labels: torch.Tensor,
    tau: float,
    margin: float | None = 0.1,
    positives: str = "relative",
    weights: str = "uniform",
) -> list[float | None]:
    """The loss of each query row; None for one without a positive that has a negative."""
    judged = [[(item, grade) for query, item, grade in labels.tolist() if query == row] for row in range(len(cosines))]
    in_batch = {item for _, item, _ in labels.tolist()}
    losses: list[float | None] = []
    for s, own in zip(cosines, judged, strict=True):
        floor = min((grade for _, grade in own), default=0) if positives == "relative" else 0
        total, weight, is_live = 0.0, 0.0, False
        for item, grade in own:
            if grade <= floor:
                continue
            negatives = [s[j] for j, g in own if g < grade]
            for j in in_batch - {j for j, _ in own}:
                if margin is None or s[j] <= s[item] + margin:
                    negatives.append(s[j])
            w = grade if weights == "grade" else 1
            weight += w
            if negatives:
                is_live = True
                total += w * log_one_plus_exp(log_sum_exp(x / tau for x in negatives) - s[item] / tau)
        losses.append(total / weight if is_live else None)
    return losses


def log_odds_of_grade(own: list[tuple[float, int]], grade: int) -> float:
    return log_sum_exp(x for x, g in own if g == grade) - log_sum_exp(x for x, g in own if g != grade)


def alignment(
    cosines: list[list[float]], labels: torch.Tensor, tau: float, odds: str = "pairs"
) -> list[dict[tuple[int, int], float]]:
    """For each query row, -(1/C) log sigmoid(D) of its consecutive grades (higher, lower)."""
    out = []
    for row, s in enumerate(cosines):
        own = [(s[item] / tau, grade) for query, item, grade in labels.tolist() if query == row]
        grades = sorted({grade for _, grade in own})
        # log(P / (1 - P)): the softmax's denominator cancels
        log_odds = [
            x - log_sum_exp(y for j, (y, _) in enumerate(own) if j != i) if len(own) > 1 else 0.0
            for i, (x, _) in enumerate(own)
        ]
        terms = {}
        for low, high in pairwise(grades):
            if odds == "sum":
                losses = [log_one_plus_exp(log_odds_of_grade(own, low) - log_odds_of_grade(own, high))]
            else:
                a = [o for o, (_, g) in zip(log_odds, own, strict=True) if g == high]
                b = [o for o, (_, g) in zip(log_odds, own, strict=True) if g == low]
                if odds == "mean":
                    a, b = [math.fsum(a) / len(a)], [math.fsum(b) / len(b)]
                losses = [log_one_plus_exp(y - x) for x in a for y in b]
            terms[high, low] = math.fsum(losses) / len(losses) / (len(grades) - 1)
        out.append(terms)
    return out
