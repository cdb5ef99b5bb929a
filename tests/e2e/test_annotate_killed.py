"""`mr-st annotate run` against a server process that misbehaves: killed, shared by two, out of budget."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest
from faulty_endpoint import KEY, MODEL, true_grade

from mr_st.annotation import LabelStore
from mr_st.data import GradedDataset

SHARED = Path(__file__).resolve().parents[1] / "shared"
CONCURRENCY = 8
SOURCE = ("marketplace", "-o", "size=tiny", "-o", "seed=3")
YAML = f"""
kind: endpoint
model: {MODEL}
base_url: {{url}}
api_key_env: LOOPBACK_KEY
guideline: brief
concurrency: {CONCURRENCY}
timeout: 5
first_backoff: 0.02
longest_wait: 0.5
max_attempts: 30
price_per_million_input: 1.0
price_per_million_output: 2.0
"""

Pair = tuple[str, str]


class Server:
    """The server process: where it listens, and the requests that it logged."""

    def __init__(self, url: str, log: Path):
        self.url, self._log = url, log

    def requests(self) -> list[dict]:
        text = self._log.read_text() if self._log.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def good(self, start: int = 0) -> Counter[Pair]:
        """How often each pair was answered well, from the request of this number on."""
        return Counter((query, item) for request in self.requests()[start:] for query, item in request["good"])


@contextmanager
def server(folder: Path, *options: str) -> Iterator[Server]:
    log = folder / "requests.jsonl"
    process = subprocess.Popen(
        [sys.executable, str(SHARED / "faulty_endpoint.py"), "--log", str(log), *options],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield Server(process.stdout.readline().strip(), log)
    finally:
        process.kill()
        process.communicate()


def annotate(folder: Path, out: str, *words: str) -> subprocess.Popen[str]:
    """Start the command; all runs in a folder share its annotator file and its store."""
    command = [
        sys.executable, "-m", "mr_st.cli.main", "annotate", "run", *SOURCE,
        "--annotator", str(folder / "hosted.yaml"), "--out", str(folder / out), "--json", *words,
    ]  # fmt: skip
    environment = {**os.environ, "LOOPBACK_KEY": KEY, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def stored(folder: Path) -> set[Pair]:
    """The pairs that are labelled in the store."""
    if not (folder / "labels.sqlite").exists():
        return set()
    with LabelStore(folder / "labels.sqlite").file.reading() as connection:
        return set(connection.execute("SELECT query_text, item_text FROM readable").fetchall())


def judged() -> tuple[list[Pair], list[tuple[str, str]]]:
    """Texts and ids of the judged pairs, as the command asks for them."""
    dataset = GradedDataset.load("marketplace", size="tiny", seed=3)
    pairs = dataset.judged_pairs()
    table = dataset.pair_table(pairs.query_rows, pairs.item_rows)
    texts = list(zip(table.query_texts, table.item_texts, strict=True))
    return texts, list(zip(table.query_ids, table.item_ids, strict=True))


def finish(process: subprocess.Popen[str], code: int = 0) -> tuple[dict, str]:
    printed, remarks = process.communicate(timeout=900)
    assert process.returncode == code, remarks
    return json.loads(printed), remarks


def check_labels(path: Path, n: int) -> None:
    texts, ids = judged()
    table = pl.read_parquet(path)
    assert table.height == n
    right = {pair: true_grade(*text) for pair, text in zip(ids, texts, strict=True)}
    for query_id, item_id, grade in table.select("query_id", "item_id", "grade").iter_rows():
        assert right[query_id, item_id] == grade


@pytest.mark.slow
def test_killed_at_several_moments_it_asks_only_for_the_rest(tmp_path: Path) -> None:
    texts, _ = judged()
    with server(tmp_path, "--fault-share", "0.3", "--delay", "0.05") as serving:
        (tmp_path / "hosted.yaml").write_text(YAML.format(url=serving.url))
        n_asked_in_vain = 0
        for moment in (1, len(texts) // 4, len(texts) // 2, 3 * len(texts) // 4):
            kept, start = stored(tmp_path), len(serving.requests())
            process = annotate(tmp_path, "labels.parquet", "-q")
            while len(stored(tmp_path)) < moment:
                assert process.poll() is None, process.communicate()
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            time.sleep(0.5)  # until the server has logged what was on its way
            asked = {tuple(pair) for request in serving.requests()[start:] for pair in request["pairs"]}
            assert not asked & kept, "a pair that was stored is asked again"
            now = stored(tmp_path)
            assert kept < now
            assert len(now) < len(texts)
            assert not (tmp_path / "labels.parquet").exists()
            # paid for and lost: what was under way, or had arrived and was not yet written
            lost = set(serving.good()) - now
            assert len(lost) <= 5 * CONCURRENCY
            n_asked_in_vain += len(lost)
        kept, start = stored(tmp_path), len(serving.requests())
        facts, _ = finish(annotate(tmp_path, "labels.parquet", "-q"))
        assert not {tuple(pair) for request in serving.requests()[start:] for pair in request["pairs"]} & kept
        good = serving.good()
    assert facts["complete"]
    assert facts["known_before"] == sum(text in kept for text in texts)
    assert set(good) == set(texts)
    assert sum(good.values()) <= len(set(texts)) + n_asked_in_vain
    check_labels(tmp_path / "labels.parquet", len(texts))


@pytest.mark.slow
def test_two_processes_share_a_store_and_pay_for_no_pair_twice(tmp_path: Path) -> None:
    texts, ids = judged()
    chosen = ids[:600]
    (tmp_path / "pairs.csv").write_text("query_id,item_id\n" + "".join(f"{q},{i}\n" for q, i in chosen))
    with server(tmp_path, "--fault-share", "0.2", "--delay", "0.05") as serving:
        (tmp_path / "hosted.yaml").write_text(YAML.format(url=serving.url))
        both = [
            annotate(tmp_path, f"labels{n}.parquet", "--pairs", str(tmp_path / "pairs.csv"), "--chunk", "64")
            for n in (1, 2)
        ]
        facts = [finish(process)[0] for process in both]
        good = serving.good()
    assert set(good) == set(texts[:600])
    assert set(good.values()) == {1}
    assert all(f["complete"] for f in facts)
    assert min(f["newly_labelled"] for f in facts) > 0, "one process did all the work"
    for number in (1, 2):
        check_labels(tmp_path / f"labels{number}.parquet", 600)


@pytest.mark.slow
def test_a_spent_budget_ends_it_cleanly_and_more_goes_on(tmp_path: Path) -> None:
    texts, _ = judged()
    with server(tmp_path, "--fault-share", "0.1") as serving:
        (tmp_path / "hosted.yaml").write_text(YAML.format(url=serving.url))
        facts, remarks = finish(annotate(tmp_path, "labels.parquet", "--budget", "0.08", "-q"), code=1)
        paid = set(serving.good())
        assert facts["stopped_by"] == "budget"
        assert 0 < facts["newly_labelled"] < len(texts)
        assert facts["spend"] <= 0.08
        line = remarks.strip().splitlines()[-1]
        assert line.startswith("mr-st: error: ")
        assert "budget" in line
        assert f"{facts['left']:,} of {len(texts):,} pairs have no label yet" in line
        assert stored(tmp_path) == paid  # what was paid for is kept
        check_labels(tmp_path / "labels.parquet", facts["newly_labelled"])
        again, _ = finish(annotate(tmp_path, "labels.parquet", "--budget", "100", "-q"))
        good = serving.good()
    assert again["complete"]
    assert again["known_before"] == facts["newly_labelled"]
    assert set(good) == set(texts)
    assert set(good.values()) == {1}
