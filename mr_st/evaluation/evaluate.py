"""evaluate_system: any system on one collection, to a report with intervals; evaluate_model: a bi-encoder."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mr_st import __version__
from mr_st.errors import UsageError
from mr_st.evaluation.bi_encoder import BiEncoder
from mr_st.evaluation.collection import Collection
from mr_st.evaluation.naming import safe_name
from mr_st.evaluation.report import RUN_DEPTH, GradedReport
from mr_st.evaluation.scoring import check_cutoffs, margin_metrics, rank_judged, ranking_metrics
from mr_st.evaluation.separation import check_pair_similarities, separability_of
from mr_st.evaluation.system import System
from mr_st.identity import settings_hash
from mr_st.measures import INTERVAL_METHOD, similarity_histogram

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from mr_st.data import GradedDataset

__all__ = ["bcp47_of", "evaluate_model", "evaluate_system", "evaluation_key", "language_codes"]

HARD_OVERLAP = 0.7
"""Share of the query's tokens in the item text from which a judged pair is a hard one. Source: arXiv 2602.17654."""

_FIGURES = 2
"""Number of the way figures are made: it rises when the same run gives others, or more."""

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
    gains: Sequence[float] | None = None,
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
    - ``recall@k``, ``precision@k`` at grade >= 1, and ``.../2`` at grade >= 2 (and so on for more grades); recall,
      MAP and MRR are undefined for a query without such items and their means leave the query out;
    - ``map@k`` (divided by all relevant items, as trec_eval) and ``mrr@k``, at the same grades;
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
        gains: The gain of each grade for NDCG, lowest first; None for the dataset's own.
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
    from mr_st.data.schema import arrow_table

    collection = Collection.from_dataset(
        dataset, split, item_text_levels=item_text_levels, max_chars=max_chars, gains=gains
    )  # fmt: skip
    system = BiEncoder(
        model, model_name, revision, store=store, batch_size=batch_size, show_progress=show_progress
    )  # fmt: skip
    return evaluate_system(
        system,
        collection,
        task_name=task_name,
        ks=ks,
        languages=language_codes(arrow_table(dataset.items)["locale"].unique().to_pylist()),
        seed=seed,
        n_resamples=n_resamples,
    )


def evaluate_system(
    system: System,
    collection: Collection,
    *,
    task_name: str = "GradedRetrieval",
    ks: Sequence[int] = (10, 50, 100),
    languages: Sequence[str] = ("eng-Latn",),
    seed: int = 0,
    n_resamples: int = 2000,
) -> GradedReport:
    """Let any system search a collection, and report how well the judgments are met; see :func:`evaluate_model`.

    In a judged pool each query's own judged items are ranked by :meth:`System.score_pairs
    <mr_st.evaluation.system.System.score_pairs>`. Margins and histograms are given for systems whose scores are
    similarities.

    Args:
        system: What searches.
        collection: What is searched and judged.
        task_name: What to call the task; names the result file.
        ks: Cut-offs.
        languages: Of the task, as MTEB writes them.
        seed: Seed of the bootstrap.
        n_resamples: Bootstrap samples.

    Raises:
        UsageError: a cut-off or a name that cannot be, or a judged pool for a system that scores no pairs.
        MrStError: a similarity that is not finite.
    """
    start = time.perf_counter()
    ks = check_cutoffs(ks)
    safe_name(task_name, "task")
    judged, n_grades = collection.judged, collection.scale.n_grades
    scores = system.score_pairs(collection) if collection.judged_pool or system.gives_similarities else None
    if not collection.judged_pool:
        top = system.search(collection, max(*ks, RUN_DEPTH))
    elif scores is None:
        raise UsageError(f"{system.name} gives no score to a pair, so it cannot rank a judged pool")
    else:
        top = rank_judged(judged, scores)
    values = ranking_metrics(judged, top.ids, ks, collection.scale)
    similarities = scores if system.gives_similarities else None
    separability = None
    if similarities is not None:
        check_pair_similarities(similarities, system.name)
        values |= margin_metrics(judged, similarities, n_grades, collection.overlaps(), HARD_OVERLAP)
        separability = separability_of(collection, similarities, seed=seed)
    return GradedReport.from_scores(
        collection,
        top,
        values,
        task_name=task_name,
        model_name=system.name,
        revision=system.revision,
        similarities=None if similarities is None else similarity_histogram(similarities, judged.grades, n_grades),
        separability=separability,
        protocol={
            "ks": list(ks),
            "ties": "lower item row first",
            "hard_overlap": HARD_OVERLAP,
            **{key: system.settings[key] for key in ("search", "prompts", "max_seq_length") if key in system.settings},
            **({"search": "none: each query's judged items, ranked by score"} if collection.judged_pool else {}),
            "system": system.settings,
            "model": {"name": system.name, "revision": system.revision},
            "run_depth": RUN_DEPTH,
            "mr_st": __version__,
            "key": evaluation_key(system, collection, ks=ks, seed=seed, n_resamples=n_resamples),
        },
        seed=seed,
        n_resamples=n_resamples,
        model_facts=system.facts,
        languages=list(languages),
        evaluation_time=round(time.perf_counter() - start, 3),
    )


def evaluation_key(
    system: System,
    collection: Collection,
    *,
    ks: Sequence[int] = (10, 50, 100),
    seed: int = 0,
    n_resamples: int = 2000,
) -> str:
    """Hash of all that decides a report's figures: what the data is, how it is searched and judged, by which system.

    It stands in a report's protocol as ``key``: an evaluation whose key a saved report has need not be made again.

    Args:
        system: Its revision and its settings count, its name does not.
        collection: Dataset, split, corpus, gains and item text count.
        ks, seed, n_resamples: As in :func:`evaluate_system`.

    Raises:
        UsageError: a cut-off that cannot be.
    """
    protocol = collection.protocol
    counts = ("corpus", "n_items", "split", "n_queries", "n_judged_pairs", "grades", "gains", "item_text")
    return settings_hash(
        {
            "data": {key: protocol.get(key) for key in counts} | {"dataset": protocol["dataset"]["fingerprint"]},
            "system": [system.revision, system.settings],
            "ks": check_cutoffs(ks),
            "interval": [INTERVAL_METHOD, seed, n_resamples],
            "figures": [_FIGURES, HARD_OVERLAP, RUN_DEPTH],
        }
    )


def language_codes(locales: Iterable[Any]) -> list[str]:
    """MTEB's language codes of BCP-47 locales, sorted; languages outside a short list are left out.

    Example:
        >>> language_codes(["en-US", "ja", "en-GB"])
        ['eng-Latn', 'jpn-Jpan']
    """
    languages = {str(locale).replace("_", "-").split("-")[0].lower() for locale in set(locales)}
    return sorted(_LANGUAGES[language] for language in languages if language in _LANGUAGES)


def bcp47_of(code: str) -> str | None:
    """The BCP-47 tag of one of MTEB's language codes; None for a language outside the short list.

    Example:
        >>> bcp47_of("jpn-Jpan")
        'ja'
    """
    return next((tag for tag, known in _LANGUAGES.items() if known == code), None)
