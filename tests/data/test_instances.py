"""The Eq. 1 sampler: every judged item is used, caps and formats hold, and the same seed gives the same rows."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mr_st.data import GradedDataset, PairTable, build_instances
from mr_st.data.instances import INSTANCE_SCHEMA
from mr_st.errors import UsageError
from mr_st.grades import GradeScale


def make(judged: dict[int, list[int]], n_grades: int = 3, n_items: int = 0) -> GradedDataset:
    """Query ``q`` judges items 0, 1, 2, ... with the grades listed."""
    n_items = max([n_items, 1, *map(len, judged.values())])
    scale = GradeScale(tuple(f"g{g}" for g in range(n_grades)), tuple(float(g) for g in range(n_grades)))
    return GradedDataset.from_tables(
        [{"query_id": q, "text": f"query {q}"} for q in judged] or [{"query_id": 0, "text": "query 0"}],
        [{"item_id": i, "title": f"item {i}", "category_path": ["A", "B", "C"]} for i in range(n_items)],
        [{"query_id": q, "item_id": i, "grade": g} for q, grades in judged.items() for i, g in enumerate(grades)],
        scale=scale,
    )


def rows(instances: Any) -> list[dict[str, Any]]:
    return list(instances.with_format(None))


class Constant:
    """An annotator with one answer that remembers what it was asked."""

    def __init__(self, grade: int):
        self.value, self.asked = grade, []

    def grade(self, pairs: PairTable) -> Any:
        self.asked += list(zip(pairs.query_ids, pairs.item_ids, strict=True))
        return SimpleNamespace(grades=np.full(len(pairs), self.value, dtype=np.int8))


@settings(deadline=None, max_examples=60)
@given(data=st.data(), n_grades=st.integers(2, 4), seed=st.integers(0, 5))
def test_coverage_caps_and_formats_hold(data, n_grades, seed):
    grades = st.lists(st.integers(0, n_grades - 1), max_size=14)
    judged = data.draw(st.dictionaries(st.integers(0, 30), grades, min_size=1, max_size=5))
    caps = data.draw(st.fixed_dictionaries({g: st.integers(1, 4) for g in range(n_grades)}))
    usable = {q: g for q, g in judged.items() if len(set(g)) > 1}
    dataset = make(judged, n_grades)
    if not usable:
        with pytest.raises(UsageError):
            build_instances(dataset, seed=seed, caps=caps)
        return
    instances = build_instances(dataset, epochs=2, seed=seed, caps=caps)
    assert instances.left_out_queries == sum(len(set(g)) == 1 for g in judged.values())
    ids = list(judged)
    for epoch in (0, 1):
        seen = set()
        of_epoch = [row for row in rows(instances) if row["epoch"] == epoch]
        for row in of_epoch:
            truth = usable[ids[row["query_row"]]]
            labels = row["labels"]
            assert labels == [truth[item] for item in row["item_rows"]]
            assert len(set(row["item_rows"])) == len(labels)
            assert len(set(labels)) >= 2
            assert set(labels) == set(truth)
            assert labels == sorted(labels, reverse=True)
            assert all(labels.count(g) == min(truth.count(g), caps[g]) for g in range(n_grades))
            seen |= {(row["query_row"], item) for item in row["item_rows"]}
        assert seen == {(ids.index(q), item) for q, g in usable.items() for item in range(len(g))}
        expected = sum(max(-(-g.count(x) // caps[x]) for x in set(g)) for g in usable.values())
        assert len(of_epoch) == expected


def test_hand_computed_layout():
    instances = build_instances(make({0: [2, 2, 2, 2, 2, 1, 0], 1: [1, 0], 2: [2, 2]}))
    found = [(r["query_row"], r["labels"]) for r in rows(instances)]
    # five items of grade 2 under a cap of four make two instances; query 2 has one grade only
    assert found == [(0, [2, 2, 2, 2, 1, 0]), (0, [2, 2, 2, 2, 1, 0]), (1, [1, 0])]
    first, second = (set(r["item_rows"][:4]) for r in rows(instances)[:2])
    assert first | second == {0, 1, 2, 3, 4}
    assert instances.left_out_queries == 1
    assert "1 left out" in instances.info.description
    assert instances.data.table.schema.equals(INSTANCE_SCHEMA)


def test_scarce_items_are_used_evenly():
    instances = build_instances(make({0: [2] * 40 + [0] * 16}), caps={2: 4, 0: 4})
    counts = np.bincount([i for r in rows(instances) for i in r["item_rows"]])
    assert counts[:40].tolist() == [1] * 40  # ten instances of four
    assert set(counts[40:].tolist()) == {2, 3}  # ten times four places for sixteen items


def test_texts_are_resolved_on_access():
    instances = build_instances(make({0: [2, 0], 1: [1, 2, 0]}), item_text_levels=1, max_chars=18)
    assert instances[0] == {
        "query": "query 0",
        "items": ["item 0. Category: "[:18], "item 1. Category: "],
        "labels": [2, 0],
    }
    batch = instances[:2]
    assert batch["query"] == ["query 0", "query 1"]
    assert batch["labels"] == [[2, 0], [2, 1, 0]]
    assert [len(texts) for texts in batch["items"]] == [2, 3]
    assert all(isinstance(x, int) for labels in batch["labels"] for x in labels)
    assert instances.select_columns(["epoch"])[0] == {"epoch": 0}
    assert build_instances(make({0: [2, 0]}))[0]["items"][0] == "item 0. Category: A > B"


def test_variants_stand_beside_their_queries():
    dataset = make({0: [2, 0], 1: [1, 0], 2: [1, 1]})
    instances = build_instances(dataset, variants={"1": "qery 1", "2": "has no instance"})
    assert list(instances[0]) == ["query", "items", "labels", "variants"]
    assert instances[:]["query"] == ["query 0", "query 1"]
    assert instances[:]["variants"] == [[], ["qery 1"]]
    assert pickle.loads(pickle.dumps(instances))[1]["variants"] == ["qery 1"]
    plain = build_instances(dataset)
    assert rows(plain) == rows(instances)
    assert "variants" not in plain[0]
    assert build_instances(dataset, variants={})[0]["variants"] == []
    with pytest.raises(UsageError, match="no query has the id 'other'"):
        build_instances(dataset, variants={"1": "x", "other": "y"})


def test_the_transform_survives_select_shuffle_pickle_and_workers():
    from torch.utils.data import DataLoader

    instances = build_instances(make({q: [2, 1, 0] for q in range(6)}))
    expected = [row["query"] for row in instances]
    assert [row["query"] for row in instances.select([3, 1])] == ["query 3", "query 1"]
    assert sorted(row["query"] for row in instances.shuffle(seed=1)) == expected
    assert [row["query"] for row in pickle.loads(pickle.dumps(instances))] == expected
    loader = DataLoader(instances, batch_size=2, num_workers=2, collate_fn=list)
    assert [row["query"] for batch in loader for row in batch] == expected


def test_an_epoch_is_drawn_from_seed_and_epoch_alone():
    dataset = make({q: [2] * 9 + [1] * 3 + [0] * 9 for q in range(5)})
    long, short = rows(build_instances(dataset, epochs=3, seed=7)), rows(build_instances(dataset, epochs=2, seed=7))
    assert [r for r in long if r["epoch"] < 2] == short
    items = [[r["item_rows"] for r in long if r["epoch"] == e] for e in range(3)]
    assert items[0] != items[1] != items[2]
    assert rows(build_instances(dataset, seed=8)) != [r for r in long if r["epoch"] == 0]


def test_other_processes_and_hash_seeds_give_the_same_rows():
    code = (
        "from mr_st.data import GradedDataset as D, build_instances as b;"
        "d = D.from_tables([{'query_id': q, 'text': 'x'} for q in range(9)],"
        "[{'item_id': i, 'title': 'y'} for i in range(20)],"
        "[{'query_id': q, 'item_id': i, 'grade': (q + i) % 3} for q in range(9) for i in range(20)]);"
        "print(hash('a'), b(d, epochs=2, seed=3).with_format(None)[:])"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True,
            check=True,
        ).stdout.split(" ", 1)
        for seed in ("1", "2")
    ]  # fmt: skip
    assert outputs[0][0] != outputs[1][0]
    assert outputs[0][1] == outputs[1][1]


def test_one_grade_queries_are_filled_with_graded_random_items():
    judged = {0: [2, 2], 1: [1, 0], 2: [0]}
    dataset = make(judged, n_items=50)
    annotator = Constant(0)
    instances = build_instances(dataset, caps={0: 5}, annotator=annotator)
    assert (instances.filled_queries, instances.left_out_queries) == (1, 1)  # query 2 has grade 0 only, still
    by_query = {r["query_row"]: r for r in rows(instances)}
    assert sorted(by_query) == [0, 1]
    assert by_query[0]["labels"] == [2, 2, 0, 0, 0, 0, 0]
    assert min(by_query[0]["item_rows"][2:]) >= 2  # none that is judged already
    assert [query for query, _ in annotator.asked] == ["0"] * 5 + ["2"] * 5
    assert len(set(annotator.asked)) == 10
    again = build_instances(dataset, caps={0: 5}, annotator=Constant(0))
    assert rows(again) == rows(instances)


def test_random_items_are_never_pairs_judged_in_another_split():
    dataset = GradedDataset.from_tables(
        [{"query_id": "q", "text": "x"}],
        [{"item_id": i, "title": f"item {i}"} for i in range(12)],
        [{"query_id": "q", "item_id": i, "grade": 2, "split": "train" if i == 0 else "test"} for i in range(10)],
    )
    annotator = Constant(0)
    build_instances(dataset, annotator=annotator)
    assert set(annotator.asked) <= {("q", "10"), ("q", "11")}
    assert annotator.asked


def test_an_annotator_for_another_scale_is_refused():
    with pytest.raises(UsageError, match=r"outside 0\.\.2"):
        build_instances(make({0: [2]}, n_items=20), annotator=Constant(3))


def test_left_out_queries_are_logged(caplog):
    build_instances(make({0: [2, 0], 1: [1]}))
    assert "1 one-grade queries left out (no annotator was given)" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"seed": -1}, "seed=-1"),
        ({"caps": {3: 1}}, r"name grades 0\.\.2"),
        ({"caps": {2: 0}}, "a cap of 1 or more"),
        ({"split": "dev"}, "no split 'dev'"),
    ],
)
def test_wrong_use(options, message):
    with pytest.raises(UsageError, match=message):
        build_instances(make({0: [2, 0]}), **options)


def test_many_epochs_lie_on_disk_and_are_the_same_rows(tmp_path, monkeypatch):
    import datasets
    from datasets.table import MemoryMappedTable

    from mr_st.data import spool

    dataset = make({q: [2] * 9 + [1] * 3 + [0] * 9 for q in range(40)})
    held = build_instances(dataset, epochs=5, seed=3)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    monkeypatch.setattr(spool.spool_table, "__kwdefaults__", {"schema": None, "memory_bytes": 1_000})
    spool._process_folder.cache_clear()
    mapped = build_instances(dataset, epochs=5, seed=3)
    spool._process_folder.cache_clear()
    assert isinstance(mapped.data, MemoryMappedTable)
    assert rows(mapped) == rows(held)
    assert mapped[7] == held[7]
    assert mapped.data.table.schema.equals(INSTANCE_SCHEMA)


@settings(deadline=None, max_examples=40)
@given(data=st.data(), answer=st.integers(0, 2), seed=st.integers(0, 3))
def test_filled_queries_show_all_their_judged_pairs_and_new_ones_that_nobody_judged(data, answer, seed):
    grades = st.lists(st.integers(0, 2), min_size=1, max_size=9)
    judged = data.draw(st.dictionaries(st.integers(0, 9), grades, min_size=1, max_size=4))
    caps = data.draw(st.fixed_dictionaries({g: st.integers(1, 4) for g in range(3)}))
    dataset = make(judged, n_items=60)
    single = {q for q, g in judged.items() if len(set(g)) == 1}
    fillable = {q for q in single if set(judged[q]) != {answer}}
    if single == set(judged) and not fillable:
        with pytest.raises(UsageError):
            build_instances(dataset, seed=seed, caps=caps, annotator=Constant(answer))
        return
    instances = build_instances(dataset, epochs=2, seed=seed, caps=caps, annotator=Constant(answer))
    assert (instances.filled_queries, instances.left_out_queries) == (len(fillable), len(single - fillable))
    ids = list(judged)
    for epoch in (0, 1):
        seen: dict[int, dict[int, int]] = {}
        for row in rows(instances):
            if row["epoch"] == epoch:
                assert len(set(row["labels"])) >= 2
                assert all(row["labels"].count(g) <= caps[g] for g in caps)
                pairs = zip(row["item_rows"], row["labels"], strict=True)
                seen.setdefault(ids[row["query_row"]], {}).update(pairs)
        assert set(seen) == (set(judged) - single) | fillable
        for query, found in seen.items():
            truth = judged[query]
            assert {item: grade for item, grade in found.items() if item < len(truth)} == dict(enumerate(truth))
            new = {item: grade for item, grade in found.items() if item >= len(truth)}
            assert set(new.values()) <= {answer}
            assert len(new) == (caps[0] if query in fillable else 0)


def test_a_hundred_thousand_queries():
    import polars as pl

    n, per = 100_000, 20
    query = np.repeat(np.arange(n), per)
    dataset = GradedDataset.from_tables(
        pl.DataFrame({"query_id": np.arange(n)}).with_columns(pl.lit("x").alias("text")),
        pl.DataFrame({"item_id": np.arange(per)}).with_columns(pl.lit("y").alias("title")),
        pl.DataFrame(
            {"query_id": query, "item_id": np.tile(np.arange(per), n), "grade": (query + np.arange(n * per)) % 3}
        ),
    )
    assert len(build_instances(dataset)) == 2 * n  # six or seven items a grade


def test_the_esci_sample(esci_folder):
    dataset = GradedDataset.load(esci_folder)
    instances = build_instances(dataset, epochs=2)
    pairs = dataset.judged_pairs("train")
    judged = set(zip(pairs.query_rows.tolist(), pairs.item_rows.tolist(), strict=True))
    for epoch in (0, 1):
        used = {(r["query_row"], i) for r in rows(instances) if r["epoch"] == epoch for i in r["item_rows"]}
        two_grades = {q for q in pairs.query_rows_with_pairs.tolist() if len(set(pairs.for_query(q)[1].tolist())) > 1}
        assert used == {(q, i) for q, i in judged if q in two_grades}
    assert instances.left_out_queries == 535
