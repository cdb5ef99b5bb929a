"""What a stage minimises: the loss that its settings name, at every width that its model is to have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss
from torch import nn

from mr_st.errors import UsageError
from mr_st.losses import LOSSES, GradedLoss
from mr_st.models import matryoshka_dims
from mr_st.training.config import StageConfig
from mr_st.training.loss_files import load_loss_parameters

__all__ = ["at_all_widths", "build_loss"]


def build_loss(
    model: SentenceTransformer, config: StageConfig, n_grades: int, loss_state: Mapping[str, Any] | None = None
) -> GradedLoss:
    """The loss of a stage.

    Args:
        model: The model it is to train.
        config: ``loss`` and ``loss_options``; what the loss needs for ``n_grades`` is filled in.
        n_grades: How many grades the labels have.
        loss_state: Learned values to begin with, by name.

    Raises:
        UsageError: the options are for fewer grades.
        MrStError: ``loss_state`` is another loss's.
    """
    loss_class = LOSSES[config.loss]
    loss = loss_class(model, **{**loss_class.options_for(n_grades), **config.loss_options})
    if loss.n_grades is not None and loss.n_grades < n_grades:
        raise UsageError(
            f"there are {n_grades} grades, and {config.loss} with loss_options {config.loss_options} knows "
            f"{loss.n_grades}; leave them out, or give them for {n_grades} grades"
        )
    if loss_state:
        load_loss_parameters(loss, loss_state)
    return loss


def at_all_widths(model: SentenceTransformer, loss: GradedLoss) -> nn.Module:
    """The loss itself, or, for a model with Matryoshka widths, its mean over them (arXiv 2205.13147, equal weights).

    The mean (ours; the paper has the sum) leaves the loss, its logged terms and the gradient clip as they are for one
    width.
    """
    dims = matryoshka_dims(model)
    if len(dims) < 2:
        return loss
    return MatryoshkaLoss(model, loss, list(dims), [1 / len(dims)] * len(dims))
