"""Stage 2: multi-class circle loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from mr_st.errors import UsageError
from mr_st.losses.bands import Bands
from mr_st.losses.base import PAPER_CITATION, SOFTPLUS_LINEAR_ABOVE, GradedLoss, Pairs, Reduction
from mr_st.losses.segments import segment_count, segment_logsumexp

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["MultiClassCircleLoss"]


class MultiClassCircleLoss(GradedLoss):
    """Circle loss for every pair of grades, each grade with a band of its own. Source: arXiv 2602.17654, Eq. 3-5.

    For grades h > l that an instance has, with the items I_h and I_l, boundaries D and optima O::

        L_{h,l} = log( 1 + 1/|I_l| * sum_{i in I_h} exp(-gamma * max(O_hp - s_i, 0) * (s_i - D_hp))
                                   * sum_{j in I_l} exp(-gamma * min(O_ln - s_j, 0) * (s_j - D_ln)) )

    computed as ``softplus(lse_i[...] + lse_j[...] - log|I_l|)``. The grade pairs that are present are summed (ours);
    an instance with one grade only is skipped. With two grades and ``average_lower=False`` it is the circle loss of
    Sun et al. (2020) for each query.

    Args:
        model: The SentenceTransformer to train.
        gamma: The scale of the exponents (the paper gives none; 32 is ours).
        bands: The boundaries and optima: a :class:`Bands`, "paper" (three grades), a number of grades (evenly spaced
            bands, ours), or the four tables by name.
        detach_weights: Hold the factors max(O_hp - s, 0) and min(O_ln - s, 0) constant in the backward pass, as the
            original circle loss does (the paper is silent).
        reduction: "sum" over the instances (paper), or "mean" over those that are not skipped.
        average_lower: Divide by the size of I_l (paper); False does not (as the original circle loss).
        mini_batch_size, mini_batch_tokens: Gradient caching, see :class:`~mr_st.losses.GradedLoss`.

    Raises:
        UsageError: an argument that is none of these.

    Inputs: feature batches of the queries and of the distinct items, and labels ``(P, 3)`` int64, as
    :class:`~mr_st.training.GradedCollator` gives them.

    Example:
        >>> loss = MultiClassCircleLoss(None, gamma=1.0)
        >>> query, items = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> round(loss.compute_loss_from_embeddings([query, items], torch.tensor([[0, 0, 2], [0, 1, 0]])).item(), 4)
        0.6326
    """

    name: ClassVar[str] = "circle"

    def __init__(
        self,
        model: SentenceTransformer | None,
        gamma: float = 32.0,
        bands: Bands | str | int | Mapping[str, Any] = "paper",
        detach_weights: bool = True,
        reduction: Reduction = "sum",
        *,
        average_lower: bool = True,
        mini_batch_size: int | None = None,
        mini_batch_tokens: int | None = None,
    ) -> None:
        super().__init__(model, reduction, mini_batch_size=mini_batch_size, mini_batch_tokens=mini_batch_tokens)
        if not gamma > 0:
            raise UsageError(f"gamma is {gamma}; expected a positive number")
        self.gamma = float(gamma)
        self.bands = Bands.of(bands)
        self.detach_weights = detach_weights
        self.average_lower = average_lower

    @classmethod
    def paper(cls, model: SentenceTransformer | None, gamma: float = 32.0, **options: Any) -> MultiClassCircleLoss:
        """The paper's loss for three grades: its bands, the lower grade averaged, summed over instances.

        Its gamma is not printed (32 is ours). ``options`` are further arguments, such as ``mini_batch_size``.
        """
        return cls(model, gamma, Bands.paper(), reduction="sum", average_lower=True, **options)

    @property
    def n_grades(self) -> int:
        """How many grades the bands have."""
        return self.bands.n_grades

    @classmethod
    def options_for(cls, n_grades: int) -> dict[str, Any]:
        return {} if n_grades == 3 else {"bands": n_grades}

    def instance_terms(self, pairs: Pairs) -> tuple[dict[str, Tensor], Tensor]:
        scores, grades, n_grades = pairs.scores, pairs.grades, self.n_grades
        cells = pairs.query_rows * n_grades + grades  # one segment for each grade of each instance
        n_cells = pairs.n_queries * n_grades
        lower, upper, optimum_up, optimum_down = (
            torch.tensor([0.0 if v is None else v for v in table], dtype=scores.dtype, device=scores.device)[grades]
            for table in self.bands.to_dict().values()
        )
        up = self._lse(-self._weight(optimum_up - scores) * (scores - lower), cells, n_cells, grades > 0)
        down = self._lse(self._weight(scores - optimum_down) * (scores - upper), cells, n_cells, grades < n_grades - 1)
        counts = segment_count(torch.ones_like(cells, dtype=torch.bool), cells, n_cells).view(-1, n_grades)
        high, low = torch.tril_indices(n_grades, n_grades, offset=-1, device=scores.device)
        is_present = (counts[:, high] > 0) & (counts[:, low] > 0)
        exponents = torch.where(is_present, up[:, high] + down[:, low], 0.0)
        if self.average_lower:
            exponents = exponents - counts[:, low].clamp(min=1).to(scores.dtype).log()
        terms = F.softplus(exponents, threshold=SOFTPLUS_LINEAR_ABOVE) * is_present
        names = [f"circle_{hi}_over_{lo}" for hi, lo in zip(high.tolist(), low.tolist(), strict=True)]
        return dict(zip(names, terms.unbind(1), strict=True)), is_present.any(1)

    def _weight(self, distance: Tensor) -> Tensor:
        weight = self.gamma * torch.relu(distance)
        return weight.detach() if self.detach_weights else weight

    def _lse(self, exponents: Tensor, cells: Tensor, n_cells: int, mask: Tensor) -> Tensor:
        return segment_logsumexp(exponents, cells, n_cells, mask).view(-1, self.n_grades)

    def get_config_dict(self) -> dict[str, Any]:
        return {
            "gamma": self.gamma,
            "bands": self.bands.to_dict(),
            "detach_weights": self.detach_weights,
            "average_lower": self.average_lower,
            **super().get_config_dict(),
        }

    @property
    def citation(self) -> str:
        return PAPER_CITATION + _CIRCLE_CITATION


_CIRCLE_CITATION = """
@inproceedings{sun2020circle,
    title = {Circle Loss: A Unified Perspective of Pair Similarity Optimization},
    author = {Yifan Sun and Changmao Cheng and Yuhan Zhang and Chi Zhang and Liang Zheng and Zhongdao Wang and
        Yichen Wei},
    booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition},
    year = {2020},
}
"""
