"""The local engine: one process and several, what stops them, and what their errors say."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from sentence_transformers import CrossEncoder
from toy_stages import BadStage, Grading, LengthPolicy, OddError, Squares, fail, squares

from mr_st.annotation import CrossEncoderAnnotator, JudgmentAnnotator, PairTable
from mr_st.encoding.shard_folder import ShardFolder
from mr_st.errors import DataError, MrStError, UsageError
from mr_st.mining.engines import LocalEngine
from mr_st.mining.engines.work import packed, travelling_error
from mr_st.mining.engines.worker import thread_settings, visible_device

SHARED = Path(__file__).resolve().parents[2] / "shared"


def test_in_this_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = Squares(tmp_path)
    LocalEngine().run(stage, show_progress=True)
    assert stage.result == squares()
    assert "23/23" in capsys.readouterr().err
    LocalEngine().run(stage)
    assert [start[0] for start in stage.notes] == ["0", "1", "2", "3", "4"], "a rerun repeats nothing"
    assert {start[1] for start in stage.notes} == {str(os.getpid())}


def test_in_two_processes(tmp_path: Path) -> None:
    """Two workers, each with a device of its own, do what one process left."""
    stage = Squares(tmp_path, seconds=0.5, n=48)
    stage.run(3)
    LocalEngine(2, devices=["cuda:0", "cpu"]).run(stage)
    assert stage.result == squares(48)
    starts = [start for start in stage.notes if start[1] != str(os.getpid())]
    assert sorted(int(start[0]) for start in starts) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert {start[2] for start in starts} == {"cuda", "cpu"}, "each pins its own"
    for process in {start[1] for start in starts}:  # the stage came once: its count goes up
        counts = sorted(int(start[3]) for start in starts if start[1] == process)
        assert counts == list(range(2, len(counts) + 2))
    assert not [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        ("usage", UsageError, r"^numbers\.txt, row 7: found a word, expected a number; mend the row$"),
        ("system", MrStError, r"^the disk is full; free space$"),
        ("data", DataError, r"^numbers\.txt, row 7: found a word; mend it \(and 1 more"),
        ("plain", MrStError, r"^square, shard 2: ZeroDivisionError: division by zero; finished shards are kept"),
    ],
)
def test_an_error_in_this_process(tmp_path: Path, fault: str, kind: type[Exception], message: str) -> None:
    stage = BadStage(tmp_path, fault)
    with pytest.raises(MrStError, match=message) as found:
        LocalEngine().run(stage)
    assert type(found.value) is kind
    assert stage.folder.names() == {"0", "1"}


@pytest.mark.parametrize(
    ("fault", "exit_code", "message"),
    [
        ("plain", 1, r"^square, shard 2: ZeroDivisionError: division by zero; finished shards are kept"),
        ("killed", 1, r"^square, shard 2: its worker process ended \(SIGKILL\), most likely for want of memory; "),
    ],
)
def test_an_error_in_a_worker(tmp_path: Path, fault: str, exit_code: int, message: str) -> None:
    stage = BadStage(tmp_path, fault, n=15)
    with pytest.raises(MrStError, match=message) as found:
        LocalEngine(2).run(stage)
    assert found.value.exit_code == exit_code
    assert "\n" not in str(found.value)
    assert "2" not in stage.folder.names()
    assert not [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]


def test_errors_travel_as_they_are_or_as_the_nearest_kind() -> None:
    plain = UsageError("k is 0; choose more")
    again = pickle.loads(travelling_error(plain))
    assert (type(again), str(again)) == (UsageError, str(plain))
    assert type(pickle.loads(travelling_error(OddError("a", "b")))) is UsageError
    with pytest.raises(DataError) as found:
        fail("data")
    again = pickle.loads(travelling_error(found.value))
    assert (again.exit_code, str(again)) == (1, str(found.value))


def test_a_stage_that_cannot_be_sent(tmp_path: Path) -> None:
    stage = Squares(tmp_path)
    stage.policy = lambda query, item: 1  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match=r"square: it cannot be sent to another process .*lambda") as found:
        LocalEngine(2).run(stage)
    assert "\n" not in str(found.value)
    LocalEngine(1).run(stage)
    assert stage.result == squares()
    stage.policy = threading.Lock()  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match=r"square: it cannot be sent .*lock"):
        packed(stage)


def test_annotators_travel(tmp_path: Path, tiny_base: Path) -> None:
    """A policy object and a model grade the same pairs the same way in another process."""
    words = "red blue black white small large cotton leather wooden steel".split()
    pairs = PairTable(
        ["q"] * 10, [f"i{n}" for n in range(10)], ["running shoes"] * 10, [f"{word} shoes" for word in words],
        ["en-US"] * 10,
    )  # fmt: skip
    encoder = CrossEncoder(str(tiny_base), num_labels=3, device="cpu")
    for annotator in (JudgmentAnnotator(LengthPolicy()), CrossEncoderAnnotator(encoder, temperature=0.5)):
        stage = Grading(tmp_path / annotator.identity, annotator, pairs)
        LocalEngine(1, devices=["cpu"]).run(stage)
        np.testing.assert_allclose(stage.result, annotator.grade(pairs).probabilities, atol=1e-6)
    with pytest.raises(UsageError, match="cannot be sent"):
        LocalEngine(2).run(Grading(tmp_path / "none", JudgmentAnnotator(lambda query, item: 1, name="l"), pairs))


def test_results_that_this_process_does_not_see(tmp_path: Path) -> None:
    stage = Squares(tmp_path)
    stage.folder = ShardFolder("memory://squares")  # every process has a memory of its own
    with pytest.raises(MrStError, match=r"square, shard \d: another process finished it, but"):
        LocalEngine(2).run(stage)


RUN = """
import sys
import polars  # its SIGINT handling is what endless waits do not survive
from toy_stages import Squares
from mr_st.mining.engines import LocalEngine

