"""Which queries are held out from a fit, and how much each grade weighs in it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mr_st.data.dataset import GradedDataset
from mr_st.data.pairs import PairTable
from mr_st.errors import UsageError

__all__ = ["ClassWeights", "LabelledPairs", "draw", "hold_out", "weigh_classes"]

ClassWeights = Literal["none", "sqrt", "balanced"]


@dataclass(frozen=True, eq=False)
class LabelledPairs:
    """Pairs with their human grades.

    Args:
        pairs: n pairs, with their texts.
        grades: int64 (n,).
        roots: str (n,): the id of the pair's query, or of the query that it is a variant of.
    """

    pairs: PairTable
    grades: np.ndarray
    roots: np.ndarray


def hold_out(
    dataset: GradedDataset, split: str, share: float, seed: int, levels: int | None, max_chars: int | None
) -> tuple[LabelledPairs, LabelledPairs]:
    """Split a split's judged pairs by query, never by pair.

    A query and its variants (``source_query_id``) stay together. The share is taken from queries of about the same
    number of pairs each (a factor of two), so that rich and sparse queries stand on both sides.

    Args:
        dataset: Human judgments.
        split: Whose.
        share: Of the queries, held out; in 0..1, ends excluded.
        seed: Decides with the query ids, and nothing else, which queries they are.
        levels: Taxonomy levels in an item's text.
        max_chars: Where an item's text is cut.

    Returns:
        The pairs to learn from and the held-out ones.

    Raises:
        UsageError: a share out of range, fewer than two queries, or one grade only to learn from.
    """
    if not 0 < share < 1:
        raise UsageError(f"holdout_share is {share}; it must lie between 0 and 1, both excluded")
    judged = dataset.judged_pairs(split)
    root_of = _roots(list(dataset.queries["query_id"]), list(dataset.queries["source_query_id"]))
    roots = np.array([root_of[row] for row in judged.query_rows])
    names, counts = np.unique(roots, return_counts=True)
    if len(names) < 2:
        raise UsageError(f"{dataset.name}: {len(names)} query in split {split!r}; holding one out needs two or more")
    strata: dict[int, list[str]] = defaultdict(list)
    for name, count in zip(names.tolist(), counts.tolist(), strict=True):
        strata[count.bit_length()].append(name)
    held: list[str] = []
    owed = 0.0  # a stratum's rest goes to the next, so that many small strata still give the share
    for _, members in sorted(strata.items(), reverse=True):
        owed += share * len(members)
        n_here = min(round(owed), len(members))
        owed -= n_here
        held += sorted(members, key=lambda name: draw(seed, name))[:n_here]
    if not held:
        held = [min(names.tolist(), key=lambda name: draw(seed, name))]
    elif len(held) == len(names):
        held.pop()
    is_held = np.isin(roots, held)
    if len(set(judged.grades[~is_held].tolist())) < 2:
        raise UsageError(
            f"{dataset.name}: the pairs to learn from have one grade only; an annotator needs two or more"
        )

    def part(where: np.ndarray) -> LabelledPairs:
        pairs = dataset.pair_table(judged.query_rows[where], judged.item_rows[where], levels, max_chars)
        return LabelledPairs(pairs, judged.grades[where].astype(np.int64), roots[where])

    return part(~is_held), part(is_held)


def draw(seed: int, text: str) -> str:
    """A random-looking key of a text, the same on every machine."""
    return hashlib.sha256(f"{seed}\0{text}".encode()).hexdigest()


def weigh_classes(wanted: ClassWeights | Sequence[float], grades: np.ndarray, n_grades: int) -> list[float]:
    """Weights of the grades in a loss, with mean 1 over the pairs.

    Args:
        wanted: ``"none"``; ``"balanced"``, inverse to each grade's frequency; ``"sqrt"``, the square root of that; or
            one number for each grade, taken as it is.
        grades: int (n,), what is learned from.
        n_grades: G.

    Raises:
        UsageError: an unknown name, or numbers that do not fit.

    Example:
        >>> weigh_classes("balanced", np.array([0, 1, 1, 1]), 2)
        [2.0, 0.666667]
    """
    if not isinstance(wanted, str):
        weights = [float(weight) for weight in wanted]
        if len(weights) != n_grades or not all(weight >= 0 for weight in weights) or not sum(weights):
            raise UsageError(f"class_weights {weights}: expected {n_grades} numbers, none negative and not all 0")
        return weights
    powers = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}
    if wanted not in powers:
        raise UsageError(
            f"class_weights is {wanted!r}; expected one of {', '.join(powers)}, or a number for each grade"
        )
    counts = np.bincount(grades, minlength=n_grades)
    share = np.maximum(counts, 1) / counts.sum()  # a grade that is absent weighs as if it stood there once
    weights_of_pairs = share ** -powers[wanted]
    return (weights_of_pairs / (weights_of_pairs @ (counts / counts.sum()))).round(6).tolist()  # mean 1 over the pairs


def _roots(ids: list[str], sources: list[str | None]) -> list[str]:
    """The id at the end of each query's chain of sources."""
    source_of = {query: source for query, source in zip(ids, sources, strict=True) if source}
    roots = []
    for query in ids:
        seen = {query}
        while (source := source_of.get(query)) and source not in seen:
            seen.add(source)
            query = source
        roots.append(query)
    return roots
