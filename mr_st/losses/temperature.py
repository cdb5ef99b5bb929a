"""A temperature that is learned with the model: stored as its logarithm, clamped, equal on all ranks."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from mr_st.errors import UsageError

__all__ = ["TemperatureMixin"]


class TemperatureMixin(nn.Module):
    """Gives a loss the scalar parameter ``log_tau``. Call :meth:`init_temperature` in ``__init__``.

    The gradient of the clamp (ours): it passes inside the range; at or beyond an end, only a gradient that leads back
    inside passes. So ``log_tau`` neither runs away behind the clamp (as with a straight-through gradient) nor sticks
    there (as with ``torch.clamp``).

    Training it takes three things that the stock trainer does not do by itself, see :mod:`mr_st.training.callbacks`
    and ``train_stage``: a learning rate of its own (``args.learning_rate_mapping={"log_tau": ...}``), no weight
    decay, and a place in the checkpoints. Under ``torch.distributed`` its gradient is averaged over the ranks here.
    """

    log_tau: nn.Parameter
    averages_over_ranks: bool = True
    """Whether the backward pass averages the gradient over the ranks. False: someone else does, before the step."""
    temperature_range: tuple[float, float]

    def init_temperature(self, temperature: float, is_learned: bool, temperature_range: tuple[float, float]) -> None:
        """Create ``log_tau``.

        Raises:
            UsageError: the temperature lies outside its range, or the range is not positive.
        """
        low, high = (float(x) for x in temperature_range)
        if not 0 < low <= temperature <= high:
            raise UsageError(f"temperature {temperature} must lie inside temperature_range ({low}, {high}), low > 0")
        self.temperature_range = (low, high)
        self.log_tau = nn.Parameter(torch.tensor(math.log(temperature)), requires_grad=is_learned)

    @property
    def temperature(self) -> float:
        """The temperature in use now, learned and clamped."""
        low, high = self.temperature_range
        return min(max(math.exp(self.log_tau.item()), low), high)

    def tau(self, dtype: torch.dtype) -> Tensor:
        """The temperature in use as a differentiable scalar of ``dtype``."""
        low, high = self.temperature_range
        log_tau: Tensor = self.log_tau
        if self.averages_over_ranks:
            log_tau = cast(Tensor, _AverageOverRanks.apply(log_tau))
        log_tau = log_tau.to(dtype)
        return cast(Tensor, _OneSidedClamp.apply(log_tau, math.log(low), math.log(high))).exp()

    def temperature_config(self) -> dict[str, Any]:
        """The settings for ``get_config_dict``; the temperature is the learned one, to six digits."""
        return {
            "temperature": float(f"{self.temperature:.6g}"),
            "learn_temperature": self.log_tau.requires_grad,
            "temperature_range": list(self.temperature_range),
        }


class _OneSidedClamp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.ends = (low, high)
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        gradient = gradients[0]
        low, high = ctx.ends
        # Descent subtracts the gradient: a positive one lowers x, a negative one raises it.
        leads_out = ((x <= low) & (gradient > 0)) | ((x >= high) & (gradient < 0))
        return gradient.masked_fill(leads_out, 0.0), None, None


class _AverageOverRanks(torch.autograd.Function):
    """The same value; in the backward pass the mean gradient. Unlike a hook, it survives ``deepcopy``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return average_over_ranks(gradients[0])


def average_over_ranks(gradient: Tensor) -> Tensor:
    """The mean of a gradient over all ranks under ``torch.distributed``, else the gradient itself.

    A loss's own parameters lie outside DistributedDataParallel, so that without it the ranks would drift apart.
    """
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return gradient
    gradient = gradient.clone()
    distributed.all_reduce(gradient)
    return gradient / distributed.get_world_size()
