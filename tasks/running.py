"""mteb.evaluate without its identity traps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mteb
from mteb.models import SentenceTransformerEncoderWrapper
from mteb.models.cache_wrappers import CachedEmbeddingWrapper
from mteb.models.model_implementations.bm25 import BM25Search
from sentence_transformers import SentenceTransformer

from mr_st.errors import UsageError
from mr_st.evaluation import System, as_mteb_model
from mr_st.identity import model_hash
from mr_st.tasks.base import GradedRetrievalTask

__all__ = ["run_mteb"]

_SAME_VECTORS = ("batch_size", "show_progress_bar", "precision")  # precision stands in MTEB's identity of a model


def run_mteb(
    model: Any,
    tasks: Sequence[GradedRetrievalTask],
    cache_dir: str | Path,
    *,
    model_name: str | None = None,
    revision: str | None = None,
    **options: Any,
) -> list[Any]:
    """Run tasks through ``mteb.evaluate``, taking a cached result only for the same model and the same data.

    A SentenceTransformer and a :class:`~mr_st.evaluation.System` are known by content. Of any other model nobody can
    say that its name and revision hold all that changes its results (MTEB's HybridSearch leaves out its weights), so
    it is always run anew.

    Args:
        model: A SentenceTransformer, given a content hash as its revision; a System; or any model that MTEB runs.
        tasks: The tasks; each runs the subsets in its ``hf_subsets``, by default all queries as one.
        cache_dir: MTEB's cache; results lie in its folder ``results``.
        model_name, revision: For a SentenceTransformer; see :func:`mr_st.evaluation.as_mteb_model`.
        options: Further arguments of ``mteb.evaluate``. ``overwrite_strategy`` counts where a cached result is of the
            same model and data.

    Returns:
        One ``mteb`` TaskResult a task, in order.

    Raises:
        UsageError: what cannot give a right figure: options that change the vectors and are in no identity, MTEB's
            CachedEmbeddingWrapper (its key has no model), MTEB's BM25Search on a judged pool (it cannot rerank); or a
            name or revision for a model that has its own.
    """
    _refuse(model, tasks, options)
    model, is_known = _as_mteb(model, model_name, revision)
    cache = mteb.ResultCache(Path(cache_dir))
    found = []
    for task in tasks:
        cached = cache.load_task_result(task.metadata.name, model.mteb_model_meta) if is_known else None
        is_same = cached is not None and cached.dataset_revision == task.metadata.revision
        strategy = {} if is_same else {"overwrite_strategy": "always"}
        result = mteb.evaluate(model, task, cache=cache, **(options | strategy))
        found += result.task_results
    return found


def _refuse(model: Any, tasks: Sequence[GradedRetrievalTask], options: Mapping[str, Any]) -> None:
    unknown = [key for key in options.get("encode_kwargs") or {} if key not in _SAME_VECTORS]
    if unknown:
        raise UsageError(
            f"encode_kwargs {', '.join(unknown)} would change the vectors and not the model's identity; set it on the "
            "model, whose content hash then changes too"
        )
    if isinstance(model, CachedEmbeddingWrapper):
        raise UsageError(
            "mteb's CachedEmbeddingWrapper keeps vectors by text and not by model; give the model itself, or evaluate "
            "with task.report(model, store=FOLDER)"
        )
    pools = [task.metadata.name for task in tasks if task.judged_pool]
    if isinstance(model, BM25Search) and pools:
        raise UsageError(
            f"mteb's BM25Search cannot rerank: judged items beyond its top 1,000 would score nothing in "
            f"{', '.join(pools)}; give mr_st.evaluation.systems.Bm25System()"
        )


def _as_mteb(model: Any, name: str | None, revision: str | None) -> tuple[Any, bool]:
    """The model for MTEB, and whether its name and revision are an identity."""
    if isinstance(model, SentenceTransformer):
        return as_mteb_model(model, name, revision), True
    if name is not None or revision is not None:
        raise UsageError("model_name and revision are for a SentenceTransformer; this model has its own")
    if isinstance(model, System):
        from mr_st.evaluation.mteb_search import as_mteb_search

        return as_mteb_search(model), True
    is_hashed = isinstance(model, SentenceTransformerEncoderWrapper) and (
        model.mteb_model_meta.revision == model_hash(model.model)
    )
    return model, is_hashed
