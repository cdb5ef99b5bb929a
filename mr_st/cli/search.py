"""``mr-st search``: what a model finds in a catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mr_st.cli.data import OptionsOption, SourceArgument, parse_options
from mr_st.cli.io import JsonOption, Out, QuietOption
from mr_st.cli.mine import ModelArgument

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog='Example: mr-st search runs/demo/stage2/model marketplace "red running shoes"')(search)


def search(
    model: ModelArgument,
    data: SourceArgument,
    query: Annotated[str, typer.Argument(help="What a shopper would type.")],
    k: Annotated[int, typer.Option("--k", min=1, help="How many items to show.")] = 10,
    cache: Annotated[Path | None, typer.Option(help="Keep the item vectors here for the next search.")] = None,
    option: OptionsOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Try a model on a catalogue."""
    from rich.table import Table

    from mr_st.data import GradedDataset
    from mr_st.encoding import encode
    from mr_st.errors import UsageError
    from mr_st.models import load_sentence_transformer
    from mr_st.search import ExactSearcher, QueryBatch

    console = Out(quiet, as_json)
    if not query.strip():
        raise UsageError('the query is empty; type what a shopper would, e.g. "red running shoes"')
    dataset = GradedDataset.load(data, **parse_options(option))
    encoder = load_sentence_transformer(model)
    items = encode(encoder, dataset.item_texts(), "item", store=cache, show_progress=console.show_progress)
    vectors = encode(encoder, [query], "query")
    top = ExactSearcher(items).search(QueryBatch(vectors=vectors), min(k, len(items)))
    rows = []
    table = Table("rank", "score", "item", "title")
    for rank, (row, score) in enumerate(zip(top.ids[0].tolist(), top.scores[0].tolist(), strict=True), 1):
        item = dataset.items[row]
        rows.append({"rank": rank, "score": score, "item_id": item["item_id"], "title": item["title"]})
        table.add_row(str(rank), f"{score:.3f}", item["item_id"], item["title"])
    console.result(rows, table)
