"""Which queries a golden set can be made of, and which of their judged pairs it would hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from mr_st.data.dataset import GradedDataset
from mr_st.data.schema import arrow_table
from mr_st.errors import UsageError
from mr_st.text.normalise import tokens

__all__ = ["Candidates", "find_candidates", "locale_keys", "meaning_rows"]


@dataclass(frozen=True, eq=False)
class Candidates:
    """Queries that can stand in the golden set, one of each group, in the order of their rows.

    Queries of one group mean the same: a query, its variants (``source_query_id``), and queries of the same words.

    Args:
        query_rows: int64 (n,).
        is_unseen: bool (n,): no query of the group has a training judgment, or all of them leave training.
        is_held_out: bool (n,): all judgments of the group leave training.
        is_spelling: bool (n,): the query is misspelt as it is.
        pairs: judgment_row, query_row, item_row, grade of the pairs that each would bring.
        judgments: The same, with split and group, for every judgment of the dataset.
        group: int64 (n_queries,) the group of each query of the dataset.
        skipped: Why other groups of the split or of training cannot be used, with how many.
    """

    query_rows: np.ndarray
    is_unseen: np.ndarray
    is_held_out: np.ndarray
    is_spelling: np.ndarray
    pairs: pl.DataFrame
    judgments: pl.DataFrame
    group: np.ndarray
    skipped: dict[str, int]


def find_candidates(
    dataset: GradedDataset,
    split: str,
    moved_share: float,
    positive_grade: int,
    n_unseen: int,
    rng: np.random.Generator,
) -> Candidates:
    """Find the candidates.

    A group without training judgments brings the pairs that one of its queries has in the split. A group with
    training judgments brings these too, where the split has any; else a share of a training query's pairs of each
    grade, rounded down, so that training keeps every grade that the query had. Every candidate brings a positive.
    Where the split has fewer than ``n_unseen`` unseen queries, training queries drawn at random are held out whole.

    Args:
        dataset: The judgments.
        split: Where the golden set will stand.
        moved_share: Of a training query's pairs of each grade.
        positive_grade: From which grade a pair is positive.
        n_unseen: How many unseen queries will be wanted.
        rng: Draws the pairs that move and the queries that are held out.
    """
    group = _groups(dataset)
    kinds = np.array(arrow_table(dataset.queries)["kind"].to_pylist(), dtype=object) == "spelling"
    judgments = _judgments(dataset, group)
    key = ["group", "item_row"]
    elsewhere = judgments.filter(pl.col("split") != split).select(key).unique()
    here = judgments.filter(pl.col("split") == split).join(elsewhere, on=key, how="anti")
    not_train = judgments.filter(pl.col("split") != "train").select(key).unique()
    train = judgments.filter(pl.col("split") == "train").join(not_train, on=key, how="anti")
    shuffled = train.with_columns(pl.Series("draw", rng.random(train.height))).sort("query_row", "grade", "draw")
    of_grade = pl.int_range(pl.len()).over("query_row", "grade")
    moved = shuffled.filter(of_grade < (pl.len().over("query_row", "grade") * moved_share).floor()).drop("draw")

    seen = judgments.filter(pl.col("split") == "train").select("group").unique()
    is_seen = np.zeros(int(group.max(initial=-1)) + 1, dtype=bool)
    is_seen[seen["group"].to_numpy()] = True
    kept = _best_of_group(here, kinds, positive_grade)
    shared = _best_of_group(moved, kinds, positive_grade).join(kept.select("group"), on="group", how="anti")
    whole = _best_of_group(train, kinds, positive_grade).join(kept.select("group"), on="group", how="anti")
    n_whole = max(0, n_unseen - int((~is_seen[kept["group"].to_numpy()]).sum()))
    drawn = rng.permutation(whole.height)[:n_whole]
    whole = whole[np.sort(drawn).tolist()]
    shared = shared.join(whole.select("group"), on="group", how="anti")

    parts, pairs = [], []
    for chosen, source, held_out in ((kept, here, False), (shared, moved, False), (whole, train, True)):
        parts.append(chosen.select("query_row", "group", pl.lit(held_out).alias("held_out")))
        pairs.append(source.join(chosen.select("query_row"), on="query_row", how="semi"))
    every = pl.concat(parts).sort("query_row")
    rows = every["query_row"].to_numpy()
    is_held_out = every["held_out"].to_numpy()
    unseen = ~is_seen[every["group"].to_numpy()] | is_held_out
    usable = judgments.filter(pl.col("split").is_in(["train", split])).select("group").unique()
    n_left = usable.join(every.select("group"), on="group", how="anti").height
    skipped = {"no positive pair that could be held out": n_left} if n_left else {}
    columns = ["judgment_row", "query_row", "item_row", "grade"]
    together = pl.concat(pairs).select(columns).sort("query_row", "item_row")
    return Candidates(rows, unseen, is_held_out, kinds[rows], together, judgments, group, skipped)


def locale_keys(locales: list[str], asked: Mapping[str, float]) -> np.ndarray:
    """int64 (n,): the place of the asked locale or language that each locale is of, ``len(asked)`` where none is.

    Raises:
        UsageError: one asked key holds another ("es" and "es-MX").
    """
    keys = [key.replace("_", "-").lower() for key in asked]
    for i, one in enumerate(keys):
        if any(other == one or other.startswith(f"{one}-") for j, other in enumerate(keys) if i != j):
            raise UsageError(
                f"locale_shares: {one!r} stands for another key too ({', '.join(asked)}); name one of them"
            )
    place = {}
    for locale in sorted(set(locales)):
        plain = locale.replace("_", "-").lower()
        hits = (i for i, key in enumerate(keys) if plain == key or plain.startswith(f"{key}-"))
        place[locale] = next(hits, len(keys))
    return np.array([place[locale] for locale in locales], dtype=np.int64)


def meaning_rows(dataset: GradedDataset) -> np.ndarray:
    """int64 (n_queries,): the row that says what each query means: its own, or that of what it is a variant of."""
    table = arrow_table(dataset.queries)
    row_of = {query_id: row for row, query_id in enumerate(table["query_id"].to_pylist())}
    sources = table["source_query_id"].to_pylist()
    rows = np.array([row_of.get(of, row) for row, of in enumerate(sources)], dtype=np.int64)
    for _ in range(8):  # variants of variants; a circle ends somewhere on it
        rows = rows[rows]
    return rows


def _groups(dataset: GradedDataset) -> np.ndarray:
    """int64 (n_queries,): queries of one number are variants of each other or have the same words."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(dataset.queries)
    first: dict[tuple[str, ...], int] = {}
    same = [first.setdefault(tuple(tokens(text)) or (text,), row) for row, text in enumerate(dataset.query_texts())]
    ends = np.concatenate([meaning_rows(dataset), np.array(same, dtype=np.int64)])
    starts = np.tile(np.arange(n), 2)
    links = coo_array((np.ones(2 * n, dtype=np.int8), (starts, ends)), shape=(n, n))
    return connected_components(links, directed=False)[1].astype(np.int64)


