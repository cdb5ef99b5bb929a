"""Two processes on gloo. What they do stands in ``distributed_child.py``; each launch does several things at once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import distributed_child as child
import psutil
import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from mr_st.training import EpochBatchSampler, StageResult

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
# without a GPU it falls back to gloo; --cpu --num_processes 2 would start one process
ACCELERATE = [
    "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
    "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0",
]  # fmt: skip
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "CUDA_VISIBLE_DEVICES": "",
    "HF_HUB_OFFLINE": "1",
}
SCENARIOS = (
    "twenty_steps gradients accumulated uneven nothing_on_one_rank resumed two_losses whole_stage broken_stage "
    "other_stages all_together"
).split()


def command(launcher: list[str], base: Path, out: Path, *scenarios: str) -> list[str]:
    # as a user starts it: the launchers' own default is one log for all processes
    logs = [] if launcher is ACCELERATE else ["--redirects", "3", "--log-dir", str(out / "logs")]
    return [sys.executable, *launcher, *logs, child.__file__, str(base), str(out), *scenarios]


def launch(launcher: list[str], base: Path, out: Path, *scenarios: str) -> None:
    done = subprocess.run(
        command(launcher, base, out, *scenarios), env=ENVIRONMENT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:] + "".join(said(out, rank)[-3000:] for rank in (0, 1))


def said(out: Path, rank: int) -> str:
    """What a process wrote to its standard error."""
    return "".join(path.read_text() for path in out.glob(f"logs/*/attempt_0/{rank}/stderr.log"))


def found(out: Path, scenario: str) -> list[Any]:
    """What a scenario found, on each rank."""
    return [torch.load(out / f"{scenario}.{rank}.pt", weights_only=True) for rank in (0, 1)]


def assert_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


@pytest.fixture(scope="module")
def still_base(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base without dropout, so that one process and two can be compared."""
    folder = tmp_path_factory.mktemp("still") / "model"
    shutil.copytree(tiny_base, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def two(still_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes left what they found in all scenarios."""
    out = tmp_path_factory.mktemp("two")
    with pytest.raises(KeyboardInterrupt):
        child.stage(str(still_base), out / "by_one", break_at=3)
    launch(TORCHRUN, still_base, out, *SCENARIOS)
    return out


@given(
    sizes=st.lists(st.integers(2, 12), min_size=1, max_size=30),
    batch_size=st.integers(1, 7),
    n_ranks=st.integers(2, 4),
    max_items=st.none() | st.integers(12, 30),
    epoch=st.integers(0, 2),
)
def test_the_ranks_have_as_many_batches_each_and_all_rows_together(
    sizes: list[int], batch_size: int, n_ranks: int, max_items: int | None, epoch: int
) -> None:
    rows = Dataset.from_dict({"epoch": [0] * len(sizes), "labels": [[0] * size for size in sizes]})
    shards = []
    for index in range(n_ranks):
        # drop_last and even_batches as the stock trainer sets them under several processes
        sampler = EpochBatchSampler(rows, batch_size, drop_last=True, max_items=max_items, n_ranks=n_ranks)
        sampler.set_epoch(epoch)
        shards.append(list(BatchSamplerShard(sampler, n_ranks, index, even_batches=False)))
    assert {len(shard) for shard in shards} == {len(sampler) // n_ranks}
    counts = Counter(row for shard in shards for batch in shard for row in batch)
    assert counts.keys() == set(range(len(sizes)))
    assert max(counts.values()) - min(counts.values()) <= 1  # none a second time before all had the first
    if max_items is None:
        assert {len(batch) for shard in shards for batch in shard} == {batch_size}
        assert counts.total() < len(sizes) + batch_size * n_ranks
    elif len(sizes) >= len(sampler):
        assert set(counts.values()) == {1}


@pytest.mark.parametrize(("architecture", "cached"), child.KINDS)
def test_after_twenty_steps_the_ranks_hold_the_same_weights_and_tau(
    two: Path, still_base: Path, architecture: str, cached: bool
) -> None:
    first, second = (of_rank[f"{architecture} {cached}"] for of_rank in found(two, "twenty_steps"))
    assert_equal(first, second)
    start = child.Run(str(still_base), two / "start", child.ROWS, architecture=architecture).weights
    moved = {name for name in first if not torch.equal(first[name], start[name])}
    assert "loss log_tau" in moved
    assert {name for name in first if "attention" in name and "weight" in name} < moved
    assert any("query" in name and "linear" in name for name in moved)
    assert any("document" in name and "linear" in name for name in moved)


@pytest.mark.parametrize("scenario", ["gradients", "accumulated"])
def test_two_ranks_with_half_the_batch_have_the_gradients_of_one_with_all_of_it(
    two: Path, still_base: Path, tmp_path: Path, scenario: str
) -> None:
    alone = getattr(child, scenario)(str(still_base), tmp_path)
    first, second = found(two, scenario)
    assert first.keys() == second.keys() == alone.keys()
    for kind, wanted in alone.items():
        assert_equal(first[kind], second[kind])
        assert first[kind].keys() == wanted.keys()
        assert ("log_tau" in wanted) == kind.startswith(("supcon", "listnet"))
        assert max(gradient.abs().max() for gradient in wanted.values()) > 0.01
        for name, gradient in wanted.items():
            torch.testing.assert_close(first[kind][name], gradient, rtol=1e-5, atol=1e-5, msg=f"{kind}: {name}")


def test_an_uneven_epoch_is_shared_and_no_row_left_out(two: Path) -> None:
    first, second = (of_rank["rows"] for of_rank in found(two, "uneven"))
    assert len(first["batches"]) == len(second["batches"]) == 3  # 17 rows: six batches of four
    batches = first["batches"] + second["batches"]
    assert all(len(batch) == 4 for batch in batches)
    counts = Counter(query for batch in batches for query in batch)
    assert counts.keys() == {str(at) for at in range(17)}
    assert sorted(counts.values()) == [1] * 10 + [2] * 7  # filled up to 24, no row three times


def test_a_bound_on_the_items_holds_on_each_rank(two: Path) -> None:
    first, second = (of_rank["items"] for of_rank in found(two, "uneven"))
    batches = first["batches"] + second["batches"]
    assert len(first["batches"]) == len(second["batches"])
    sizes = {row["query"]: len(row["items"]) for row in child.numbered(17)}
    assert all(sum(sizes[query] for query in batch) <= 20 for batch in batches)
    assert Counter(query for batch in batches for query in batch) == Counter(sizes.keys())


def test_the_log_counts_all_ranks(two: Path) -> None:
    for name in ("rows", "items"):
        first, second = (of_rank[name] for of_rank in found(two, "uneven"))
        pairs = list(zip(first["batches"], second["batches"], strict=True))
        assert first["instances"] == second["instances"] == [len(a) + len(b) for a, b in pairs]
        skipped = [sum(query in ("0", "1", "2") for query in a + b) for a, b in pairs]
        assert first["skipped"] == second["skipped"] == skipped
        assert sum(skipped) >= 3


def test_a_rank_without_a_graded_pair_keeps_in_step(two: Path) -> None:
    first, second = found(two, "nothing_on_one_rank")
    for kind in first:
        skipped = first[kind].pop("skipped").tolist()
        assert second[kind].pop("skipped").tolist() == skipped
        assert 1 in skipped  # of the two instances of a step, one on each rank
        assert_equal(first[kind], second[kind])
        assert all(tensor.isfinite().all() for tensor in first[kind].values())


def test_resumed_within_an_epoch_all_ranks_go_on_with_their_batches(two: Path) -> None:
    for of_rank in found(two, "resumed"):
        whole, again = of_rank["whole"], of_rank["again"]
        assert again["batches"][-4:] == whole["batches"][-4:]  # before them, the loader's place is found
        assert again["losses"] == whole["losses"]
        assert_equal(again["weights"], whole["weights"])
    first, second = (of_rank["whole"] for of_rank in found(two, "resumed"))
    assert_equal(first["weights"], second["weights"])


def test_a_loss_for_each_dataset(two: Path) -> None:
    first, second = found(two, "two_losses")
    assert any(a != b for a, b in zip(first["datasets"], second["datasets"], strict=True))
    assert_equal(first["weights"], second["weights"])
    taus = [first["weights"][f"loss {name}.log_tau"].item() for name in ("one", "three")]
    assert taus[0] != taus[1]


def test_a_stage_under_torchrun(two: Path) -> None:
    first, second = found(two, "whole_stage")
    assert first["first"]["result"] == first["again"]["result"] == second["first"]["result"]
    assert second["again"]["result"] == second["first"]["result"]
    assert [first["first"]["calls"], second["first"]["calls"]] == [4, 0]  # rank 0 evaluates
    assert [first["again"]["calls"], second["again"]["calls"]] == [0, 0]
    result = StageResult.load(two / "whole_stage" / "there")
    assert result.n_ranks == 2
    assert result.steps == 12  # four epochs of six batches
    assert {entry["instances"] for entry in result.log_history} == {8}
    assert [entry["step"] for entry in result.dev_history] == [3, 6, 9, 12]
    assert sorted(p.name for p in (two / "whole_stage" / "there").iterdir()) == [
        "model",
        "settings.json",
        "stage.json",
    ]
    result.load_model()


def test_rank_0_alone_writes_and_shows_progress(two: Path) -> None:
    first, second = found(two, "whole_stage")
    for name in ("settings.json", "stage.json", "model"):
        assert any(path.startswith(f".tmp-{name}") for path in first["written"])
    # the stock trainer lets each process write the checkpoint's files, the same bytes; the rest is rank 0's
    assert {path.split("/")[0] for path in second["written"]} == {"checkpoints"}
    assert "there: 100%" in said(two, 0)
    assert "there: " not in said(two, 1)


def test_every_process_is_told_why_a_stage_is_refused(two: Path) -> None:
    first, second = found(two, "other_stages")
    for why in (first, second):
        assert why["settings"].startswith("UsageError")
        assert "config.epochs (1 there, 4 asked for)" in why["settings"]
        assert why["folder"].startswith("MrStError")
        assert "cannot write here" in why["folder"]
        assert "begun by 1 process, and 2 cannot share its steps; start 1, or" in why["by_one"]
    assert "process 1 has other config.seed (0 there, 1 asked for)" in first["ranks"]
    assert "process 0 has other config.seed (1 there, 0 asked for)" in second["ranks"]
    assert first["overwritten"]["result"] == second["overwritten"]["result"]


def test_a_stage_that_two_began_goes_on_with_one(two: Path, still_base: Path, tmp_path: Path) -> None:
    shutil.copytree(two / "broken_stage" / "there", tmp_path / "there")
    alone = child.stage(str(still_base), tmp_path / "there")
    assert alone["calls"] == 2  # the third, at which it broke off, and the fourth
    whole, result = StageResult.load(two / "whole_stage" / "there"), alone["result"]
    assert (result["n_ranks"], result["steps"]) == (2, whole.steps)
    logs = list(zip(result["log_history"], whole.log_history, strict=True))
    assert [entry["instances"] for entry, _ in logs] == [8] * 12
    for name in ("loss", "temperature", "learning_rate"):
        assert [entry[name] for entry, _ in logs] == pytest.approx([entry[name] for _, entry in logs], rel=1e-4)
    assert result["loss_state"]["log_tau"] == pytest.approx(whole.loss_state["log_tau"], abs=1e-5)


def test_all_that_saves_memory_together(two: Path) -> None:
    first, second = found(two, "all_together")
    assert first["result"] == second["result"]
    result = StageResult.load(two / "all_together" / "there")
    assert result.best is not None
    assert abs(result.loss_config["temperature"] - 0.05) > 1e-5
    assert sum(entry["instances"] for entry in result.log_history) == 20 + 18


def test_accelerate_launch(still_base: Path, tmp_path: Path, two: Path) -> None:
    launch(ACCELERATE, still_base, tmp_path, "few_steps", "all_together")
    first, second = found(tmp_path, "few_steps")
    assert_equal(first, second)
    assert_equal(first, found(two, "twenty_steps")[0]["siamese False"])
    first, second = found(tmp_path, "all_together")
    assert first["result"] == second["result"]


@pytest.mark.slow
def test_kill_9_of_all_processes_and_run_again(tiny_base: Path, tmp_path: Path) -> None:
    """With dropout: each rank's random numbers are restored too."""
    launch(TORCHRUN, tiny_base, tmp_path / "whole", "slow_stage")
    checkpoints = tmp_path / "killed" / "slow_stage" / "there" / "checkpoints"
    n_kept = 0
    for wanted in (2, 1):  # so many more whole checkpoints before each kill
        process = subprocess.Popen(
            command(TORCHRUN, tiny_base, tmp_path / "killed", "slow_stage"),
            env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        before = {path.parent for path in checkpoints.glob("*/complete.json")}
        new: set[Path] = set()
        deadline = time.monotonic() + 300
        while process.poll() is None and len(new) < wanted:
            new |= {path.parent for path in checkpoints.glob("*/complete.json")} - before
            assert time.monotonic() < deadline, "no progress"
            time.sleep(0.005)
        kill_all(process)
        n_kept = len(list(checkpoints.glob("*/complete.json")))
        assert n_kept, "it finished, or nothing was kept"
    launch(TORCHRUN, tiny_base, tmp_path / "killed", "slow_stage")
    whole, resumed = (found(tmp_path / name, "slow_stage")[0] for name in ("whole", "killed"))
    assert resumed["loss_state"] == whole["loss_state"]
    names = ("step", "loss", "temperature", "learning_rate", "grad_norm", "instances")
    assert [[entry[n] for n in names] for entry in resumed["log_history"]] == [
        [entry[n] for n in names] for entry in whole["log_history"]
    ]
    models = [StageResult.load(tmp_path / name / "slow_stage" / "there").load_model() for name in ("whole", "killed")]
    assert_equal(*(model.state_dict() for model in models))


def kill_all(process: subprocess.Popen) -> None:
    """SIGKILL to the launcher and its processes: torchrun gives each of them a session of its own."""
    everyone = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    assert len(everyone) >= 3, "the processes were gone before they were killed"
    for one in everyone:
        one.kill()
    psutil.wait_procs(everyone, timeout=30)
    process.wait()
