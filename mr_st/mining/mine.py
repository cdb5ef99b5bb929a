"""One mining round: encode, search, annotate what nobody judged, select the hard pairs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mr_st.annotation.protocol import Annotations, Annotator, StreamingAnnotator
from mr_st.data.dataset import GradedDataset
from mr_st.encoding import ShardFolder
from mr_st.errors import UsageError
from mr_st.files import alone_in, ensure_writable, write_json
from mr_st.identity import model_hash
from mr_st.mining.candidates import Candidates
from mr_st.mining.engines.protocol import Engine
from mr_st.mining.refinement import RefinementSet, mined_table
from mr_st.mining.report import count_pairs
from mr_st.mining.round import BM25, MiningRound, ShardSizes, Workplace
from mr_st.mining.select import Selection
from mr_st.mining.settings import MiningSettings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["mine"]

_LOG_FILE = "last_run.json"


def mine(
    model: SentenceTransformer,
    dataset: GradedDataset,
    annotator: Annotator,
    k: int = 100,
    *,
    sources: Sequence[SentenceTransformer | Literal["bm25"]] = (),
    previous: RefinementSet | None = None,
    engine: Engine | None = None,
    work_dir: str | Path | None = None,
    memory: int | None = None,
    batch_size: int = 64,
    chunk_size: int | None = None,
    shard_sizes: ShardSizes | None = None,
    show_progress: bool = False,
    **settings: Any,
) -> RefinementSet:
    """Retrieve the top k items of every query of a split, grade those that nobody judged, and keep the hard pairs.

    A pair that is judged in any split keeps its label and its place in the ranking, and is never mined: a test pair
    does not become a training pair. With a ``work_dir`` a killed round goes on where it stopped, at the shard; what is
    kept there is named by its content, so that a retrained model meets no old vectors, and after a change of the
    catalogue, or in a later round, only new texts are encoded and only pairs that this annotator has not seen are
    graded. The same model, data, annotator and settings give the same table, byte for byte; other engines or
    numbers of threads find the same pairs, near-ties aside, with scores that differ by float noise.

    Args:
        model: The stage-1 model.
        dataset: Queries, items and judgments.
        annotator: Grades the pairs that nobody judged.
        k: Items retrieved for a query; paper: 100 to 200.
        sources: Where candidates come from besides the model: other models, or ``"bm25"``.
        previous: An earlier round over the same dataset: its pairs count as judged, and the result holds both.
        engine: Who runs the work, see :mod:`mr_st.mining.engines`; None: this process, or the processes that
            ``accelerate launch`` started.
        work_dir: Keeps vectors, rankings and labels between calls: a folder, or an fsspec URL such as
            ``s3://bucket/run``; None keeps nothing.
        memory: Bytes that a search may hold in one process; None leaves the searcher's default.
        batch_size: Texts in one forward pass of the model.
        chunk_size: Pairs annotated between two saves: what a killed round has graded in vain at most.
        shard_sizes: The same for every stage, see :class:`~mr_st.mining.ShardSizes`.
        show_progress: Show a progress bar for each stage.
        settings: What is found and kept: the fields of :class:`~mr_st.mining.MiningSettings`.

    Raises:
        UsageError: k larger than the number of items, an unknown split, or an argument out of range.
        MrStError: an annotator whose answer does not fit the pairs or the scale, or a folder that cannot be written.

    Source: arXiv 2602.17654, section 4.4; `reference/method.md`, stage 2.
    """
    chosen = MiningSettings.of(k, settings)
    sizes = _sizes(shard_sizes, chunk_size)
    _check(dataset, sources, previous, chosen, batch_size, memory)
    engine = _default_engine() if engine is None else engine
    with _workplace(work_dir, engine) as (folder, maps):
        log: list[dict[str, Any]] = []
        place = Workplace(folder, maps, engine, sizes, batch_size, memory, show_progress, log)
        if folder.is_local and work_dir is not None:
            annotator = _keeping_answers(annotator, maps.parent / "labels.sqlite")
        earlier = None if previous is None else previous.mined_rows()
        round_ = MiningRound(model, dataset, annotator, chosen, sources, place, earlier)
        found = round_.candidates()
        pairs, left_out = round_.unjudged(found)
        annotations = round_.annotate(pairs)
        selection = round_.select(pairs, annotations)
        number = 1 if previous is None else previous.round + 1
        result = RefinementSet(
            dataset,
            mined_table(
                dataset, pairs, annotations, selection, annotator.identity, round_.source_names, round=number
            ),
            _report(round_, len(found), left_out, pairs, annotations, selection),
            chosen.split,
            number,
        )  # fmt: skip
        if folder.is_local and work_dir is not None and engine.is_main:
            write_json(maps.parent / _LOG_FILE, log)
        return result if previous is None else previous.extend(result)


def _check(
    dataset: GradedDataset,
    sources: Sequence[Any],
    previous: RefinementSet | None,
    settings: MiningSettings,
    batch_size: int,
    memory: int | None,
) -> None:
    if batch_size < 1 or (memory is not None and memory < 1):
        raise UsageError(f"batch_size is {batch_size} and memory {memory}; each must be 1 or more")
    if isinstance(sources, str):
        raise UsageError(f"sources is one string; pass a list, e.g. [{sources!r}]")
    for source in sources:
        if source != BM25 and not hasattr(source, "encode_document"):
            raise UsageError(f"candidate source {source!r:.60}: expected a SentenceTransformer or 'bm25'")
    if previous is not None and previous.dataset.fingerprint != dataset.fingerprint:
        raise UsageError(
            f"the earlier round was mined over another dataset ({previous.dataset.fingerprint}, this one is "
            f"{dataset.fingerprint}); mine all rounds over one"
        )
    if previous is not None and previous.split != settings.split:
        raise UsageError(f"the earlier round mined split {previous.split!r}, not {settings.split!r}; mine one of them")


def _sizes(sizes: ShardSizes | None, chunk_size: int | None) -> ShardSizes:
    if chunk_size is None:
        return sizes or ShardSizes()
    if sizes is not None:
        raise UsageError("chunk_size and shard_sizes both say how finely the work is cut; give one of them")
    if chunk_size < 1:
        raise UsageError(f"chunk_size is {chunk_size}; it must be 1 or more")
    return ShardSizes(pairs=chunk_size)


def _default_engine() -> Engine:
    from mr_st.mining.engines.choose import engine_of

    return engine_of()


@contextmanager
def _workplace(work_dir: str | Path | None, engine: Engine) -> Iterator[tuple[ShardFolder, Path]]:
    """The folder of all shards, and a local folder for maps; the main process holds the folder's lock."""
    if work_dir is None:
        with tempfile.TemporaryDirectory(prefix="mr-st-mine-") as temporary:
            yield ShardFolder(temporary), Path(temporary) / "maps"
        return
    folder = ShardFolder(work_dir)
    if not folder.is_local:
        with tempfile.TemporaryDirectory(prefix="mr-st-mine-") as temporary:
            yield folder, Path(temporary) / "maps"
        return
    work = ensure_writable(str(work_dir).removeprefix("file://"))
    with alone_in(work) if engine.is_main else nullcontext():
        yield ShardFolder(work.resolve()), work.resolve() / "maps"


