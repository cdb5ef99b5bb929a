"""Separability of one evaluation: the figures that a report keeps, with thresholds over its strata of queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mr_st.errors import MrStError, UsageError
from mr_st.evaluation.attributes import ATTRIBUTES
from mr_st.measures import separability

if TYPE_CHECKING:
    from mr_st.evaluation.collection import Collection
    from mr_st.evaluation.report import GradedReport

__all__ = ["check_pair_similarities", "check_same_pairs", "separability_of", "strata_of", "whole_separability"]

_MARGINS = ("margin_average", "margin_worst", "margin_average_hard", "margin_worst_hard")


def check_pair_similarities(similarities: np.ndarray, system_name: str) -> None:
    """Refuse similarities that margins and thresholds cannot be taken of.

    Args:
        similarities: float (m,), of the judged pairs.
        system_name: Whose they are, for the message.

    Raises:
        MrStError: one is not finite.
    """
    wrong = int(np.count_nonzero(~np.isfinite(similarities)))
    if wrong:
        raise MrStError(
            f"{system_name}: {wrong} of {len(similarities)} judged pairs have a similarity that is not finite; "
            "margins and thresholds need one for every pair: mend the model, or let it say that it has none"
        )


def strata_of(collection: Collection) -> dict[str, list[Any]]:
    """The attributes by which a collection's queries can be told apart: those with two known values or more."""
    known = {name: collection.attributes[name] for name in ATTRIBUTES if name in collection.attributes}
    return {name: values for name, values in known.items() if len(set(values) - {None}) > 1}


def separability_of(collection: Collection, similarities: np.ndarray, *, seed: int = 0) -> dict[str, Any]:
    """What :attr:`GradedReport.separability <mr_st.evaluation.GradedReport>` holds, JSON-ready.

    Args:
        collection: The judged queries.
        similarities: float (m,), of each judged pair in the order of ``collection.judged``.
        seed: Of all that is drawn.

    Returns:
        :meth:`mr_st.measures.Separability.to_dict`, the thresholds' strata being the collection's attributes; without
        the margins, which stand among the report's metrics (:func:`whole_separability` puts them together).

    Raises:
        ValueError: a similarity is not finite.
    """
    judged, n_grades = collection.judged, collection.scale.n_grades
    found = separability(judged, similarities, n_grades, None, strata_of(collection), with_margins=False, seed=seed)
    as_dict = found.to_dict()
    as_dict["pairs"] = [{k: v for k, v in pair.items() if k not in _MARGINS} for pair in as_dict["pairs"]]
    del as_dict["method"]["hard_overlap"]
    return as_dict


def whole_separability(report: GradedReport) -> dict[str, Any]:
    """A report's separability with its margins, JSON-ready; margins over hard pairs where it has them.

    Raises:
        UsageError: the report has none: its system gives no similarities, it is a part of a split, or it is older
            than separability.
    """
    if report.separability is None:
        if report.subset != "default":
            why = (
                f"part {report.subset!r} of a split keeps no similarities; take the whole split, its strata are shown"
            )
        elif report.similarities is None:
            why = "its scores are no similarities, so it has no margins and no thresholds; leave it out"
        else:
            why = "its result was made before results kept separability; evaluate it again"
        raise UsageError(f"{report.model_name} on {report.task_name}: {why}")
    suffix = f"_overlap{round(100 * report.protocol.get('hard_overlap', 0.7))}"
    pairs = []
    for pair in report.separability["pairs"]:
        grades = f"{pair['high']}_{pair['low']}"
        names = {name: name.removesuffix("_hard") + f"_{grades}" for name in _MARGINS}
        names = {name: metric + (suffix if name.endswith("_hard") else "") for name, metric in names.items()}
        with_margins = {n: report[metric].to_dict() for n, metric in names.items() if metric in report.metrics}
        pairs.append({k: pair[k] for k in ("high", "low", "n_high", "n_low")} | with_margins | pair)
    return {**report.separability, "pairs": pairs}


def check_same_pairs(reports: Sequence[GradedReport]) -> None:
    """Refuse reports whose similarities are not of the same judged pairs.

    Raises:
        UsageError: two of them differ in task, split, grades or data.
    """
    first = reports[0]
    for other in reports[1:]:
        for what, a, b in (
            ("task", first.task_name, other.task_name),
            ("split", first.split, other.split),
            ("grades", first.protocol["grades"], other.protocol["grades"]),
            ("data", first.dataset_fingerprint, other.dataset_fingerprint),
        ):
            if a != b:
                raise UsageError(
                    f"these results cannot stand side by side: {what} is {a} in {first.model_name} and {b} in "
                    f"{other.model_name}; give results of one task"
                )