def _judgments(dataset: GradedDataset, group: np.ndarray) -> pl.DataFrame:
    """judgment_row, query_row, item_row, grade, split, group of every judgment."""
    dataset.judged_pairs()  # refuses unknown ids and grades
    table = arrow_table(dataset.judgments)
    query_rows = dataset.query_rows(table["query_id"].to_pylist())
    return pl.DataFrame(
        {
            "judgment_row": np.arange(table.num_rows),
            "query_row": query_rows,
            "item_row": dataset.item_rows(table["item_id"].to_pylist()),
            "grade": table["grade"].to_numpy(),
            "split": table["split"].to_pylist(),
            "group": group[query_rows],
        },
        schema_overrides={"split": pl.String},
    )


def _best_of_group(pairs: pl.DataFrame, is_spelling: np.ndarray, positive_grade: int) -> pl.DataFrame:
    """query_row and group: of each group the query with a positive pair that is not misspelt, with the most pairs."""
    counted = pairs.group_by("query_row", "group").agg(
        pl.len().alias("n"), (pl.col("grade") >= positive_grade).sum().alias("n_positive")
    )
    counted = counted.filter(pl.col("n_positive") > 0)
    counted = counted.with_columns(pl.Series("spelling", is_spelling[counted["query_row"].to_numpy()]))
    best = counted.sort(["spelling", "n", "query_row"], descending=[False, True, False])
    return best.unique("group", keep="first", maintain_order=True).select("query_row", "group").sort("query_row")
