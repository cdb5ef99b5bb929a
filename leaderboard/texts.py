"""Texts of a task's data, where the data is at hand: queries, item titles, and judged examples of each grade."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mr_st.leaderboard.board import Board, Task
from mr_st.leaderboard.plain import short
from mr_st.leaderboard.results import LeftOut

if TYPE_CHECKING:
    from mr_st.data import GradedDataset

__all__ = ["Example", "Texts", "load_texts"]

_N_EXAMPLES = 6
_BUNDLED, _BUNDLED_TASK = "marketplace", "MarketplaceRetrieval"


@dataclass(frozen=True)
class Example:
    """A query with one judged item a grade, the best first.

    Args:
        query: Its text.
        locale: Of the query (BCP-47); empty where unknown.
        items: Grade, title and locale of each.
    """

    query: str
    locale: str
    items: tuple[tuple[int, str, str], ...]


@dataclass(frozen=True, eq=False)
class Texts:
    """Texts of a task's data: by query id and by item id; empty where the data is not at hand.

    Args:
        queries, items: Id to text; of an item its title.
        examples: Judged pairs of the task's split.
        name, license: Of the dataset that they come from.
    """

    queries: dict[str, str] = field(default_factory=dict)
    items: dict[str, str] = field(default_factory=dict)
    examples: tuple[Example, ...] = ()
    name: str = ""
    license: str = ""


def load_texts(
    board: Board, data: Sequence[str | Path | GradedDataset] = ()
) -> tuple[dict[int, Texts], list[LeftOut]]:
    """The texts of each task whose data is at hand.

    A dataset belongs to a task where its fingerprint is the revision of the task's column. The bundled marketplace is
    taken without being named where a task's revision is the fingerprint that is recorded for it.

    Args:
        board: Rows and columns.
        data: Datasets, or what :meth:`mr_st.data.GradedDataset.load` takes.

    Returns:
        Task's number to its texts; and the given datasets that are of no task.

    Raises:
        MrStError: a dataset that cannot be loaded.
    """
    wanted = {task.revision for task in board.tasks} - {""}
    found: dict[str, GradedDataset] = {}
    left_out = []
    for one in data:
        dataset = _loaded(one)
        if dataset.fingerprint in wanted:
            found.setdefault(dataset.fingerprint, dataset)
        else:
            shown = one.name if dataset is one else str(one)
            left_out.append(
                LeftOut(f"data {short(shown)}", f"its fingerprint {dataset.fingerprint} is of no task's data here")
            )
    if any(fingerprint not in found for fingerprint in _bundled_fingerprints() & wanted):
        dataset = _loaded(_BUNDLED)
        found.setdefault(dataset.fingerprint, dataset)
    texts = {t: _texts(found[task.revision], task) for t, task in enumerate(board.tasks) if task.revision in found}
    return texts, left_out


def _loaded(one: str | Path | GradedDataset) -> GradedDataset:
    from mr_st.data import GradedDataset

    return one if isinstance(one, GradedDataset) else GradedDataset.load(one)


def _bundled_fingerprints() -> set[str]:
    from mr_st.tasks.statistics import read_baselines

    return {entry["fingerprint"] for entry in read_baselines(_BUNDLED_TASK).get("entries", [])}


def _texts(dataset: GradedDataset, task: Task) -> Texts:
    from mr_st.data.schema import arrow_table

    queries, items = arrow_table(dataset.queries), arrow_table(dataset.items)
    return Texts(
        queries=dict(zip(queries["query_id"].to_pylist(), queries["text"].to_pylist(), strict=True)),
        items=dict(zip(items["item_id"].to_pylist(), items["title"].to_pylist(), strict=True)),
        examples=_examples(dataset, task.split) if task.split in dataset.splits else (),
        name=dataset.name,
        license=dataset.license,
    )


def _examples(dataset: GradedDataset, split: str) -> tuple[Example, ...]:
    """Queries that have the most different grades, drawn with a fixed seed, with an item of each grade."""
    from mr_st.data.schema import arrow_table

    pairs = dataset.judged_pairs(split)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(pairs.grades))
    keys = pairs.query_rows[order] * dataset.scale.n_grades + pairs.grades[order]
    _, first = np.unique(keys, return_index=True)  # of each query and grade the pair that was drawn first
    drawn = order[first]
    n_different = np.bincount(pairs.query_rows[drawn], minlength=pairs.n_queries)
    chosen = np.lexsort((rng.permutation(pairs.n_queries), -n_different))[:_N_EXAMPLES]
    chosen = chosen[n_different[chosen] > 0]
    queries, items = arrow_table(dataset.queries), arrow_table(dataset.items)
    examples = []
    for row in chosen:
        of_query = drawn[pairs.query_rows[drawn] == row]
        best_first = of_query[np.argsort(-pairs.grades[of_query], kind="stable")]
        examples.append(
            Example(
                queries["text"][int(row)].as_py(),
                queries["locale"][int(row)].as_py() or "",
                tuple(
                    (
                        int(pairs.grades[pair]),
                        items["title"][int(pairs.item_rows[pair])].as_py(),
                        items["locale"][int(pairs.item_rows[pair])].as_py() or "",
                    )
                    for pair in best_first
                ),
            )
        )
    return tuple(examples)
