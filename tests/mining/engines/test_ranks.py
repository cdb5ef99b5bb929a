"""Two ranks as a launcher starts them: they share the shards, the progress and the errors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
import ranks_child
from tiny_judge import tiny_judge
from toy_stages import Squares, squares

from mr_st.data import GradedDataset
from mr_st.errors import UsageError
from mr_st.mining.engines import LocalEngine, RanksEngine, RayEngine, engine_of

pytestmark = pytest.mark.slow

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
# without a GPU it falls back to gloo; --cpu --num_processes 2 would start one process
ACCELERATE = [
    "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
    "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0",
]  # fmt: skip


def launch(launcher: list[str], folder: Path, kind: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, *launcher, ranks_child.__file__, str(folder), kind],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.mark.parametrize("launcher", [ACCELERATE, TORCHRUN], ids=["accelerate", "torchrun"])
def test_ranks_share_the_shards(tmp_path: Path, launcher: list[str]) -> None:
    stage = Squares(tmp_path / "stage", n=48)
    stage.run(4)  # was done before
    done = launch(launcher, tmp_path, "good")
    assert done.returncode == 0, done.stderr[-3000:]
    assert stage.result == squares(48)
    starts = [start for start in stage.notes if start[1] != str(os.getpid())]
    assert sorted(int(start[0]) for start in starts) == [0, 1, 2, 3, 5, 6, 7, 8, 9], "each once"
    assert len({start[1] for start in starts}) == 2, "both took some"
    assert {path.name for path in tmp_path.glob("done.*")} == {"done.0", "done.1"}
    assert "48/48" in done.stderr, "the bar counts what all ranks do"


def test_an_error_stops_all_ranks(tmp_path: Path) -> None:
    done = launch(TORCHRUN, tmp_path, "usage")
    assert done.returncode != 0
    line = "UsageError: numbers.txt, row 7: found a word, expected a number; mend the row"
    assert [path.read_text() for path in sorted(tmp_path.glob("error.*"))] == [line, line]
    assert len(Squares(tmp_path / "stage", n=48).folder.names()) < 8, "they stop at their next shard"


def test_a_killed_rank_leaves_nobody_waiting(tmp_path: Path) -> None:
    done = launch(TORCHRUN, tmp_path, "killed")
    assert done.returncode != 0
    assert not [
        process for process in psutil.process_iter(["cmdline"])
        if str(tmp_path) in " ".join(process.info["cmdline"] or [])
    ]  # fmt: skip
    assert "3" not in Squares(tmp_path / "stage", n=48).folder.names()


@pytest.mark.parametrize(
    ("kind", "message"),
    [("unlike", "has other shards than rank 0"), ("apart", "its result is not where this one looks")],
)
def test_ranks_that_do_not_fit(tmp_path: Path, kind: str, message: str) -> None:
    done = launch(TORCHRUN, tmp_path, kind)
    assert done.returncode != 0
    told = [path.read_text() for path in sorted(tmp_path.glob("error.*"))]
    assert len(told) == 2
    assert all(message in line for line in told)


def test_which_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert isinstance(engine_of(), LocalEngine)
    assert engine_of("local", processes=3).processes == 3  # type: ignore[attr-defined]
    for options, message in (
        ({"name": "spark"}, "expected local or ray"),
        ({"name": "ray", "processes": 2}, "no processes"),
        ({"address": "auto"}, "no address"),
    ):
        with pytest.raises(UsageError, match=message):
            engine_of(**options)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="accelerate launch"):
        RanksEngine()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="2 processes were launched"):
        engine_of("ray")
    with pytest.raises(UsageError, match="num_cpus_per_task is 0"):
        RayEngine(num_cpus_per_task=0)


def small_shop(folder: Path) -> None:
    """12 queries, 60 items, a third judged."""
    queries = [{"query_id": f"q{n}", "text": f"red mug {n}"} for n in range(12)]
    items = [{"item_id": f"i{n}", "title": f"mug number {n} blue"} for n in range(60)]
    judgments = [
        {"query_id": f"q{q}", "item_id": f"i{i}", "grade": (q + i) % 3}
        for q in range(12) for i in range(60) if (q + i) % 6 == 0
    ]  # fmt: skip
    GradedDataset.from_tables(queries, items, judgments).save(folder)


def test_the_command_line_under_every_local_engine(tiny_base: Path, tmp_path: Path) -> None:
    """``mr-st mine``: one process, two processes, and two ranks find the same, byte for byte."""
    small_shop(tmp_path / "shop")
    judge = tiny_judge(tiny_base, [(f"red mug {n % 12}", f"mug number {n} blue") for n in range(60)])
    judge.save(str(tmp_path / "judge"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    found = {}
    for name, launcher, options in (
        ("one", [], []),
        ("two", [], ["--processes", "2"]),
        ("ranks", [*ACCELERATE, "-m"], []),
    ):
        program = [*launcher, "mr_st.cli.main"] if launcher else ["-m", "mr_st.cli.main"]
        done = subprocess.run(
            [sys.executable, *program, "mine", str(tiny_base), str(tmp_path / "shop"), "--annotator",
             str(tmp_path / "judge"), "--k", "20", "--out", str(tmp_path / name), "--json", *options],
            env=environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, f"{name}: {done.stderr[-3000:]}"
        found[name] = (tmp_path / name / "refinement" / "mined.parquet").read_bytes()
        assert done.stdout.count('"fingerprint"') == 1, "only one process prints"
    mined = pq.read_table(tmp_path / "one" / "refinement" / "mined.parquet")
    assert set(mined["grade"].to_pylist()) == {0, 1, 2}
    assert found["two"] == found["one"]
    assert found["ranks"] == found["one"]
