"""The settings of a training stage. Light: no torch unless a loss, or its options, must be looked up."""

from __future__ import annotations

import difflib
import inspect
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

__all__ = ["TEMPERATURE_LEARNING_RATE", "StageConfig"]

TEMPERATURE_LEARNING_RATE = 5e-3
"""Peak rate of the logarithm of a learned temperature (ours): in some hundred steps it can double or halve."""

_CLIP_PER_INSTANCE = 250.0
_LOSSES_OF_THE_METHOD = ("supcon", "circle")  # known without torch: recipes are read in commands that need none


class StageConfig(BaseModel):
    """Settings of one stage, as a recipe writes them. A misspelt key is refused.

    Args:
        loss: A name in ``mr_st.losses.LOSSES``: "supcon" (stage 1), "circle" (stage 2) or another.
        loss_options: Keyword arguments of the loss, e.g. ``{"gamma": 64}``. What the loss needs for other than three
            grades (``options_for``) is filled in by ``train_stage``. All losses take ``reduction``, and
            ``mini_batch_size`` (texts) or ``mini_batch_tokens``: gradient caching, which embeds a batch in pieces of
            that size, so that memory no longer bounds ``queries_per_batch``, for about one more forward pass.
        epochs: Passes over the instances; the epochs that ``build_instances`` laid out start again when they run out.
        max_steps: Optimizer steps instead of epochs.
        learning_rate: Peak rate of the model, reached after the warm-up, then falling linearly to 0.
        temperature_learning_rate: Peak rate of a learned temperature (of its logarithm; ours). At the model's rate it
            would hardly move.
        queries_per_batch: Instances in a forward and backward pass; with ``max_items_per_batch``, at most.
        max_items_per_batch: Items in a forward and backward pass, at most, over its instances, which differ in size:
            the bound on memory. A larger instance is refused. None for no bound.
        gradient_accumulation_steps: Batches a step; their gradients are averaged. To losses that look across the
            instances of a batch it is not the same as one larger batch; gradient caching is.
        warmup_ratio: Share of the steps over which the rates rise.
        max_grad_norm: Clip of the model's gradient norm; 0 switches it off. None (ours): 250 for each instance of a
            batch under reduction "sum", 250 under "mean", so that both clip alike and only a spike is clipped. Seen
            with MiniLM on ESCI: 10-20 an instance with "supcon" at tau .05, about 100 with "circle" at gamma 32; the
            trainer's usual 1.0 would clip at every step.
        weight_decay: AdamW's, for the model's matrices; never for a learned temperature.
        evaluations: How many dev evaluations, spread evenly over the stage, the last one at its end. A checkpoint is
            saved with each, so this is also how finely a killed stage resumes.
        seed: For the order of the rows and dropout.
        precision: "fp32", or "bf16"/"fp16" autocast (a GPU's matter: on most CPUs they are slower).
        gradient_checkpointing: Trade time for memory.
        max_seq_length: Where texts are cut, in tokens; None keeps the model's own. It is saved with the model.
        average_with_start: Share of the starting weights in the final ones, below 1:
            ``share * start + (1 - share) * trained``. A refined model forgets a little of what it knew; the average
            of both keeps more of it on queries that are not like the training queries. The dev evaluator then scores
            the average, once. 0 (default): the trained weights. Source: Wortsman et al., Robust Fine-Tuning of
            Zero-Shot Models, CVPR 2022 (arXiv 2109.01903).
        known_in_batch: Also learn from pairs of one instance's query and another instance's item, where the training
            judgments grade them (ours). ``train_stage`` must be given ``known`` then; a recipe does so.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    loss: str = "supcon"
    loss_options: dict[str, Any] = Field(default_factory=dict)
    epochs: int | None = Field(default=None, ge=1)
    max_steps: int | None = Field(default=None, ge=1)
    learning_rate: float = Field(default=2e-5, gt=0)
    temperature_learning_rate: float = Field(default=TEMPERATURE_LEARNING_RATE, gt=0)
    queries_per_batch: int = Field(default=16, ge=1)
    max_items_per_batch: int | None = Field(default=None, ge=2)
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    warmup_ratio: float = Field(default=0.1, ge=0, lt=1)
    max_grad_norm: float | None = Field(default=None, ge=0)
    weight_decay: float = Field(default=0.01, ge=0)
    evaluations: int = Field(default=4, ge=1)
    seed: int = Field(default=0, ge=0)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    gradient_checkpointing: bool = False
    max_seq_length: int | None = Field(default=None, ge=1)
    average_with_start: float = Field(default=0.0, ge=0, lt=1)
    known_in_batch: bool = False

    @field_validator("loss")
    @classmethod
    def _check_loss(cls, name: str) -> str:
        if name not in _LOSSES_OF_THE_METHOD:
            from mr_st.losses import LOSSES

            if name not in LOSSES:
                near = difflib.get_close_matches(name, LOSSES, n=1)
                mend = f"did you mean {near[0]}? " if near else ""
                raise ValueError(f"there is no loss {name!r}; {mend}The losses are {', '.join(LOSSES)}")
        return name

    @model_validator(mode="after")
    def _check(self) -> StageConfig:
        if (self.epochs is None) == (self.max_steps is None):
            raise ValueError("give either epochs or max_steps")
        if self.loss_options:
            from mr_st.losses import LOSSES

            loss_class = LOSSES[self.loss]
            known = [name for name in inspect.signature(loss_class).parameters if name != "model"]
            unknown = [name for name in self.loss_options if name not in known]
            if unknown:
                raise ValueError(f"loss_options: {self.loss} has no option {unknown[0]!r}; it has {', '.join(known)}")
            loss_class(None, **self.loss_options)  # its own checks, before hours are spent
        return self

    def clip(self, reduction: str) -> float:
        """The gradient clip in use for a loss with this reduction."""
        if self.max_grad_norm is not None:
            return self.max_grad_norm
        return _CLIP_PER_INSTANCE * (self.queries_per_batch if reduction == "sum" else 1)
