"""ROAR, stage 2: the odds of each grade above those of the grade below it."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from mr_st.errors import UsageError
from mr_st.losses.base import Pairs, Reduction
from mr_st.losses.leave_one_out import leave_one_out_logsumexp
from mr_st.losses.masked_infonce import MaskedInfoNCELoss
from mr_st.losses.segments import segment_count, segment_logsumexp, segment_sum
from mr_st.losses.triplet import graded_pairs

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["ROARLoss"]


class ROARLoss(MaskedInfoNCELoss):
    """Consecutive grades apart in log odds, beside a contrastive loss. Source: arXiv 2606.01504, stage 2.

    The softmax over an instance's own items at the temperature tau_a makes a probability of each, and so odds::

        P = softmax(s / tau_a)        odds_i = P_i / (1 - P_i)
        D = log( odds_+ / odds_- )    for an item (+) of a grade and one (-) of the next lower grade present
        L_align = - 1/C * sum log sigmoid(D)
        L = L_align + beta * L_contrastive

    log(1 - P_i) is the log-sum-exp of the other logits less that of all of them, which cancels in the odds; so they
    are exact also when one item has all the mass and 1 - P_i rounds to 0. L_contrastive is stage 1's
    :class:`MaskedInfoNCELoss` with a temperature of its own.

    With one item of each grade C is the number of consecutive grades, the grades present less one. For grades of
    several items we were given no rule; ``odds`` says how they are taken (ours). C stays as it is in all three, so
    that each two consecutive grades weigh the same, however many items they have:

    - "pairs": D of every item of the one grade against every item of the other, and the mean of -log sigmoid(D) over
      them. Each pair in the wrong order is felt. As many pairs as the products of the grades' sizes in an instance.
    - "sum": the odds of the grades as events, P being the sum over the grade's items. At so low a temperature that
      compares the best item of each: an irrelevant item on top is felt, a relevant one at the bottom is not.
    - "mean": the mean of the items' log odds. Smooth, but many easy items hide a hard one.

    Consecutive grades are those of the instance: with the grades 3 and 0 only, 3 stands against 0. An instance with
    one grade only gives no signal (see ``positives`` of MaskedInfoNCELoss for the one exception). The alignment looks
    at the instance's own items only, the contrastive part at those of the batch.

    Args:
        model: The SentenceTransformer to train.
        beta: The share of the contrastive loss (.1: paper); 0 leaves it out.
        alignment_temperature: tau_a (.01: paper), fixed.
        temperature: The contrastive loss's tau, as ``learn_temperature``, ``margin``, ``positives``, ``weights`` and
            ``temperature_range`` are its arguments.
        odds: "pairs", "sum" or "mean" (ours).
        reduction: "sum" over the instances, or "mean" over those that are not skipped.
        mini_batch_size, mini_batch_tokens: Gradient caching, see :class:`~mr_st.losses.GradedLoss`.

    Raises:
        UsageError: an argument that is none of these.

    Example:
        With two items D is twice the difference of their logits, here 2 * (.6 - .8) / .1:

        >>> loss = ROARLoss(None, beta=0.0, alignment_temperature=0.1)
        >>> query, items = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.6, 0.8], [0.8, 0.6]])
        >>> round(loss.compute_loss_from_embeddings([query, items], torch.tensor([[0, 0, 2], [0, 1, 0]])).item(), 4)
        4.0181
    """

    name: ClassVar[str] = "roar"
    is_local: ClassVar[bool] = False

    def __init__(
        self,
        model: SentenceTransformer | None,
        beta: float = 0.1,
        alignment_temperature: float = 0.01,
        temperature: float = 0.02,
        learn_temperature: bool = False,
        *,
        odds: Literal["pairs", "sum", "mean"] = "pairs",
        margin: float | None = 0.1,
        positives: Literal["relative", "absolute"] = "relative",
        weights: Literal["uniform", "grade"] = "uniform",
        reduction: Reduction = "sum",
        temperature_range: tuple[float, float] = (0.005, 1.0),
        mini_batch_size: int | None = None,
        mini_batch_tokens: int | None = None,
    ) -> None:
        super().__init__(
            model,
            temperature,
            learn_temperature,
            margin=margin,
            positives=positives,
            weights=weights,
            reduction=reduction,
            temperature_range=temperature_range,
            mini_batch_size=mini_batch_size,
            mini_batch_tokens=mini_batch_tokens,
        )
        if not 0 <= beta < float("inf"):
            raise UsageError(f"beta is {beta}; expected the contrastive loss's share, 0 or above")
        if not 0 < alignment_temperature < float("inf"):
            raise UsageError(f"alignment_temperature is {alignment_temperature}; expected a positive number")
        if odds not in ("pairs", "sum", "mean"):
            raise UsageError(f"odds is {odds!r}; expected 'pairs', 'sum' or 'mean'")
        self.beta = float(beta)
        self.alignment_temperature = float(alignment_temperature)
        self.odds = odds

    @classmethod
    def roar(cls, model: SentenceTransformer | None, **options: Any) -> ROARLoss:
        """Stage 2 of ROAR: tau_a .01, beta .1, stage 1's tau .02 and margin .1 (paper), the mean of a batch (ours).

        ``options`` are further arguments, such as ``mini_batch_size``.
        """
        return cls(model, 0.1, 0.01, 0.02, False, margin=0.1, reduction="mean", **options)

    def instance_terms(self, pairs: Pairs) -> tuple[dict[str, Tensor], Tensor]:
        """``roar_<high>_over_<low>`` for two consecutive grades of an instance, and ``roar_contrastive``."""
        terms, is_live = self._alignment(pairs)
        if self.beta > 0 or not terms:
            losses, has_contrast = self.contrast(pairs)
            terms["roar_contrastive"] = self.beta * losses
            is_live = is_live | has_contrast if self.beta > 0 else is_live
        return terms, is_live

    def _alignment(self, pairs: Pairs) -> tuple[dict[str, Tensor], Tensor]:
        values, ranks = pairs.grades.unique(return_inverse=True)
        n, n_ranks = pairs.n_queries, len(values)
        if n_ranks < 2:
            return {}, torch.zeros(n, dtype=torch.bool, device=ranks.device)
        cells = pairs.query_rows * n_ranks + ranks  # one segment for each grade of each instance
        counts = segment_count(torch.ones_like(ranks, dtype=torch.bool), cells, n * n_ranks).view(n, n_ranks)
        below = _next_lower_present(counts > 0)
        logits = pairs.scores / self.alignment_temperature
        compare = self._compare_pairs if self.odds == "pairs" else self._compare_grades
        losses = compare(logits, pairs, cells, counts, below)
        n_present = (counts > 0).sum(1)
        losses = losses / (n_present - 1).clamp(min=1).unsqueeze(1)
        terms = {
            f"roar_{values[high]}_over_{values[low]}": torch.where(below[:, high] == low, losses[:, high], 0.0)
            for low, high in combinations(range(n_ranks), 2)
        }
        return terms, n_present > 1

    def _compare_pairs(self, logits: Tensor, pairs: Pairs, cells: Tensor, counts: Tensor, below: Tensor) -> Tensor:
        """``(Q, G)``: for each grade, the mean of -log sigmoid(D) over its items and those of the grade below it."""
        log_odds = _log_odds(logits, pairs.query_rows, pairs.n_queries)
        sizes, n_ranks = counts.flatten(), counts.shape[1]
        high, low = graded_pairs(pairs.query_rows, pairs.grades, pairs.n_queries)
        is_consecutive = cells[low] % n_ranks == below.flatten()[cells[high]]
        high, low = high[is_consecutive], low[is_consecutive]
        losses = _softplus(log_odds[low] - log_odds[high]) / (sizes[cells[high]] * sizes[cells[low]])
        return segment_sum(losses, cells[high], len(sizes)).view_as(counts)

    def _compare_grades(self, logits: Tensor, pairs: Pairs, cells: Tensor, counts: Tensor, below: Tensor) -> Tensor:
        """``(Q, G)``: for each grade, -log sigmoid(D) of the grade's odds and those of the grade below it."""
        n, n_ranks = counts.shape
        if self.odds == "mean":
            of_items = _log_odds(logits, pairs.query_rows, n)
            log_odds = segment_sum(of_items, cells, n * n_ranks) / counts.flatten().clamp(min=1)
        else:
            of_grades = segment_logsumexp(logits, cells, n * n_ranks)
            of_grades = torch.where(counts.flatten() > 0, of_grades, 0.0)
            instances = torch.arange(n, device=cells.device).repeat_interleave(n_ranks)
            log_odds = _log_odds(of_grades, instances, n, counts.flatten() > 0)
        log_odds = log_odds.view(n, n_ranks)
        margins = log_odds - log_odds.gather(1, below.clamp(min=0))
        return torch.where(below >= 0, _softplus(-margins), 0.0)

    def get_config_dict(self) -> dict[str, Any]:
        return {
            "beta": self.beta,
            "alignment_temperature": self.alignment_temperature,
            "odds": self.odds,
            **super().get_config_dict(),
        }


def _log_odds(logits: Tensor, segments: Tensor, n_segments: int, mask: Tensor | None = None) -> Tensor:
    """``log(P / (1 - P))`` of each entry under its segment's softmax; 0 for one without others."""
    others = leave_one_out_logsumexp(logits, segments, n_segments, mask)
    return torch.where(others.isinf(), 0.0, logits - others)


def _next_lower_present(is_present: Tensor) -> Tensor:
    """``(Q, G)`` int64: for each grade that is present, the highest present one below it; -1 if there is none."""
    ranks = torch.arange(is_present.shape[1], device=is_present.device)
    highest = torch.where(is_present, ranks, -1).cummax(1).values
    below = torch.cat([torch.full_like(highest[:, :1], -1), highest[:, :-1]], 1)
    return torch.where(is_present, below, -1)


def _softplus(x: Tensor) -> Tensor:
    """``-log sigmoid(-x)``, exact at both ends (``F.softplus`` is the identity above its threshold)."""
    return torch.logaddexp(x, x.new_zeros(()))
