"""TREC's run and qrels files: how other tools check our figures, and how others' runs come in."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from mr_st.errors import UsageError
from mr_st.files import atomic_path
from mr_st.search import TopK

if TYPE_CHECKING:
    from mr_st.evaluation.collection import Collection
    from mr_st.evaluation.report import GradedReport

__all__ = ["write_trec_qrels", "write_trec_run"]


def write_trec_run(
    run: GradedReport | TopK,
    path: str | Path,
    *,
    collection: Collection | None = None,
    tag: str = "mr-st",
    keep_ties: bool = False,
) -> None:
    """Write a run as ``qid Q0 docid rank score tag``, queries and ranks in order; gzipped for a path in ``.gz``.

    trec_eval reads scores as float32, not ranks, and puts the larger id first where they tie. So that it sees our
    order, a score that ties with the one before is lowered by float32's smallest step.

    Args:
        run: A report (it keeps the first 100 of each query), or what a system's ``search`` gave.
        path: The file.
        collection: For a ``TopK``: what was searched.
        tag: The last column.
        keep_ties: Write the scores as they are.

    Raises:
        UsageError: a ``TopK`` without its collection, an id with a blank in it, or an empty tag.
        MrStError: the file cannot be written.

    Source: the format of TREC's ad hoc tracks, as trec_eval reads it.
    """
    _check_ids([tag], "tag")
    if not isinstance(run, TopK):
        table = run.run
        queries, items = table["query_id"].to_pylist(), table["item_id"].to_pylist()
        ranks, scores = table["rank"].to_numpy(), table["score"].to_numpy().astype(np.float32)
    else:
        if collection is None:
            raise UsageError("a TopK knows rows only; give the collection that was searched")
        rows, places = np.nonzero(run.ids >= 0)
        queries = [collection.query_ids[row] for row in rows.tolist()]
        items = [collection.item_ids[row] for row in run.ids[rows, places].tolist()]
        ranks, scores = places + 1, run.scores[rows, places].astype(np.float32)
    _check_ids(dict.fromkeys(queries), "query")
    _check_ids(dict.fromkeys(items), "item")
    if not keep_ties:
        scores = _falling(scores, np.asarray(ranks) == 1)
    with _text_file(path) as file:
        for query, item, rank, score in zip(queries, items, ranks.tolist(), scores, strict=True):
            file.write(f"{query} Q0 {item} {rank} {score!s} {tag}\n")


def write_trec_qrels(collection: Collection, path: str | Path) -> None:
    """Write the judgments as ``qid 0 docid grade``; gzipped for a path in ``.gz``.

    Only queries that are evaluated are written: one with no item above grade 0 would count as 0 in trec_eval's means.

    Args:
        collection: The judgments.
        path: The file.

    Raises:
        UsageError: an id with a blank in it.
        MrStError: the file cannot be written.
    """
    judged = collection.judged
    _check_ids(collection.query_ids, "query")
    _check_ids((collection.item_ids[row] for row in np.unique(judged.items).tolist()), "item")
    with _text_file(path) as file:
        for query, item, grade in zip(
            judged.query_of_pair.tolist(), judged.items.tolist(), judged.grades.tolist(), strict=True
        ):
            file.write(f"{collection.query_ids[query]} 0 {collection.item_ids[item]} {grade}\n")


def _falling(scores: np.ndarray, is_first: np.ndarray) -> np.ndarray:
    """Scores with each lower than the one before in its query, by float32's smallest step where need be."""
    found = scores.copy()
    for at in (np.flatnonzero(~is_first[1:] & ~(scores[1:] < scores[:-1])) + 1).tolist():
        while at < len(found) and not is_first[at] and not found[at] < found[at - 1]:
            found[at] = np.nextafter(found[at - 1], np.float32(-np.inf))
            at += 1
    return found


def _check_ids(ids: Iterable[str] | Sequence[str], what: str) -> None:
    for one in ids:
        if not one or len(one.split()) != 1 or one != one.strip():
            raise UsageError(
                f"{what} {one!r} cannot stand in a TREC file, whose columns blanks part; rename it in the data"
            )


@contextmanager
def _text_file(path: str | Path) -> Iterator[TextIO]:
    with ExitStack() as stack:
        temporary = stack.enter_context(atomic_path(path))
        raw: Any = stack.enter_context(open(temporary, "wb"))
        if Path(path).suffix.lower() == ".gz":  # no name and no time in it: the same bytes each time
            raw = stack.enter_context(gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0))
        yield stack.enter_context(io.TextIOWrapper(raw, encoding="utf-8", newline="\n"))
