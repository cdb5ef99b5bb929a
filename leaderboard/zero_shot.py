"""Whether a model is known to have been trained on a task's data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mr_st.leaderboard.board import Task

__all__ = ["task_stem", "zero_shot"]

_UNTRAINED = ("bm25", "random")  # kinds of systems that learn from nothing
_PART = re.compile(r"(Retrieval|Reranking|Graded)")
_NO_LETTER = re.compile(r"[\W_]+")


def zero_shot(facts: Mapping[str, Any], task: Task) -> bool | None:
    """Whether a model saw nothing of a task's data in training; None where its training data is not known.

    A training set is the task's where one of them is called like the other: by the task's name, its twin's, or its
    dataset's. A model that learned from a dataset's train split is not zero-shot on its test split.

    Args:
        facts: Of the model; ``training_datasets`` lists names, an empty list says that there are none.
        task: The column.

    Example:
        >>> task = Task("ESCIRetrieval", "test", "ESCI", "", "", {"dataset": {"name": "esci-us"}}, "ndcg@10")
        >>> zero_shot({"training_datasets": ["MSMARCO", "tasksource/esci"]}, task), zero_shot({}, task)
        (False, None)
    """
    if facts.get("kind") in _UNTRAINED:
        return True
    training = facts.get("training_datasets")
    if not isinstance(training, list):
        return None
    names = {task_stem(str(name)) for name in training} - {""}
    dataset = task.protocol.get("dataset")
    own = {task_stem(task.name)}
    if isinstance(dataset, Mapping) and isinstance(dataset.get("name"), str):
        own.add(task_stem(dataset["name"]))
    return not names & (own - {""})


def task_stem(name: str) -> str:
    """``esci`` of ``ESCIRetrieval-es``, ``ESCIGradedReranking`` and ``tasksource/esci``."""
    name = name.rpartition("/")[2]
    task = _PART.sub(" ", name).split(" ")[0]
    return _NO_LETTER.sub("", (task or name).casefold())
