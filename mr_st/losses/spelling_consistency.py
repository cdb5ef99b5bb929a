"""The compared regulariser: a graded loss, and misspelt queries drawn to their clean ones."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from mr_st.errors import UsageError
from mr_st.losses.base import GradedLoss, Pairs, Reduction
from mr_st.losses.segments import segment_count, segment_sum

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["VARIANT", "SpellingConsistencyLoss"]

VARIANT = -1
"""Stands in place of the grade in a label row ``(query_row, variant_row, VARIANT)``, which says that this row of the
third column is a misspelling of that query. Only :class:`SpellingConsistencyLoss` takes such rows."""

_OWN_OPTIONS = (
    "model",
    "reduction",
    "mini_batch_size",
    "mini_batch_tokens",
)  # of the whole loss


@dataclass(frozen=True)
class _PairsAndVariants(Pairs):
    """The judged pairs, and those of a query and its misspelt variant.

    Args:
        variant_rows: ``(V,)`` int64, the instance that each variant belongs to.
        variant_scores: ``(V,)``, the cosine similarity of the query and the variant.
    """

    variant_rows: Tensor
    variant_scores: Tensor


class SpellingConsistencyLoss(GradedLoss):
    """A graded loss plus what keeps a query where its misspelling is.

    For an instance with the query q, its misspelt variant q~ if it has one, and the inner loss L_q::

        L_q + weight * (1 - cos(q, q~))

    An instance without a variant has the first term only; one with a variant gives a signal (is not skipped) even if
    its items all have one grade. With several variants of a query, their mean counts. Both terms have a gradient to
    the query; the variant is not held constant. The sum over instances, or the mean over those that give a signal, is
    taken of both terms alike, so that the weight means the same whatever the size of the batch. The log shows the
    inner loss's terms and, as ``spelling``, the weighted second term; they add up.

    Source: arXiv 2602.17654, "Spelling Variation Augmentation", which compares adding misspelt queries with it, and
    finds it worse. It gives no formula and no weight: both are ours, so that there is no preset.

    Inputs: those of every graded loss; with variants, a third feature batch, their distinct texts ``(W, d)``, and
    label rows ``(query_row, variant_row, VARIANT)`` among the others. :class:`mr_st.training.GradedCollator` makes
    both from a column ``variants``. Without variants it is the inner loss exactly.

    Args:
        model: The SentenceTransformer to train.
        loss: The inner loss by its name, e.g. "supcon" or "circle".
        weight: Of the second term (ours), 0 or more.
        loss_options: Keyword arguments of the inner loss, other than the reduction, which is this loss's.
        reduction: "sum" over the instances (paper), or "mean" over those that are not skipped.
        mini_batch_size: As in :class:`GradedLoss`.
        mini_batch_tokens: As in :class:`GradedLoss`.

    Raises:
        UsageError: no such inner loss, an option that it lacks, or a negative weight.

    Example:
        >>> loss = SpellingConsistencyLoss(None, weight=2.0, loss_options={"temperature": 1.0})
        >>> query, items = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> variant = torch.tensor([[0.6, 0.8]])
        >>> labels = torch.tensor([[0, 0, 2], [0, 1, 0], [0, 0, VARIANT]])
        >>> round(loss.compute_loss_from_embeddings([query, items, variant], labels).item(), 4)  # .3133 + 2 * (1 - .6)
        1.1133
    """

    name: ClassVar[str] = "spelling_consistency"

    def __init__(
        self,
        model: SentenceTransformer | None,
        loss: str = "supcon",
        weight: float = 1.0,
        loss_options: Mapping[str, Any] | None = None,
        *,
        reduction: Reduction = "sum",
        mini_batch_size: int | None = None,
        mini_batch_tokens: int | None = None,
    ) -> None:
        super().__init__(model, reduction, mini_batch_size=mini_batch_size, mini_batch_tokens=mini_batch_tokens)
        if not 0 <= weight < float("inf"):
            raise UsageError(f"weight is {weight}; expected a number of 0 or more")
        self.weight = float(weight)
        # In a tuple, it is no submodule: a log or a file would show it as a loss beside this one.
        self._inner = (_inner_loss(loss, dict(loss_options or {})),)
        for parameter_name, parameter in self.inner.named_parameters():
            self.register_parameter(parameter_name, parameter)
        self.is_local = self.inner.is_local  # type: ignore[misc]

    @property
    def inner(self) -> GradedLoss:
        """The loss of the first term; its parameters are this loss's own."""
        return self._inner[0]

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self.inner._apply(fn, recurse)  # .to(device) and the like
        return super()._apply(fn, recurse)

    @property
    def n_grades(self) -> int | None:
        """How many grades the inner loss knows."""
        return self.inner.n_grades

    @property
    def temperature(self) -> float:
        """The inner loss's temperature; AttributeError if it has none."""
        return float(getattr(self.inner, "temperature"))  # noqa: B009 - not every loss has one

    def read_pairs(self, embeddings: list[Tensor], labels: Tensor) -> Pairs:
        """The judged pairs and, given a third column, the variants.

        Raises:
            ValueError: as any loss, for either kind of label row.
        """
        if len(embeddings) != 3 or labels.ndim != 2 or labels.shape[1] != 3:
            return super().read_pairs(embeddings[:2] if len(embeddings) == 3 else embeddings, labels)
        queries, items, variants = embeddings
        is_variant = labels[:, 2] == VARIANT
        judged = super().read_pairs([queries, items], labels[~is_variant])
        own = super().read_pairs([queries, variants], labels[is_variant] * labels.new_tensor([1, 1, 0]))
        return _PairsAndVariants(**vars(judged), variant_rows=own.query_rows, variant_scores=own.scores)

    def instance_terms(self, pairs: Pairs) -> tuple[dict[str, Tensor], Tensor]:
        terms, is_live = self.inner.instance_terms(pairs)
        spelling = pairs.scores.new_zeros(pairs.n_queries)
        if isinstance(pairs, _PairsAndVariants):
            rows, n = pairs.variant_rows, pairs.n_queries
            counts = segment_count(torch.ones_like(rows, dtype=torch.bool), rows, n)
            distances = segment_sum(1 - pairs.variant_scores, rows, n) / counts.clamp(min=1)
            spelling, is_live = self.weight * distances, is_live | (counts > 0)
        return {**terms, "spelling": spelling}, is_live

    def get_config_dict(self) -> dict[str, Any]:
        options = {key: value for key, value in self.inner.get_config_dict().items() if key not in _OWN_OPTIONS}
        return {
            "loss": self.inner.name,
            "weight": self.weight,
            "loss_options": options,
            **super().get_config_dict(),
        }

    @property
    def citation(self) -> str:
        return self.inner.citation


def _inner_loss(name: str, options: dict[str, Any]) -> GradedLoss:
    from mr_st.losses import LOSSES  # the folder's losses are found by importing this module among them

    inner = {known: loss for known, loss in LOSSES.items() if known != SpellingConsistencyLoss.name}
    if name not in inner:
        raise UsageError(f"loss is {name!r}; expected one of {', '.join(inner)}")
    known = [option for option in inspect.signature(inner[name]).parameters if option not in _OWN_OPTIONS]
    unknown = [option for option in options if option not in known]
    if unknown:
        raise UsageError(f"loss_options: {name} has no option {unknown[0]!r} here; it has {', '.join(known)}")
    return inner[name](None, **options)
