"""Listwise cross entropy between the grades and the similarities of an instance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from mr_st.errors import UsageError
from mr_st.losses.base import GradedLoss, Pairs, Reduction
from mr_st.losses.segments import segment_logsumexp, segment_max, segment_min, segment_sum
from mr_st.losses.temperature import TemperatureMixin

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["GradedListNetLoss"]


class GradedListNetLoss(TemperatureMixin, GradedLoss):
    """ListNet for bi-encoders: the similarities of an instance as a distribution, drawn to that of its grades.

    Source: Cao et al., ICML 2007 (top-one probabilities). For an instance with gains y_i (by default its grades),
    similarities s_i, the temperature tau and the label temperature t::

        P_i = exp(y_i/t) / sum_j exp(y_j/t)
        L_q = - sum_i P_i * log( exp(s_i/tau) / sum_j exp(s_j/tau) )

    At its minimum L_q is the entropy of P, not 0. The gain gap between two items asks for a similarity gap of
    ``tau * (y_i - y_j) / t``: choose t so that the top grade's gap fits between cosines. An instance whose items have
    one gain only is skipped.

    sentence-transformers has this objective as ``cross_encoder.losses.ListNetLoss``, for cross-encoders only (its
    open issue #3492 asks for listwise losses over graded lists for bi-encoders). This one scores by the cosine of two
    towers, each distinct item embedded once, and takes ragged lists without padding. With ``temperature=1``,
    ``label_temperature=1``, ``reduction="mean"`` and no one-grade instance in the batch it is that loss, number for
    number, on the cosines; theirs also draws the scores of a one-grade list together.

    Args:
        model: The SentenceTransformer to train.
        temperature: Where tau starts (ours; the paper's scores are unbounded and need none, cosines do).
        learn_temperature: Learn log tau with the model (ours).
        label_temperature: t, above 0. Small values put all of P on the items of the highest gain.
        gains: The gain of each grade, lowest first, never falling, e.g. a scale's ``gains``; None: the grade itself
            (for any number of grades; ``[0, 1, 2]`` is ``[0, .5, 1]`` at twice the label temperature).
        reduction: "sum" over the instances, or "mean" over those that are not skipped.
        temperature_range: tau is clamped to it (ours).

    Raises:
        UsageError: a label temperature that is not above 0, gains that fall or are all equal, a bad temperature.

    Example:
        >>> import torch
        >>> loss = GradedListNetLoss(None, temperature=1.0)
        >>> query, items = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> round(loss.compute_loss_from_embeddings([query, items], torch.tensor([[0, 0, 1], [0, 1, 0]])).item(), 4)
        0.5822
    """

    name: ClassVar[str] = "listnet"

    def __init__(
        self,
        model: SentenceTransformer | None,
        temperature: float = 0.05,
        learn_temperature: bool = True,
        *,
        label_temperature: float = 1.0,
        gains: Sequence[float] | None = None,
        reduction: Reduction = "sum",
        temperature_range: tuple[float, float] = (0.005, 1.0),
        mini_batch_size: int | None = None,
        mini_batch_tokens: int | None = None,
    ) -> None:
        super().__init__(model, reduction, mini_batch_size=mini_batch_size, mini_batch_tokens=mini_batch_tokens)
        if not 0 < label_temperature < math.inf:
            raise UsageError(f"label_temperature is {label_temperature}; expected a number above 0")
        self.label_temperature = float(label_temperature)
        self.gains = None if gains is None else _checked_gains(gains)
        self.init_temperature(temperature, learn_temperature, temperature_range)

    @classmethod
    def cao2007(cls, model: SentenceTransformer | None, temperature: float = 0.05) -> GradedListNetLoss:
        """The paper's ListNet: exp of the grades against exp of the scores, nothing learned but the model.

        Args:
            model: The SentenceTransformer to train.
            temperature: The cosines' fixed temperature (ours). 1.0 is the paper to the letter, whose scores are
                unbounded; cosines are not, so that no ranking could then be far from uniform.
        """
        return cls(model, temperature, learn_temperature=False)

    @property
    def n_grades(self) -> int | None:
        """How many grades the gains are for; None when the grades themselves are the gains."""
        return None if self.gains is None else len(self.gains)

    def instance_terms(self, pairs: Pairs) -> tuple[dict[str, Tensor], Tensor]:
        rows, n, dtype = pairs.query_rows, pairs.n_queries, pairs.scores.dtype
        gains = pairs.grades.to(dtype) if self.gains is None else pairs.scores.new_tensor(self.gains)[pairs.grades]
        is_live = segment_max(gains, rows, n, empty=0) > segment_min(gains, rows, n, empty=0)
        targets = gains / self.label_temperature
        targets = (targets - segment_logsumexp(targets, rows, n)[rows]).exp() * is_live[rows]
        logits = pairs.scores / self.tau(dtype)
        log_shares = logits - segment_logsumexp(logits, rows, n)[rows]
        return {"listnet": -segment_sum(targets * log_shares, rows, n)}, is_live

    def get_config_dict(self) -> dict[str, Any]:
        return {
            **self.temperature_config(),
            "label_temperature": self.label_temperature,
            "gains": self.gains,
            **super().get_config_dict(),
        }

    @property
    def citation(self) -> str:
        return _LISTNET_CITATION


def _checked_gains(gains: Sequence[float]) -> list[float]:
    try:
        values = [float(gain) for gain in gains]
    except (TypeError, ValueError) as error:
        raise UsageError(f"gains is {gains!r}; expected one number for each grade, lowest first") from error
    if not all(math.isfinite(v) for v in values) or sorted(values) != values or len(set(values)) < 2:
        raise UsageError(f"gains is {values}; expected one for each grade, lowest first, never falling, not all equal")
    return values


_LISTNET_CITATION = """
@inproceedings{cao2007listnet,
    title = {Learning to Rank: From Pairwise Approach to Listwise Approach},
    author = {Zhe Cao and Tao Qin and Tie-Yan Liu and Ming-Feng Tsai and Hang Li},
    booktitle = {Proceedings of the 24th International Conference on Machine Learning},
    year = {2007},
}
"""
