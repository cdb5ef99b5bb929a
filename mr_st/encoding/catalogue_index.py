"""A catalogue made searchable and saved: what a practitioner builds once, ships, and searches by text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pyarrow as pa

from mr_st.data.parquet import read_parquet
from mr_st.encoding.catalogue_files import (
    FORMAT,
    CatalogueItems,
    StaleIndexError,
    files_of,
    find_changes,
    lies_whole,
    read_index_file,
    refuse_damage,
    refuse_foreign,
    remove_leftovers,
    write_index_file,
)
from mr_st.encoding.catalogue_parts import (
    ITEM_SCHEMA,
    Kind,
    about_model,
    check_options,
    graph_recall,
    open_model,
    open_searcher,
    plan_parts,
    versions,
    write_parts,
)
from mr_st.encoding.encode import encode
from mr_st.errors import MrStError, UsageError
from mr_st.files import alone_in, ensure_writable
from mr_st.identity import model_hash, settings_hash
from mr_st.search import QueryBatch, Searcher, TopK

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["CatalogueIndex", "Hit", "Kind", "StaleIndexError"]


@dataclass(frozen=True)
class Hit:
    """One item found for a query: its rank from 1, its ``item_id``, title and score."""

    rank: int
    item_id: str
    title: str
    score: float


class CatalogueIndex:
    """A saved index of a catalogue, with all that is needed to prove that it fits a model and a dataset.

    The folder holds ``index.json`` and, in a folder named by the content's hash, item ids and titles (Parquet), unit
    vectors (float16 ``.npy``), and the HNSW graph or the BM25 postings that the kind has. It can be copied anywhere.
    Made with :meth:`build` or :meth:`load`.

    Example:
        >>> import tempfile
        >>> items = [{"item_id": "a", "title": "Red running shoes"}, {"item_id": "b", "title": "Coffee mug"}]
        >>> index = CatalogueIndex.build(None, items, tempfile.mkdtemp(), kind="bm25")
        >>> index.search("coffee", k=1)[0].item_id
        'b'
    """

    def __init__(
        self,
        folder: Path,
        about: dict[str, Any],
        items: pa.Table,
        searcher: Searcher,
        model: SentenceTransformer | None,
    ):
        self.folder, self.about, self.items, self.searcher, self.model = folder, about, items, searcher, model

    def __len__(self) -> int:
        return len(self.searcher)

    def __repr__(self) -> str:
        return f"CatalogueIndex({str(self.folder)!r}: {len(self):,} items, {self.kind})"

    @property
    def kind(self) -> str:
        """``exact``, ``hnsw``, ``bm25`` or ``hybrid``; what ``auto`` chose."""
        return str(self.about["kind"])

    @property
    def recall(self) -> dict[str, Any] | None:
        """Measured when it was built: what its graph finds of exact search's top k, a sample of the items as queries
        (value, low, high, n, k); None where nothing is approximate.
        """
        found: dict[str, Any] | None = self.about["recall"]
        return found

    @classmethod
    def build(
        cls,
        model: SentenceTransformer | str | Path | None,
        dataset_or_items: Any,
        folder: str | Path,
        *,
        kind: Kind = "auto",
        item_text_levels: int | None = 2,
        max_chars: int | None = 400,
        hnsw: Mapping[str, Any] | None = None,
        bm25: Mapping[str, Any] | None = None,
        hybrid: Mapping[str, Any] | None = None,
        batch_size: int = 64,
        store: str | Path | None = None,
        model_name: str | None = None,
        show_progress: bool = False,
    ) -> CatalogueIndex:
        """Encode the items and index them into ``folder``; an index that lies there serves until the new one is whole.

        A killed build goes on where it stopped: shards of vectors and of the graph are kept. Where the index that lies
        there is of the same model, items and settings, and whole, it is opened and nothing is built.

        Args:
            model: A SentenceTransformer, or its folder, Hub id or ``minilm``; None for ``kind="bm25"``.
            dataset_or_items: A GradedDataset, or a table of items with item_id and title (category_path, locale).
            folder: New, empty, or an index; on this machine's file system.
            kind: ``"exact"``, ``"hnsw"``, ``"bm25"`` (by words), ``"hybrid"`` (dense and by words), or ``"auto"``:
                exact up to 50,000 items, beyond by the cost rule for 100,000 queries
                (:func:`~mr_st.search.cost.choose_plan`), as the dense part of a hybrid is.
            item_text_levels: Taxonomy levels in an item's text, as in training.
            max_chars: Where an item's text is cut, as in training.
            hnsw: Options of :meth:`HnswSearcher.build <mr_st.search.HnswSearcher.build>`.
            bm25: Options of :class:`~mr_st.search.Bm25Searcher`; ``language`` is the items' own by default.
            hybrid: Options of :class:`~mr_st.search.HybridSearcher`, whose searchers are ``dense`` and ``lexical``.
            batch_size: Texts in one forward pass of the model.
            store: Folder that keeps the vectors' shards for other builds; None removes them when the index is whole.
            model_name: What messages call a model that is given as an object.
            show_progress: Show progress bars.

        Raises:
            UsageError: no model where one is needed, an unknown kind or option, or a folder of something else.
            DataError: the items lack ids or titles, or an id stands twice.
            MrStError: the folder cannot be written, or another build is at work in it.
        """
        options = {"hnsw": dict(hnsw or {}), "bm25": dict(bm25 or {}), "hybrid": dict(hybrid or {})}
        check_options(kind, options)
        if kind != "bm25" and model is None:
            raise UsageError(f"an index of kind {kind!r} needs a model; give one, or kind='bm25'")
        folder = Path(folder)
        refuse_foreign(folder)
        items = CatalogueItems.read(dataset_or_items, item_text_levels, max_chars)
        encoder, name = (None, None) if kind == "bm25" or model is None else open_model(model)
        facts = None if encoder is None else about_model(encoder, name or model_name)
        plan = plan_parts(kind, items, _dimension(encoder), options)
        content = {
            "format": FORMAT,
            **plan,
            "items": items.identity,
            "item_text": {"levels": item_text_levels, "max_chars": max_chars},
        }
        key = settings_hash([content, None if facts is None else facts["hash"]])
        ensure_writable(folder)
        with alone_in(folder):
            if not lies_whole(folder, key):
                threads = options["hnsw"].get("threads")
                write_parts(encoder, items, plan, folder, key, threads, batch_size, store, show_progress)
                about = {
                    **content,
                    "key": key,
                    "model": facts,
                    "dataset": items.source,
                    "settings": open_searcher(folder / key, plan).settings,
                    "recall": graph_recall(folder / key, plan),
                    "versions": versions(),
                    "files": files_of(folder / key),
                }
                write_index_file(folder, about)
            remove_leftovers(folder, key)
        return cls.load(folder, encoder, check=False)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        model: SentenceTransformer | str | Path | None = None,
        check: bool = True,
        *,
        dataset: Any = None,
    ) -> CatalogueIndex:
        """Open a saved index, and refuse one that is damaged, or stale for what is given.

        Args:
            folder: What :meth:`build` wrote.
            model: The model that encodes queries, as for :meth:`build`. None loads the one that the index names, when
                the first query comes (a Hub id or ``minilm``; a local folder must be given here).
            check: Compare every file's content with its hash (reads all of it once); else sizes only.
            dataset: A GradedDataset or a table of items that the index must have been built of; None for any.

        Raises:
            StaleIndexError: the model or the items are others; it says which.
            MrStError: no index, a file is missing or damaged, or another version wrote it.
        """
        folder = Path(folder)
        about = read_index_file(folder)
        refuse_damage(folder, about, check)
        encoder = None if model is None or about["model"] is None else open_model(model)[0]
        items = None
        if dataset is not None:
            items = CatalogueItems.read(dataset, about["item_text"]["levels"], about["item_text"]["max_chars"])
        changes = find_changes(about, model=None if encoder is None else model_hash(encoder), items=items)
        if changes:
            raise StaleIndexError(folder, changes)
        content = folder / about["key"]
        table = read_parquet(content / "items.parquet")
        searcher = open_searcher(content, about)
        is_one = len(table) == len(searcher) == about["items"].get("n") and searcher.settings == about["settings"]
        if not is_one or table.schema.names != ITEM_SCHEMA.names:
            raise MrStError(f"{folder}: its parts are not of one index; build it again")
        return cls(folder, about, table, searcher, encoder)

    @overload
    def search(self, queries: str, k: int = ...) -> list[Hit]: ...  # type: ignore[overload-overlap]  # str first

    @overload
    def search(self, queries: Sequence[str], k: int = ...) -> list[list[Hit]]: ...

    def search(self, queries: str | Sequence[str], k: int = 10) -> list[Hit] | list[list[Hit]]:
        """The best items of each query, best first; fewer than ``k`` where fewer are found.

        Args:
            queries: Query texts, or one.
            k: 1 or more.

        Returns:
            A list for each query; for one text, its list alone.

        Raises:
            UsageError: k below 1, or the index needs a model and none is known.
        """
        top = self.top_k([queries] if isinstance(queries, str) else list(queries), k)
        rows = np.unique(top.ids[top.ids >= 0])
        found = dict(zip(rows.tolist(), self.items.take(pa.array(rows)).to_pylist(), strict=True))
        hits = [
            [
                Hit(rank, found[row]["item_id"], found[row]["title"], score)
                for rank, (row, score) in enumerate(zip(ids.tolist(), scores.tolist(), strict=True), 1)
                if row >= 0
            ]
            for ids, scores in zip(top.ids, top.scores, strict=True)
        ]
        return hits[0] if isinstance(queries, str) else hits

    def top_k(self, queries: Sequence[str], k: int) -> TopK:
        """As :meth:`search`, as item rows (of the catalogue that was indexed) and scores."""
        if self.about["model"] is None:
            return self.searcher.search(QueryBatch(texts=queries), k)
        if k < 1:
            raise UsageError(f"k must be 1 or more, got {k}")
        if not len(queries):
            return TopK(np.empty((0, k), dtype=np.int64), np.empty((0, k), dtype=np.float32))
        if self.model is None:
            self.model = self._own_model()
        return self.searcher.search(QueryBatch(queries, encode(self.model, queries, "query")), k)

    def _own_model(self) -> SentenceTransformer:
        facts = self.about["model"]
        if not facts.get("is_public"):
            raise UsageError(
                f"{self.folder}: made with model {facts['name']}, which is no Hub id; give it: "
                "CatalogueIndex.load(folder, model)"
            )
        model, _ = open_model(facts["name"])
        changes = find_changes(self.about, model=model_hash(model))
        if changes:
            raise StaleIndexError(self.folder, changes)
        return model


def _dimension(model: SentenceTransformer | None) -> int:
    """Of the model's vectors; a model that does not tell is taken for one of 384, which only the plan's costs see."""
    known = getattr(model, "get_embedding_dimension", None)
    return int((known() if callable(known) else None) or 384)
