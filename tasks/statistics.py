"""What a task's data is like, in numbers; and the baselines that were measured on it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mr_st.text import normalise

if TYPE_CHECKING:
    from mr_st.evaluation import Collection

__all__ = ["BASELINES", "collection_statistics", "read_baselines"]

BASELINES = Path(__file__).parent / "baselines"
"""Where ``scripts/task_baselines.py`` writes, one JSON a task; it is shipped with the package."""


def collection_statistics(
    collection: Collection, subsets: Mapping[str, Mapping[str, str]] | None = None
) -> dict[str, Any]:
    """Counts, grades, text lengths and duplicates of what an evaluation searches and judges; JSON-ready.

    Shares are of 1, lengths in characters of the texts as they are searched. ``duplicates`` counts the texts beyond
    the first of each, compared as :func:`mr_st.text.normalise` leaves them: equal items can only be told apart by
    their places, and equal queries weigh double. ``zero_share`` is of pairs of grade 0, over all pairs and as the mean
    over queries.

    Args:
        collection: The split, as it is searched.
        subsets: Name to filter; how many queries each has.
    """
    from mr_st.evaluation.attributes import ATTRIBUTES  # who reads baselines need not wait for all of evaluation

    judged, scale = collection.judged, collection.scale
    counts = np.bincount(judged.grades, minlength=scale.n_grades)
    per_query = judged.per_query
    zeros = np.bincount(judged.query_of_pair, weights=judged.grades == 0, minlength=judged.n_queries)
    return {
        "split": collection.protocol["split"],
        "corpus": collection.protocol["corpus"],
        "fingerprint": collection.protocol["dataset"]["fingerprint"],
        "n_queries": collection.n_queries,
        "n_queries_left_out": collection.n_left_out,
        "n_items": len(collection.item_ids),
        "n_items_judged": len(np.unique(judged.items)),
        "n_judged_pairs": judged.n_pairs,
        "grades": dict(zip(scale.names, counts.tolist(), strict=True)),
        "zero_share": {
            "pairs": round(float(counts[0] / judged.n_pairs), 4),
            "mean_of_queries": round(float(np.mean(zeros / per_query)), 4),
        },
        "judged_per_query": _spread(per_query),
        "relevant_per_query": _spread(judged.count_at_least(1)),
        "query_characters": _spread([len(text) for text in collection.query_texts]),
        "item_characters": _spread([len(text) for text in collection.item_texts]),
        "duplicates": {"queries": _n_repeated(collection.query_texts), "items": _n_repeated(collection.item_texts)},
        "queries_by": {
            name: _counts(collection.attributes[name])
            for name in ATTRIBUTES
            if _counts(collection.attributes.get(name))
        },
        "queries_of_subsets": {name: len(collection.rows_where(where)) for name, where in (subsets or {}).items()},
    }


def read_baselines(task_name: str) -> dict[str, Any]:
    """What ``scripts/task_baselines.py`` measured on a task of ours; empty where it never did.

    ``entries`` lists, for each data it was measured on: what data, the fingerprint, protocol and statistics, and for
    each system name, revision, and metrics with their 95 % intervals (value, low, high, n). ``not_measured`` says what
    data could not be had. An entry is of a task's data where its ``fingerprint`` is the task's revision.

    Example:
        >>> read_baselines("NoSuchRetrieval")
        {}
    """
    path = BASELINES / f"{task_name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _spread(values: Sequence[int] | np.ndarray) -> dict[str, float]:
    found = np.asarray(values)
    low, median, high = np.percentile(found, [0, 50, 100])
    return {"min": float(low), "median": float(median), "mean": round(float(found.mean()), 2), "max": float(high)}


def _counts(values: Sequence[Any] | None) -> dict[str, int]:
    return dict(sorted(Counter(value for value in values or [] if value is not None).items()))


def _n_repeated(texts: Sequence[str]) -> int:
    return len(texts) - len({" ".join(normalise(text).split()) for text in texts})
