"""``mr-st search``: what a model, the words, or both find in a catalogue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mr_st.cli.data import OptionsOption, SourceArgument, parse_options
from mr_st.cli.io import JsonOption, Out, QuietOption, one_line
from mr_st.errors import MrStError, UsageError

if TYPE_CHECKING:
    from rich.console import Group

    from mr_st.data import GradedDataset
    from mr_st.search import TopK

__all__ = ["add_to"]

_NO_MODEL = "-"

_Search = Callable[[Sequence[str], int], "TopK"]


class _Kind(StrEnum):
    auto = "auto"
    exact = "exact"
    hnsw = "hnsw"
    bm25 = "bm25"
    hybrid = "hybrid"


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog='Example: mr-st search runs/demo/stage2/model marketplace "red running shoes"')(search)


def search(
    model: Annotated[
        str, typer.Argument(help='A model folder, a Hub id, or minilm; "-" with --kind bm25, which needs none.')
    ],
    data: SourceArgument,
    query: Annotated[list[str] | None, typer.Argument(help="What a shopper would type; one or more.")] = None,
    k: Annotated[int, typer.Option("--k", min=1, help="How many items to show.")] = 10,
    kind: Annotated[
        _Kind,
        typer.Option(help="How to search: exact or hnsw (by the model), bm25 (by words), hybrid (both); auto: exact, "
                          "or hnsw where an index of a large catalogue is built."),
    ] = _Kind.auto,
    index: Annotated[
        Path | None, typer.Option(help="Keep the index in this folder: built on first use, opened after.")
    ] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build the index anew where it is stale.")] = False,
    queries: Annotated[Path | None, typer.Option(help="A text file with one query a line.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Keep the item vectors here for the next search.")] = None,
    option: OptionsOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Try a model on a catalogue; a grade is shown where the data has judgments of exactly this query."""
    from mr_st.data import GradedDataset

    console = Out(quiet, as_json)
    texts = _texts(query or [], queries)
    if model == _NO_MODEL and kind not in (_Kind.bm25, _Kind.auto):
        raise UsageError(f'--kind {kind.value} needs a model; "-" is for --kind bm25 only')
    if rebuild and index is None:
        raise UsageError("--rebuild needs --index, the folder of the index")
    dataset = GradedDataset.load(data, **parse_options(option))
    if index is None:
        find = _searcher_in_memory(model, dataset, kind, cache, console)
    else:
        find = _saved_index(model, dataset, kind, index, rebuild, cache, console)
    found = _results(dataset, texts, find(texts, min(k, len(dataset.items))))
    console.result(found, None if as_json else _tables(dataset, found))


def _texts(given: Sequence[str], file: Path | None) -> list[str]:
    texts = list(given)
    for text in texts:
        if not text.strip():
            raise UsageError('the query is empty; type what a shopper would, e.g. "red running shoes"')
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise UsageError(
                f"{file}: cannot read the queries ({reason}); give a text file, one query a line"
            ) from error
        texts += [line.strip() for line in lines if line.strip()]
    if not texts:
        raise UsageError('no query; type what a shopper would, e.g. "red running shoes", or give --queries FILE')
    return texts


def _searcher_in_memory(model: str, dataset: GradedDataset, kind: _Kind, cache: Path | None, console: Out) -> _Search:
    """Encode and index for this one call."""
    from mr_st.encoding import encode
    from mr_st.models import load_sentence_transformer
    from mr_st.search import Bm25Searcher, ExactSearcher, HybridSearcher, QueryBatch, Searcher
    from mr_st.search.analyser import common_language

    if kind == _Kind.hnsw:
        raise UsageError("--kind hnsw needs --index, the folder that keeps the graph; or take --kind exact")
    texts = dataset.item_texts()
    searchers: dict[str, Searcher] = {}
    if kind in (_Kind.bm25, _Kind.hybrid):
        language = common_language(dataset.items["locale"])
        searchers["lexical"] = Bm25Searcher(texts, language=language, show_progress=console.show_progress)
    if kind == _Kind.bm25:
        return lambda queries, k: searchers["lexical"].search(QueryBatch(texts=queries), k)
    if model == _NO_MODEL:
        raise UsageError('give a model, or --kind bm25 with "-"')
    encoder = load_sentence_transformer(model)
    items = encode(encoder, texts, "item", store=cache, show_progress=console.show_progress)
    searchers["dense"] = ExactSearcher(items)
    searcher = HybridSearcher(searchers) if kind == _Kind.hybrid else searchers["dense"]
    return lambda queries, k: searcher.search(QueryBatch(queries, encode(encoder, queries, "query")), k)


