"""ROAR, stage 1: InfoNCE over graded instances, with a margin mask against false negatives."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from mr_st.errors import UsageError
from mr_st.losses.base import GradedLoss, Pairs, Reduction
from mr_st.losses.segments import segment_logsumexp, segment_max, segment_sum
from mr_st.losses.temperature import TemperatureMixin

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["ROAR_CITATION", "MaskedInfoNCELoss"]

ROAR_CITATION = """
@misc{kothari2026roar,
    title = {Semantic Retrieval for Product Search in E-Commerce},
    author = {Nikhil Kothari and Saksham Samdani and Ritam Mallick and Praveen Gupta and Ankit Vijay and
        Surender Kumar},
    year = {2026},
    eprint = {2606.01504},
    archivePrefix = {arXiv},
    url = {https://arxiv.org/abs/2606.01504},
}
"""


class MaskedInfoNCELoss(TemperatureMixin, GradedLoss):
    """InfoNCE whose in-batch negatives are dropped where they look like positives. Source: arXiv 2606.01504, stage 1.

    For a positive i of the query q, with cosines s and the temperature tau::

        L_{q,i} = -log( exp(s_i/tau) / ( exp(s_i/tau) + sum_{j in N_i} exp(s_j/tau) + sum_{k in B_i} exp(s_k/tau) ) )

    - N_i: the query's own items of a grade below that of i. They were judged, so they always stay, however close.
    - B_i: the items of the batch's other instances that are not judged for q here, and only those with
      ``s_k <= s_i + margin``: one that comes out further above a known positive is likely a relevant item that
      nobody judged. An item that is judged for q, whatever its grade, is never in B_i.

    Which items the mask keeps is a constant of the backward pass. The source gives the mask, its margin .1 and
    tau .02, for one positive a query; the rest is ours: items of the same or a higher grade are left out of the
    denominator of i, and an instance's loss is the mean of L_{q,i} over its positives. A positive with no negative
    at all adds 0.

    An instance with one grade only gives no signal and is skipped, though its items serve the others as in-batch
    negatives; with ``positives="absolute"`` it gives one where its grade is above 0, which is plain InfoNCE over
    (query, positive) pairs.

    Only the pairs of this batch are known to be judged: an item judged for q elsewhere counts as unjudged. So do the
    items of another instance of the same query, for two rows with one query text are two queries here: the margin is
    then all that guards them (a batch sampler that keeps queries apart does better). Under several processes the
    negatives are those of each process's own batch. Needs O(Q U) memory for Q instances and U distinct items.

    Args:
        model: The SentenceTransformer to train.
        temperature: tau, or where it starts if it is learned (.02: paper).
        learn_temperature: Learn log tau with the model (ours; the paper's is fixed).
        margin: How far above the positive an unjudged item may come out and still be a negative (.1: paper). Below 0
            it must lie that far under the positive. None: no mask, every unjudged item is a negative.
        positives: "relative": items above the lowest grade of their instance (ours, as in GradedSupConLoss);
            "absolute": every item with a grade above 0.
        weights: "uniform": the mean over an instance's positives; "grade": weighted by their grades (both ours).
        reduction: "sum" over the instances, or "mean" over those that are not skipped.
        temperature_range: tau is clamped to it (ours).
        mini_batch_size, mini_batch_tokens: Gradient caching, see :class:`~mr_st.losses.GradedLoss`. The loss still
            sees the whole batch.

    Raises:
        UsageError: an argument that is none of these.

    Example:
        >>> loss = MaskedInfoNCELoss(None, temperature=1.0)
        >>> queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> items = torch.tensor([[0.6, 0.8], [-1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> labels = torch.tensor([[0, 0, 1], [0, 1, 0], [1, 2, 0], [1, 3, 1]])

        Item 2 (cosine 1 with query 0, whose positive has .6) is masked there; items 0 and 1 are kept for query 1:

        >>> round(loss.compute_loss_from_embeddings([queries, items], labels).item(), 4)
        1.4979
        >>> unmasked = MaskedInfoNCELoss(None, temperature=1.0, margin=None)
        >>> round(unmasked.compute_loss_from_embeddings([queries, items], labels).item(), 4)
        2.1142
    """

    name: ClassVar[str] = "masked_infonce"
    is_local: ClassVar[bool] = False

    def __init__(
        self,
        model: SentenceTransformer | None,
        temperature: float = 0.02,
        learn_temperature: bool = False,
        *,
        margin: float | None = 0.1,
        positives: Literal["relative", "absolute"] = "relative",
        weights: Literal["uniform", "grade"] = "uniform",
        reduction: Reduction = "sum",
        temperature_range: tuple[float, float] = (0.005, 1.0),
        mini_batch_size: int | None = None,
        mini_batch_tokens: int | None = None,
    ) -> None:
        super().__init__(model, reduction, mini_batch_size=mini_batch_size, mini_batch_tokens=mini_batch_tokens)
        if margin is not None and not math.isfinite(margin):
            raise UsageError(f"margin is {margin}; expected a finite number, or None for no mask")
        if positives not in ("relative", "absolute"):
            raise UsageError(f"positives is {positives!r}; expected 'relative' or 'absolute'")
        if weights not in ("uniform", "grade"):
            raise UsageError(f"weights is {weights!r}; expected 'uniform' or 'grade'")
        self.margin = None if margin is None else float(margin)
        self.positives = positives
        self.weights = weights
        self.init_temperature(temperature, learn_temperature, temperature_range)

    @classmethod
    def roar(cls, model: SentenceTransformer | None, **options: Any) -> MaskedInfoNCELoss:
        """Stage 1 of ROAR: margin .1 and a fixed tau of .02 (paper), the mean of a batch (ours).

        The paper's stage 1 trains on query-product pairs, so here any grade above 0 is a positive and needs no judged
        negative beside it (our reading). ``options`` are further arguments, such as ``mini_batch_size``.
        """
        return cls(model, 0.02, False, margin=0.1, positives="absolute", reduction="mean", **options)

    def instance_terms(self, pairs: Pairs) -> tuple[dict[str, Tensor], Tensor]:
        losses, is_live = self.contrast(pairs)
        return {self.name: losses}, is_live

    def contrast(self, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """The loss of each instance, ``(Q,)``, and which instances have a positive with a negative, ``(Q,)`` bool."""
        rows, grades, n = pairs.query_rows, pairs.grades, pairs.n_queries
        tau = self.tau(pairs.scores.dtype)
        logits = pairs.scores / tau
        is_positive = pairs.is_positive(self.positives)
        negatives = torch.stack([_lse_of_lower_grades(logits, pairs), self._lse_of_unjudged(pairs, tau)])
        has_negative = ~negatives.isinf().all(0)
        is_used = is_positive & has_negative
        # log(1 + exp(x)) of a difference: the logarithm of the share itself would round a small loss off.
        excess = torch.where(has_negative, torch.where(has_negative, negatives, 0.0).logsumexp(0) - logits, 0.0)
        weights = is_positive.to(logits.dtype)
        if self.weights == "grade":
            weights = weights * grades
        total = segment_sum(weights, rows, n)
        losses = segment_sum(weights * is_used * torch.logaddexp(excess, excess.new_zeros(())), rows, n)
        is_live = segment_max(is_used.long(), rows, n, empty=0) > 0
        return losses / torch.where(total > 0, total, 1.0), is_live

    def _lse_of_unjudged(self, pairs: Pairs, tau: Tensor) -> Tensor:
        """For each pair, ``(P,)``, the log-sum-exp over the unjudged items that the mask keeps; -inf if none."""
        scores = pairs.queries @ pairs.items.T
        in_batch = scores.new_zeros(scores.shape[1], dtype=torch.bool)
        in_batch[pairs.item_rows] = True  # an item that belongs to no instance is nobody's
        unjudged = in_batch.repeat(len(scores), 1)
        unjudged[pairs.query_rows, pairs.item_rows] = False
        # Sorted by similarity, what the margin keeps is a prefix of the row: one sort serves all positives of a query.
        similarities, order = scores.detach().masked_fill(~unjudged, torch.inf).sort(1)
        ends = torch.full_like(pairs.scores, torch.finfo(scores.dtype).max)
        if self.margin is not None:
            ends = pairs.scores.detach() + self.margin
        n_kept = _count_at_most(ends, similarities, pairs.query_rows)
        running = (scores.gather(1, order) / tau).logcumsumexp(1)
        kept = running[pairs.query_rows, (n_kept - 1).clamp(min=0)]
        return torch.where(n_kept > 0, kept, -torch.inf)

    def get_config_dict(self) -> dict[str, Any]:
        return {
            **self.temperature_config(),
            "margin": self.margin,
            "positives": self.positives,
            "weights": self.weights,
            **super().get_config_dict(),
        }

    @property
    def citation(self) -> str:
        return ROAR_CITATION + _INFONCE_CITATION


def _lse_of_lower_grades(logits: Tensor, pairs: Pairs) -> Tensor:
    """For each pair, ``(P,)``, the log-sum-exp over its instance's items of lower grades; -inf if there are none."""
    out = torch.full_like(logits, -torch.inf)
    for grade in pairs.grades.unique()[1:]:
        lower = segment_logsumexp(logits, pairs.query_rows, pairs.n_queries, pairs.grades < grade)
        out = torch.where(pairs.grades == grade, lower[pairs.query_rows], out)
    return out


def _count_at_most(ends: Tensor, ascending: Tensor, rows: Tensor) -> Tensor:
    """How many entries of ``ascending[rows[p]]`` are at most ``ends[p]``: ``(P,)`` int64, by bisection.

    ``torch.searchsorted`` wants as many values for each row, or a copy of the row for each value.
    """
    low = torch.zeros_like(rows)
    high = torch.full_like(rows, ascending.shape[1])
    for _ in range(ascending.shape[1].bit_length()):
        middle = (low + high) // 2
        is_open = low < high
        is_inside = is_open & (ascending[rows, middle.clamp(max=ascending.shape[1] - 1)] <= ends)
        low = torch.where(is_inside, middle + 1, low)
        high = torch.where(is_open & ~is_inside, middle, high)
    return low


_INFONCE_CITATION = """
@misc{oord2018cpc,
    title = {Representation Learning with Contrastive Predictive Coding},
    author = {Aaron van den Oord and Yazhe Li and Oriol Vinyals},
    year = {2018},
    eprint = {1807.03748},
    archivePrefix = {arXiv},
    url = {https://arxiv.org/abs/1807.03748},
}
"""
