"""What the graded losses share: reading a batch, the pairs' similarities and the reduction."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mr_st.errors import UsageError
from mr_st.losses.caching import CacheableLoss
from mr_st.losses.embedding import embed_column
from mr_st.losses.segments import segment_min

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["PAPER_CITATION", "GradedLoss", "Pairs", "Reduction"]

Reduction = Literal["sum", "mean"]

_ROWS_PER_CPU_FORWARD = 16

SOFTPLUS_LINEAR_ABOVE = 40.0
"""Softplus is the identity above this: exp(-40) is under float64's resolution, exp(40) fits float32."""

PAPER_CITATION = """
@misc{xi2026minerefine,
    title = {Mine and Refine: Optimizing Graded Relevance in E-commerce Search Retrieval},
    author = {Jiaqi Xi and Raghav Saboo and Luming Chen and Martin Wang and Sudeep Das},
    year = {2026},
    eprint = {2602.17654},
    archivePrefix = {arXiv},
    url = {https://arxiv.org/abs/2602.17654},
}
"""


@dataclass(frozen=True)
class Pairs:
    """The judged pairs of a batch, as the losses see them.

    Args:
        scores: ``(P,)`` float32 or float64, the cosine similarity of each pair.
        query_rows: ``(P,)`` int64, the instance that each pair belongs to.
        item_rows: ``(P,)`` int64, the item of each pair.
        grades: ``(P,)`` int64.
        queries: ``(Q, d)``, the unit vectors of the instances; for losses that look across instances.
        items: ``(U, d)``, the unit vectors of the distinct items.
    """

    scores: Tensor
    query_rows: Tensor
    item_rows: Tensor
    grades: Tensor
    queries: Tensor
    items: Tensor

    def is_positive(self, positives: str) -> Tensor:
        """``(P,)`` bool: "relative": above the lowest grade of its instance; "absolute": of a grade above 0."""
        if positives == "absolute":
            return self.grades > 0
        return self.grades > segment_min(self.grades, self.query_rows, self.n_queries, empty=0)[self.query_rows]

    @property
    def n_queries(self) -> int:
        """How many instances (query rows) the batch has."""
        return len(self.queries)


