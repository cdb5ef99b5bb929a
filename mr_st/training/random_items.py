"""Random items of the catalogue beside the judged ones: what an annotator meets when it labels what nobody judged."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from mr_st.annotation import Annotator
from mr_st.data.dataset import GradedDataset
from mr_st.data.pairs import PairTable
from mr_st.errors import UsageError
from mr_st.training.holdout import LabelledPairs, draw

__all__ = ["join_pairs", "random_items_report", "random_pairs"]

_MOST_GRADED = 2000  # random pairs of the held-out queries, for the report


def random_pairs(
    dataset: GradedDataset,
    beside: LabelledPairs,
    per_pair: float,
    seed: int,
    levels: int | None,
    max_chars: int | None,
) -> LabelledPairs:
    """Random items for the queries of labelled pairs, taken as the lowest grade, since few of them can be relevant.

    An item that is judged for the query, its original or a variant of it, in any split, is left out. Items have the
    query's locale where the catalogue has any such. Which items they are depends on the seed and the query alone.

    Args:
        dataset: Queries, catalogue and all that is judged.
        beside: The labelled pairs.
        per_pair: Random items for each of a query's pairs, 0 or more; a fraction is made up over the queries.
        seed: Of the draws.
        levels: Taxonomy levels in an item's text.
        max_chars: Where an item's text is cut.

    Raises:
        UsageError: ``per_pair`` below 0 or not finite.
    """
    if not (np.isfinite(per_pair) and per_pair >= 0):
        raise UsageError(f"random_negatives is {per_pair}; it must be 0 or more, for each judged pair")
    root_of = dict(zip(beside.pairs.query_ids, beside.roots.tolist(), strict=True))
    names, counts = np.unique(np.asarray(beside.pairs.query_ids, dtype=object).astype(str), return_counts=True)
    rows = dataset.query_rows(names.tolist())
    known = _judged_items(dataset)
    original_rows = dataset.query_rows([root_of[name] for name in names.tolist()])
    locales = dataset.queries.select_columns(["locale"])[rows]["locale"]
    pool_of = _items_by_locale(dataset)
    everything = np.arange(len(dataset.items))
    query_rows: list[int] = []
    item_rows: list[int] = []
    owed = 0.0
    for name, count, row, original, locale in zip(
        names.tolist(), counts.tolist(), rows.tolist(), original_rows.tolist(), locales, strict=True
    ):
        owed += per_pair * count
        wanted = round(owed)
        owed -= wanted
        if not wanted:
            continue
        judged = known[row] | known[original]
        pool = pool_of.get(locale, everything)
        rng = np.random.default_rng(int(draw(seed + 2, name)[:16], 16))
        # as many more as may be judged: what is left of them is a draw from the items that are not
        found = pool[rng.choice(len(pool), min(wanted + len(judged), len(pool)), replace=False)].tolist()
        chosen = [item for item in found if item not in judged][:wanted]
        query_rows += [row] * len(chosen)
        item_rows += chosen
    pairs = dataset.pair_table(np.array(query_rows, np.int64), np.array(item_rows, np.int64), levels, max_chars)
    roots = np.array([root_of[name] for name in pairs.query_ids], dtype=object)
    return LabelledPairs(pairs, np.zeros(len(pairs), dtype=np.int64), roots)


def join_pairs(first: LabelledPairs, second: LabelledPairs) -> LabelledPairs:
    """The pairs of both, in a row."""
    columns = (mine + theirs for mine, theirs in zip(_columns(first), _columns(second), strict=True))
    return LabelledPairs(
        PairTable(*columns),
        np.concatenate([first.grades, second.grades]),
        np.concatenate([first.roots, second.roots]),
    )


def random_items_report(
    annotator: Annotator,
    dataset: GradedDataset,
    held: LabelledPairs,
    seed: int,
    levels: int | None,
    max_chars: int | None,
) -> dict[str, Any]:
    """What an annotator makes of random items for the held-out queries; JSON-ready.

    Nobody judged these pairs, so they stand in no figure of agreement; but where many of them are graded above the
    lowest grade, the annotator takes what has nothing to do with the query for relevant.

    Args:
        annotator: Any.
        dataset: Catalogue and queries.
        held: The held-out pairs; as many random ones are drawn, 2,000 at most.
        seed, levels, max_chars: As for :func:`random_pairs`.

    Returns:
        n_pairs and share_above_lowest (None without a pair).
    """
    per_pair = min(1.0, _MOST_GRADED / len(held.grades))
    drawn = random_pairs(dataset, held, per_pair, seed, levels, max_chars).pairs
    grades = annotator.grade(drawn).grades
    return {"n_pairs": len(drawn), "share_above_lowest": float(np.mean(grades > 0)) if len(drawn) else None}


def _judged_items(dataset: GradedDataset) -> dict[int, set[int]]:
    """Of each row of a query, the rows of the items that are judged for it or for a variant of it."""
    known: dict[int, set[int]] = defaultdict(set)
    queries = dataset.queries.select_columns(["query_id", "source_query_id"])[:]
    row_of = {name: row for row, name in enumerate(queries["query_id"])}
    judged = dataset.judged_pairs()
    for query, item in zip(judged.query_rows.tolist(), judged.item_rows.tolist(), strict=True):
        known[query].add(item)
        source = row_of.get(queries["source_query_id"][query])
        if source is not None:
            known[source].add(item)
    return known


def _items_by_locale(dataset: GradedDataset) -> dict[str, np.ndarray]:
    locales = np.asarray(dataset.items.select_columns(["locale"])[:]["locale"], dtype=object).astype(str)
    return {str(locale): np.flatnonzero(locales == locale) for locale in np.unique(locales)}


def _columns(labelled: LabelledPairs) -> list[list[str]]:
    return list(vars(labelled.pairs).values())
