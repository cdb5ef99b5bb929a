"""evaluate_model: one model on one split over the full catalogue, to a report with intervals."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mr_st import __version__
from mr_st.encoding import encode, prompt_of
from mr_st.evaluation.collection import Collection
from mr_st.evaluation.naming import model_facts, model_identity, safe_name
from mr_st.evaluation.report import RUN_DEPTH, GradedReport
from mr_st.evaluation.scoring import check_cutoffs, margin_metrics, pair_similarities, ranking_metrics
from mr_st.measures import similarity_histogram
from mr_st.search import ExactSearcher, QueryBatch

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from mr_st.data import GradedDataset

__all__ = ["evaluate_model", "language_codes"]

HARD_OVERLAP = 0.7
"""Share of the query's tokens in the item text from which a judged pair is a hard one. Source: arXiv 2602.17654."""

_LANGUAGES = {
    "de": "deu-Latn", "en": "eng-Latn", "es": "spa-Latn", "fr": "fra-Latn", "it": "ita-Latn", "ja": "jpn-Jpan",
    "nl": "nld-Latn", "pl": "pol-Latn", "pt": "por-Latn", "sv": "swe-Latn", "tr": "tur-Latn", "zh": "zho-Hans",
}  # fmt: skip


def evaluate_model(
    model: SentenceTransformer,
    dataset: GradedDataset,
    *,
    task_name: str = "GradedRetrieval",
    split: str = "test",
    ks: Sequence[int] = (10, 50, 100),
    item_text_levels: int | None = 2,
    max_chars: int | None = 400,
    model_name: str | None = None,
    revision: str | None = None,
    store: str | Path | None = None,
    batch_size: int = 64,
    seed: int = 0,
    n_resamples: int = 2000,
    show_progress: bool = False,
) -> GradedReport:
    """Search the whole catalogue with a bi-encoder and report how well the split's judgments are met.

    Metrics (the mean over queries, each with a 95 % interval):

    - ``ndcg@k``, linear in the scale's gains, the ideal taken over all judged items; unjudged items gain nothing;
    - ``recall@k``, ``precision@k`` at grade >= 1, and ``.../2`` at grade >= 2 (and so on for more grades); recall is
      undefined for a query without such items and its mean leaves the query out;
    - ``judged@k``, the share of the first k that somebody judged;
    - ``margin_average_2_0``, ``margin_worst_2_0``, and the same for 1_0 and 2_1, over all judged pairs whatever their
      rank; ``..._overlap70`` over pairs where 70 % of the query's tokens stand in the item text. ``n`` says over how
      many queries: those that have both grades.

    Queries with no item above grade 0 are left out and counted in the protocol.

    Args:
        model: The model; queries go through ``encode_query``, items through ``encode_document``.
        dataset: Judgments and catalogue; every one of its items is searched.
        task_name: What to call the task; names the result file.
        split: Which judgments.
        ks: Cut-offs.
        item_text_levels, max_chars: How an item becomes a text (:func:`mr_st.data.format_item`).
        model_name: ``org/name``; None for the model's Hub id, or ``local/model``.
        revision: None for the content hash of the model.
        store: Folder that keeps embeddings between calls, keyed by content; None keeps nothing.
        batch_size: Texts in one forward pass.
        seed: Seed of the bootstrap.
        n_resamples: Bootstrap samples.
        show_progress: Show a progress bar.

    Raises:
        UsageError: no such split, an empty catalogue, no query with an item above grade 0, or a name that cannot
            stand in a path.
        MrStError: the model gives a vector that is zero or not finite.
    """
    start = time.perf_counter()
    ks = check_cutoffs(ks)
    safe_name(task_name, "task")
    collection = Collection.from_dataset(dataset, split, item_text_levels=item_text_levels, max_chars=max_chars)
    name, revision = model_identity(model, model_name, revision)
    query_vectors = encode(model, collection.query_texts, "query", store, batch_size, show_progress=show_progress)
    item_vectors = encode(model, collection.item_texts, "item", store, batch_size, show_progress=show_progress)
    top = ExactSearcher(item_vectors).search(QueryBatch(vectors=query_vectors), max(*ks, RUN_DEPTH))
    judged, n_grades = collection.judged, collection.scale.n_grades
    similarities = pair_similarities(query_vectors, item_vectors, judged)
    values = ranking_metrics(judged, top.ids, ks, collection.scale)
    values |= margin_metrics(judged, similarities, n_grades, collection.overlaps(), HARD_OVERLAP)
    return GradedReport.from_scores(
        collection,
        top,
        values,
        task_name=task_name,
        model_name=name,
        revision=revision,
        similarities=similarity_histogram(similarities, judged.grades, n_grades),
        protocol={
            "ks": list(ks),
            "search": "exact, inner product of unit vectors",
            "ties": "lower item row first",
            "hard_overlap": HARD_OVERLAP,
            "prompts": {side: prompt_of(model, side) for side in ("query", "item")},
            "max_seq_length": getattr(model, "max_seq_length", None),
            "model": {"name": name, "revision": revision},
            "run_depth": RUN_DEPTH,
            "mr_st": __version__,
        },
        seed=seed,
        n_resamples=n_resamples,
        model_facts=model_facts(model),
        languages=language_codes(dataset.items["locale"]),
        evaluation_time=round(time.perf_counter() - start, 3),
    )  # fmt: skip


def language_codes(locales: Iterable[Any]) -> list[str]:
    """MTEB's language codes of BCP-47 locales, sorted; languages outside a short list are left out.

    Example:
        >>> language_codes(["en-US", "ja", "en-GB"])
        ['eng-Latn', 'jpn-Jpan']
    """
    languages = {str(locale).replace("_", "-").split("-")[0].lower() for locale in set(locales)}
    return sorted(_LANGUAGES[language] for language in languages if language in _LANGUAGES)