if __name__ == "__main__":
    LocalEngine(2).run(Squares(sys.argv[1], n=500, seconds=2))
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopped(tmp_path: Path, how: signal.Signals) -> None:
    """Ctrl-C and kill -9 of the main process end the workers too, long before their 100 shards; what is done stays."""
    (tmp_path / "run.py").write_text(RUN)
    environment = {**os.environ, "PYTHONPATH": str(SHARED)}
    main = subprocess.Popen([sys.executable, str(tmp_path / "run.py"), str(tmp_path / "work")], env=environment)
    stage = Squares(tmp_path / "work", n=500)
    everyone: list[psutil.Process] = []
    try:
        deadline = time.monotonic() + 120
        while len(stage.folder.names()) < 2:
            assert main.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        everyone = psutil.Process(main.pid).children(recursive=True)
        workers = {int(start[1]) for start in stage.notes}
        assert workers <= {process.pid for process in everyone}
        main.send_signal(how)
        assert main.wait(timeout=60) != 0
        _, alive = psutil.wait_procs(everyone, timeout=60)
        assert not [process for process in alive if process.pid in workers]
        assert len(stage.folder.names()) < 60
        if how == signal.SIGINT:
            assert not list((tmp_path / "work" / "done").glob(".tmp-*"))
    finally:
        main.kill()
        main.wait()
        for process in everyone:
            if process.is_running():
                process.kill()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"processes": 0}, "processes is 0"),
        ({"processes": -1}, "processes is -1"),
        ({"processes": 1, "devices": ["cuda:0", "cuda:1"]}, "a process for each device"),
        ({"devices": []}, "devices is"),
        ({"devices": "cuda:0"}, "expected a list"),
        ({"devices": ["cuda:x"]}, "device 'cuda:x'"),
    ],
)
def test_wrong_use(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LocalEngine(**options)


def test_devices_bring_their_processes() -> None:
    assert LocalEngine(devices=["cuda:0", "cuda:1"]).processes == 2
    assert LocalEngine().processes == 1


def test_a_worker_sees_its_own_device_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert visible_device("cuda:1") == "cuda"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "6"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert visible_device("cuda:1") == "cuda"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
    assert visible_device("cpu") == "cpu"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert visible_device("mps") == "mps"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "7"


def test_threads_are_shared_and_never_more_than_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.delenv("NUMEXPR_NUM_THREADS", raising=False)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    settings = thread_settings(4)
    assert settings == {
        "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "3", "NUMEXPR_NUM_THREADS": "2",
    }  # fmt: skip
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert thread_settings(4)["MKL_NUM_THREADS"] == "4"
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert thread_settings(1)["OMP_NUM_THREADS"] == "1"
