"""The objectives: graded losses over ragged instances, for sentence-transformers' own trainer."""

from mr_st.losses.bands import Bands
from mr_st.losses.base import GradedLoss, Pairs
from mr_st.losses.circle import MultiClassCircleLoss
from mr_st.losses.supcon import GradedSupConLoss

LOSSES: dict[str, type[GradedLoss]] = {"supcon": GradedSupConLoss, "circle": MultiClassCircleLoss}
"""The losses by the names that recipes use."""

__all__ = ["LOSSES", "Bands", "GradedLoss", "GradedSupConLoss", "MultiClassCircleLoss", "Pairs"]
