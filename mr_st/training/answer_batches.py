"""Batches from which a causal model learns its answer to a prompt: packed behind their shared beginning, or padded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from mr_st.annotation.llm import ChatPrompts

__all__ = ["AnswerLoss", "PackedAnswers", "PaddedAnswers", "can_pack", "end_of_answer"]

_IGNORED = -100


def end_of_answer(prompts: ChatPrompts) -> int | None:
    """The special token with which the assistant's turn ends after a label, so that generation stops there.

    The template's own where it writes one, else the tokenizer's eos token; None where it has none.
    """
    tokenizer, label = prompts.tokenizer, prompts.prompt.labels[0]
    if prompts.has_template:
        before = prompts.render("a", "b")
        messages = [*prompts.messages("a", "b"), {"role": "assistant", "content": label}]
        whole = tokenizer.apply_chat_template(messages, tokenize=False, **prompts.template_options)
        found, _, rest = whole[len(before) :].partition(label)
        if whole.startswith(before) and not found.strip() and rest:
            ids = tokenizer(rest, add_special_tokens=False)["input_ids"]
            if ids and ids[0] in tokenizer.all_special_ids:
                return int(ids[0])
    return None if tokenizer.eos_token_id is None else int(tokenizer.eos_token_id)


@dataclass(frozen=True)
class PackedAnswers:
    """A collator that puts a batch into one row: the shared beginning once, then what each prompt has of its own.

    A 4-D attention mask lets each prompt see the beginning and itself alone, and positions go on from the beginning,
    so the logits are those of the prompts one by one. With a guideline of 250 tokens and pairs of 50, a step costs a
    third to a fifth of what the whole prompts cost. For models whose layers all take such a mask: :func:`can_pack`.

    Args:
        shared: The tokens that every row's ``input_ids`` begins with.
        end: The token that ends an answer; None: the label alone is learned.
        dtype: Of the mask: the model's.
    """

    shared: Sequence[int]
    end: int | None
    dtype: torch.dtype = torch.float32

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Batch of rows ``{"input_ids": prompt and label}``; logits are asked for at two places of each."""
        n_shared = len(self.shared)
        ids, positions, owner, keep, labels = list(self.shared), list(range(n_shared)), [0] * n_shared, [], []
        for number, row in enumerate(rows, start=1):
            own = list(row["input_ids"][n_shared:])
            keep += [len(ids) + len(own) - 2, len(ids) + len(own) - 1]
            labels += [own[-1], _IGNORED if self.end is None else self.end]
            positions += range(n_shared, n_shared + len(own))
            owner += [number] * len(own)
            ids += own
        whose = torch.tensor(owner)
        seen = (whose[:, None] == whose[None, :]) | (whose[None, :] == 0)
        mask = torch.zeros(seen.shape, dtype=self.dtype).masked_fill(~seen.tril(), torch.finfo(self.dtype).min)
        return {
            "input_ids": torch.tensor([ids]),
            "position_ids": torch.tensor([positions]),
            "attention_mask": mask[None, None],
            "logits_to_keep": torch.tensor([keep]),
            "labels": torch.tensor([labels]),
        }


@dataclass(frozen=True)
class PaddedAnswers:
    """A collator with one row a prompt, padded on the right, where a causal model does not look.

    Args:
        end: The token that ends an answer; None: the label alone is learned.
    """

    end: int | None

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Batch of rows ``{"input_ids": prompt and label}``; logits are asked for at two places of each."""
        several = [list(row["input_ids"]) for row in rows]
        longest = max(len(ids) for ids in several)
        return {
            # the last token as filler: nothing reads it, and no model takes it for padding
            "input_ids": torch.tensor([ids + [ids[-1]] * (longest - len(ids)) for ids in several]),
            "logits_to_keep": torch.tensor([[len(ids) - 2, len(ids) - 1] for ids in several]),
            "labels": torch.tensor([[ids[-1], _IGNORED if self.end is None else self.end] for ids in several]),
        }


class AnswerLoss:
    """Cross-entropy over the whole vocabulary at the label, weighted by grade, plus that of the token that ends it.

    Over the whole vocabulary, because a model that generates has to answer with a label too.

    Args:
        label_ids: The token of each of the G labels.
        weights: Of the G grades; a batch's loss is a weighted mean.
    """

    def __init__(self, label_ids: Sequence[int], weights: Sequence[float]):
        self._weight_of = dict(zip(label_ids, weights, strict=True))

    def __call__(self, outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        """The loss of logits (..., 2n, V) at each prompt's end and at its label; what the Trainer calls."""
        wanted = labels.reshape(-1, 2)
        logits = outputs.logits.reshape(*wanted.shape, -1).float()
        each = functional.cross_entropy(logits.transpose(1, 2), wanted, ignore_index=_IGNORED, reduction="none")
        weights = each.new_tensor([self._weight_of[token] for token in wanted[:, 0].tolist()])
        ends = (wanted[:, 1] != _IGNORED).sum().clamp(min=1)
        return (weights @ each[:, 0]) / weights.sum().clamp(min=1e-6) + each[:, 1].sum() / ends


def can_pack(model: nn.Module, shared: Sequence[int], rows: Sequence[Mapping[str, Any]], dtype: torch.dtype) -> bool:
    """Whether a model gives packed prompts the logits that it gives them one by one: tried on ``rows``, not assumed.

    Models with windows, recurrent states or attention kernels without free masks do not, or raise.
    """
    if not shared or len(rows) < 2:
        return False

    def logits(collate: Callable[..., dict[str, torch.Tensor]]) -> torch.Tensor:
        batch = {name: value.to(device) for name, value in collate(rows).items() if name != "labels"}
        return model(**batch, use_cache=False).logits.reshape(len(rows), 2, -1).float()

    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            plain, packed = logits(PaddedAnswers(None)), logits(PackedAnswers(shared, None, dtype))
    except (RuntimeError, ValueError, TypeError, NotImplementedError):
        return False
    finally:
        model.train(was_training)
    allowed = (1e-3 if dtype == torch.float32 else 3e-2) * plain.abs().max()
    return bool((plain - packed).abs().max() <= allowed)
