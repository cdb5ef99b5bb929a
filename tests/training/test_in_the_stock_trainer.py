"""What a user of sentence-transformers expects of a loss in its trainer, over all of ours."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss, MultipleNegativesRankingLoss
from torch import nn
from torch._dynamo.utils import counters
from trainer_tools import arguments, entries, plain_trainer
from transformers import set_seed

from mr_st.errors import UsageError
from mr_st.losses import LOSSES, GradedLoss, GradedSupConLoss, MultiClassCircleLoss
from mr_st.models import add_lora, build_two_tower, merge_lora
from mr_st.training import GradedCollator

over_losses = pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES.keys())
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
Make = type[GradedLoss]
Run = tuple[list[float], dict[str, torch.Tensor]]
SGD = {"optim": "sgd", "lr_scheduler_type": "constant", "learning_rate": 1e-3, "max_grad_norm": 0.0}
ROUTES = {"query": "query", "items": "document", "anchor": "query", "positive": "document"}


@pytest.fixture(autouse=True, scope="module")
def quick_collection() -> Iterator[None]:
    """The trainer collects garbage when it begins; what the libraries hold need not be looked at each time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def tower(tiny_base: Path) -> Callable[[], SentenceTransformer]:
    """The same weights each time, without dropout, so that two runs can be compared."""
    model = build_two_tower(tiny_base, 8, device="cpu")
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return lambda: copy.deepcopy(model)


