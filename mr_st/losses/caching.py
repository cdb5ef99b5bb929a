"""Gradient caching: a batch of any size with the activations of one mini-batch, at the price of a second forward.

The machinery is sentence-transformers' own (GradCache, arXiv 2101.06983): embed without gradients, take the gradient
of the loss with respect to the embeddings, embed again with gradients, one mini-batch at a time. What is added here:
mini-batches of texts of like length, the gradients of the loss's own parameters (a learned temperature), which
sentence-transformers leaves out of the scaling by the outer backward pass, and autocast in the second pass too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from sentence_transformers.base.losses import CachedLossMixin, has_static_embedding_input
from sentence_transformers.base.losses.gradcache import RandContext
from torch import Tensor, nn

from mr_st.errors import UsageError
from mr_st.losses.embedding import in_order, split_column

__all__ = ["CacheableLoss"]


class CacheableLoss(nn.Module, ABC):
    """A loss that can cache gradients. Call :meth:`init_caching` in ``__init__``, :meth:`forward_cached` in forward.

    ``MatryoshkaLoss`` reads ``uses_gradient_cache`` and then wraps :meth:`calculate_loss`.
    """

    model: Any
    uses_gradient_cache: bool
    mini_batch_size: int | None
    mini_batch_tokens: int | None

    def init_caching(self, mini_batch_size: int | None, mini_batch_tokens: int | None) -> None:
        """Check and set the bound on a mini-batch; without one there is no caching.

        Raises:
            UsageError: a bound below 1, both bounds, or a model of static embeddings, which has no mini-batches.
        """
        for name, bound, unit in (
            ("mini_batch_size", mini_batch_size, "texts"),
            ("mini_batch_tokens", mini_batch_tokens, "tokens"),
        ):
            if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int) or bound < 1):
                raise UsageError(f"{name} is {bound!r}; expected a positive number of {unit}, or None")
        if mini_batch_size is not None and mini_batch_tokens is not None:
            raise UsageError(
                f"mini_batch_size is {mini_batch_size} and mini_batch_tokens is {mini_batch_tokens}; give one of them"
            )
        self.mini_batch_size, self.mini_batch_tokens = mini_batch_size, mini_batch_tokens
        self.uses_gradient_cache = mini_batch_size is not None or mini_batch_tokens is not None
        if self.uses_gradient_cache and self.model is not None and has_static_embedding_input(self.model):
            raise UsageError("a StaticEmbedding model cannot be cut into mini-batches; leave out mini_batch_size")

    def caching_config(self) -> dict[str, int]:
        """The bound on a mini-batch for ``get_config_dict``, where there is one."""
        bounds = {"mini_batch_size": self.mini_batch_size, "mini_batch_tokens": self.mini_batch_tokens}
        return {name: bound for name, bound in bounds.items() if bound is not None}

    def forward_cached(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor) -> Tensor:
        """The loss of a batch, whose backward pass embeds the mini-batches again, one after the other."""
        cut = [split_column(features, self.mini_batch_size, self.mini_batch_tokens) for features in sentence_features]
        cached = _CachedPass(self, [len(chunks) for chunks, _ in cut], [places for _, places in cut])
        return cached([chunk for chunks, _ in cut for chunk in chunks], labels)

    def calculate_loss(
        self,
        reps: list[list[Tensor]],
        labels: Tensor,
        places: Sequence[Tensor | None] = (),
        *,
        with_backward: bool = False,
    ) -> Tensor:
        """The loss of the embeddings of the mini-batches.

        Args:
            reps: For each column, the embeddings of its mini-batches.
            labels: Those of the batch.
            places: For each column, where in its mini-batches each row stands; None, or no places: they are the
                rows in order.
            with_backward: Set ``grad`` of each of ``reps``, and return a loss whose graph leads to the loss's own
                parameters only.
        """
        places = places or [None] * len(reps)
        embeddings = [in_order(chunks, place) for chunks, place in zip(reps, places, strict=True)]
        loss = self.compute_loss_from_embeddings(embeddings, labels)
        if not with_backward:
            return loss
        leaves = [rep for chunks in reps for rep in chunks]
        own = self._own_parameters()
        gradients = torch.autograd.grad(loss, [*leaves, *own], allow_unused=True)
        for leaf, gradient in zip(leaves, gradients[: len(leaves)], strict=True):
            leaf.grad = torch.zeros_like(leaf) if gradient is None else gradient
        loss = loss.detach()
        for parameter, gradient in zip(own, gradients[len(leaves) :], strict=True):
            if gradient is not None:  # adds 0 to the value, and the gradient times what the outer backward pass says
                loss = loss + ((parameter - parameter.detach()) * gradient).sum().to(loss.dtype)
        return loss

    @abstractmethod
    def compute_loss_from_embeddings(self, embeddings: list[Tensor], labels: Tensor) -> Tensor:
        """The loss as a pure function of the embeddings of the columns."""

    def _own_parameters(self) -> list[nn.Parameter]:
        of_model = set() if self.model is None else {id(p) for p in self.model.parameters()}
        return [p for p in self.parameters() if p.requires_grad and id(p) not in of_model]


class _CachedPass(CachedLossMixin):
    """One forward pass of a loss and the backward pass that belongs to it.

    The mini-batches are cut beforehand, so that each is a column of its own to the mixin. Columns that could not be
    cut (images, flattened batches) are one column here, which the mixin cuts.
    """

    def __init__(self, loss: CacheableLoss, n_chunks: list[int], places: list[Tensor | None]) -> None:
        self.loss, self.n_chunks, self.places = loss, n_chunks, places
        self.model = loss.model
        self.mini_batch_size = loss.mini_batch_size or 1  # not read where there is a bound on the tokens
        self.mini_batch_num_tokens = loss.mini_batch_tokens
        self.total: Tensor | None = None

    def __call__(self, chunks: list[dict[str, Tensor]], labels: Tensor) -> Tensor:
        device = labels.device.type
        self.autocast = partial(
            torch.autocast,
            device,
            dtype=torch.get_autocast_dtype(device),
            enabled=torch.is_autocast_enabled(device),
            cache_enabled=False,  # it would hand the second pass the first one's weights, which have no gradient
        )
        value = self.forward_cached(chunks, labels)
        total, self.total = self.total, None
        if total is None or not total.requires_grad:
            return value
        return value + (total - total.detach())  # the mixin detaches: join the loss's own parameters again

    def calculate_loss(
        self, reps: list[list[Tensor]], labels: Tensor | None = None, *, with_backward: bool = False
    ) -> Tensor:
        chunks = iter(reps)
        columns = [[rep for _ in range(n) for rep in next(chunks)] for n in self.n_chunks]
        assert labels is not None
        # through the instance: MatryoshkaLoss puts its own function there
        total = self.loss.calculate_loss(columns, labels, self.places, with_backward=with_backward)
        self.total = total if with_backward else None
        return total

    def embed_minibatch(self, *args: Any, **kwargs: Any) -> tuple[Tensor, RandContext | None]:
        with self.autocast():
            return super().embed_minibatch(*args, **kwargs)
