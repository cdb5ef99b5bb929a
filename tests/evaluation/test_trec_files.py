"""TREC files as they are written."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from mr_st.data import GradedDataset
from mr_st.errors import UsageError
from mr_st.evaluation import Collection
from mr_st.evaluation.trec import write_trec_qrels, write_trec_run
from mr_st.search import TopK


def collection_of(ids: list[str]) -> Collection:
    items = [{"item_id": i, "title": f"item {i}", "category_path": ["x"], "locale": "en"} for i in ids]
    queries = [{"query_id": q, "text": q, "locale": "en"} for q in ("qa", "qb", "qc")]
    grades = {("qa", 0): 2, ("qa", 1): 0, ("qb", 2): 1, ("qc", 0): 0}
    judgments = [{"query_id": q, "item_id": ids[i], "grade": g, "split": "test"} for (q, i), g in grades.items()]
    return Collection.from_dataset(GradedDataset.from_tables(queries, items, judgments))


@pytest.fixture
def top() -> TopK:
    scores = np.array([[0.5, 0.5, 0.5, 0.25], [3, -np.inf, -np.inf, -np.inf]], dtype=np.float32)
    return TopK(np.array([[1, 0, 2, 3], [2, -1, -1, -1]]), scores)


def test_lines_stand_in_order_and_ties_are_parted(tmp_path: Path, top: TopK) -> None:
    write_trec_run(top, tmp_path / "x.run", collection=collection_of(["a", "b", "c", "d"]), tag="me")
    lines = [line.split(" ") for line in (tmp_path / "x.run").read_text().splitlines()]
    assert [line[:4] for line in lines] == [
        ["qa", "Q0", "b", "1"], ["qa", "Q0", "a", "2"], ["qa", "Q0", "c", "3"], ["qa", "Q0", "d", "4"],
        ["qb", "Q0", "c", "1"],
    ]  # fmt: skip
    scores = np.array([line[4] for line in lines], dtype=np.float32)
    assert (np.diff(scores[:4]) < 0).all()
    assert np.allclose(scores, [0.5, 0.5, 0.5, 0.25, 3], atol=1e-6)
    assert {line[5] for line in lines} == {"me"}


def test_ties_may_be_kept(tmp_path: Path, top: TopK) -> None:
    write_trec_run(top, tmp_path / "x.run", collection=collection_of(["a", "b", "c", "d"]), keep_ties=True)
    scores = [line.split()[4] for line in (tmp_path / "x.run").read_text().splitlines()]
    assert scores == ["0.5", "0.5", "0.5", "0.25", "3.0"]


def test_parted_ties_push_what_follows_close_behind(tmp_path: Path) -> None:
    low = np.nextafter(np.float32(1), np.float32(0))
    top = TopK(
        np.array([[0, 1, 2, 3], [0, 1, 2, -1]]), np.array([[1, 1, low, 0], [0, 0, 0, -np.inf]], dtype=np.float32)
    )
    write_trec_run(top, tmp_path / "x.run", collection=collection_of(["a", "b", "c", "d"]))
    scores = np.array([line.split()[4] for line in (tmp_path / "x.run").read_text().splitlines()], dtype=np.float32)
    assert (np.diff(scores[:4]) < 0).all()
    assert scores[3] == 0
    assert (np.diff(scores[4:]) < 0).all()


def test_qrels_hold_the_evaluated_queries(tmp_path: Path) -> None:
    write_trec_qrels(collection_of(["a", "b", "c", "d"]), tmp_path / "x.qrels")
    assert (tmp_path / "x.qrels").read_text() == "qa 0 a 2\nqa 0 b 0\nqb 0 c 1\n"


def test_a_gzipped_file_has_the_same_bytes_each_time(tmp_path: Path, top: TopK) -> None:
    collection = collection_of(["a", "b", "c", "d"])
    for name in ("x.run.gz", "y.run.gz", "x.run"):
        write_trec_run(top, tmp_path / name, collection=collection)
    assert (tmp_path / "x.run.gz").read_bytes() == (tmp_path / "y.run.gz").read_bytes()
    assert gzip.decompress((tmp_path / "x.run.gz").read_bytes()) == (tmp_path / "x.run").read_bytes()


def test_what_cannot_stand_in_the_file_is_refused(tmp_path: Path, top: TopK) -> None:
    with pytest.raises(UsageError, match="give the collection"):
        write_trec_run(top, tmp_path / "x.run")
    spaced = collection_of(["a a", "b", "c", "d"])
    with pytest.raises(UsageError, match="item 'a a' cannot stand in a TREC file"):
        write_trec_run(top, tmp_path / "x.run", collection=spaced)
    with pytest.raises(UsageError, match="item 'a a' cannot"):
        write_trec_qrels(spaced, tmp_path / "x.qrels")
    with pytest.raises(UsageError, match="tag '' cannot"):
        write_trec_run(top, tmp_path / "x.run", collection=collection_of(["a", "b", "c", "d"]), tag="")
    assert list(tmp_path.iterdir()) == []
