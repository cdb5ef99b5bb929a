"""What a result's task name stands for here: our own task's collection, against which a result can be checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mr_st.errors import MrStError
from mr_st.tasks.registry import get_task, list_tasks

if TYPE_CHECKING:
    from mr_st.evaluation import Collection
    from mr_st.evaluation.handed_in import CollectionOf
    from mr_st.tasks.base import GradedRetrievalTask

__all__ = ["collections_by_name"]


def collections_by_name(**options: Any) -> CollectionOf:
    """A function from task name and split to the collection of our own task, each task made once.

    Args:
        options: What the tasks take, e.g. ``size="tiny"``: a task whose options change its data says so in its name
            (``MarketplaceRetrieval-tiny-seed0``), and the one made here must have the very name that is asked for.

    Example:
        >>> collections_by_name(size="tiny")("MarketplaceRetrieval-tiny-seed0", "test").n_queries > 0
        True
    """
    made: dict[str, GradedRetrievalTask] = {}

    def collection_of(task_name: str, split: str) -> Collection:
        if task_name not in made:
            named = task_name if task_name in list_tasks() else task_name.partition("-")[0]
            try:
                task = get_task(named, **options)
            except (OSError, ValueError, ImportError) as error:
                raise MrStError(f"{named}: {error}") from error
            if task.metadata.name != task_name:
                raise MrStError(
                    f"the task made here is called {task.metadata.name}; give the options that make {task_name}, e.g. "
                    "-o size=tiny"
                )
            made[task_name] = task
        return made[task_name].collection(split)

    return collection_of
