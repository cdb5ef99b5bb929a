"""Separability of one evaluation: the figures that a report keeps, with thresholds over its strata of queries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mr_st.errors import MrStError
from mr_st.evaluation.attributes import ATTRIBUTES
from mr_st.measures import separability

if TYPE_CHECKING:
    from mr_st.evaluation.collection import Collection

__all__ = ["check_pair_similarities", "separability_of", "strata_of"]


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


def separability_of(
    collection: Collection,
    similarities: np.ndarray,
    overlaps: np.ndarray | None = None,
    *,
    hard: float = 0.7,
    seed: int = 0,
) -> dict[str, Any]:
    """What :attr:`GradedReport.separability <mr_st.evaluation.GradedReport>` holds, JSON-ready.

    Args:
        collection: The judged queries.
        similarities: float (m,), of each judged pair in the order of ``collection.judged``.
        overlaps: float (m,), token overlap of each judged pair, if the margins over hard pairs are wanted.
        hard: The least overlap of a hard pair.
        seed: Of all that is drawn.

    Returns:
        :meth:`mr_st.measures.Separability.to_dict`, the thresholds' strata being the collection's attributes.

    Raises:
        ValueError: a similarity is not finite.
    """
    found = separability(
        collection.judged,
        similarities,
        collection.scale.n_grades,
        overlaps,
        strata_of(collection),
        hard=hard,
        seed=seed,
    )
    return found.to_dict()
