"""What the processes of ``test_distributed.py`` do; the test calls the same functions in its own process to compare.

Run by torchrun or accelerate: distributed_child.py BASE OUT SCENARIO... Each process leaves ``OUT/SCENARIO.RANK.pt``.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, DatasetDict
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from transformers import TrainerCallback, set_seed
from transformers.trainer_utils import TrainOutput

sys.path.append(str(Path(__file__).parent))

from stage_tools import AverageMargin, graded_rows

from mr_st.errors import MrStError, UsageError
from mr_st.losses import LOSSES
from mr_st.models import build_two_tower
from mr_st.training import EpochBatchSampler, GradedCollator, SaveLossParameters, StageConfig, StageResult, train_stage
from mr_st.training.loss_files import loss_parameters
from mr_st.training.ranks import n_ranks, rank

ROWS = graded_rows(random.Random(0))  # two epochs of 20 and 18
ONE_GRADE = {"epoch": 0, "query": "blue mug", "items": ["red lamp", "steel hose"], "labels": [1, 1]}
CONFIG = StageConfig(epochs=4, queries_per_batch=4, learning_rate=2e-3, evaluations=4)
LOCAL = [name for name, loss in LOSSES.items() if loss.is_local and name != "spelling_consistency"]  # needs variants
KINDS = [(architecture, cached) for architecture in ("siamese", "asymmetric") for cached in (False, True)]


class Watch(TrainerCallback):
    """Keeps the gradients of each step, before the optimizer uses them."""

    def __init__(self, loss: Any) -> None:
        self.parameters = loss_parameters(loss)
        self.gradients: list[dict[str, torch.Tensor]] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        named = {**dict(kwargs["model"].named_parameters()), **self.parameters}
        self.gradients.append(
            {name.removeprefix("module."): p.grad.clone() for name, p in named.items() if p.grad is not None}
        )


class StopAt(TrainerCallback):
    """Breaks off after a step, as a kill would: what was saved stays."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            raise KeyboardInterrupt


class Noting:
    """A collator that notes which queries it was given, and of which dataset."""

    def __init__(self, collator: GradedCollator) -> None:
        self.collator = collator
        self.valid_label_columns = collator.valid_label_columns
        self.batches: list[list[str]] = []
        self.datasets: list[str] = []

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        self.batches.append([row["query"] for row in features])
        self.datasets.append(features[0].get("dataset_name", ""))
        return self.collator(features)


class Run:
    """One training in the stock trainer."""

    def __init__(
        self,
        base: str,
        out: Path,
        rows: list[dict] | dict[str, list[dict]],
        loss: str | dict[str, str] = "supcon",
        *,
        architecture: Any = "siamese",
        cached: bool = False,
        sampler: Any = EpochBatchSampler,
        callbacks: tuple[TrainerCallback, ...] = (),
        **settings: Any,
    ) -> None:
        set_seed(0)
        model = build_two_tower(base, 8, architecture, device="cpu")
        for name, parameter in model.named_parameters():
            if ".pooler." in name:  # not used
                parameter.requires_grad_(False)
        model.model_card_data.widget = [{}]  # or the trainer computes one
        options: dict[str, Any] = {"reduction": "mean", "mini_batch_size": 3 if cached else None}
        self.loss: Any = (
            LOSSES[loss](model, **options)  # type: ignore[call-arg]
            if isinstance(loss, str)
            else {name: LOSSES[one](model, **options) for name, one in loss.items()}  # type: ignore[call-arg]
        )
        args = SentenceTransformerTrainingArguments(
            str(out), **{"per_device_train_batch_size": 4, "max_grad_norm": 0} | settings,
            batch_sampler=sampler, learning_rate=1e-3, logging_steps=1,
            save_strategy="steps" if "save_steps" in settings else "no", report_to="none", use_cpu=True,
            disable_tqdm=True, ddp_find_unused_parameters=cached, dataloader_drop_last=n_ranks() > 1,
        )  # fmt: skip
        self.noted = Noting(GradedCollator.from_trainer_args(model, args))
        self.watch = Watch(self.loss)
        dataset: Any = (
            Dataset.from_list(rows)
            if isinstance(rows, list)
            else DatasetDict({name: Dataset.from_list(part) for name, part in rows.items()})
        )
        self.trainer = SentenceTransformerTrainer(
            model=model, args=args, train_dataset=dataset, loss=self.loss, data_collator=self.noted,
            callbacks=[SaveLossParameters(self.loss, learning_rate=0.05), self.watch, *callbacks],
        )  # fmt: skip

    def train(self, **options: Any) -> TrainOutput:
        return self.trainer.train(**options)

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        own = {f"loss {name}": p.detach() for name, p in loss_parameters(self.loss).items()}
        return {**{name: tensor.clone() for name, tensor in self.trainer.model.state_dict().items()}, **own}

    def logged(self, name: str) -> list[Any]:
        return [entry[name] for entry in self.trainer.state.log_history if name in entry]


