"""The draws of the spelling channel: which of a token's letters go wrong, how, and in which writing."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

__all__ = ["Slip", "Token", "edited", "swapped", "thinned"]


class Slip(NamedTuple):
    """One thing that went wrong: ``kind`` is d, 2, t, s or i as in the tables, or ``swap`` for a whole word."""

    kind: str
    before: str
    after: str


class Token(NamedTuple):
    """What is known beforehand of a token: its letters, what can happen to each, and how likely."""

    clusters: tuple[str, ...]
    keys: tuple[str, ...]
    edits: tuple[dict[str, float], ...]
    weights: tuple[float, ...]
    bounds: tuple[float, ...]  # cumulative chances of 0, 1, 2, ... edits
    swaps: tuple[str, ...]


def thinned(planned: list[tuple[int, int]], at_most: int, rng: random.Random) -> list[tuple[int, int]]:
    """Take edits away at random until ``at_most`` are left."""
    single = [entry for at, n in planned for entry in ([(at, 1)] * n or [(at, 0)])]
    while len(single) > at_most:
        single.pop(int(rng.random() * len(single)))
    kept: dict[int, int] = {}
    for at, n in single:
        kept[at] = kept.get(at, 0) + n
    return list(kept.items())


def swapped(token: Token, chance: Callable[[], float], slips: list[Slip]) -> str:
    """One of the words that are taken for the token."""
    wrong = token.swaps[int(chance() * len(token.swaps))]
    slips.append(Slip("swap", "".join(token.clusters), wrong))
    return wrong


def edited(token: Token, n_edits: int, chance: Callable[[], float], slips: list[Slip]) -> str:
    """The token with ``n_edits`` of its letters wrong, or as many as can be; each is told in ``slips``."""
    clusters, keys = token.clusters, token.keys
    out, free = list(clusters), list(token.weights)
    n_left = len(clusters)
    moved: set[int] = set()
    while n_edits:
        at = _drawn(free, chance)
        if at < 0:
            break
        options = token.edits[at]
        edit = list(options)[_drawn(list(options.values()), chance)]
        if (edit == "t" and at + 1 in moved) or (edit == "d" and n_left < 3):
            options = {other: weight for other, weight in options.items() if other != edit}
            if not options:
                free[at] = 0.0
                continue
            edit = list(options)[_drawn(list(options.values()), chance)]
        before = clusters[at]
        free[at] = 0.0
        moved.add(at)
        if edit == "d":
            out[at] = ""
            n_left -= 1
        elif edit == "2":
            out[at] = before * 2
        elif edit == "t":
            before += clusters[at + 1]
            out[at], out[at + 1] = _cased(keys[at + 1], at, token), _cased(keys[at], at + 1, token)
            free[at + 1] = 0.0
            moved.add(at + 1)
        else:
            out[at] = _cased(edit[2:], at, token) if edit[0] == "s" else before + _cased(edit[2:], at, token)
        after = out[at] + out[at + 1] if edit == "t" else out[at]
        slips.append(Slip(edit[0], before, after))
        n_edits -= 1
    return "".join(out)


def _cased(letters: str, at: int, token: Token) -> str:
    return letters if token.clusters[at] == token.keys[at] else letters.upper()


def _drawn(weights: Sequence[float], chance: Callable[[], float]) -> int:
    """A place drawn by weight; -1 where all weights are zero."""
    left = chance() * sum(weights)
    last = -1
    for at, weight in enumerate(weights):
        if weight > 0:
            if left < weight:
                return at
            left -= weight
            last = at
    return last
