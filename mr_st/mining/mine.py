"""One mining round: encode, search, annotate what nobody judged, select the hard pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from mr_st.annotation.protocol import Annotations, Annotator
from mr_st.data.dataset import GradedDataset
from mr_st.data.schema import arrow_table
from mr_st.encoding import ShardStore, encode
from mr_st.errors import MrStError, UsageError
from mr_st.files import ensure_writable
from mr_st.identity import array_hash, model_hash, settings_hash, texts_hash
from mr_st.mining.candidates import Candidates, candidates_of, drop_judged
from mr_st.mining.refinement import RefinementSet, mined_table
from mr_st.mining.report import count_pairs
from mr_st.mining.select import boundary_rank, select_pairs
from mr_st.search import ExactSearcher, QueryBatch

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["mine"]


def mine(
    model: SentenceTransformer,
    dataset: GradedDataset,
    annotator: Annotator,
    k: int = 100,
    *,
    split: str = "train",
    boundary: float = 0.5,
    min_confidence: float | None = None,
    items: Literal["judged", "all"] = "judged",
    min_judged: int = 1,
    item_text_levels: int | None = 2,
    max_chars: int | None = 400,
    max_negatives: int | None = None,
    max_positives: int | None = None,
    work_dir: str | Path | None = None,
    batch_size: int = 64,
    chunk_size: int = 1024,
    show_progress: bool = False,
) -> RefinementSet:
    """Retrieve the top k items of every query of a split, grade those that nobody judged, and keep the hard pairs.

    A pair that is judged in any split keeps its label and its place in the ranking, and is never mined: a test pair
    does not become a training pair. With a ``work_dir`` a killed round goes on where it stopped: vectors are kept by
    shard and labels by chunk. The same model, data, annotator and settings give the same table, byte for byte.

    Args:
        model: The stage-1 model.
        dataset: Queries, items and judgments.
        annotator: Grades the pairs that nobody judged.
        k: Items retrieved for a query; paper: 100 to 200.
        split: Whose queries are mined.
        boundary: Share of k up to which a grade-0 item is a hard negative, and beyond which a higher grade is a hard
            positive; paper: 0.5.
        min_confidence: Labels below this probability are dropped (ours); None keeps all.
        items: ``"judged"``: the items that the split's judgments name (paper); ``"all"``: the whole catalogue.
        min_judged: Mine only for queries with at least this many judged pairs in the split: each query costs k labels
            (ours).
        item_text_levels: Taxonomy levels in an item's text, as in training.
        max_chars: Where an item's text is cut, as in training.
        max_negatives: Hard negatives kept for one query, the highest-ranked (ours); None for all.
        max_positives: Hard positives kept for one query, the lowest-ranked (ours); None for all.
        work_dir: Keeps vectors and labels between calls; None keeps nothing.
        batch_size: Texts in one forward pass of the model.
        chunk_size: Pairs annotated between two saves: what a killed round loses at most.
        show_progress: Show progress bars.

    Raises:
        UsageError: k larger than the number of items, an unknown split, or an argument out of range.
        MrStError: an annotator whose answer does not fit the pairs or the scale, or a folder that cannot be written.

    Source: arXiv 2602.17654, section 4.4; `reference/method.md`, stage 2.
    """
    _check(k, items, min_judged, min_confidence, max_negatives, max_positives, chunk_size)
    last_negative_rank = boundary_rank(k, boundary)
    judged = dataset.judged_pairs(split)
    query_rows = np.flatnonzero(np.diff(judged.offsets) >= min_judged)
    if not len(query_rows):
        raise UsageError(f"no query of split {split!r} has {min_judged:,} judged pairs; lower min_judged")
    pool = np.arange(len(dataset.items)) if items == "all" else np.unique(judged.item_rows).astype(np.int64)
    if k > len(pool):
        which = "the catalogue" if items == "all" else f"the judgments of split {split!r}"
        raise UsageError(f"k is {k:,}, but {which} has {len(pool):,} items; choose k <= {len(pool):,}")
    work = None if work_dir is None else ensure_writable(work_dir)

    query_texts = dataset.query_texts()
    item_texts = dataset.item_texts(item_text_levels, max_chars)
    vectors = None if work is None else work / "vectors"
    options: dict[str, Any] = {"store": vectors, "batch_size": batch_size, "show_progress": show_progress}
    item_vectors = encode(model, [item_texts[row] for row in pool], "item", **options)
    query_vectors = encode(model, [query_texts[row] for row in query_rows], "query", **options)

    retrieved = _retrieve(query_vectors, item_vectors, query_rows, pool, k)
    everywhere = dataset.judged_pairs()
    pairs, n_judged = drop_judged(retrieved, everywhere.query_rows, everywhere.item_rows)
    annotations = _annotate(
        annotator, dataset, pairs, item_text_levels, max_chars, chunk_size,
        None if work is None else work / "annotations", show_progress,
    )  # fmt: skip
    selection = select_pairs(
        pairs.query_rows, pairs.ranks, annotations.grades, annotations.confidence,
        last_negative_rank=last_negative_rank, min_confidence=min_confidence,
        max_negatives=max_negatives, max_positives=max_positives,
    )  # fmt: skip
    report = {
        "model": model_hash(model),
        "dataset": {"name": dataset.name, "fingerprint": dataset.fingerprint},
        "annotator": annotator.identity,
        "settings": {
            "k": k, "split": split, "boundary": boundary, "last_negative_rank": last_negative_rank,
            "min_confidence": min_confidence, "items": items, "min_judged": min_judged,
            "item_text_levels": item_text_levels,
            "max_chars": max_chars, "max_negatives": max_negatives, "max_positives": max_positives,
        },
        "queries": len(query_rows),
        "items": len(pool),
        "pairs": count_pairs(
            pairs.query_rows, pairs.ranks, annotations.grades, selection,
            k=k, last_negative_rank=last_negative_rank, n_grades=dataset.scale.n_grades,
            retrieved=len(retrieved), dropped={"already_judged": n_judged},
        ),
    }  # fmt: skip
    return RefinementSet(
        dataset, mined_table(dataset, pairs, annotations, selection, annotator.identity), report, split
    )


def _check(
    k: int,
    items: str,
    min_judged: int,
    min_confidence: float | None,
    max_negatives: int | None,
    max_positives: int | None,
    chunk_size: int,
) -> None:
    if k < 1 or chunk_size < 1 or min_judged < 1:
        raise UsageError(f"k is {k}, chunk_size {chunk_size}, min_judged {min_judged}; each must be 1 or more")
    if items not in ("judged", "all"):
        raise UsageError(f"items is {items!r}; expected 'judged' or 'all'")
    if min_confidence is not None and not 0 <= min_confidence <= 1:
        raise UsageError(f"min_confidence is {min_confidence}; it is a probability, in 0..1, or None")
    for name, cap in (("max_negatives", max_negatives), ("max_positives", max_positives)):
        if cap is not None and cap < 0:
            raise UsageError(f"{name} is {cap}; it must be 0 or more, or None for no cap")


def _retrieve(
    query_vectors: np.ndarray, item_vectors: np.ndarray, query_rows: np.ndarray, pool: np.ndarray, k: int
) -> Candidates:
    """Every query's top k of the pool, in the order of query and rank."""
    top = ExactSearcher(item_vectors).search(QueryBatch(vectors=query_vectors), k)
    return candidates_of(top, query_rows, pool)


