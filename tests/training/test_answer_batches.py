"""Batches of answers: packed prompts give the logits of single ones, and the loss is what it says."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from llm_tools import SHORT
from tiny_causal import build_tiny_causal
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from mr_st.annotation.llm import ChatPrompts
from mr_st.annotation.prompt import GradePrompt
from mr_st.training.answer_batches import AnswerLoss, PackedAnswers, PaddedAnswers, can_pack, end_of_answer

PAIRS = [("red mug", "Blue Mug", 1), ("lamp", "Lamp for the garden, with a long hose", 2), ("shoes", "Keyboard", 0)]


@pytest.fixture(scope="module", params=["llama", "gpt2", "qwen2"])
def tiny(request, tmp_path_factory):
    folder = build_tiny_causal(tmp_path_factory.mktemp(request.param), arch=request.param, spread=0.2)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    return model, ChatPrompts(AutoTokenizer.from_pretrained(folder), GradePrompt(SHORT))


def rows_of(prompts: ChatPrompts) -> list[dict]:
    return [{"input_ids": [*prompts.ids(query, item), prompts.label_ids[grade][0]]} for query, item, grade in PAIRS]


def logits(model, batch) -> torch.Tensor:
    with torch.no_grad():
        return model(**{name: value for name, value in batch.items() if name != "labels"}).logits


def test_packed_prompts_give_the_logits_of_prompts_one_by_one(tiny):
    model, prompts = tiny
    rows, end = rows_of(prompts), end_of_answer(prompts)
    alone = torch.stack([model(torch.tensor([row["input_ids"]])).logits[0, -2:].detach() for row in rows])
    packed, padded = PackedAnswers(prompts.shared_ids, end)(rows), PaddedAnswers(end)(rows)
    assert torch.allclose(logits(model, packed).reshape(3, 2, -1), alone, atol=1e-4)
    assert torch.allclose(logits(model, padded), alone, atol=1e-4)
    assert packed["labels"].reshape(-1, 2).tolist() == padded["labels"].tolist()
    n_shared = len(prompts.shared_ids)
    assert packed["input_ids"].shape[1] == n_shared + sum(len(row["input_ids"]) - n_shared for row in rows)
    assert can_pack(model, prompts.shared_ids, rows, torch.float32)


def test_the_label_and_the_end_of_the_turn_are_what_is_learned(tiny):
    _, prompts = tiny
    tokenizer = prompts.tokenizer
    labels = PaddedAnswers(end_of_answer(prompts))(rows_of(prompts))["labels"]
    assert [tokenizer.decode(pair) for pair in labels.tolist()] == ["1<|im_end|>", "2<|im_end|>", "0<|im_end|>"]
    assert (
        PackedAnswers(prompts.shared_ids, None)(rows_of(prompts))["labels"].reshape(-1, 2)[:, 1].tolist() == [-100] * 3
    )


def test_a_model_that_ignores_the_mask_is_not_packed(tiny):
    model, prompts = tiny

    class Blind(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, attention_mask=None, **inputs):
            return self.inner(**inputs)

    class Refusing(Blind):
        def forward(self, attention_mask=None, **inputs):
            if attention_mask is not None:
                raise ValueError("no 4-D masks")
            return self.inner(**inputs)

    for other in (Blind(), Refusing()):
        assert not can_pack(other, prompts.shared_ids, rows_of(prompts), torch.float32)
    assert not can_pack(model, [], rows_of(prompts), torch.float32)


def test_the_end_is_the_eos_token_where_there_is_no_template(tmp_path):
    folder = build_tiny_causal(tmp_path, chat_template=False)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert end_of_answer(ChatPrompts(tokenizer, GradePrompt(SHORT))) == tokenizer.eos_token_id
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"  # no token ends a turn
    assert end_of_answer(ChatPrompts(tokenizer, GradePrompt(SHORT))) == tokenizer.eos_token_id


def test_loss_by_hand():
    """Vocabulary of 4; labels are tokens 0 and 1 with weights 1 and 3; token 3 ends."""
    odds = torch.tensor([[[0.5, 0.25, 0.125, 0.125], [0.25] * 4], [[0.25] * 4, [0.1, 0.1, 0.3, 0.5]]])
    outputs = SimpleNamespace(logits=odds.log())
    loss = AnswerLoss([0, 1], [1.0, 3.0])
    label = (1 * math.log(2) + 3 * math.log(4)) / 4
    assert loss(outputs, torch.tensor([[0, 3], [1, 3]])).item() == pytest.approx(
        label + (math.log(4) + math.log(2)) / 2
    )
    assert loss(outputs, torch.tensor([[0, -100], [1, -100]])).item() == pytest.approx(label)
    packed = SimpleNamespace(logits=odds.log().reshape(1, 4, 4))
    assert loss(packed, torch.tensor([[0, -100, 1, -100]])).item() == pytest.approx(label)
    assert AnswerLoss([0, 1], [0.0, 3.0])(outputs, torch.tensor([[0, -100], [0, -100]])).item() == 0
