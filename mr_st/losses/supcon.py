"""Stage 1: graded supervised contrastive loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from mr_st.errors import UsageError
from mr_st.losses.base import GradedLoss, Pairs, Reduction
from mr_st.losses.segments import segment_logsumexp, segment_max, segment_min, segment_sum
from mr_st.losses.temperature import TemperatureMixin

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["GradedSupConLoss"]


class GradedSupConLoss(TemperatureMixin, GradedLoss):
    """Supervised contrastive loss whose positives weigh as much as their grade. Source: arXiv 2602.17654, Eq. 2.

    For an instance q with similarities s_i and grades r_i, its positives P and the temperature tau::

        L_q = - 1/(sum_{i in P} r_i) * sum_{i in P} r_i * log( exp(s_i/tau) / sum_j exp(s_j/tau) )

    The denominator runs over the instance's own items; there are no in-batch negatives, since under several grades an
    item of another query may well be relevant. An instance with one grade only gives no signal and is skipped. Any
    number of grades will do; with two it is the supervised contrastive loss of Khosla et al. (2020).

    Args:
        model: The SentenceTransformer to train.
        temperature: Where tau starts (.05 is ours).
        learn_temperature: Learn log tau with the model (paper: tau is learned).
        positives: "relative": items above the lowest grade of their instance (ours, reading "relatively positive");
            "absolute": every item with a grade above 0.
        reduction: "sum" over the instances (paper), or "mean" over those that are not skipped. With "sum" scale the
            gradient clip with the batch (``train_stage`` does): the trainer's 1.0 would clip all the time.
        temperature_range: tau is clamped to it (ours).
        mini_batch_size, mini_batch_tokens: Gradient caching, see :class:`~mr_st.losses.GradedLoss`.

    Raises:
        UsageError: an argument that is none of these, or a temperature outside its range.

    Inputs: feature batches of the queries and of the distinct items, and labels ``(P, 3)`` int64, as
    :class:`~mr_st.training.GradedCollator` gives them.

    Example:
        >>> loss = GradedSupConLoss(None, temperature=1.0)
        >>> query, items = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> round(loss.compute_loss_from_embeddings([query, items], torch.tensor([[0, 0, 2], [0, 1, 0]])).item(), 4)
        0.3133
    """

    name: ClassVar[str] = "supcon"

    def __init__(
        self,
        model: SentenceTransformer | None,
        temperature: float = 0.05,
        learn_temperature: bool = True,
        *,
        positives: Literal["relative", "absolute"] = "relative",
        reduction: Reduction = "sum",
        temperature_range: tuple[float, float] = (0.005, 1.0),
        mini_batch_size: int | None = None,
        mini_batch_tokens: int | None = None,
    ) -> None:
        super().__init__(model, reduction, mini_batch_size=mini_batch_size, mini_batch_tokens=mini_batch_tokens)
        if positives not in ("relative", "absolute"):
            raise UsageError(f"positives is {positives!r}; expected 'relative' or 'absolute'")
        self.positives = positives
        self.init_temperature(temperature, learn_temperature, temperature_range)

    @classmethod
    def paper(cls, model: SentenceTransformer | None, **options: Any) -> GradedSupConLoss:
        """The paper's loss: tau learned, summed over instances; where tau starts and its range are ours.

        ``options`` are further arguments, such as ``mini_batch_size``.
        """
        return cls(model, 0.05, True, positives="relative", reduction="sum", **options)

    def instance_terms(self, pairs: Pairs) -> tuple[dict[str, Tensor], Tensor]:
        rows, grades, n = pairs.query_rows, pairs.grades, pairs.n_queries
        lowest = segment_min(grades, rows, n, empty=0)
        is_live = segment_max(grades, rows, n, empty=0) > lowest
        is_positive = pairs.is_positive(self.positives)
        logits = pairs.scores / self.tau(pairs.scores.dtype)
        weights = (grades * (is_positive & is_live[rows])).to(logits.dtype)
        log_shares = logits - segment_logsumexp(logits, rows, n)[rows]
        total = segment_sum(weights, rows, n)
        losses = -segment_sum(weights * log_shares, rows, n) / torch.where(is_live, total, 1.0)
        return {"supcon": losses}, is_live

    def get_config_dict(self) -> dict[str, Any]:
        return {**self.temperature_config(), "positives": self.positives, **super().get_config_dict()}