def twenty_steps(base: str, out: Path) -> Any:
    found = {}
    for architecture, cached in KINDS:
        run = Run(base, out / "run", ROWS, architecture=architecture, cached=cached, max_steps=20)
        run.train()
        found[f"{architecture} {cached}"] = run.weights
    return found


def few_steps(base: str, out: Path) -> Any:
    run = Run(base, out / "run", ROWS, max_steps=20)
    run.train()
    return run.weights


def gradients(base: str, out: Path) -> Any:
    """The gradient of the first step over the same 8 instances, however many processes share them."""
    found = {}
    kinds = [("supcon", *kind) for kind in KINDS] + [(loss, "siamese", False) for loss in LOCAL if loss != "supcon"]
    for loss, architecture, cached in kinds:
        run = Run(
            base, out / "run", ROWS, loss, architecture=architecture, cached=cached, max_steps=1,
            per_device_train_batch_size=8 // n_ranks(),
        )  # fmt: skip
        run.train()
        found[f"{loss} {architecture} {cached}"] = run.watch.gradients[0]
    return found


def accumulated(base: str, out: Path) -> Any:
    """As ``gradients``, two instances at a time."""
    found = {}
    for architecture, cached in KINDS:
        run = Run(
            base, out / "run", ROWS, architecture=architecture, cached=cached, max_steps=1,
            per_device_train_batch_size=2, gradient_accumulation_steps=4 // n_ranks(),
        )  # fmt: skip
        run.train()
        found[f"supcon {architecture} {cached}"] = run.watch.gradients[0]
    return found


def numbered(n: int) -> list[dict]:
    return [{**ROWS[at], "epoch": 0, "query": f"{at}"} for at in range(n)]


def uneven(base: str, out: Path) -> Any:
    """An epoch of 17 instances, three of them of one grade, in batches of four, or of at most 20 items."""
    rows = [{**row, "labels": [1] * len(row["labels"])} if at < 3 else row for at, row in enumerate(numbered(17))]
    found = {}
    for name, sampler in {"rows": EpochBatchSampler, "items": _at_most_20_items}.items():
        run = Run(base, out / "run", rows, sampler=sampler, num_train_epochs=1)
        run.train()
        found[name] = {
            "batches": run.noted.batches,
            "instances": run.logged("instances"),
            "skipped": run.logged("skipped_instances"),
        }
    return found


def _at_most_20_items(*args: Any, **kwargs: Any) -> EpochBatchSampler:
    return EpochBatchSampler(*args, **kwargs, max_items=20)


def nothing_on_one_rank(base: str, out: Path) -> Any:
    """Steps in which one process has no graded pair, or none has."""
    rows = [{**row, "epoch": 0} for row in ROWS[:5]] + [ONE_GRADE] * 5
    found = {}
    for loss in ("supcon", "circle"):
        for cached in (False, True):
            run = Run(base, out / "run", rows, loss, cached=cached, max_steps=10, per_device_train_batch_size=1)
            run.train()
            found[f"{loss} {cached}"] = {**run.weights, "skipped": torch.tensor(run.logged("skipped_instances"))}
    return found


def resumed(base: str, out: Path) -> Any:
    """Eight steps, and the same broken off within the second epoch, after the checkpoint of step 4."""
    whole = Run(base, out / "whole", ROWS, max_steps=8, save_steps=4)
    whole.train()
    stopped = Run(base, out / "stopped", ROWS, max_steps=8, save_steps=4, callbacks=(StopAt(5),))
    try:
        stopped.train()
    except KeyboardInterrupt:
        torch.distributed.barrier()
    again = Run(base, out / "stopped", ROWS, max_steps=8, save_steps=4)
    again.train(resume_from_checkpoint=True)
    return {
        name: {"weights": run.weights, "batches": run.noted.batches, "losses": run.logged("loss")}
        for name, run in {"whole": whole, "again": again}.items()
    }


