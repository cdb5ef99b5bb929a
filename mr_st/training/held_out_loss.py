"""The held-out loss that picks a cross-encoder's checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sentence_transformers.base.evaluation import BaseEvaluator

from mr_st.annotation import CrossEncoderAnnotator
from mr_st.annotation.agreement import fit_temperature, negative_log_likelihood
from mr_st.data.label_noise import LabelNoise
from mr_st.training.holdout import LabelledPairs

__all__ = ["HeldOutLoss"]


class HeldOutLoss(BaseEvaluator):
    """The cross-entropy on held-out pairs at the temperature that suits them best: that of the annotator once saved.

    A model that goes on learning grows too sure of itself before it grows less right. The saved temperature mends
    that, so the loss without it would stop the training too early.

    Args:
        held: Held-out pairs.
        batch_size: Pairs in a forward pass.
        shift: What the annotator adds to the logits, G numbers; nothing when None.
        noise: How the judge of these pairs is believed to err.
        bf16: Compute under bfloat16 autocast.
    """

    def __init__(
        self,
        held: LabelledPairs,
        batch_size: int,
        shift: Sequence[float] | None = None,
        noise: LabelNoise | None = None,
        bf16: bool = False,
    ):
        super().__init__()
        self.greater_is_better = False
        self.primary_metric = "loss"
        self.held, self.batch_size, self.shift, self.bf16 = held, batch_size, shift, bf16
        self.confusion = None if noise is None else np.array(noise.confusion)

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """``loss`` and ``temperature`` of a CrossEncoder; the other arguments are the trainer's and not used.

        Raises:
            MrStError: an output that is not finite.
        """
        annotator = CrossEncoderAnnotator(model, batch_size=self.batch_size, shift=self.shift)
        with torch.autocast(model.device.type, torch.bfloat16, enabled=self.bf16):
            logits = annotator.logits(self.held.pairs)
        temperature = fit_temperature(logits, self.held.grades, self.confusion)
        loss = negative_log_likelihood(logits, self.held.grades, temperature, self.confusion)
        return {"loss": loss, "temperature": temperature}
