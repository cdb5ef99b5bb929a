"""The parts of a saved catalogue index: which there are, how each is built and opened."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pyarrow as pa

from mr_st.data.parquet import write_parquet
from mr_st.encoding.catalogue_files import WORK, CatalogueItems, remove_unfinished
from mr_st.encoding.encode_stage import EncodeStage
from mr_st.encoding.shard_folder import ShardFolder
from mr_st.encoding.text_encoder import prompt_of
from mr_st.errors import MrStError, UsageError
from mr_st.files import atomic_path
from mr_st.identity import model_hash
from mr_st.search import Bm25Searcher, ExactSearcher, HnswSearcher, HybridSearcher, Searcher
from mr_st.search.cost import choose_plan
from mr_st.search.recall import measure_recall

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["ITEM_SCHEMA", "Kind", "about_model", "check_options", "open_model", "open_searcher", "plan_parts",
           "versions", "write_parts"]  # fmt: skip

Kind = Literal["auto", "exact", "hnsw", "bm25", "hybrid"]

ITEM_SCHEMA = pa.schema([("item_id", pa.string()), ("title", pa.string())])

_RECALL_K = 10
_SEARCH_OPTIONS = ("expansion_search", "oversampling")  # of HnswSearcher.build, what its load takes too
_NOT_OPTIONS = ("ids", "show_progress")
_FEW = 50_000  # items that exact search goes through in milliseconds
_SERVED, _SERVED_K, _MEMORY = 100_000, 100, 64 * 2**30  # queries, depth and bytes that a plan is made for
_PACKAGES = ("mr-st", "sentence-transformers", "torch", "usearch", "bm25s", "PyStemmer")


def check_options(kind: str, options: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse a kind or an option that does not exist.

    Raises:
        UsageError: it names what there is.
    """
    if kind not in get_args(Kind):
        raise UsageError(f"kind is {kind!r}; expected one of {', '.join(get_args(Kind))}")
    takes: dict[str, Callable[..., Any]] = {"hnsw": HnswSearcher.build, "bm25": Bm25Searcher, "hybrid": HybridSearcher}
    for name, given in options.items():
        parameters = inspect.signature(takes[name]).parameters.values()
        known = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in _NOT_OPTIONS}
        unknown = sorted(set(given) - known)
        if unknown:
            raise UsageError(f"{name} has no option {unknown[0]!r}; it has {', '.join(sorted(known))}")