def _saved_index(
    model: str, dataset: GradedDataset, kind: _Kind, folder: Path, rebuild: bool, cache: Path | None, console: Out
) -> _Search:
    """Open the index of a folder, or build it."""
    from mr_st.encoding import CatalogueIndex, StaleIndexError
    from mr_st.models import load_sentence_transformer

    encoder = None if model == _NO_MODEL or kind == _Kind.bm25 else load_sentence_transformer(model)
    if not rebuild and (folder / "index.json").exists():
        try:
            index = CatalogueIndex.load(folder, encoder, dataset=dataset)
        except StaleIndexError as error:
            raise MrStError(
                f"{folder}: the index is stale ({'; '.join(error.changes)}); run again with --rebuild"
            ) from error
        if kind not in (_Kind.auto, index.kind):
            raise MrStError(
                f"{folder}: the index is of kind {index.kind}, asked for is {kind.value}; run again with --rebuild"
            )
        console.remark(f"index: {folder} ({index.kind}, {len(index):,} items), as it was built")
        return index.top_k
    if encoder is None and kind != _Kind.bm25:
        raise UsageError('give a model, or --kind bm25 with "-"')
    index = CatalogueIndex.build(
        None if kind == _Kind.bm25 else encoder, dataset, folder,
        kind=kind.value, store=cache, model_name=model, show_progress=console.show_progress,
    )  # fmt: skip
    about = f"{index.kind}, {len(index):,} items"
    if index.recall is not None:
        about += f", {index.recall['value']:.1%} of exact search's top {index.recall['k']}"
    console.remark(f"index: built in {folder} ({about}); it serves the next search too")
    return index.top_k


def _results(dataset: GradedDataset, texts: Sequence[str], top: TopK) -> list[dict[str, Any]]:
    """What was found for each query, JSON-ready; ``grade`` is null where nobody judged the pair."""
    grades = _grades(dataset, texts)
    rows = sorted({row for row in top.ids.ravel().tolist() if row >= 0})
    found = dataset.items.select_columns(["item_id", "title"])[rows]
    named = dict(zip(rows, zip(found["item_id"], found["title"], strict=True), strict=True))
    return [
        {
            "query": text,
            "is_judged": bool(grades.get(text)),
            "results": [
                {
                    "rank": rank,
                    "score": score,
                    "item_id": named[row][0],
                    "title": named[row][1],
                    "grade": grades.get(text, {}).get(row),
                }
                for rank, (row, score) in enumerate(zip(ids, scores, strict=True), 1)
                if row >= 0
            ],
        }
        for text, ids, scores in zip(texts, top.ids.tolist(), top.scores.tolist(), strict=True)
    ]


def _grades(dataset: GradedDataset, texts: Sequence[str]) -> dict[str, dict[int, int]]:
    """For each text that is a query of the data, the grades of its judged items by row."""
    wanted = set(texts)
    judged = dataset.judged_pairs()
    found: dict[str, dict[int, int]] = {}
    for row, text in enumerate(dataset.query_texts()):
        if text in wanted:
            pairs = slice(int(judged.offsets[row]), int(judged.offsets[row + 1]))
            of_query = zip(judged.item_rows[pairs].tolist(), judged.grades[pairs].tolist(), strict=True)
            found.setdefault(text, {}).update(of_query)
    return found


def _tables(dataset: GradedDataset, found: Sequence[dict[str, Any]]) -> Group:
    """A table for each query. What data says is no markup and moves no cursor."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[Any] = []
    for answer in found:
        title = Text(one_line(answer["query"]), style="bold") if len(found) > 1 else None
        columns = ["rank", "score", *(["grade"] if answer["is_judged"] else []), "item", "title"]
        table = Table(*columns, title=title, title_justify="left")
        for hit in answer["results"]:
            grade = hit["grade"]
            cell = "" if grade is None else f"{grade} {one_line(dataset.scale.names[grade])}"
            table.add_row(
                str(hit["rank"]), f"{hit['score']:.3f}", *([Text(cell)] if answer["is_judged"] else []),
                Text(one_line(hit["item_id"])), Text(one_line(hit["title"])),
            )  # fmt: skip
        parts.append(table if answer["results"] else Text(f"{one_line(answer['query'])}: nothing found"))
    return Group(*parts)
