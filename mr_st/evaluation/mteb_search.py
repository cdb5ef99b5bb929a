"""Any system under mteb.evaluate, through MTEB's SearchProtocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mr_st.errors import UsageError
from mr_st.evaluation.collection import Collection
from mr_st.evaluation.scoring import rank_judged
from mr_st.grades import THREE_GRADES
from mr_st.measures import Judged

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mr_st.evaluation.system import System

__all__ = ["MtebSearch", "as_mteb_search", "falling"]

_LEAST = np.float32(-3e38)  # what stands for "no score": MTEB takes no infinity
_NORMAL = 1 << 23  # the bits of the least float32 that is no denormal


class MtebSearch:
    """A system in the form that ``mteb.evaluate`` searches with (its ``SearchProtocol``).

    MTEB is told the system's own name and revision, a hash of everything that changes what it finds, so that its cache
    never takes one system's result for another's. It ranks as the system does: equal scores, which pytrec_eval would
    order by descending id, are told apart in the last bit. A judged pool (``top_ranked``) is scored pair by pair.

    Args:
        system: What searches.

    Raises:
        UsageError: on a judged pool, for a system that scores no pairs; for a task without texts.

    Example:
        mteb.evaluate(as_mteb_search(HybridSystem(...)), [task], cache=cache)
    """

    def __init__(self, system: System):
        from mteb.models import ModelMeta

        self.system = system
        facts = {key: value for key, value in system.facts.items() if key in ModelMeta.model_fields}
        self.mteb_model_meta = ModelMeta.create_empty(
            {**facts, "name": system.name, "revision": system.revision, "loader": None}
        )
        self._items: tuple[list[str], list[str]] = ([], [])

    def index(self, corpus: Any, **options: Any) -> None:
        """Take the items that are to be searched.

        Args:
            corpus: MTEB's corpus: columns id, text and perhaps title.
            options: What MTEB passes besides.
        """
        self._items = list(corpus["id"]), _texts(corpus)

    def search(
        self,
        queries: Any,
        *,
        top_k: int,
        top_ranked: Mapping[str, Sequence[str]] | None = None,
        task_metadata: Any = None,
        hf_split: str = "test",
        hf_subset: str = "default",
        **options: Any,
    ) -> dict[str, dict[str, float]]:
        """Search for queries, or rank the items that ``top_ranked`` names for each.

        Args:
            queries: MTEB's queries: columns id and text.
            top_k: How many items are wanted for each.
            top_ranked: Query id to the ids of its pool, or None.
            task_metadata, hf_split, hf_subset: MTEB's; they tell the language and name the data.
            options: What MTEB passes besides.

        Returns:
            Query id to item id to score, which falls from rank to rank.
        """
        query_ids, (item_ids, item_texts) = list(queries["id"]), self._items
        pools = _pools(query_ids, item_ids, top_ranked or {})
        language = _language(task_metadata, hf_subset)
        collection = Collection(
            query_ids, _texts(queries), item_ids, item_texts, pools, THREE_GRADES, 0,
            _protocol(task_metadata, hf_split, len(item_ids)),
            {"locale": [language] * len(query_ids)}, judged_pool=top_ranked is not None,
        )  # fmt: skip
        if top_ranked is None:
            top = self.system.search(collection, min(top_k, len(item_ids)))
        else:
            scores = self.system.score_pairs(collection)
            if scores is None:
                raise UsageError(f"{self.system.name} gives no score to a pair, so it cannot rank a judged pool")
            top = rank_judged(pools, scores)
        found = falling(top.scores)
        return {
            query_id: {item_ids[item]: score for item, score in zip(ids[:top_k], row, strict=False) if item >= 0}
            for query_id, ids, row in zip(query_ids, top.ids.tolist(), found.tolist(), strict=True)
        }


def as_mteb_search(system: System) -> MtebSearch:
    """Wrap any system for ``mteb.evaluate``; see :class:`MtebSearch`.

    Args:
        system: What searches.
    """
    return MtebSearch(system)


def falling(scores: np.ndarray) -> np.ndarray:
    """Scores that fall from place to place: an equal one becomes the next float32 below its neighbour.

    Args:
        scores: float32 (n, k), never rising along a row; -inf becomes a large negative number.

    Returns:
        float32 (n, k).

    Example:
        >>> found = falling(np.array([[2, 1, 1, -np.inf]], dtype=np.float32))
        >>> found[0, :2].tolist(), bool((np.diff(found) < 0).all()), float(1 - found[0, 2]) < 1e-6
        ([2.0, 1.0], True, True)
    """
    bits = np.maximum(scores.astype(np.float32) + np.float32(0), _LEAST).view(np.int32)
    order = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64)
    # one number a float, leaving out those next to zero that processors may take for zero
    order = np.where(order >= _NORMAL, order - _NORMAL + 1, np.minimum(order + _NORMAL, 0))
    places = np.arange(scores.shape[1])
    order = np.minimum.accumulate(order + places, axis=1) - places
    order = np.where(order > 0, order + _NORMAL - 1, np.where(order < 0, order - _NORMAL, 0))
    lowered = order.astype(np.int32)
    return (lowered ^ ((lowered >> 31) & 0x7FFFFFFF)).view(np.float32)


def _texts(table: Any) -> list[str]:
    """Title and text as one, as MTEB's own models read them."""
    if "text" not in table.column_names:
        raise UsageError(f"a task without texts (columns {', '.join(table.column_names)}); systems here search texts")
    texts = list(table["text"])
    if "title" not in table.column_names:
        return texts
    titles = list(table["title"])
    return [f"{title} {text}".strip() if title else text for title, text in zip(titles, texts, strict=True)]


def _pools(query_ids: list[str], item_ids: list[str], top_ranked: Mapping[str, Sequence[str]]) -> Judged:
    """The items of each query's pool as judged pairs, whose grades nobody looks at."""
    row_of = {item_id: row for row, item_id in enumerate(item_ids)} if top_ranked else {}
    rows = [sorted({row_of[item_id] for item_id in top_ranked.get(query_id, ())}) for query_id in query_ids]
    counts = np.array([len(of_query) for of_query in rows], dtype=np.int64)
    items = np.concatenate([np.empty(0, dtype=np.int64), *rows]).astype(np.int64)
    return Judged.from_pairs(np.repeat(np.arange(len(rows)), counts), items, np.zeros_like(items), len(rows))


def _language(task_metadata: Any, hf_subset: str) -> str | None:
    """The one language of a task's subset as BCP-47; None where there are several or none is known."""
    from mr_st.evaluation.evaluate import bcp47_of

    if task_metadata is None:
        return None
    of = task_metadata.hf_subsets_to_langscripts
    # a subset beside "default" is a part of it, and searched as the whole is
    codes = of.get("default") or of.get(hf_subset) or task_metadata.bcp47_codes
    return bcp47_of(codes[0]) if len(codes) == 1 else None


def _protocol(task_metadata: Any, split: str, n_items: int) -> dict[str, Any]:
    dataset = {} if task_metadata is None else dict(task_metadata.dataset)
    return {
        "corpus": "MTEB's",
        "n_items": n_items,
        "split": split,
        "dataset": {"name": str(dataset.get("path")), "fingerprint": str(dataset.get("revision"))},
    }