def plan_parts(
    kind: Kind, items: CatalogueItems, dimension: int, options: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The kind that is built, its dense part (exact, hnsw or None), and the options that change what is found."""
    dense: str | None = None if kind == "bm25" else kind
    graph: dict[str, Any] = {}
    if kind in ("auto", "hybrid"):
        dense, graph = _cheapest(len(items), dimension)
    used: dict[str, dict[str, Any]] = {}
    if dense == "hnsw":
        used["hnsw"] = {**graph, **{key: value for key, value in options["hnsw"].items() if key != "threads"}}
    if kind in ("bm25", "hybrid"):
        used["bm25"] = {"language": items.language, **options["bm25"]}
    if kind == "hybrid":
        used["hybrid"] = dict(options["hybrid"])
    return {"kind": dense if kind == "auto" else kind, "dense": dense, "options": used}


def write_parts(
    model: SentenceTransformer | None,
    items: CatalogueItems,
    plan: Mapping[str, Any],
    folder: Path,
    key: str,
    threads: int | None,
    batch_size: int,
    store: str | Path | None,
    show_progress: bool,
) -> None:
    """Write all parts into ``folder/key``, going on with what a killed build left there.

    Args:
        model: Encodes the items; None where no part is dense.
        items: The catalogue.
        plan: What :func:`plan_parts` gave.
        folder: The index's folder; work files lie in it until the index is whole.
        key: Name of the content's folder.
        threads: With which the graph is built; None takes all cores.
        batch_size: Texts in one forward pass.
        store: Folder of vector shards, or None.
        show_progress: Show progress bars.

    Raises:
        MrStError: the folder cannot be written.
    """
    content, work, options = folder / key, folder / WORK, plan["options"]
    content.mkdir(exist_ok=True)
    remove_unfinished(content)
    if plan["dense"] is not None:
        assert model is not None
        stage = EncodeStage(
            model,
            items.texts,
            "item",
            ShardFolder(store or work / "shards"),
            batch_size=batch_size,
            ids=items.ids_list,
        )
        _run(stage, show_progress)
        work.mkdir(exist_ok=True)
        encoded = stage.vectors()
        vectors = encoded.map(work)
        if plan["dense"] == "hnsw":
            HnswSearcher.build(
                vectors, content / "hnsw",
                **{"threads": threads or os.cpu_count() or 1, **options["hnsw"]},
                ids=items.ids_list, show_progress=show_progress,
            )  # fmt: skip
        os.replace(work / f"{encoded.identity}.npy", content / "vectors.npy")
    if "bm25" in options:
        _write_bm25(items, content / "bm25", options["bm25"], show_progress)
    table = pa.table({"item_id": items.ids, "title": items.titles}, schema=ITEM_SCHEMA)
    with atomic_path(content / "items.parquet") as temporary:
        write_parquet(temporary, table.to_batches(), ITEM_SCHEMA)


def open_searcher(content: Path, plan: Mapping[str, Any]) -> Searcher:
    """Open the parts that :func:`write_parts` wrote as one searcher, memory-mapped.

    Raises:
        MrStError: a part is damaged.
    """
    options = plan["options"]
    dense: Searcher | None = None
    if plan["dense"] is not None:
        try:
            vectors = np.load(content / "vectors.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise MrStError(f"{content / 'vectors.npy'}: cannot be read ({error}); build the index again") from error
        if plan["dense"] == "hnsw":
            chosen = {name: options["hnsw"][name] for name in _SEARCH_OPTIONS if name in options["hnsw"]}
            dense = HnswSearcher.load(content / "hnsw", vectors=vectors, check=False, **chosen)
        else:
            dense = ExactSearcher(vectors)
    if "bm25" not in options:
        assert dense is not None
        return dense
    lexical = Bm25Searcher.load(content / "bm25", check=False)
    return lexical if dense is None else HybridSearcher({"dense": dense, "lexical": lexical}, **options["hybrid"])


def graph_recall(content: Path, plan: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the graph finds of exact search's top 10, a sample of the items as queries; None without a graph."""
    if plan["dense"] != "hnsw":
        return None
    graph = open_searcher(content, {**plan, "options": {"hnsw": plan["options"]["hnsw"]}})
    vectors = np.load(content / "vectors.npy", mmap_mode="r", allow_pickle=False)
    return measure_recall(graph, vectors, vectors, min(_RECALL_K, len(vectors))).to_json()


def open_model(model: SentenceTransformer | str | Path) -> tuple[SentenceTransformer, str | None]:
    """A model and the name it was given by, None for an object.

    Raises:
        MrStError: it cannot be loaded.
    """
    if not isinstance(model, (str, Path)):
        return model, None
    from mr_st.models import load_sentence_transformer

    return load_sentence_transformer(model), str(model)


def about_model(model: SentenceTransformer, name: str | None) -> dict[str, Any]:
    """What an index says of its model: a Hub id or alias by name, a local folder by its last part only."""
    is_public = name is not None and not Path(name).expanduser().exists()
    return {
        "hash": model_hash(model),
        "name": "(unnamed)" if name is None else name if is_public else Path(name).resolve().name,
        "is_public": is_public,
        "query_prompt": prompt_of(model, "query"),
        "item_prompt": prompt_of(model, "item"),
    }


def versions() -> dict[str, str]:
    """Versions of the packages that made an index."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _run(stage: EncodeStage, show_progress: bool) -> None:
    from tqdm.auto import tqdm

    with tqdm(total=len(stage.texts), desc=stage.name, unit="text", disable=not show_progress) as progress:
        for shard, size in enumerate(stage.sizes):
            if stage.read(shard) is None:
                stage.run(shard, progress.update)
            else:
                progress.update(size)


def _write_bm25(items: CatalogueItems, folder: Path, options: Mapping[str, Any], show_progress: bool) -> None:
    try:
        Bm25Searcher.load(folder)  # of a killed build, and whole: the folder above it is named by its content
    except MrStError:
        Bm25Searcher(items.texts, **options, show_progress=show_progress).save(folder)


def _cheapest(n_items: int, dimension: int) -> tuple[str, dict[str, Any]]:
    """Exact or hnsw by the cost rule, with the graph's options: the same plan on every machine."""
    if n_items <= _FEW:
        return "exact", {}
    plan = choose_plan(n_items, _SERVED, dimension, _SERVED_K, memory=_MEMORY, threads=2)
    if plan.kind == "exact":
        return "exact", {}
    return "hnsw", {"dtype": plan.dtype, "n_shards": plan.n_shards, "expansion_search": plan.expansion}
