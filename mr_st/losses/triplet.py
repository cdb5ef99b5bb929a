"""The paper's baseline: weighted triplet loss over graded pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from mr_st.errors import UsageError
from mr_st.losses.base import PAPER_CITATION, GradedLoss, Pairs, Reduction
from mr_st.losses.segments import segment_count, segment_sum

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["GradedTripletLoss", "graded_pairs"]

Steps = float | Sequence[float] | Sequence[Sequence[float]]


class GradedTripletLoss(GradedLoss):
    """Weighted triplet loss over every two items of an instance whose grades differ.

    Source: the triplet loss of Facebook's embedding-based retrieval (arXiv 2006.11632, section 2.2), the baseline of
    arXiv 2602.17654, section 5.1, "with slight variations to accommodate 3 level relevance labels" that it does not
    print. For items i of grade h and j of grade l < h of one instance, with similarities s::

        L_q = 1/n * sum_{(i, j): h > l} w(h, l) * max(0, s_j - s_i + m(h, l))

    n is the number of those pairs of the instance (ours), or 1 (Facebook's plain sum). The rule for the weights and
    margins is ours: both grow with the gap ``h - l``, so that an irrelevant item is held further below a relevant one
    than a partial one is. Pairs are listed by index operations, as many as the instances have; an instance of n items
    has up to n(n-1)/2.

    Args:
        model: The SentenceTransformer to train.
        margins: m, in cosine: a number, the margin of one step of grade (a gap of k has k times as much, for any
            number of grades); one number for each gap 1, 2, ...; or one row for each higher grade h = 1, 2, ..., with
            its margins above the grades 0 .. h-1. 0 or more. Facebook tuned it and prints none; 0.1 is ours.
        weights: w, said in the same three ways. A weight of 0 leaves those pairs out.
        average_pairs: Divide by the instance's pairs (of a weight above 0), so that an instance of many items weighs
            as much as one of few (ours); False does not (Facebook).
        reduction: "sum" over the instances (paper), or "mean" over those that are not skipped.

    Raises:
        UsageError: a margin or weight that is negative or not a number, weights that are all 0, a table of another
            form, or two tables for different numbers of grades.

    Example:
        >>> loss = GradedTripletLoss(None, margins=0.5)
        >>> query, items = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0], [1.0, 1.0]])
        >>> round(loss.compute_loss_from_embeddings([query, items], torch.tensor([[0, 0, 1], [0, 1, 0]])).item(), 4)
        1.2071
        >>> GradedTripletLoss(None, margins=[0.1, 0.3], weights=[[1.0], [2.0, 0.5]]).n_grades
        3
    """

    name: ClassVar[str] = "triplet"

    def __init__(
        self,
        model: SentenceTransformer | None,
        margins: Steps = 0.1,
        weights: Steps = 1.0,
        *,
        average_pairs: bool = True,
        reduction: Reduction = "sum",
        mini_batch_size: int | None = None,
        mini_batch_tokens: int | None = None,
    ) -> None:
        super().__init__(model, reduction, mini_batch_size=mini_batch_size, mini_batch_tokens=mini_batch_tokens)
        self.margins = _read("margins", margins)
        self.weights = _read("weights", weights)
        self.average_pairs = average_pairs
        sizes = {len(table) + 1 for table in (self.margins, self.weights) if isinstance(table, list)}
        if len(sizes) > 1:
            raise UsageError(f"margins and weights are tables for {' and '.join(map(str, sorted(sizes)))} grades")
        self._n_grades = sizes.pop() if sizes else None
        if not any(_by_pair(self.weights, self._n_grades or 2)):
            raise UsageError(f"weights are all 0 in {weights}; no pair would count")

    @classmethod
    def ebr(cls, model: SentenceTransformer | None, margin: float = 0.1, n_grades: int = 3) -> GradedTripletLoss:
        """Facebook's loss: one margin and weight 1 for all pairs, summed. Its margin is tuned, not printed; with
        ``n_grades=2`` it is theirs to the letter.

        Raises:
            UsageError: fewer than two grades, or a bad margin.
        """
        if n_grades < 2:
            raise UsageError(f"n_grades is {n_grades}; expected 2 or more")
        return cls(model, [margin] * (n_grades - 1), [1.0] * (n_grades - 1), average_pairs=False)

    @property
    def n_grades(self) -> int | None:
        """How many grades the tables are for; None when a step says it for any number."""
        return self._n_grades

    def instance_terms(self, pairs: Pairs) -> tuple[dict[str, Tensor], Tensor]:
        scores, grades, n = pairs.scores, pairs.grades, pairs.n_queries
        n_grades = self.n_grades or (max(2, int(grades.amax()) + 1) if len(grades) else 2)
        margins, weights = (scores.new_tensor(_by_pair(table, n_grades)) for table in (self.margins, self.weights))
        higher, lower = graded_pairs(pairs.query_rows, grades, n)
        rows, high, low = pairs.query_rows[higher], grades[higher], grades[lower]
        kinds = high * (high - 1) // 2 + low  # where _by_pair and torch.tril_indices put (high, low)
        violations = torch.relu(scores[lower] - scores[higher] + margins[kinds])
        terms = segment_sum(weights[kinds] * violations, rows * len(weights) + kinds, n * len(weights))
        terms = terms.view(n, len(weights))
        counts = segment_count(weights[kinds] > 0, rows, n)
        if self.average_pairs:
            terms = terms / counts.clamp(min=1).unsqueeze(1)
        names = [f"triplet_{high}_over_{low}" for high in range(1, n_grades) for low in range(high)]
        return dict(zip(names, terms.unbind(1), strict=True)), counts > 0

    def get_config_dict(self) -> dict[str, Any]:
        return {
            "margins": self.margins,
            "weights": self.weights,
            "average_pairs": self.average_pairs,
            **super().get_config_dict(),
        }

    @property
    def citation(self) -> str:
        return PAPER_CITATION + _EBR_CITATION


def graded_pairs(query_rows: Tensor, grades: Tensor, n_queries: int) -> tuple[Tensor, Tensor]:
    """Every two entries of one instance of which the first has the higher grade.

    Args:
        query_rows: ``(P,)`` int64, the instance of each entry, in any order.
        grades: ``(P,)`` int64, 0 or more.
        n_queries: How many instances there are.

    Returns:
        Two int64 tensors of the same length, which is the number of such pairs: the entries of higher grade, and those
        of lower grade.

    Example:
        >>> higher, lower = graded_pairs(torch.tensor([0, 1, 0, 0]), torch.tensor([2, 2, 0, 0]), 2)
        >>> higher.tolist(), lower.tolist()
        ([0, 0], [2, 3])
    """
    if not len(grades):
        return grades, grades
    # Sorted by instance and grade, the entries below one are those from its instance's start to its grade's start.
    n_grades = grades.amax() + 1
    cells, order = (query_rows * n_grades + grades).sort(stable=True)
    rows = query_rows[order]
    row_starts, cell_starts = torch.searchsorted(rows, rows), torch.searchsorted(cells, cells)
    n_below = cell_starts - row_starts
    higher = torch.arange(len(grades), device=grades.device).repeat_interleave(n_below)
    firsts = n_below.cumsum(0) - n_below  # where an entry's own pairs begin
    lower = torch.arange(len(higher), device=grades.device) - firsts[higher] + row_starts[higher]
    return order[higher], order[lower]


def _read(what: str, value: Any) -> float | list[float] | list[list[float]]:
    """A number, numbers by gap or rows by grade as plain floats and lists, or a UsageError."""
    expected = (
        f"expected a number, one for each gap, or for each grade above 0 a row as long as the grade; got {value!r}"
    )

    def number(x: Any) -> float:
        if isinstance(x, bool) or not isinstance(x, int | float):
            raise UsageError(f"{what}: {expected}")
        if not (math.isfinite(x) and x >= 0):
            raise UsageError(f"{what}: {x} is not a finite number of 0 or more")
        return float(x)

    if not isinstance(value, Sequence) or isinstance(value, str):
        return number(value)
    if not value:
        raise UsageError(f"{what}: {expected}")
    if not all(isinstance(row, Sequence) and not isinstance(row, str) for row in value):
        return [number(x) for x in value]
    if any(len(row) != grade for grade, row in enumerate(value, start=1)):
        raise UsageError(f"{what}: {expected}")
    return [[number(x) for x in row] for row in value]


def _by_pair(table: float | list[float] | list[list[float]], n_grades: int) -> list[float]:
    """The value for each pair of grades, in the order (1, 0), (2, 0), (2, 1), (3, 0), ..."""
    gaps = [high - low for high in range(1, n_grades) for low in range(high)]
    if isinstance(table, float):
        return [table * gap for gap in gaps]
    if isinstance(table[0], list):
        return [x for row in table for x in row]
    return [table[gap - 1] for gap in gaps]


_EBR_CITATION = """
@inproceedings{huang2020embedding,
    title = {Embedding-based Retrieval in Facebook Search},
    author = {Jui-Ting Huang and Ashish Sharma and Shuying Sun and Li Xia and David Zhang and Philip Pronin and
        Janani Padmanabhan and Giuseppe Ottaviano and Linjun Yang},
    booktitle = {Proceedings of the 26th ACM SIGKDD Conference on Knowledge Discovery and Data Mining},
    year = {2020},
    doi = {10.1145/3394486.3403305},
}
"""