def _keeping_answers(annotator: Annotator, store: Path) -> Annotator:
    """The same annotator, each answer kept as it arrives where answers arrive one by one and are paid for."""
    from mr_st.annotation import StoredAnnotator

    if isinstance(annotator, StreamingAnnotator) and not isinstance(annotator, StoredAnnotator):
        return StoredAnnotator(annotator, store)
    return annotator


def _report(
    round_: MiningRound,
    n_found: int,
    left_out: dict[str, int],
    pairs: Candidates,
    annotations: Annotations,
    selection: Selection,
) -> dict[str, Any]:
    """Settings and counts: nothing that changes from run to run."""
    settings, dataset = round_.settings, round_.dataset
    strata = None if (round_.strata < 0).all() else round_.strata
    return {
        "model": model_hash(round_.model),
        "dataset": {"name": dataset.name, "fingerprint": dataset.fingerprint},
        "annotator": round_.annotator.identity,
        "settings": {**settings.to_dict(), "last_negative_rank": settings.last_negative_rank},
        "sources": round_.source_names,
        "search": round_.searches,
        "queries": len(round_.query_rows),
        "items": len(round_.pool),
        "pairs": count_pairs(
            pairs.query_rows, pairs.ranks, annotations.grades, selection,
            k=settings.k, last_negative_rank=settings.last_negative_rank, n_grades=dataset.scale.n_grades,
            retrieved=n_found, dropped=left_out, source_names=round_.source_names, strata=strata,
        ),
    }  # fmt: skip
