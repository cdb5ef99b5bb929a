"""A mining run that is killed, or has no room, or no permission: what is finished stays, and the end is the same."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[1] / "shared"
STAGES = ["encode item", "encode query", "index", "search", "measure recall", "look up labels", "annotate", "merge"]
KILLS = {"encode item": 4, "encode query": 2, "index": 4, "search": 3, "measure recall": 1, "look up labels": 1,
         "annotate": 3, "merge": 2}  # fmt: skip
RESULT = ("mined.parquet", "refinement.json")


class Zygote:
    """A process that forks a child for each run, so that imports are paid once."""

    def __init__(self, tiny_base: Path | str):
        self.process = subprocess.Popen(
            [sys.executable, str(SHARED / "mining_zygote.py"), str(tiny_base)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        )  # fmt: skip
        assert self.line() == "ready"

    def line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line, "the process that forks has died"
        return line

    def order(self, **words: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()

    def mine(self, out: Path, kill_in: str | None = None, delay: float = 0.0) -> tuple[int, dict[str, float]]:
        """One run; killed ``delay`` seconds after a stage began. Its exit code, and when each stage began."""
        self.order(out=str(out), cli=None)
        child, begun = 0, {}
        while True:
            kind, _, rest = self.line().partition(" ")
            if kind == "pid":
                child = int(rest)
            elif kind == "stage":
                begun[rest] = time.monotonic()
            else:
                assert kind == "ended"
                return int(rest), {**begun, "end": time.monotonic()}
            if child and kill_in in begun:
                time.sleep(delay)
                with suppress(ProcessLookupError):  # it was quicker than the run before
                    os.kill(child, signal.SIGKILL)
                kill_in = None

    def cli(self, log: Path, *words: str) -> tuple[int, str]:
        """One run of ``mr-st``: its exit code and what it wrote to standard error."""
        self.order(cli=[*words], log=str(log), out="")
        while not (line := self.line()).startswith("ended"):
            pass
        return int(line.split()[1]), log.read_text()


@pytest.fixture(scope="module")
def zygote(tiny_base: Path) -> Iterator[Zygote]:
    zygote = Zygote(tiny_base)
    yield zygote
    zygote.process.kill()
    zygote.process.communicate()


@pytest.fixture(scope="module")
def command_line() -> Iterator[Zygote]:
    zygote = Zygote("")
    yield zygote
    zygote.process.kill()
    zygote.process.communicate()


def bytes_of(out: Path) -> list[bytes]:
    return [(out / "refinement" / name).read_bytes() for name in RESULT]


def finished(work: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of every finished shard; a graph is finished when its record stands beside it."""
    files = [path for path in work.rglob("*") if path.is_file() and not path.name.startswith(".")]
    whole = [path for path in files if path.suffix != ".usearch" or path.with_suffix(".json").exists()]
    kept = [path for path in whole if path.name != "last_run.json"]
    return {str(path.relative_to(work)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in kept}


def shards_by_stage(work: Path) -> Counter[str]:
    """How many finished shards of each stage a log of a rerun must count."""
    of: Counter[str] = Counter()
    for name in finished(work):
        if name.startswith("vectors/") and name.endswith(".npz"):
            about = json.loads((work / name).with_name("about.json").read_text())
            of[f"encode {about['side']}"] += 1
        elif name.startswith("index/") and name.endswith(".usearch"):
            of["index"] += 1
        elif name.startswith("search/"):
            of["search"] += 1
        elif name.startswith("recall/"):
            of["measure recall"] += 1
        elif "/known-" in name:
            of["look up labels"] += 1
        elif "/pairs-" in name:
            of["annotate"] += 1
    return of


@pytest.mark.slow
def test_killed_at_twenty_random_moments(zygote: Zygote, tmp_path: Path) -> None:
    code, begun = zygote.mine(tmp_path / "whole")
    assert code == 0
    assert list(begun) == [*STAGES, "end"]
    expected = bytes_of(tmp_path / "whole")
    all_shards = shards_by_stage(tmp_path / "whole" / "work")
    assert min(all_shards[stage] for stage in ("encode item", "index", "search", "annotate")) >= 2, all_shards
    seconds = dict(zip(STAGES, [later - earlier for earlier, later in zip(
        list(begun.values())[:-1], list(begun.values())[1:], strict=True)], strict=True))  # fmt: skip

    draw, n_kills, hit = random.Random(4), 0, Counter()
    for stage, n in KILLS.items():
        for number in range(n):
            out = tmp_path / f"{stage.replace(' ', '-')}-{number}"
            delay = draw.uniform(0, 0.95) * seconds[stage]
            while zygote.mine(out, kill_in=stage, delay=delay)[0] != -signal.SIGKILL:
                shutil.rmtree(out)  # it was quicker this time: once more, earlier
                delay /= 2
            n_kills += 1
            left = finished(out / "work")
            done = shards_by_stage(out / "work")
            hit[stage] += 0 < done[stage] < all_shards[stage]
            code, _ = zygote.mine(out)
            assert code == 0, stage
            assert bytes_of(out) == expected, stage
            now = finished(out / "work")
            assert {name: now.get(name) for name in left} == left, f"a finished shard was written again ({stage})"
            log = {line["stage"]: line for line in json.loads((out / "work" / "last_run.json").read_text())}
            assert {name: line["done_before"] for name, line in log.items()} == {name: done[name] for name in log}
            assert shards_by_stage(out / "work") == all_shards
            shutil.rmtree(out)
    assert n_kills == 20
    assert sum(hit.values()) >= 5, f"hardly a kill fell between the shards of a stage: {hit}"


MINE = ("mine", "MODEL", "marketplace", "-o", "size=tiny", "-o", "seed=3", "--k", "20", "--search", "hnsw",
        "--near-duplicates", "0.98", "-q", "--json")  # fmt: skip


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty file system in memory, 4 KiB large until it is mounted again."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)


def check_line(code: int, err: str, *messages: str) -> None:
    assert code == 1, err
    assert err.startswith("mr-st: error: ")
    assert any(message in err for message in messages), err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_full_and_a_read_only_disk_end_in_one_line(
    command_line: Zygote, tiny_base: Path, tmp_path: Path, small_disk: Path
) -> None:
    words = [str(tiny_base) if word == "MODEL" else word for word in MINE]
    code, err = command_line.cli(tmp_path / "log", *words, "--out", str(tmp_path / "whole"))
    assert code == 0, err
    expected = bytes_of(tmp_path / "whole")
    n_bytes = sum(path.stat().st_size for path in (tmp_path / "whole").rglob("*") if path.is_file())

    out = small_disk / "out"
    code, err = command_line.cli(tmp_path / "log", *words, "--out", str(out))
    full = "No space left on device", "cannot write the index"  # usearch does not say why
    check_line(code, err, *full)
    n_full = 0
    for share in (0.2, 0.45, 0.7, 0.9):  # at each size it gets further, and what it finished stays
        remount(small_disk, f"size={int(share * n_bytes / 1024)}k")
        before = finished(out / "work")
        code, err = command_line.cli(tmp_path / "log", *words, "--out", str(out))
        now = finished(out / "work")
        assert {name: now.get(name) for name in before} == before
        if code:
            check_line(code, err, *full)
            n_full += 1
    assert n_full >= 2
    remount(small_disk, "ro,size=64m")
    code, err = command_line.cli(tmp_path / "log", *words, "--out", str(out))
    check_line(code, err, "Read-only file system")
    remount(small_disk, "rw,size=64m")
    code, err = command_line.cli(tmp_path / "log", *words, "--out", str(out))
    assert code == 0, err
    assert bytes_of(out) == expected
    assert not [path for path in small_disk.rglob(".tmp-*") if path.is_dir()]


@pytest.mark.slow
def test_one_run_at_a_time(command_line: Zygote, tiny_base: Path, tmp_path: Path) -> None:
    import fcntl

    words = [str(tiny_base) if word == "MODEL" else word for word in MINE]
    (tmp_path / "out" / "work").mkdir(parents=True)
    with open(tmp_path / "out" / "work" / ".lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        code, err = command_line.cli(tmp_path / "log", *words, "--out", str(tmp_path / "out"))
        check_line(code, err, "another run is at work in this folder; wait for it or choose another")
