"""mteb.evaluate without its identity traps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mteb
from sentence_transformers import SentenceTransformer

from mr_st.evaluation import as_mteb_model
from mr_st.tasks.base import GradedRetrievalTask

__all__ = ["run_mteb"]


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

    Args:
        model: A SentenceTransformer, given a content hash as its revision; or any model that MTEB runs, as it is.
        tasks: The tasks.
        cache_dir: MTEB's cache; results lie in its folder ``results``.
        model_name, revision: For a SentenceTransformer; see :func:`mr_st.evaluation.as_mteb_model`.
        options: Further arguments of ``mteb.evaluate``.

    Returns:
        One ``mteb`` TaskResult a task, in order.
    """
    if isinstance(model, SentenceTransformer):
        model = as_mteb_model(model, model_name, revision)
    cache = mteb.ResultCache(Path(cache_dir))
    found = []
    for task in tasks:
        cached = cache.load_task_result(task.metadata.name, model.mteb_model_meta)
        is_stale = cached is not None and cached.dataset_revision != task.metadata.revision
        strategy = {"overwrite_strategy": "always"} if is_stale else {}
        result = mteb.evaluate(model, task, cache=cache, **(strategy | options))
        found += result.task_results
    return found
