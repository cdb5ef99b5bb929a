"""Edit distance with transpositions, and the alignment that gives it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Step", "align", "edit_distance"]


class Step(NamedTuple):
    """One step of an alignment: ``before`` (0 to 2 elements of the first text) became ``after``.

    ``kind`` is keep, substitute, delete, insert or transpose; ``at`` is where ``before`` starts in the first text.
    """

    kind: str
    at: int
    before: tuple[str, ...]
    after: tuple[str, ...]


def edit_distance(first: Sequence[str], second: Sequence[str]) -> int:
    """Damerau's distance in its optimal-string-alignment form: nothing is edited twice.

    Args:
        first, second: Texts (compared by code point) or sequences of grapheme clusters.

    Source: Damerau, 1964; the restricted form of Wagner and Fischer's table.

    Example:
        >>> edit_distance("receive", "recieve"), edit_distance("ca", "abc")
        (1, 3)
    """
    start, end_1, end_2 = 0, len(first), len(second)
    while start < min(end_1, end_2) and first[start] == second[start]:
        start += 1
    while end_1 > start and end_2 > start and first[end_1 - 1] == second[end_2 - 1]:
        end_1, end_2 = end_1 - 1, end_2 - 1
    a, b = first[start:end_1], second[start:end_2]
    if not a or not b:
        return len(a) + len(b)
    older: list[int] = []
    above = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        row = [i]
        for j, y in enumerate(b, start=1):
            least = above[j - 1] if x == y else 1 + min(above[j - 1], above[j], row[-1])
            if i > 1 and j > 1 and x == b[j - 2] and y == a[i - 2] and older[j - 2] < least:
                least = min(least, older[j - 2] + 1)
            row.append(least)
        older, above = above, row
    return above[-1]


def align(first: Sequence[str], second: Sequence[str]) -> list[Step]:
    """The steps of one least-cost alignment, from left to right; their costs sum to :func:`edit_distance`.

    Among equals the first element that can be is kept; then comes a transposition, a substitution, a deletion, an
    insertion.

    Example:
        >>> [step.kind for step in align("abc", "acb")]
        ['keep', 'transpose']
    """
    n, m = len(first), len(second)
    cost = [[0] * (m + 1) for _ in range(n + 1)]  # of what is left of the two
    for i in range(n, -1, -1):
        for j in range(m, -1, -1):
            if i == n or j == m:
                cost[i][j] = n - i + m - j
                continue
            is_other = first[i] != second[j]
            least = min(cost[i + 1][j + 1] + is_other, cost[i + 1][j] + 1, cost[i][j + 1] + 1)
            if _is_swap(first, second, i, j):
                least = min(least, cost[i + 2][j + 2] + 1)
            cost[i][j] = least
    steps: list[Step] = []
    i = j = 0
    while i < n or j < m:
        here, both = cost[i][j], i < n and j < m
        if both and first[i] == second[j] and here == cost[i + 1][j + 1]:
            kind, ahead_1, ahead_2 = "keep", 1, 1
        elif _is_swap(first, second, i, j) and here == cost[i + 2][j + 2] + 1:
            kind, ahead_1, ahead_2 = "transpose", 2, 2
        elif both and here == cost[i + 1][j + 1] + 1:
            kind, ahead_1, ahead_2 = "substitute", 1, 1
        elif i < n and here == cost[i + 1][j] + 1:
            kind, ahead_1, ahead_2 = "delete", 1, 0
        else:
            kind, ahead_1, ahead_2 = "insert", 0, 1
        steps.append(Step(kind, i, tuple(first[i : i + ahead_1]), tuple(second[j : j + ahead_2])))
        i, j = i + ahead_1, j + ahead_2
    return steps


def _is_swap(first: Sequence[str], second: Sequence[str], i: int, j: int) -> bool:
    if i + 1 >= len(first) or j + 1 >= len(second):
        return False
    return first[i] == second[j + 1] and first[i + 1] == second[j] and first[i] != first[i + 1]
