"""Rounds of mining as one set: what the table holds, how rounds join, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mr_st.annotation import Annotations
from mr_st.data import GradedDataset
from mr_st.errors import MrStError, UsageError
from mr_st.mining.candidates import Candidates
from mr_st.mining.refinement import MINED_SCHEMA, RefinementSet, merge_rounds, mined_table
from mr_st.mining.select import Selection


@pytest.fixture
def dataset() -> GradedDataset:
    return GradedDataset.from_tables(
        queries=[{"query_id": f"q{n}", "text": f"mug {n}"} for n in range(3)],
        items=[{"item_id": f"i{n}", "title": f"red mug {n}"} for n in range(6)],
        judgments=[{"query_id": "q0", "item_id": "i0", "grade": 2}, {"query_id": "q1", "item_id": "i1", "grade": 0}],
    )


def found(pairs: list[tuple[int, int, int, int]]) -> Candidates:
    """Candidates of (query row, item row, rank by the model, rank by BM25)."""
    columns = np.array(pairs, dtype=np.int64).reshape(-1, 4)
    scores = (0.9 - columns[:, 2] / 10).astype(np.float32)
    return Candidates(columns[:, 0], columns[:, 1], columns[:, 2:].astype(np.int32), scores)


def a_round(dataset, pairs, grades, number=1, **report) -> RefinementSet:
    """A round that took all it found, but the last pair."""
    taken = np.arange(len(pairs)) < len(pairs) - 1
    nothing = np.zeros(len(pairs), dtype=bool)
    negative = np.array(grades) == 0
    selection = Selection(taken & negative, taken & ~negative, nothing, nothing, nothing, nothing)
    table = mined_table(
        dataset, found(pairs), Annotations.certain(grades, 3), selection, "by-hand", ["model", "bm25"], number
    )
    return RefinementSet(dataset, table, {"pairs": {"taken": len(table)}, **report}, "train", number)


FIRST = [(0, 1, 1, 0), (0, 3, 0, 2), (1, 2, 2, 1), (2, 5, 1, 1)]
SECOND = [(0, 2, 1, 0), (2, 4, 3, 0), (2, 5, 1, 0)]


def test_the_table_by_hand(dataset):
    table = a_round(dataset, FIRST, [0, 2, 0, 1]).table
    assert table.schema.equals(MINED_SCHEMA)
    columns = ("query_id", "item_id", "grade", "rank", "reason", "found_by", "round")
    assert [tuple(row[c] for c in columns) for row in table.to_pylist()] == [
        ("q0", "i1", 0, 1, "hard negative", "model", 1),
        ("q0", "i3", 2, None, "hard positive", "bm25", 1),
        ("q1", "i2", 0, 2, "hard negative", "model+bm25", 1),
    ]
    np.testing.assert_allclose(table["score"].to_numpy(), [0.8, 0.9, 0.7], atol=1e-6)
    assert set(table["annotator"].to_pylist()) == {"by-hand"}


def test_rounds_follow_each_other(dataset):
    first = a_round(dataset, FIRST, [0, 2, 0, 1], model="one")
    query_rows, item_rows = first.mined_rows()
    assert list(zip(query_rows.tolist(), item_rows.tolist(), strict=True)) == [(0, 1), (0, 3), (1, 2)]
    second = a_round(dataset, SECOND, [1, 0, 0], 2, model="two")
    third = a_round(dataset, [(2, 0, 1, 1), (2, 1, 2, 2)], [0, 0], 3, model="three")
    both = first.extend(second)
    assert (len(both), both.round, both.table["round"].to_pylist()) == (5, 2, [1, 1, 1, 2, 2])
    assert both.report["model"] == "two"
    assert both.report["earlier_rounds"] == [first.report]
    everything = merge_rounds([first, second, third])
    assert [r["model"] for r in everything.report["earlier_rounds"]] == ["one", "two"]
    other_way = first.extend(second.extend(third))
    assert other_way.table.equals(everything.table)
    assert other_way.report == everything.report
    assert merge_rounds([first]) is first

    merged = everything.to_dataset()
    merged.validate()
    assert len(merged.judgments) == 2 + 3 + 2 + 1
    assert [j["source"] for j in merged.judgments][:3] == ["human", "human", "mined:by-hand"]


def test_saved_rounds(dataset, tmp_path):
    both = a_round(dataset, FIRST, [0, 2, 0, 1]).extend(a_round(dataset, SECOND, [1, 0, 0], 2))
    both.save(tmp_path)
    loaded = RefinementSet.load(tmp_path, dataset)
    assert loaded.table.equals(both.table)
    assert (loaded.report, loaded.split, loaded.round) == (both.report, "train", 2)


def test_an_earlier_version_is_refused(dataset, tmp_path):
    one = a_round(dataset, FIRST, [0, 2, 0, 1])
    one.save(tmp_path)
    pq.write_table(one.table.drop_columns(["found_by", "round"]), tmp_path / "mined.parquet")
    with pytest.raises(MrStError, match=r"mined\.parquet: mined by an earlier version \(no column found_by, round\)"):
        RefinementSet.load(tmp_path, dataset)


def test_an_empty_round(dataset):
    empty = a_round(dataset, FIRST[:1], [0])
    assert empty.table.schema.equals(MINED_SCHEMA)
    assert [len(rows) for rows in empty.mined_rows()] == [0, 0]
    second = a_round(dataset, SECOND, [1, 0, 0], 2)
    assert empty.extend(second).table.equals(second.table)
    assert second.extend(a_round(dataset, FIRST[:1], [0], 3)).round == 3


def test_rounds_that_do_not_fit(dataset):
    first = a_round(dataset, FIRST, [0, 2, 0, 1])
    with pytest.raises(UsageError, match="round 1 cannot follow round 1"):
        first.extend(a_round(dataset, SECOND, [1, 0, 0], 1))
    again = a_round(dataset, [(0, 2, 1, 0), (1, 2, 2, 1), (2, 0, 1, 1)], [0, 0, 0], 2)
    with pytest.raises(UsageError, match=r"mined 1 pairs again, e\.g\. query 'q1', item 'i2'"):
        first.extend(again)
    second = a_round(dataset, SECOND, [1, 0, 0], 2)
    with pytest.raises(UsageError, match="rounds over different data"):
        first.extend(replace(second, split="dev"))
    with pytest.raises(UsageError, match="rounds over different data"):
        first.extend(replace(second, dataset=first.to_dataset()))
    with pytest.raises(UsageError, match="no mining round"):
        merge_rounds([])


def test_the_schema_keeps_its_columns():
    assert MINED_SCHEMA.names[:8] == [
        "query_id", "item_id", "grade", "rank", "score", "confidence", "annotator", "reason",
    ]  # fmt: skip
    assert (MINED_SCHEMA.field("found_by").type, MINED_SCHEMA.field("round").type) == (pa.string(), pa.int16())
