"""CoSENT within each query: the order of an instance's similarities, as one log-sum over its graded pairs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from mr_st.errors import UsageError
from mr_st.losses.base import SOFTPLUS_LINEAR_ABOVE, GradedLoss, Pairs, Reduction
from mr_st.losses.segments import segment_logsumexp

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["GradedCoSENTLoss"]


class GradedCoSENTLoss(GradedLoss):
    """CoSENT per query: every item below every item of a higher grade of the same instance.

    Source: Jianlin Su's CoSENT (2022; Huang et al., TASLP 2024). For an instance with similarities s and grades r::

        L_q = log( 1 + sum_{(i, j): r_i > r_j} exp(scale * (s_j - s_i)) )

    The original, and sentence-transformers' ``CoSENTLoss``, run the sum over all pairs of the batch, so that an item
    of one query is ordered against an item of another. Search ranks within a query only, and grades of different
    queries are not comparable that way; here each instance has a sum of its own (ours). On a batch of one instance
    the two are equal. An instance with one grade only gives no signal and is skipped.

    The sum over two grades is a product of two sums, ``sum_i exp(-scale * s_i) * sum_j exp(scale * s_j)``: the work
    is linear in the items, no pair of items is ever formed.

    Args:
        model: The SentenceTransformer to train.
        scale: The inverse temperature (20: Su's and sentence-transformers').
        pairs_apart: A logarithm for each pair of grades, summed, as the circle loss has it, instead of one for the
            instance (ours). The log then shows them apart, and a pair of grades with few items is not drowned by one
            with many.
        reduction: "sum" over the instances, or "mean" over those that are not skipped.

    Raises:
        UsageError: a scale that is not above 0.

    Example:
        >>> loss = GradedCoSENTLoss(None, scale=1.0)
        >>> query, items = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> round(loss.compute_loss_from_embeddings([query, items], torch.tensor([[0, 0, 1], [0, 1, 0]])).item(), 4)
        0.3133
    """

    name: ClassVar[str] = "cosent"

    def __init__(
        self,
        model: SentenceTransformer | None,
        scale: float = 20.0,
        *,
        pairs_apart: bool = False,
        reduction: Reduction = "sum",
        mini_batch_size: int | None = None,
        mini_batch_tokens: int | None = None,
    ) -> None:
        super().__init__(model, reduction, mini_batch_size=mini_batch_size, mini_batch_tokens=mini_batch_tokens)
        if not 0 < scale < math.inf:
            raise UsageError(f"scale is {scale}; expected a number above 0")
        self.scale = float(scale)
        self.pairs_apart = pairs_apart

    @classmethod
    def su2022(cls, model: SentenceTransformer | None) -> GradedCoSENTLoss:
        """Su's settings: scale 20 and one logarithm; but for each query by itself."""
        return cls(model, 20.0)

    def instance_terms(self, pairs: Pairs) -> tuple[dict[str, Tensor], Tensor]:
        rows, grades, n = pairs.query_rows, pairs.grades, pairs.n_queries
        n_grades = max(2, int(grades.amax()) + 1) if len(grades) else 2
        cells = rows * n_grades + grades  # one segment for each grade of each instance
        logits = self.scale * pairs.scores
        above, below = (segment_logsumexp(x, cells, n * n_grades).view(n, n_grades) for x in (-logits, logits))
        high, low = torch.tril_indices(n_grades, n_grades, offset=-1, device=cells.device)
        is_present = above[:, high].isfinite() & above[:, low].isfinite()
        is_live = is_present.any(1)
        exponents = torch.where(is_present, above[:, high] + below[:, low], -torch.inf)
        if not self.pairs_apart:
            # log(1 + sum) with the 1 as one more exponent, 0
            return {"cosent": torch.logsumexp(F.pad(exponents, (0, 1)), dim=1)}, is_live
        terms = F.softplus(torch.where(is_present, exponents, 0.0), threshold=SOFTPLUS_LINEAR_ABOVE) * is_present
        names = [f"cosent_{hi}_over_{lo}" for hi, lo in zip(high.tolist(), low.tolist(), strict=True)]
        return dict(zip(names, terms.unbind(1), strict=True)), is_live

    def get_config_dict(self) -> dict[str, Any]:
        return {"scale": self.scale, "pairs_apart": self.pairs_apart, **super().get_config_dict()}

    @property
    def citation(self) -> str:
        return _COSENT_CITATION


_COSENT_CITATION = """
@online{su2022cosent,
    title = {CoSENT: A more efficient sentence vector scheme than Sentence-BERT},
    author = {Jianlin Su},
    year = {2022},
    url = {https://kexue.fm/archives/8847},
}
@article{huang2024cosent,
    title = {CoSENT: Consistent Sentence Embedding via Similarity Ranking},
    author = {Xiang Huang and Hao Peng and Dongcheng Zou and Zhiwei Liu and Jianxin Li and Kay Liu and Jia Wu and
        Jianlin Su and Philip S. Yu},
    journal = {IEEE/ACM Transactions on Audio, Speech, and Language Processing},
    year = {2024},
    doi = {10.1109/TASLP.2024.3402087},
}
"""