def two_losses(base: str, out: Path) -> Any:
    """A dataset with a temperature to learn and one without; the processes are not always at the same one."""
    rows = {"one": ROWS[:20], "two": [{**row, "epoch": 0} for row in ROWS[20:]], "three": ROWS[:20]}
    run = Run(base, out / "run", rows, {"one": "supcon", "two": "circle", "three": "listnet"}, max_steps=12)
    run.train()
    return {"weights": run.weights, "datasets": run.noted.datasets[:12]}


def stage(
    base: str, out: Path, config: StageConfig = CONFIG, break_at: int | None = None, **options: Any
) -> dict[str, Any]:
    evaluator = AverageMargin(ROWS[:6], break_at=break_at)
    options = {"architecture": "siamese", "show_progress": False, **options}
    model = build_two_tower(base, 8, options.pop("architecture"), device="cpu")
    result = train_stage(model, Dataset.from_list(ROWS), config, out, evaluator, **options)
    return {"result": {**asdict(result), "model_dir": str(result.model_dir)}, "calls": evaluator.calls}


def whole_stage(base: str, out: Path) -> Any:
    written: list[str] = []

    def listen(event: str, arguments: tuple[Any, ...]) -> None:
        is_write = event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")
        if event == "open":
            is_write = bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if is_write and str(arguments[0]).startswith(f"{out / 'there'}/"):
            written.append(Path(str(arguments[0])).relative_to(out / "there").as_posix())

    sys.addaudithook(listen)
    first = stage(base, out / "there", show_progress=True)
    return {"first": first, "again": stage(base, out / "there"), "written": written}


def other_stages(base: str, out: Path) -> Any:
    """What is refused: said by every process, in one line."""
    other = CONFIG.model_copy(update={"learning_rate": 1e-3})
    by_rank = CONFIG.model_copy(update={"seed": rank()})
    short = CONFIG.model_copy(update={"epochs": 1, "evaluations": 1})
    stage(base, out / "there", short)
    (out / "file").touch()
    return {
        "settings": refused(lambda: stage(base, out / "there", other)),
        "ranks": refused(lambda: stage(base, out / "elsewhere", by_rank)),
        "folder": refused(lambda: stage(base, out / "file", short)),
        "by_one": refused(lambda: stage(base, out.parent / "by_one")),
        "overwritten": stage(base, out / "there", short.model_copy(update={"seed": 5}), overwrite=True),
    }


def refused(call: Callable[[], Any]) -> str:
    try:
        call()
    except UsageError as error:
        return f"UsageError: {error}"
    except MrStError as error:
        return f"MrStError: {error}"
    raise AssertionError("not refused")


def all_together(base: str, out: Path) -> Any:
    """An asymmetric stage with gradient caching and checkpointing, accumulation and a bound on the items."""
    config = StageConfig(
        loss="supcon", loss_options={"mini_batch_size": 4}, epochs=2, queries_per_batch=4, max_items_per_batch=20,
        gradient_accumulation_steps=2, gradient_checkpointing=True, learning_rate=2e-3, evaluations=2,
    )  # fmt: skip
    return stage(base, out / "there", config, architecture="asymmetric")


def broken_stage(base: str, out: Path) -> Any:
    """The stage of ``whole_stage``, broken off at its third evaluation."""
    try:
        stage(base, out / "there", break_at=3)
    except (KeyboardInterrupt, RuntimeError):  # the latter says on the other ranks that the first one broke
        return StageResult.__name__
    raise AssertionError("not broken off")


def slow_stage(base: str, out: Path) -> Any:
    evaluator = AverageMargin(ROWS[:6], seconds=0.3)
    model = build_two_tower(base, 8, device="cpu")
    result = train_stage(model, Dataset.from_list(ROWS), CONFIG, out / "there", evaluator, show_progress=False)
    return {**asdict(result), "model_dir": str(result.model_dir)}


def main(base: str, out: str, names: list[str]) -> None:
    from mr_st.training.ranks import join_ranks

    torch.set_num_threads(1)
    join_ranks()
    assert n_ranks() == 2, f"there are {n_ranks()} processes"
    for name in names:
        folder = Path(out, name)
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(globals()[name](base, folder), Path(out, f"{name}.{rank()}.pt"))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