def _annotate(
    annotator: Annotator,
    dataset: GradedDataset,
    pairs: Candidates,
    item_text_levels: int | None,
    max_chars: int | None,
    chunk_size: int,
    folder: Path | None,
    show_progress: bool,
) -> Annotations:
    """Grade all pairs, chunk by chunk; a finished chunk is kept as rows of (grade, probabilities)."""
    from tqdm.auto import tqdm

    n, n_grades = len(pairs.ranks), dataset.scale.n_grades
    parts: list[Annotations] = []
    store: ShardStore | None = None
    if folder is not None:
        store = ShardStore(folder / _annotation_key(annotator, dataset, pairs, item_text_levels, max_chars))
    with tqdm(total=n, desc="annotate", unit="pair", disable=not show_progress) as progress:
        for start in range(0, n, chunk_size):
            stop = min(start + chunk_size, n)
            kept = None if store is None else store.read(start, stop)
            if kept is None:
                rows = slice(start, stop)
                table = dataset.pair_table(pairs.query_rows[rows], pairs.item_rows[rows], item_text_levels, max_chars)
                part = annotator.grade(table)
                _check_answer(part, len(table), n_grades, annotator.identity)
                if store is not None:
                    store.write(start, np.column_stack([part.grades.astype(np.float32), part.probabilities]))
            else:
                part = Annotations(kept[:, 0].astype(np.int8), kept[:, 1:])
            parts.append(part)
            progress.update(stop - start)
    return Annotations.concatenate(parts, n_grades)


def _annotation_key(
    annotator: Annotator,
    dataset: GradedDataset,
    pairs: Candidates,
    item_text_levels: int | None,
    max_chars: int | None,
) -> str:
    """Hash of who grades what: the annotator and all that a PairTable would show it, in order."""
    queries = arrow_table(dataset.queries).take(pa.array(np.unique(pairs.query_rows)))
    items = arrow_table(dataset.items).take(pa.array(np.unique(pairs.item_rows)))
    shown = {
        "queries": [texts_hash(queries[name].to_pylist()) for name in ("query_id", "text", "locale")],
        "items": [texts_hash(items[name].to_pylist()) for name in ("item_id", "title")],
        "paths": settings_hash(items["category_path"].to_pylist()),
    }
    return settings_hash(
        {
            "annotator": annotator.identity,
            "pairs": [array_hash(pairs.query_rows), array_hash(pairs.item_rows)],
            "shown": shown,
            "item_text": [item_text_levels, max_chars],
        }
    )


def _check_answer(answer: Annotations, n_pairs: int, n_grades: int, identity: str) -> None:
    if len(answer) != n_pairs:
        raise MrStError(f"{identity}: {len(answer):,} grades for {n_pairs:,} pairs; mend the annotator")
    if answer.n_grades != n_grades:
        raise MrStError(
            f"{identity}: grades 0..{answer.n_grades - 1}, but the dataset's scale is 0..{n_grades - 1}; use an "
            "annotator of the same scale"
        )