def train(model: SentenceTransformer, loss: Any, data: Any, out: Path, steps: int = 1, **options: Any) -> Run:
    """The logged losses and the weights after a few steps."""
    trainer = plain_trainer(model, loss, data, out, **{"max_steps": steps, "save_strategy": "no", **options})
    trainer.train()
    losses = [entry["loss"] for entry in entries(trainer)]
    assert len(losses) == steps
    assert np.isfinite(losses).all()
    return losses, {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


@pytest.fixture(scope="module")
def plain_run(tower: Callable[[], SentenceTransformer], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One step of a loss as it comes, taken once for all tests that compare with it."""
    done: dict[tuple[Make, str], Run] = {}

    def run(make: Make, instances: Dataset, reduction: str = "sum") -> Run:
        if (make, reduction) not in done:
            model = tower()
            loss: Any = make(model, reduction=reduction)  # type: ignore[arg-type]
            done[make, reduction] = train(model, loss, instances, tmp_path_factory.mktemp("plain"), **SGD)
        return done[make, reduction]

    return run


def assert_same(first: Run, second: Run) -> None:
    assert second[0] == pytest.approx(first[0], rel=1e-5)
    assert first[1].keys() == second[1].keys()
    for name, tensor in first[1].items():
        torch.testing.assert_close(tensor, second[1][name], atol=1e-6, rtol=0, msg=name)


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}


@over_losses
def test_one_step_moves_both_heads_and_the_trunk(tower, instances: Dataset, make: Make, plain_run) -> None:
    changed = moved(tower().state_dict(), plain_run(make, instances)[1])
    assert {"0.model.encoder.layer.0.attention.self.query.weight", "2.sub_modules.query.0.linear.weight"} <= changed
    assert "2.sub_modules.document.0.linear.weight" in changed


@over_losses
def test_bf16_autocast_is_near_and_the_weights_stay_whole(
    tower, tmp_path: Path, instances: Dataset, make: Make, plain_run
) -> None:
    model = tower()
    seen: list[torch.dtype] = []
    linear = model[0].model.encoder.layer[0].attention.self.query
    linear.register_forward_hook(lambda module, given, result: seen.append(result.dtype))
    losses, weights = train(model, make(model), instances, tmp_path, bf16=True, **SGD)
    assert set(seen) == {torch.bfloat16}  # the trunk did run in half precision
    assert losses == pytest.approx(plain_run(make, instances)[0], rel=0.1)
    assert losses != plain_run(make, instances)[0]
    assert all(tensor.dtype == torch.float32 for tensor in weights.values() if tensor.is_floating_point())


@over_losses
def test_gradient_checkpointing_changes_nothing(
    tower, tmp_path: Path, instances: Dataset, make: Make, plain_run
) -> None:
    model = tower()
    run = train(model, make(model), instances, tmp_path, activation_checkpointing=True, **SGD)
    assert model[0].model.is_gradient_checkpointing
    assert_same(plain_run(make, instances), run)


@over_losses
def test_gradient_accumulation(tower, tmp_path: Path, instances: Dataset, make: Make, plain_run) -> None:
    """Two batches of two are one of four, for losses whose instances do not influence one another."""
    model = tower()
    options = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, **SGD}
    run = train(model, make(model, reduction="mean"), instances, tmp_path, **options)  # type: ignore[call-arg]
    whole = plain_run(make, instances, "mean")
    if make.is_local:
        assert_same(whole, run)
    else:
        assert run[0] != pytest.approx(whole[0], rel=1e-5)
        assert moved(tower().state_dict(), run[1])


@over_losses
def test_gradient_caching(tower, tmp_path: Path, instances: Dataset, make: Make, plain_run) -> None:
    model = tower()
    run = train(model, make(model, mini_batch_size=5), instances, tmp_path, **SGD)  # type: ignore[call-arg]
    assert_same(plain_run(make, instances), run)


@over_losses
@pytest.mark.parametrize("cache", [{}, {"mini_batch_tokens": 60}], ids=["whole", "cached"])
def test_matryoshka_around_it(
    tower, tmp_path: Path, instances: Dataset, make: Make, cache: dict[str, int], plain_run
) -> None:
    """The loss at the whole width and, half as important, at half of it."""
    model, cut = tower(), tower()
    loss = MatryoshkaLoss(model, make(model, **cache), [8, 4], [1, 0.5])  # type: ignore[arg-type]
    losses, weights = train(model, loss, instances, tmp_path, **SGD)
    at_four, _ = train(cut, MatryoshkaLoss(cut, make(cut), [4]), instances, tmp_path, **SGD)
    assert losses[0] == pytest.approx(plain_run(make, instances)[0][0] + 0.5 * at_four[0], rel=1e-5)
    assert moved(plain_run(make, instances)[1], weights)


@over_losses
def test_prompts_stand_before_the_texts(tower, tmp_path: Path, instances: Dataset, make: Make, plain_run) -> None:
    model, by_hand = tower(), tower()
    prompts = {"query": "small ", "items": "large "}
    run = train(model, make(model), instances, tmp_path, prompts=prompts, **SGD)
    written = [
        {**row, "query": "small " + row["query"], "items": ["large " + item for item in row["items"]]}
        for row in instances
    ]
    assert_same(train(by_hand, make(by_hand), Dataset.from_list(written), tmp_path, **SGD), run)
    assert run[0] != plain_run(make, instances)[0]


@over_losses
def test_beside_a_loss_of_the_library_on_a_dataset_of_its_own(
    tower, tmp_path: Path, instances: Dataset, make: Make
) -> None:
    """A DatasetDict with a loss each: graded instances, and pairs for MultipleNegativesRankingLoss."""
    model = tower()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    pairs = Dataset.from_list([{"anchor": row["query"], "positive": row["items"][0]} for row in instances])
    data = DatasetDict(shop=instances, pairs=pairs.select(range(20)))
    loss = {"shop": make(model), "pairs": MultipleNegativesRankingLoss(model)}
    trainer = plain_trainer(
        model, loss, data, tmp_path, max_steps=4, logging_steps=4, save_strategy="no", router_mapping=ROUTES,
        multi_dataset_batch_sampler="round_robin",
    )  # fmt: skip
    trainer.train()
    (entry,) = entries(trainer)
    assert entry["shop_instances"] == 8  # two of the four batches
    assert moved(before, model.state_dict())
    prompts = {"shop": {"query": "small "}, "pairs": {"anchor": "large "}}
    collator = GradedCollator.from_trainer_args(model, arguments(tmp_path, prompts=prompts, router_mapping=ROUTES))
    for name, column, word in (("shop", "query", "small"), ("pairs", "anchor", "large")):
        batch = collator([{**row, "dataset_name": name} for row in list(data[name])[:2]])
        first = model.tokenizer.decode(batch[f"{column}_input_ids"][0], skip_special_tokens=True)
        assert first.split()[0] == word
        assert batch[f"{column}_task"] == "query"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"query": "mug", "docs": ["a", "b"], "labels": [1, 0]}, "lacks column 'items'"),
        ({"query": "mug", "labels": [1]}, "lacks column 'items'"),
        ({"anchor": "mug", "positive": "cup"}, r'none is given for the columns anchor, positive.*"anchor": "query"'),
    ],
)
def test_rows_that_only_look_like_another_dataset_are_refused(tower, row: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        GradedCollator.from_trainer_args(tower())([row])


def test_rows_of_a_labelled_pair_dataset_keep_their_labels(tiny_base: Path) -> None:
    collator = GradedCollator.from_trainer_args(build_two_tower(tiny_base, heads=None, device="cpu"))
    rows = [
        {"sentence1": "mug", "sentence2": "cup", "label": 0.5},
        {"sentence1": "hat", "sentence2": "a", "label": 1.0},
    ]
    batch = collator(rows)
    assert batch["label"].tolist() == [0.5, 1.0]
    assert batch["sentence2_input_ids"].shape[0] == 2


@over_losses
def test_only_the_adapters_the_heads_and_the_temperature_are_trained(
    tower, tmp_path: Path, instances: Dataset, make: Make
) -> None:
    pytest.importorskip("peft")
    model = add_lora(tower(), {"r": 2, "target_modules": ["query", "value"]})
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    loss = make(model)
    is_learned = any(p.requires_grad for name, p in loss.named_parameters() if name == "log_tau")
    tau = getattr(loss, "temperature", None)
    _, after = train(model, loss, instances, tmp_path, 2, learning_rate=1e-2)
    assert moved(before, after) == {name for name in before if ".lora_" in name or name.endswith("linear.weight")}
    assert (getattr(loss, "temperature", None) != tau) == is_learned
    vectors = model.encode_query(["red shoes"])
    merge_lora(model).save_pretrained(str(tmp_path / "merged"), create_model_card=False)
    loaded = SentenceTransformer(str(tmp_path / "merged"), device="cpu")
    np.testing.assert_allclose(loaded.encode_query(["red shoes"]), vectors, atol=1e-6)


def test_adapters_added_with_peft_alone_resume_and_load(tiny_base: Path, tmp_path: Path, instances: Dataset) -> None:
    """As sentence-transformers' own documentation does it: a checkpoint holds the adapters and heads only."""
    peft = pytest.importorskip("peft")

    def trainer(folder: str, steps: int) -> Any:
        set_seed(0)
        model = build_two_tower(tiny_base, 8, device="cpu")
        model.add_adapter(peft.LoraConfig(task_type="FEATURE_EXTRACTION", r=2, target_modules=["query", "value"]))
        options = {"max_steps": steps, "save_steps": 3, "learning_rate": 1e-2, "lr_scheduler_type": "constant"}
        return plain_trainer(model, GradedSupConLoss(model), instances, tmp_path / folder, **options)

    whole = trainer("whole", 6)
    whole.train()
    loaded = SentenceTransformer(str(tmp_path / "whole" / "checkpoint-6"), device="cpu")
    expected = whole.model.encode_query(["red shoes"])
    np.testing.assert_allclose(loaded.encode_query(["red shoes"]), expected, atol=1e-6)
    trainer("cut", 3).train()
    resumed = trainer("cut", 6)
    resumed.train(resume_from_checkpoint=True)
    assert [e["loss"] for e in entries(resumed)] == pytest.approx([e["loss"] for e in entries(whole)], rel=1e-5)
    np.testing.assert_allclose(resumed.model.encode_query(["red shoes"]), expected, atol=1e-5)


@pytest.mark.parametrize("make", [GradedSupConLoss, pytest.param(MultiClassCircleLoss, marks=pytest.mark.slow)])
def test_the_model_compiled(tower, tmp_path: Path, instances: Dataset, make: Make, plain_run) -> None:
    """Backend aot_eager: the graphs are captured and differentiated as with inductor, without a C++ compiler."""
    model = tower()
    counters.clear()
    run = train(model, make(model), instances, tmp_path, torch_compile_backend="aot_eager", **SGD)
    assert counters["frames"]["ok"] > 0  # something was compiled
    torch.compiler.reset()
    assert_same(plain_run(make, instances), run)


@needs_gpu
@over_losses
@pytest.mark.parametrize("precision", [{}, {"fp16": True}, {"bf16": True}], ids=["fp32", "fp16", "bf16"])
def test_on_a_gpu(
    tower, tmp_path: Path, instances: Dataset, make: Make, precision: dict[str, bool], plain_run
) -> None:
    model = tower().cuda()
    options = {"use_cpu": False, **SGD, **precision}
    losses, _ = train(model, make(model), instances, tmp_path, **options)
    assert losses == pytest.approx(plain_run(make, instances)[0], rel=0.1 if precision else 1e-3)
    again = tower().cuda()
    cached, _ = train(again, make(again, mini_batch_size=5), instances, tmp_path, **options)  # type: ignore[call-arg]
    assert cached == pytest.approx(losses, rel=0.1 if precision else 1e-4)
