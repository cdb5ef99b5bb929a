"""What graded losses counted since the last log entry, put together over batches, losses and ranks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss
from torch import nn

from mr_st.training.loss_files import Losses, graded_losses
from mr_st.training.ranks import everywhere

__all__ = ["LossLog"]

Counts = dict[str, int | float]


class LossLog:
    """Takes the counts of all graded losses that a trainer has, also of those inside wrappers.

    Args:
        loss: What the trainer is given.
    """

    def __init__(self, loss: Losses) -> None:
        self.loss = loss
        self._held: dict[str, Counts] = {}
        self._times = dict.fromkeys(graded_losses(loss).values(), 1)
        root = nn.ModuleList(loss.values() if isinstance(loss, dict) else [loss])
        for wrapper in root.modules():
            if isinstance(wrapper, MatryoshkaLoss):
                for inner in graded_losses(wrapper).values():
                    self._times[inner] *= _widths_per_step(wrapper)

    def hold(self) -> None:
        """Put aside what was counted so far, before batches of another kind (an evaluation's) are counted too."""
        self._held = _merge([self._held, self._take()])

    def of_training(self) -> Counts:
        """The entries for the log: each graded loss's temperature, instances, skipped ones and terms by name.

        Terms are means over the instances that were not skipped, over all ranks. The entries of a loss that has a
        name (the dataset's, in a dict of losses) begin with it: ``shop_temperature``.
        """
        self.hold()
        counts = _merge(everywhere(self._held))
        self._held = {}
        entries: Counts = {}
        for name, loss in graded_losses(self.loss).items():
            prefix = f"{name}_" if name else ""
            temperature: Any = getattr(loss, "temperature", None)
            if temperature is not None:
                entries[f"{prefix}temperature"] = round(float(temperature), 6)
            entries |= {f"{prefix}{key}": value for key, value in counts.get(name, {}).items()}
        return entries

    def of_evaluation(self, prefix: str) -> Counts:
        """As :meth:`of_training`, of the batches since :meth:`hold`, without temperatures or losses that had none.

        Args:
            prefix: What the trainer puts before the metrics: ``eval``, or ``eval_{dataset}``.
        """
        seen = {name: counts for name, counts in _merge(everywhere(self._take())).items() if counts["instances"]}
        only = len(seen) == 1
        return {
            f"{prefix}_{key}" if only or not name else f"{prefix}_{name}_{key}": value
            for name, counts in seen.items()
            for key, value in counts.items()
        }

    def _take(self) -> dict[str, Counts]:
        return {name: _once(loss.take_counts(), self._times[loss]) for name, loss in graded_losses(self.loss).items()}


def _widths_per_step(wrapper: MatryoshkaLoss) -> int:
    n_widths, n_drawn = len(wrapper.matryoshka_dims), wrapper.n_dims_per_step
    return n_drawn if 0 < n_drawn < n_widths else n_widths


def _once(counts: Counts, times: int) -> Counts:
    """Counts of a loss that each batch passes several times, once for each width, as if it passed once."""
    return {key: value if isinstance(value, float) else value // times for key, value in counts.items()}


def _merge(parts: Iterable[dict[str, Counts]]) -> dict[str, Counts]:
    """Counts add up; a mean (a float) is weighted with the instances that it was taken over."""
    merged: dict[str, Counts] = {}
    for part in parts:
        for name, counts in part.items():
            merged[name] = _merge_two(merged[name], counts) if name in merged else counts
    return merged


def _merge_two(a: Counts, b: Counts) -> Counts:
    n_a, n_b = (counts["instances"] - counts["skipped_instances"] for counts in (a, b))
    merged: Counts = {}
    for key in {**a, **b}:
        x, y = a.get(key, 0), b.get(key, 0)
        is_mean = isinstance(x, float) or isinstance(y, float)
        merged[key] = (x * n_a + y * n_b) / max(n_a + n_b, 1) if is_mean else x + y
    return merged
