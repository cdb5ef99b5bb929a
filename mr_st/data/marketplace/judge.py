"""The policy as a judge of any query and item of a marketplace dataset, by their ids."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mr_st.data.dataset import GradedDataset
from mr_st.data.marketplace.policy import Intent, grade
from mr_st.data.marketplace.shop import Item, item_id_of
from mr_st.data.marketplace.world import World, make_world
from mr_st.errors import DataError, Problem, UsageError
from mr_st.identity import file_hash, settings_hash

__all__ = ["MarketplacePolicy"]


class MarketplacePolicy:
    """The true grade of every (query, item) pair of a marketplace dataset, judged or not.

    Args:
        world: The shop.
        query_ids: Ids in the order of a dataset's rows, for :meth:`grades` by row; the shop's own order when None.
        item_ids: The same for the items.
        same_as: Ids of further queries (misspelt variants) to the id of the query whose meaning they share.

    Example:
        >>> from mr_st.data.marketplace import load_marketplace
        >>> dataset = load_marketplace("tiny")
        >>> policy = MarketplacePolicy.for_dataset(dataset)
        >>> judgment = dataset.judgments[0]
        >>> policy(judgment["query_id"], judgment["item_id"]) == judgment["grade"]
        True
    """

    def __init__(
        self,
        world: World,
        query_ids: Sequence[str] | None = None,
        item_ids: Sequence[str] | None = None,
        same_as: dict[str, str] | None = None,
    ):
        self.world = world
        self._intents: dict[str, Intent] = {query.query_id: query.intent for query in world.queries}
        for variant, source in (same_as or {}).items():
            self._intents[variant] = self._intents[source]
        self._query_ids = list(query_ids) if query_ids is not None else [query.query_id for query in world.queries]
        self._item_ids = None if item_ids is None else list(item_ids)

    @classmethod
    def for_dataset(cls, dataset: GradedDataset) -> MarketplacePolicy:
        """The policy of ``dataset``, whose shop is made again from ``dataset.source`` and compared with its texts.

        A query that is not the shop's own is accepted when its ``source_query_id`` is (a misspelt variant), and one
        of the shop's own in other words when its kind is "spelling" (misspelt in place).

        Raises:
            DataError: the dataset is no marketplace, or has items or queries that its shop does not have.
        """
        source = dataset.source
        if source.get("name") != "marketplace" or not {"size", "seed"} <= set(source):
            what = f"made from {source or 'an unknown source'}, where a marketplace with size and seed is expected"
            raise DataError(Problem(dataset.name, what, "use JudgmentAnnotator or CrossEncoderAnnotator for it"))
        world = make_world(source["size"], source["seed"])
        texts = {query.query_id: query.text for query in world.queries}
        item_ids, query_ids = dataset.items["item_id"][:], dataset.queries["query_id"][:]
        problems = list(_foreign_items(world, zip(item_ids, dataset.items["title"][:], strict=True)))
        sources = dataset.queries["source_query_id"][:]
        same_as: dict[str, str] = {}
        kinds = dataset.queries["kind"][:]
        for query_id, text, of, kind in zip(query_ids, dataset.queries["text"][:], sources, kinds, strict=True):
            if query_id not in texts and of in texts:
                same_as[query_id] = of
            elif kind != "spelling" or query_id not in texts:
                problems += _difference("queries", "text", query_id, text, texts.get(query_id))
        if problems:
            raise DataError(problems)
        return cls(world, query_ids, item_ids, same_as)

    @property
    def identity(self) -> str:
        """Content hash of what the queries mean, of the shop and of all that it is made by: the same, the same grades.

        The items follow from the shop's seed and size, and from the files of this package.
        """
        shop, here = self.world.shop, Path(__file__).parent
        made_by = {path.name: file_hash(path) for path in sorted([*here.glob("*.py"), *here.glob("locales/*.yaml")])}
        intents = {query_id: repr(intent) for query_id, intent in self._intents.items()}
        return settings_hash(["marketplace policy", made_by, intents, shop.seed, repr(self.world.size)])

    def __call__(self, query_id: str, item_id: str) -> int:
        """The grade of one pair.

        Raises:
            UsageError: an unknown id.
        """
        return grade(self._intent(query_id), self._item(item_id))[0]

    def explain(self, query_id: str, item_id: str) -> str:
        """Why the pair has its grade.

        Raises:
            UsageError: an unknown id.
        """
        return grade(self._intent(query_id), self._item(item_id))[1]

    def grades(
        self, queries: Sequence[str] | Sequence[int] | np.ndarray, items: Sequence[str] | Sequence[int] | np.ndarray
    ) -> np.ndarray:
        """int8 (n,) grades of pairs.

        Args:
            queries: (n,) query ids, or rows of the dataset that the policy was made for.
            items: (n,) item ids, or rows.

        Raises:
            UsageError: an unknown id or row, or sequences of different length.
        """
        query_ids, item_ids = _as_ids(queries, self._query_ids, "query"), _as_ids(items, self._ids_of_items(), "item")
        if len(query_ids) != len(item_ids):
            raise UsageError(f"{len(query_ids):,} queries and {len(item_ids):,} items; give one item for each query")
        pairs = zip(query_ids, item_ids, strict=True)
        return np.fromiter((grade(self._intent(q), self._item(i))[0] for q, i in pairs), np.int8, len(query_ids))

    def _intent(self, query_id: str) -> Intent:
        try:
            return self._intents[query_id]
        except KeyError:
            raise UsageError(
                f"query {query_id!r} is not one of this marketplace; grade it with another annotator"
            ) from None

    def _item(self, item_id: str) -> Item:
        item = _item_of(self.world, item_id)
        if item is None:
            raise UsageError(f"item {item_id!r} is not one of this marketplace; grade it with another annotator")
        return item

    def _ids_of_items(self) -> Sequence[str]:
        if self._item_ids is None:
            self._item_ids = [item_id_of(row) for row in range(self.world.shop.n_items)]
        return self._item_ids


_ITEM_ID = re.compile(r"I(\d{7,})")


def _item_of(world: World, item_id: str) -> Item | None:
    found = _ITEM_ID.fullmatch(item_id)
    row = int(found[1]) if found else world.shop.n_items
    return world.shop.item(row) if row < world.shop.n_items and item_id_of(row) == item_id else None


def _as_ids(values: Sequence[str] | Sequence[int] | np.ndarray, ids: Sequence[str], what: str) -> list[str]:
    found = []
    for value in values:
        if isinstance(value, str):
            found.append(value)
        elif 0 <= value < len(ids):
            found.append(ids[value])
        else:
            raise UsageError(f"{what} row {value} is outside 0..{len(ids) - 1}")
    return found


_MEND = "load the marketplace again with the size and seed of its source, or grade with another annotator"


def _foreign_items(world: World, rows: Iterable[tuple[str, str]]) -> Iterator[Problem]:
    for item_id, title in rows:
        item = _item_of(world, item_id)
        yield from _difference("items", "title", item_id, title, item.title if item else None)


def _difference(table: str, column: str, name: str, text: str, own: str | None) -> Iterator[Problem]:
    if own is None:
        yield Problem(table, f"{name!r} is not in the shop that its source makes", _MEND, column=column)
    elif text != own:
        what = f"{name!r} reads {text!r:.60} where the shop has {own!r:.60}"
        yield Problem(table, what, _MEND, column=column)
