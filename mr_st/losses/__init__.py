"""The objectives: graded losses over ragged instances, for sentence-transformers' own trainer.

Every loss is in ``LOSSES`` under its name, and its class can be imported from here: ``from mr_st.losses import ...``.
A new loss takes one file in this folder; naming it here as well only serves type checkers.
"""

from __future__ import annotations

from typing import Any

from mr_st.losses.bands import Bands
from mr_st.losses.base import GradedLoss, Pairs
from mr_st.losses.circle import MultiClassCircleLoss
from mr_st.losses.cosent import GradedCoSENTLoss
from mr_st.losses.listnet import GradedListNetLoss
from mr_st.losses.masked_infonce import MaskedInfoNCELoss
from mr_st.losses.registry import find_losses
from mr_st.losses.roar import ROARLoss
from mr_st.losses.spelling_consistency import SpellingConsistencyLoss
from mr_st.losses.supcon import GradedSupConLoss
from mr_st.losses.triplet import GradedTripletLoss

LOSSES: dict[str, type[GradedLoss]] = find_losses(__path__, __name__)
"""The losses by the names that recipes use."""

__all__ = [
    "LOSSES",
    "Bands",
    "GradedCoSENTLoss",
    "GradedListNetLoss",
    "GradedLoss",
    "GradedSupConLoss",
    "GradedTripletLoss",
    "MaskedInfoNCELoss",
    "MultiClassCircleLoss",
    "Pairs",
    "ROARLoss",
    "SpellingConsistencyLoss",
]


def __getattr__(name: str) -> Any:
    for loss in LOSSES.values():
        if loss.__name__ == name:
            return loss
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *(loss.__name__ for loss in LOSSES.values())})
