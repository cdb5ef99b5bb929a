"""Ray: two nodes on this machine, one of which is killed at work; what comes out is what the local engine gives."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from sentence_transformers import SentenceTransformer
from tiny_judge import tiny_judge
from toy_stages import BadStage, Squares, Watched, squares

from mr_st.annotation import CrossEncoderAnnotator
from mr_st.data import GradedDataset
from mr_st.encoding.shard_folder import ShardFolder
from mr_st.errors import MrStError, UsageError
from mr_st.mining import ShardSizes, mine
from mr_st.mining.engines import LocalEngine, RayEngine

pytest.importorskip("ray", reason="the extra ray is not installed")

pytestmark = pytest.mark.slow

SHARED = Path(__file__).resolve().parents[2] / "shared"


class TwoNodes:
    """A head of one CPU, on which this process is the driver, and a worker node of one CPU."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        store = 100 * 2**20
        self.cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": store},
        )
        self.worker: Any = self.cluster.add_node(num_cpus=1, object_store_memory=store)

    def processes(self) -> list[psutil.Process]:
        """Those of the worker node."""
        raylet = psutil.Process(self.worker.all_processes["raylet"][0].process.pid)
        return [raylet, *raylet.children(recursive=True)]

    def kill_worker_node(self) -> None:
        """As when a machine loses its power: nothing of the node goes on."""
        processes = self.processes()
        self.cluster.remove_node(self.worker, allow_graceful=False)
        for process in processes:
            if process.is_running():
                process.kill()


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[TwoNodes]:
    import ray

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(SHARED), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    nodes = TwoNodes()
    try:
        yield nodes
    finally:
        ray.shutdown()
        nodes.cluster.shutdown()
        for process in psutil.Process().children(recursive=True):
            if process.pid not in before:
                process.kill()


class Killer(threading.Thread):
    """Kills the worker node as soon as one of its processes is at a piece of work that is not done.

    Args:
        nodes: The cluster.
        log: The folder of notes, each ``piece-process...``.
        is_due: Whether the run is in its middle.
    """

    def __init__(self, nodes: TwoNodes, log: Path, is_due: Callable[[], bool]):
        super().__init__(daemon=True)
        self.nodes, self.log, self.is_due = nodes, log, is_due
        self.processes: set[int] = set()
        self.interrupted: set[str] = set()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not (self.is_due() and self._at_work()):
                time.sleep(0.02)
            pieces = self._at_work()
            self.processes = {process.pid for process in self.nodes.processes()}
            self.nodes.kill_worker_node()
            self.interrupted = pieces
        except BaseException as error:
            self.error = error

    def _at_work(self) -> set[str]:
        """The piece that each process of the node began last."""
        latest: dict[int, tuple[float, str]] = {}
        for path in self.log.glob("*-*") if self.log.exists() else []:
            piece, process = path.name.split("-")[:2]
            latest[int(process)] = max(latest.get(int(process), (0.0, "")), (path.stat().st_mtime, piece))
        own = {process.pid for process in self.nodes.processes()}
        fresh = time.time() - 0.5
        return {piece for process, (when, piece) in latest.items() if process in own and when > fresh}


def processes_of(log: Path, piece: str) -> set[int]:
    return {int(path.name.split("-")[1]) for path in log.glob(f"{piece}-*")}


def test_a_node_dies_under_a_toy_stage(nodes: TwoNodes, tmp_path: Path) -> None:
    stage = Squares(tmp_path, n=120, seconds=1.0)
    killer = Killer(nodes, tmp_path / "log", lambda: len(stage.folder.names()) >= 3)
    killer.start()
    with RayEngine(nodes.cluster.address) as engine:
        engine.run(stage)
        assert killer.error is None
        assert killer.interrupted, "the node was killed while it was at work"
        for shard in killer.interrupted:
            assert processes_of(tmp_path / "log", shard) - killer.processes, "somebody else did it again"
        assert stage.result == squares(120)
        assert len(stage.notes) < 24 + 4, "only what the node had in hand was done again"
        n_starts = len(stage.notes)
        engine.run(stage)
        assert len(stage.notes) == n_starts, "a rerun repeats nothing"


