"""Stages small enough to follow by eye, for the tests of engines; workers import them too."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence

import numpy as np

from mr_st.annotation import Annotations, Annotator, PairTable
from mr_st.encoding.shard_folder import ShardFolder
from mr_st.errors import DataError, MrStError, Problem, UsageError

__all__ = ["BadStage", "Grading", "LengthPolicy", "OddError", "Squares", "Watched", "squares"]


class Squares:
    """Shard i holds the squares of its numbers; beside each stands a note of who wrote it.

    Args:
        folder: Where results lie (``done``) and who started which shard (``log``), as file names.
        n: Numbers in all, five to a shard.
        seconds: How long a shard takes.
    """

    name, unit = "square", "number"

    def __init__(self, folder: str | os.PathLike, n: int = 23, seconds: float = 0.0):
        self.root = os.fspath(folder)
        self.folder, self.n, self.seconds = ShardFolder(f"{self.root}/done"), n, seconds
        self.device: str | None = None
        self.opened = 0

    @property
    def sizes(self) -> Sequence[int]:
        return [min(5, self.n - start) for start in range(0, self.n, 5)]

    def is_done(self, shard: int) -> bool:
        return self.folder.has(str(shard))

    def run(self, shard: int) -> None:
        self.opened += 1
        note(self.root, f"{shard}-{os.getpid()}-{self.device}-{self.opened}")
        self.work(shard)
        time.sleep(self.seconds)
        numbers = np.arange(shard * 5, shard * 5 + self.sizes[shard])
        self.folder.write(str(shard), squares=numbers**2)

    def work(self, shard: int) -> None:
        """What a shard meets before it is written."""

    @property
    def result(self) -> list[int]:
        shards = [self.folder.read(str(shard)) for shard in range(len(self.sizes))]
        assert all(shard is not None for shard in shards)
        return np.concatenate([shard["squares"] for shard in shards if shard is not None]).tolist()

    @property
    def notes(self) -> list[list[str]]:
        """Shard, process, device and count of each start."""
        return [name.split("-", 3) for name in sorted(os.listdir(f"{self.root}/log"))]


class BadStage(Squares):
    """Meets a fault at one shard."""

    def __init__(self, folder: str | os.PathLike, fault: str, at: int = 2, **options: float):
        super().__init__(folder, **options)  # type: ignore[arg-type]
        self.fault, self.at = fault, at

    def work(self, shard: int) -> None:
        if shard == self.at:
            time.sleep(0.3)
            fail(self.fault)


class OddError(UsageError):
    """An error of ours that pickle cannot make again from its arguments."""

    def __init__(self, first: str, second: str):
        super().__init__(f"{first} and {second}")


def fail(fault: str) -> None:
    if fault == "usage":
        raise UsageError("numbers.txt, row 7: found a word, expected a number; mend the row")
    if fault == "data":
        raise DataError([Problem("numbers.txt", "found a word", "mend it", row=n) for n in (7, 8)])
    if fault == "odd":
        raise OddError("this", "that")
    if fault == "plain":
        raise ZeroDivisionError("division by zero\nsecond line")
    if fault == "system":
        raise MrStError("the disk is full; free space")
    if fault == "killed":
        os.kill(os.getpid(), signal.SIGKILL)


def note(root: str, name: str) -> None:
    os.makedirs(f"{root}/log", exist_ok=True)
    with open(f"{root}/log/{name}", "w"):
        pass


def squares(n: int = 23) -> list[int]:
    return [number**2 for number in range(n)]


class Grading:
    """A stage that has an annotator grade one table, five pairs to a shard."""

    name, unit = "grade", "pair"

    def __init__(self, folder: str | os.PathLike, annotator: Annotator, pairs: PairTable):
        self.folder, self.annotator, self.pairs = ShardFolder(folder), annotator, pairs

    @property
    def sizes(self) -> Sequence[int]:
        return [min(5, len(self.pairs) - start) for start in range(0, len(self.pairs), 5)]

    def is_done(self, shard: int) -> bool:
        return self.folder.has(str(shard))

    def run(self, shard: int) -> None:
        rows = np.arange(5 * shard, 5 * shard + self.sizes[shard])
        self.folder.write(str(shard), probabilities=self.annotator.grade(self.pairs.take(rows)).probabilities)

    @property
    def result(self) -> np.ndarray:
        shards = [self.folder.read(str(shard)) for shard in range(len(self.sizes))]
        return np.concatenate([shard["probabilities"] for shard in shards if shard is not None])


class LengthPolicy:
    """A policy that has an identity and can be sent anywhere."""

    identity = "by-length"

    def __call__(self, query_id: str, item_id: str) -> int:
        return (len(query_id) + int(item_id[1:])) % 3


class Watched:
    """An annotator that notes which process grades each chunk, and takes its time.

    Args:
        annotator: Who grades.
        root: Where the notes lie (``log``): chunk's first pair, and process.
        seconds: How long a chunk takes at least.
    """

    def __init__(self, annotator: Annotator, root: str | os.PathLike, seconds: float):
        self.annotator, self.root, self.seconds = annotator, os.fspath(root), seconds
        self.identity = annotator.identity

    def grade(self, pairs: PairTable) -> Annotations:
        note(self.root, f"{pairs.query_ids[0]}.{pairs.item_ids[0]}-{os.getpid()}")
        time.sleep(self.seconds)
        return self.annotator.grade(pairs)
