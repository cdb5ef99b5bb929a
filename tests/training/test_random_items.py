"""Random items beside judged ones: never judged ones, of the query's locale, the same whoever else is asked about."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mr_st.annotation import JudgmentAnnotator
from mr_st.data import GradedDataset
from mr_st.errors import UsageError
from mr_st.training.holdout import LabelledPairs
from mr_st.training.random_items import join_pairs, random_items_report, random_pairs


def shop() -> GradedDataset:
    """q0 and its variant q0v, q1, a Spanish q2 (no Spanish judgments); 20 English items and 5 Spanish ones."""
    queries = [
        {"query_id": "q0", "text": "red mug"},
        {"query_id": "q0v", "text": "red mgu", "source_query_id": "q0", "kind": "spelling"},
        {"query_id": "q1", "text": "lamp"},
        {"query_id": "q2", "text": "taza", "locale": "es-ES"},
        {"query_id": "q3", "text": "becher", "locale": "de-DE"},
    ]
    items = [{"item_id": f"i{n}", "title": f"thing {n}"} for n in range(20)]
    items += [{"item_id": f"e{n}", "title": f"cosa {n}", "locale": "es-ES"} for n in range(5)]
    judgments = [
        {"query_id": query, "item_id": f"i{n}", "grade": n % 3, "split": "test" if n > 8 else "train"}
        for query in ("q0", "q1") for n in range(12)
    ]  # fmt: skip
    judgments += [{"query_id": "q0v", "item_id": f"i{n}", "grade": n % 3} for n in range(10, 15)]
    judgments += [{"query_id": query, "item_id": "e0", "grade": 1} for query in ("q2", "q3")]
    return GradedDataset.from_tables(queries, items, judgments, name="shop")


def labelled(dataset: GradedDataset, queries: list[str]) -> LabelledPairs:
    judged = dataset.judged_pairs("train")
    ids = np.array(dataset.queries["query_id"])[judged.query_rows]
    where = np.isin(ids, queries)
    pairs = dataset.pair_table(judged.query_rows[where], judged.item_rows[where])
    roots = np.array(["q0" if name == "q0v" else name for name in pairs.query_ids])
    return LabelledPairs(pairs, judged.grades[where].astype(np.int64), roots)


def test_items_judged_in_any_split_or_for_a_variant_are_left_out():
    dataset = shop()
    drawn = random_pairs(dataset, labelled(dataset, ["q0", "q0v", "q1"]), 100.0, 0, 2, 400)
    of = {name: {i for q, i in zip(drawn.pairs.query_ids, drawn.pairs.item_ids, strict=True) if q == name}
          for name in ("q0", "q0v", "q1")}  # fmt: skip
    assert of["q0"] == {f"i{n}" for n in range(15, 20)}
    assert of["q0v"] == {f"i{n}" for n in range(15, 20)}
    assert of["q1"] == {f"i{n}" for n in range(12, 20)}
    assert drawn.grades.tolist() == [0] * len(drawn.grades)
    assert set(drawn.roots.tolist()) == {"q0", "q1"}


def test_items_have_the_querys_locale_where_there_are_any():
    dataset = shop()
    drawn = random_pairs(dataset, labelled(dataset, ["q2", "q3"]), 30.0, 0, 2, 400)
    of_q2 = {i for q, i in zip(drawn.pairs.query_ids, drawn.pairs.item_ids, strict=True) if q == "q2"}
    assert of_q2 == {"e1", "e2", "e3", "e4"}
    assert Counter(drawn.pairs.query_ids)["q3"] == 24  # no German item: any, less the judged one


def test_how_many_and_that_a_querys_items_do_not_depend_on_the_others():
    dataset = shop()
    both = random_pairs(dataset, labelled(dataset, ["q0", "q1"]), 0.5, 3, 2, 400)
    assert sorted(Counter(both.pairs.query_ids).values()) == [4, 5]  # of 9 each: 9 in all
    alone = random_pairs(dataset, labelled(dataset, ["q1"]), 5 / 9, 3, 2, 400)
    same = random_pairs(dataset, labelled(dataset, ["q0", "q1"]), 5 / 9, 3, 2, 400)
    assert alone.pairs.item_ids == [
        i for q, i in zip(same.pairs.query_ids, same.pairs.item_ids, strict=True) if q == "q1"
    ]
    other = random_pairs(dataset, labelled(dataset, ["q1"]), 5 / 9, 4, 2, 400)
    assert alone.pairs.item_ids != other.pairs.item_ids


def test_none_and_joining():
    dataset = shop()
    judged = labelled(dataset, ["q0"])
    none = random_pairs(dataset, judged, 0.0, 0, 2, 400)
    assert len(none.grades) == 0
    joined = join_pairs(judged, none)
    assert joined.pairs == judged.pairs
    assert joined.grades.tolist() == judged.grades.tolist()
    with pytest.raises(UsageError, match="random_negatives is -1"):
        random_pairs(dataset, judged, -1, 0, 2, 400)


def test_the_report_counts_what_is_graded_above_the_lowest():
    dataset = shop()
    held = labelled(dataset, ["q1"])
    grader = JudgmentAnnotator(lambda query, item: int(int(item[1:]) >= 16), name="high numbers")
    report = random_items_report(grader, dataset, held, 0, 2, 400)
    assert report == {"n_pairs": 8, "share_above_lowest": 0.5}  # i12 to i19 are not judged, four of them from 16 on