def test_errors_and_storage(nodes: TwoNodes, tmp_path: Path) -> None:
    with RayEngine(nodes.cluster.address) as engine:
        with pytest.raises(UsageError, match=r"^numbers\.txt, row 7: found a word, expected a number; mend the row$"):
            engine.run(BadStage(tmp_path / "bad", "usage"))
        starts = [start[0] for start in BadStage(tmp_path / "bad", "usage").notes]
        assert starts.count("2") == 1, "an error of ours is not tried again"
        with pytest.raises(MrStError, match=r"^square, shard 2: its worker died 4 times"):
            engine.run(BadStage(tmp_path / "killed", "killed", n=15))
        apart = Squares(tmp_path / "apart")
        apart.folder = ShardFolder("memory://apart")
        with pytest.raises(MrStError, match=r"memory://apart: node \w+ of the cluster and this process do not see"):
            engine.run(apart)
        assert not apart.folder.names(), "the probe is gone"
        unsendable = Squares(tmp_path / "lock")
        unsendable.policy = threading.Lock()  # type: ignore[attr-defined]
        with pytest.raises(UsageError, match="cannot be sent to another process"):
            engine.run(unsendable)
        with pytest.raises(UsageError, match="no node of the cluster has 64 CPUs"):
            RayEngine(num_cpus_per_task=64).run(Squares(tmp_path / "large"))
    with pytest.raises(UsageError, match="max_concurrency is 0"):
        RayEngine(max_concurrency=0)


def dataset() -> GradedDataset:
    """40 queries, 300 items, some judged."""
    colours, things = "red blue black steel wooden".split(), "shoes shirt mug lamp chair desk kettle mouse".split()
    queries = [
        {"query_id": f"q{n}", "text": f"{colours[n % 5]} {things[n // 5]}"} for n in range(40)
    ]  # fmt: skip
    items = [
        {"item_id": f"i{n}", "title": f"{colours[n % 5]} {things[n % 8]} size {n} {'large' if n % 3 else 'small'}"}
        for n in range(300)
    ]
    judgments = [
        {"query_id": f"q{q}", "item_id": f"i{i}", "grade": (q + i) % 3}
        for q in range(40) for i in range(300) if (7 * q + i) % 29 == 0
    ]  # fmt: skip
    return GradedDataset.from_tables(queries, items, judgments)


def test_a_node_dies_under_a_mining_round(nodes: TwoNodes, tiny_base: Path, tmp_path: Path) -> None:
    """Encode, search and annotate with real (tiny) models: pair for pair what the local engine finds."""
    shop = dataset()
    texts, titles = shop.query_texts(), shop.item_texts()
    judge = tiny_judge(tiny_base, [(texts[n % 40], titles[n]) for n in range(300)])
    annotator = CrossEncoderAnnotator(judge)
    model = SentenceTransformer(str(tiny_base), device="cpu")
    sizes = ShardSizes(texts=100, queries=16, pairs=40)
    options: dict[str, Any] = {"k": 20, "items": "all", "shard_sizes": sizes}
    expected = mine(model, shop, annotator, engine=LocalEngine(), work_dir=tmp_path / "local", **options)

    log = tmp_path / "log"
    killer = Killer(nodes, log, lambda: len(list(log.glob("*-*"))) >= 4)
    killer.start()
    with RayEngine(nodes.cluster.address) as engine:
        watched = Watched(annotator, tmp_path, 1.0)
        found = mine(model, shop, watched, engine=engine, work_dir=tmp_path / "ray", **options)
    assert killer.error is None
    assert killer.interrupted, "the node was killed while it graded"
    for chunk in killer.interrupted:
        assert processes_of(log, chunk) - killer.processes, "somebody else graded it again"

    assert len(found) == len(expected) > 50
    assert set(expected.table["grade"].to_pylist()) == {0, 1, 2}
    for column in expected.table.column_names:
        theirs, ours = expected.table[column], found.table[column]
        if column in ("score", "confidence"):
            np.testing.assert_allclose(ours.to_numpy(), theirs.to_numpy(), atol=1e-6)
        else:
            assert ours.to_pylist() == theirs.to_pylist(), column
    assert found.report == expected.report
