"""The draws of the spelling channel: which of a token's letters go wrong, how, and in which writing."""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

__all__ = ["Slip", "Token", "edited", "swapped", "thinned"]


class Slip(NamedTuple):
    """One thing that went wrong: ``kind`` is d, 2, t, s or i as in the tables, or ``swap`` for a whole word."""

    kind: str
    before: str
    after: str


class Options(NamedTuple):
    """What can happen to a letter: edits, and their cumulative weights."""

    edits: tuple[str, ...]
    bounds: tuple[float, ...]


class Token(NamedTuple):
    """What is known beforehand of a token: its letters, what can happen to each, and how likely."""

    clusters: tuple[str, ...]
    keys: tuple[str, ...]
    options: tuple[Options, ...]
    places: tuple[float, ...]  # cumulative weights of the letters
    bounds: tuple[float, ...]  # cumulative chances of 0, 1, 2, ... edits; empty where nothing can be edited
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
    out = list(clusters)
    n_left = len(clusters)
    moved: set[int] = set()
    while n_edits:
        at = _drawn(token.places, chance, moved)
        if at < 0:
            break
        edits, bounds = token.options[at]
        barred = {n for n, edit in enumerate(edits) if edit == "t"} if at + 1 in moved else set()
        if n_left < 3:
            barred |= {n for n, edit in enumerate(edits) if edit == "d"}
        which = _drawn(bounds, chance, barred)
        moved.add(at)
        if which < 0:
            continue
        edit, before = edits[which], clusters[at]
        if edit == "d":
            out[at] = ""
            n_left -= 1
        elif edit == "2":
            out[at] = before * 2
        elif edit == "t":
            before += clusters[at + 1]
            out[at], out[at + 1] = _cased(keys[at + 1], at, token), _cased(keys[at], at + 1, token)
            moved.add(at + 1)
        else:
            out[at] = _cased(edit[2:], at, token) if edit[0] == "s" else before + _cased(edit[2:], at, token)
        after = out[at] + out[at + 1] if edit == "t" else out[at]
        slips.append(Slip(edit[0], before, after))
        n_edits -= 1
    return "".join(out)


def _cased(letters: str, at: int, token: Token) -> str:
    return letters if token.clusters[at] == token.keys[at] else letters.upper()


def _drawn(bounds: Sequence[float], chance: Callable[[], float], barred: set[int]) -> int:
    """An index drawn by cumulative weights, among those not barred; -1 where none has a weight."""
    if not bounds or bounds[-1] <= 0:
        return -1
    for _ in range(4):  # mostly the first is not barred
        at = _at(bounds, chance() * bounds[-1])
        if at not in barred:
            return at
    weights = [b - a for a, b in zip((0.0, *bounds), bounds, strict=False)]
    left = list(accumulate(0.0 if at in barred else weight for at, weight in enumerate(weights)))
    return _at(left, chance() * left[-1]) if left[-1] > 0 else -1


def _at(bounds: Sequence[float], drawn: float) -> int:
    """The first index whose cumulative weight is above ``drawn``; rounding at the top end falls on the last one."""
    return min(bisect_right(bounds, drawn), bisect_left(bounds, bounds[-1]))
