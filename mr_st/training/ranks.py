"""Several processes that train one model: who writes, who waits, and what all of them must agree on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

import torch
from torch import distributed, nn

from mr_st.errors import MrStError

__all__ = ["average_gradients", "everywhere", "join_ranks", "n_ranks", "on_first_rank", "rank", "wait_for_ranks"]

T = TypeVar("T")


def join_ranks() -> None:
    """Join the other processes that ``torchrun`` or ``accelerate launch`` started; nothing when there are none."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not _is_distributed():
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available())


def n_ranks() -> int:
    """How many processes train together: 1 unless ``torch.distributed`` is in use."""
    return distributed.get_world_size() if _is_distributed() else 1


def rank() -> int:
    """The number of this process among them, from 0."""
    return distributed.get_rank() if _is_distributed() else 0


def wait_for_ranks() -> None:
    """Wait until every process has come here."""
    everywhere(None)


def everywhere(value: T) -> list[T]:
    """The values that the processes called this with, in the order of their ranks."""
    if n_ranks() == 1:
        return [value]
    values: list[Any] = [None] * n_ranks()
    distributed.all_gather_object(values, value)
    return values


def on_first_rank(work: Callable[[], T]) -> T:
    """Do ``work`` on rank 0 while the others wait.

    Returns:
        What it returned, on every rank.

    Raises:
        MrStError: on every rank, when ``work`` raised; on rank 0 what it raised.
    """
    if n_ranks() == 1:
        return work()
    outcome: list[Any] = [None, None]
    if rank() == 0:
        try:
            outcome[0] = work()
        except Exception as error:
            outcome[1] = error if isinstance(error, MrStError) else MrStError(f"{type(error).__name__}: {error}")
            raise
        finally:
            distributed.broadcast_object_list(outcome, src=0)
    else:
        distributed.broadcast_object_list(outcome, src=0)
        if outcome[1] is not None:
            raise outcome[1]
    return cast(T, outcome[0])


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give each parameter the mean of its gradients over the ranks, where a rank without one counts as 0.

    A parameter that has none on any rank keeps none. All ranks must give as many parameters, in the same order.
    """
    if n_ranks() == 1:
        return
    for parameter in parameters:
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        is_there = gradient.new_tensor([parameter.grad is not None])
        total = torch.cat([gradient.flatten(), is_there])
        distributed.all_reduce(total)
        if total[-1] > 0:
            parameter.grad = (total[:-1] / n_ranks()).view_as(parameter)


def _is_distributed() -> bool:
    return distributed.is_available() and distributed.is_initialized()