class GradedLoss(CacheableLoss):
    """A loss over instances: a query and any number of items, each with a grade.

    A subclass writes :meth:`instance_terms`. This class embeds the two columns, L2-normalises, takes the similarity
    of each judged pair, and reduces over the instances. Instances that give no signal (one grade only, no item) add
    exactly 0 to loss and gradient; they are counted in ``n_skipped``, all of them in ``n_instances``
    (see :meth:`take_counts`), so that a log can show them.

    Inputs, from :class:`mr_st.training.GradedCollator`: two feature batches (queries, distinct items) and labels
    ``(P, 3)`` int64 of ``(query_row, item_row, grade)``. One query row is one instance: two instances of the same
    query in a batch have two rows.

    Several processes (DDP) embed a batch each, and a step takes the mean of their gradients. So with "sum" a step's
    gradient is the sum over all instances divided by the number of processes; with "mean" it is the mean of their
    means: that over all instances when each process has as many that are not skipped, and otherwise an instance
    weighs the more the fewer its process has. A loss that looks across instances sees those of its own process.

    Args:
        model: The SentenceTransformer that embeds both columns.
        reduction: "sum" over the instances (paper) or their "mean" (ours; over the instances that are not skipped).
        mini_batch_size: Cache gradients: keep the activations of so many texts at a time in memory, and embed twice.
            The loss and its gradients are the same. None: no caching.
        mini_batch_tokens: The same with a bound on the tokens of a mini-batch, padding counted.

    Raises:
        UsageError: a setting that is none of these, or both bounds.
    """

    name: ClassVar[str]
    """What recipes call the loss; each concrete loss has one of its own."""
    is_local: ClassVar[bool] = True
    """Whether an instance's loss depends on its own items only, so that the instances of a batch do not influence
    each other. A loss that looks across instances says False."""

    n_instances: Tensor
    n_skipped: Tensor
    rows_per_forward: int | None = None
    """Texts in one forward pass without caching; they are sorted by length, so smaller chunks mean less padding. None:
    16 on a CPU, where padding costs most, all at once elsewhere. Set it on the instance; the loss is the same."""

    def __init__(
        self,
        model: SentenceTransformer | None,
        reduction: Reduction = "sum",
        *,
        mini_batch_size: int | None = None,
        mini_batch_tokens: int | None = None,
    ) -> None:
        super().__init__()
        if reduction not in ("sum", "mean"):
            raise UsageError(f"reduction is {reduction!r}; expected 'sum' (paper) or 'mean'")
        self.model = model
        self.reduction = reduction
        self.init_caching(mini_batch_size, mini_batch_tokens)
        self._term_sums: dict[str, Tensor | float] = {}
        self.register_buffer("n_instances", torch.zeros((), dtype=torch.long), persistent=False)
        self.register_buffer("n_skipped", torch.zeros((), dtype=torch.long), persistent=False)

    @abstractmethod
    def instance_terms(self, pairs: Pairs) -> tuple[dict[str, Tensor], Tensor]:
        """What the loss of each instance is the sum of, before the reduction.

        Returns:
            The terms by the names that a log shows (e.g. one for each pair of grades), each ``(Q,)`` and 0 where an
            instance gives no signal; and ``(Q,)`` bool: which instances give one.
        """

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor) -> Tensor:
        """Embed queries and items apart, so that neither is padded to the other's width; return the loss."""
        assert self.model is not None, "this loss was built without a model: call compute_loss_from_embeddings"
        if self.uses_gradient_cache:
            return self.forward_cached(sentence_features, labels)
        model, rows = self.model, self.rows_per_forward
        if rows is None and not labels.is_cuda:
            rows = _ROWS_PER_CPU_FORWARD
        embeddings = [embed_column(model, features, rows) for features in sentence_features]
        return self.compute_loss_from_embeddings(embeddings, labels)

    def compute_loss_from_embeddings(self, embeddings: list[Tensor], labels: Tensor) -> Tensor:
        """The loss as a pure function of the embeddings.

        Args:
            embeddings: ``[queries (Q, d), items (U, d)]``, of any length (they are L2-normalised here) and float type
                (half precision is lifted to float32).
            labels: ``(P, 3)`` integers ``(query_row, item_row, grade)``, in any order.

        Returns:
            A scalar; 0, still connected to the graph, when no instance gives a signal.

        Raises:
            ValueError: other than two columns, a wrong shape, or a row or grade out of range.
        """
        with torch.autocast(labels.device.type, enabled=False):
            terms, is_live = self.instance_terms(self.read_pairs(embeddings, labels))
            sums = {name: term.sum() for name, term in terms.items()}
            self._count(sums, is_live)
            total = torch.stack(list(sums.values())).sum()
            return total if self.reduction == "sum" else total / is_live.sum().clamp(min=1)

    def read_pairs(self, embeddings: list[Tensor], labels: Tensor) -> Pairs:
        """The judged pairs of a batch, checked; arguments and faults of :meth:`compute_loss_from_embeddings`."""
        queries, items = self._checked(embeddings, labels)
        queries, items = (F.normalize(_at_least_float32(x), dim=-1) for x in (queries, items))
        query_rows, item_rows, grades = labels.long().unbind(1)
        scores = (queries[query_rows] * items[item_rows]).sum(-1)
        return Pairs(scores, query_rows, item_rows, grades, queries, items)

    def take_counts(self) -> dict[str, int | float]:
        """What a log shows since the last call; then starts again from 0.

        Returns:
            ``instances`` and ``skipped_instances``, and each term of the loss by name: its mean over the instances
            that were not skipped. A loss of one term has no entry for it.
        """
        seen, skipped = int(self.n_instances), int(self.n_skipped)
        counts: dict[str, int | float] = {"instances": seen, "skipped_instances": skipped}
        if len(self._term_sums) > 1:
            counts |= {name: float(total) / max(seen - skipped, 1) for name, total in self._term_sums.items()}
        self.n_instances.zero_()
        self.n_skipped.zero_()
        self._term_sums.clear()
        return counts

    @torch.no_grad()
    def _count(self, sums: dict[str, Tensor], is_live: Tensor) -> None:
        self.n_instances += is_live.numel()
        self.n_skipped += is_live.numel() - is_live.sum().to(self.n_skipped.device)
        for name, total in sums.items():
            self._term_sums[name] = self._term_sums.get(name, 0.0) + total.detach()

    def get_config_dict(self) -> dict[str, Any]:
        """The settings as they are now (a learned value is the learned one), for cards and logs."""
        return {"reduction": self.reduction, **self.caching_config()}

    @property
    def citation(self) -> str:
        """BibTeX of the paper."""
        return PAPER_CITATION

    def _checked(self, embeddings: list[Tensor], labels: Tensor) -> tuple[Tensor, Tensor]:
        name = type(self).__name__
        if len(embeddings) != 2:
            mend = "misspelt variants, the third column, are for SpellingConsistencyLoss"
            mend = mend if len(embeddings) == 3 else "use GradedCollator"
            raise ValueError(f"{name} expects two columns (queries, items), got {len(embeddings)}; {mend}")
        queries, items = embeddings
        if queries.ndim != 2 or items.ndim != 2 or queries.shape[1] != items.shape[1]:
            raise ValueError(
                f"{name} expects embeddings (Q, d) and (U, d), got {tuple(queries.shape)} and {tuple(items.shape)}"
            )
        if labels.ndim != 2 or labels.shape[1] != 3 or labels.is_floating_point():
            raise ValueError(
                f"{name} expects integer labels (P, 3) of (query_row, item_row, grade), got {labels.dtype} of shape "
                f"{tuple(labels.shape)}; use GradedCollator"
            )
        if len(labels):
            low, high = torch.stack([labels.amin(0), labels.amax(0)]).tolist()
            n_grades = self.n_grades
            limits = (len(queries), len(items), math.inf if n_grades is None else n_grades)
            names = ("query_row", "item_row", "grade")
            for what, lowest, highest, limit in zip(names, low, high, limits, strict=True):
                if lowest < 0 or highest >= limit:
                    wrong = lowest if lowest < 0 else highest
                    raise ValueError(f"{name}: {what} {wrong} in the labels is outside 0..{limit - 1}")
        return queries, items

    @property
    def n_grades(self) -> int | None:
        """How many grades the loss knows, or None when any will do."""
        return None

    @classmethod
    def options_for(cls, n_grades: int) -> dict[str, Any]:
        """The keyword arguments that the loss needs to work with ``n_grades`` grades; none unless it says so."""
        return {}


def _at_least_float32(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
