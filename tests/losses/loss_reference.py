"""The written formulas of method.md as plain loops over Python floats. Slow, and meant to be read."""

from __future__ import annotations

import math

import torch

PAPER = {
    "lower": {1: 0.4, 2: 0.75},
    "upper": {0: 0.25, 1: 0.6},
    "optimum_up": {1: 0.6, 2: 1.25},
    "optimum_down": {0: -0.25, 1: 0.3},
}


def instances_of(labels: torch.Tensor, n_queries: int) -> list[list[tuple[int, int]]]:
    """For each query row, its (pair number, grade)s."""
    out: list[list[tuple[int, int]]] = [[] for _ in range(n_queries)]
    for pair, (query, _, grade) in enumerate(labels.tolist()):
        out[query].append((pair, grade))
    return out


def cosines(queries: torch.Tensor, items: torch.Tensor, labels: torch.Tensor) -> list[float]:
    out = []
    for query, item, _ in labels.tolist():
        q, u = queries[query].tolist(), items[item].tolist()
        dot = math.fsum(a * b for a, b in zip(q, u, strict=True))
        out.append(dot / math.sqrt(math.fsum(a * a for a in q)) / math.sqrt(math.fsum(b * b for b in u)))
    return out


def supcon(s: list[float], labels: torch.Tensor, n_queries: int, tau: float, positives: str) -> tuple[float, int]:
    """Sum over instances, and how many are skipped."""
    total, skipped = 0.0, 0
    for instance in instances_of(labels, n_queries):
        grades = {grade for _, grade in instance}
        if len(grades) < 2:
            skipped += 1
            continue
        floor = min(grades) if positives == "relative" else 0
        inside = [(s[pair], grade) for pair, grade in instance]
        highest = max(score / tau for score, _ in inside)
        log_denominator = highest + math.log(math.fsum(math.exp(score / tau - highest) for score, _ in inside))
        chosen = [(score, grade) for score, grade in inside if grade > floor]
        weight = sum(grade for _, grade in chosen)
        total -= math.fsum(grade * (score / tau - log_denominator) for score, grade in chosen) / weight
    return total, skipped


def circle_exponents(s, grade, gamma, bands, as_higher: bool, weight_at=None):
    """-gamma * [O - s]_+ * (s - D) for the higher grade, and its twin for the lower one. ``s`` may be a tensor;
    ``weight_at`` is the similarity that the factor in brackets is taken at (s itself by default)."""
    at = s if weight_at is None else weight_at
    if as_higher:
        return -gamma * max(bands["optimum_up"][grade] - at, 0.0) * (s - bands["lower"][grade])
    return -gamma * min(bands["optimum_down"][grade] - at, 0.0) * (s - bands["upper"][grade])


def circle(s, labels, n_queries, gamma, bands=PAPER, average_lower=True) -> tuple[float, int]:
    """Sum over instances and grade pairs, and how many instances are skipped."""
    total, skipped = 0.0, 0
    for instance in instances_of(labels, n_queries):
        grades = sorted({grade for _, grade in instance})
        skipped += len(grades) < 2
        for low in grades:
            for high in grades:
                if high <= low:
                    continue
                a = [circle_exponents(s[p], high, gamma, bands, True) for p, g in instance if g == high]
                b = [circle_exponents(s[p], low, gamma, bands, False) for p, g in instance if g == low]
                # log(1 + X * Y / n) with the sums taken relative to their largest terms, so that exp() stays finite
                x = max(a) + math.log(math.fsum(math.exp(v - max(a)) for v in a))
                y = max(b) + math.log(math.fsum(math.exp(v - max(b)) for v in b))
                z = x + y - (math.log(len(b)) if average_lower else 0.0)
                total += max(z, 0.0) + math.log1p(math.exp(-abs(z)))
    return total, skipped


def circle_with_fixed_weights(scores: torch.Tensor, labels, n_queries, gamma, bands=PAPER) -> torch.Tensor:
    """The same sum as a differentiable scalar in which the weights are plain numbers. For moderate gamma."""
    total = scores.new_zeros(())
    fixed = scores.tolist()
    for instance in instances_of(labels, n_queries):
        grades = sorted({grade for _, grade in instance})
        for low in grades:
            for high in grades:
                if high <= low:
                    continue
                x = y = 0.0
                n_low = 0
                for p, g in instance:
                    if g == high:
                        x = x + torch.exp(circle_exponents(scores[p], g, gamma, bands, True, fixed[p]))
                    if g == low:
                        y = y + torch.exp(circle_exponents(scores[p], g, gamma, bands, False, fixed[p]))
                        n_low += 1
                total = total + torch.log(1 + x * y / n_low)
    return total
