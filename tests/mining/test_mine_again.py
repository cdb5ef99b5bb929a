"""Mining rounds that go on: interrupted, killed, on a full disk, after the catalogue changed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from compass_shop import ANNOTATOR, Compass, Interrupted, compass_shop
from sentence_transformers import SentenceTransformer

from mr_st.annotation import Annotations
from mr_st.data import GradedDataset
from mr_st.errors import MrStError
from mr_st.mining import mine


@pytest.fixture
def dataset() -> GradedDataset:
    return compass_shop()


def test_an_interrupted_round_asks_for_the_rest_only(dataset, tmp_path):
    whole = mine(Compass(), dataset, ANNOTATOR, k=6)
    with pytest.raises(KeyboardInterrupt):
        mine(Compass(), dataset, Interrupted(stop_before=2), k=6, chunk_size=2, work_dir=tmp_path)
    rest = Interrupted()
    again = mine(Compass(), dataset, rest, k=6, chunk_size=2, work_dir=tmp_path)
    assert rest.graded == 1  # of 5, 4 were kept
    assert again.table.equals(whole.table)
    assert again.report == whole.report


def test_kept_labels_are_not_served_to_another_annotator_or_other_texts(dataset, tmp_path):
    mine(Compass(), dataset, Interrupted(), k=6, work_dir=tmp_path)
    other = Interrupted()
    other.identity = "somebody-else"
    mine(Compass(), dataset, other, k=6, work_dir=tmp_path)
    assert other.graded == 5

    tables = {name: getattr(dataset, name).to_list() for name in ("queries", "items", "judgments")}
    tables["items"][0]["title"] = "renamed 0"
    renamed = Interrupted()
    mine(Compass(), GradedDataset.from_tables(**tables), renamed, k=6, work_dir=tmp_path)
    assert renamed.graded == 1  # of five pairs one shows another text


def test_every_write_may_find_the_disk_full(dataset, tmp_path, monkeypatch):
    """Whichever write it is that fails: one line, nothing half-written, and the rerun goes on and ends alike."""
    import errno
    import os as system

    options = {"k": 6, "chunk_size": 2, "work_dir": tmp_path / "work", "search": "hnsw"}
    whole = mine(Compass(), dataset, ANNOTATOR, **{**options, "work_dir": tmp_path / "whole"})
    whole.save(tmp_path / "straight")
    flush, n_failed, lines = system.fsync, 0, []
    writes = {"left": 0}

    def full(handle):
        if not writes["left"]:
            raise OSError(errno.ENOSPC, "No space left on device")
        writes["left"] -= 1
        return flush(handle)

    while True:
        writes["left"] = n_failed % 4  # each rerun gets some writes further
        with monkeypatch.context() as patch:
            patch.setattr(system, "fsync", full)
            try:
                again = mine(Compass(), dataset, ANNOTATOR, **options)
                again.save(tmp_path / "again")
                break
            except MrStError as error:
                lines.append(str(error))
        n_failed += 1
        assert not list(tmp_path.rglob(".tmp-*"))
    assert all("No space left on device" in line and "\n" not in line for line in lines), lines
    assert n_failed >= 6
    for name in ("mined.parquet", "refinement.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()


def changed_catalogue() -> GradedDataset:
    """The big dataset with an item gone, one renamed, one more, and the rows in another order."""
    tables = {name: getattr(big_dataset(), name).to_list() for name in ("queries", "items", "judgments")}
    items = {item["item_id"]: dict(item) for item in tables["items"]}
    items["i7"]["title"] = "mug number 7 of steel"
    del items["i39"]
    items["new"] = {"item_id": "new", "title": "kettle 40 blue"}
    judgments = [pair for pair in tables["judgments"] if pair["item_id"] != "i39"]
    return GradedDataset.from_tables(tables["queries"], list(items.values())[::-1], judgments)


def test_after_the_catalogue_changed_only_what_is_new_is_paid(tiny_base, tmp_path):
    encoded = []

    class Counting(SentenceTransformer):
        def encode_document(self, texts, **options):
            encoded.extend(texts)
            return super().encode_document(texts, **options)

    model = Counting(str(tiny_base), device="cpu")
    options = {"k": 20, "items": "all", "chunk_size": 10, "near_duplicates": 0.9999}
    mine(model, big_dataset(), Hashing(), **options, work_dir=tmp_path)
    encoded.clear()
    rest, fresh = Hashing(), Hashing()
    changed = mine(model, changed_catalogue(), rest, **options, work_dir=tmp_path)
    assert sorted(encoded) == ["kettle 40 blue", "mug number 7 of steel"]
    straight = mine(model, changed_catalogue(), fresh, **options)
    assert changed.table.drop_columns("score").equals(straight.table.drop_columns("score"))
    np.testing.assert_allclose(changed.table["score"], straight.table["score"], atol=2e-3)
    assert changed.report == straight.report
    assert 0 < rest.graded < fresh.graded / 4


KILLED = """
import sys, time
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from test_mine_again import big_dataset, Hashing
from sentence_transformers import SentenceTransformer
from mr_st.mining import mine

class Slow(Hashing):
    def grade(self, pairs):
        time.sleep(0.3)
        return super().grade(pairs)

model = SentenceTransformer(sys.argv[1], device="cpu")
mine(model, big_dataset(), Slow(), k=20, chunk_size=10, work_dir=sys.argv[2])
"""


class Hashing:
    """An annotator that grades by the letters of the texts."""

    identity = "hashing-1"

    def __init__(self):
        self.graded = 0

    def grade(self, pairs):
        self.graded += len(pairs)
        texts = zip(pairs.query_texts, pairs.item_texts, strict=True)
        return Annotations.certain([sum(map(ord, q + i)) % 3 for q, i in texts], 3)


def big_dataset() -> GradedDataset:
    queries = [{"query_id": f"q{n}", "text": f"red mug {n}"} for n in range(6)]
    items = [{"item_id": f"i{n}", "title": f"mug number {n} blue"} for n in range(40)]
    judgments = [
        {"query_id": f"q{q}", "item_id": f"i{i}", "grade": (q + i) % 3}
        for q in range(6) for i in range(40) if (q + i) % 6 == 0
    ]  # fmt: skip
    return GradedDataset.from_tables(queries, items, judgments)


def test_kill_9_while_annotating(tiny_base, tmp_path):
    work = tmp_path / "work"
    here = Path(__file__).parent
    command = [sys.executable, "-c", KILLED, *map(str, (tiny_base, work, here, here.parent / "shared"))]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + 120
        while len(list((work / "annotations").rglob("pairs-*.npz"))) < 3:
            assert process.poll() is None, "the run ended by itself"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    n_kept = len(list((work / "annotations").rglob("pairs-*.npz")))
    model = SentenceTransformer(str(tiny_base), device="cpu")
    rest = Hashing()
    again = mine(model, big_dataset(), rest, k=20, chunk_size=10, work_dir=work)
    whole = Hashing()
    straight = mine(model, big_dataset(), whole, k=20, chunk_size=10, work_dir=tmp_path / "fresh")
    assert rest.graded == whole.graded - 10 * n_kept
    assert again.report == straight.report
    again.save(tmp_path / "again")
    straight.save(tmp_path / "straight")
    for name in ("mined.parquet", "refinement.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()
    assert pq.read_table(tmp_path / "again" / "mined.parquet").num_rows > 0
