from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mr_st.errors import UsageError
from mr_st.evaluation.scoring import mteb_name, ranking_metrics, score_run
from mr_st.grades import ESCI_FOUR_GRADES, GradeScale
from mr_st.measures import Judged

LOG = np.log2(np.arange(2, 50))


def plain(run: list[int], grades: dict[int, int], k: int, scale: GradeScale) -> dict[str, float]:
    """Every metric of one query with loops."""
    nan = float("nan")
    dcg = sum(scale.gains[grades.get(item, 0)] / LOG[rank] for rank, item in enumerate(run[:k]))
    best = sum(
        g / LOG[rank] for rank, g in enumerate(sorted((scale.gains[g] for g in grades.values()), reverse=True)[:k])
    )
    top = run[:k]
    found = {
        f"ndcg@{k}": dcg / best if best else 0.0,
        f"judged@{k}": sum(item in grades for item in top) / len(top) if top else nan,
    }
    for least in range(1, scale.n_grades):
        suffix = "" if least == 1 else f"/{least}"
        relevant = {item for item, grade in grades.items() if grade >= least}
        hits = [rank for rank, item in enumerate(top, start=1) if item in relevant]
        found[f"precision@{k}{suffix}"] = len(hits) / k
        found[f"recall@{k}{suffix}"] = len(hits) / len(relevant) if relevant else nan
        precisions = sum(n / rank for n, rank in enumerate(hits, start=1))
        found[f"map@{k}{suffix}"] = precisions / len(relevant) if relevant else nan
        found[f"mrr@{k}{suffix}"] = (1 / hits[0] if hits else 0.0) if relevant else nan
    return found


@settings(max_examples=60)
@given(st.data())
def test_every_metric_against_loops(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    scale = data.draw(st.sampled_from([GradeScale(), ESCI_FOUR_GRADES, GradeScale(("no", "yes"), (0, 1))]))
    ks = data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=4, unique=True))
    n, n_items, depth = int(rng.integers(1, 6)), 25, int(rng.integers(0, 20))
    pairs = rng.random((n, n_items)) < rng.random()
    rows, items = np.nonzero(pairs)
    grades = rng.integers(0, scale.n_grades, size=len(rows)) * (rng.random(n) < 0.8)[rows]
    ids = np.stack([rng.permutation(n_items)[:depth] for _ in range(n)])
    lengths = rng.integers(0, depth + 1, size=n)
    ids[np.arange(depth) >= lengths[:, None]] = -1
    found = ranking_metrics(Judged.from_pairs(rows, items, grades, n), ids, ks, scale)
    for query in range(n):
        of_query = dict(zip(items[rows == query].tolist(), grades[rows == query].tolist(), strict=True))
        expected: dict[str, float] = {}
        for k in ks:
            expected |= plain(ids[query, : lengths[query]].tolist(), of_query, k, scale)
        assert set(expected) == set(found)
        for name, value in expected.items():
            assert found[name][query] == pytest.approx(value, abs=1e-12, nan_ok=True), name


def test_nothing_relevant_is_undefined_or_zero_as_wanted() -> None:
    judged = Judged.from_pairs([0, 0], [0, 1], [1, 0], n_queries=1)
    undefined = ranking_metrics(judged, np.array([[0, 1]]), (1,), GradeScale())
    zero = ranking_metrics(judged, np.array([[0, 1]]), (1,), GradeScale(), empty=0.0)
    for name in ("recall", "map", "mrr"):
        assert np.isnan(undefined[f"{name}@1/2"][0])
        assert zero[f"{name}@1/2"][0] == 0
        assert undefined[f"{name}@1"][0] == zero[f"{name}@1"][0] == 1
    assert undefined["precision@1/2"][0] == 0


def test_only_the_thresholds_that_are_wanted() -> None:
    judged = Judged.from_pairs([0, 0], [0, 1], [3, 1], n_queries=1)
    found = ranking_metrics(judged, np.array([[1, 0]]), (2,), ESCI_FOUR_GRADES, thresholds=(3,))
    assert set(found) == {"ndcg@2", "recall@2/3", "precision@2/3", "map@2/3", "mrr@2/3", "judged@2"}
    assert found["mrr@2/3"][0] == 0.5
    assert [mteb_name(name) for name in ("map@2", "mrr@2/3")] == ["map_at_2", "mrr_at_2_grade_3"]


def test_a_run_by_names() -> None:
    run = {"q": {"a": 1.0, "b": 1.0, "c": 0.5}, "extra": {"a": 1.0}}
    qrels = {"q": {"a": 2, "c": 1}, "missing": {"a": 1}, "hopeless": {"a": 0}}
    queries, found = score_run(run, qrels, ks=(2,))
    assert queries == ["q"]
    assert found["mrr@2"].tolist() == [0.5]  # b comes first: equal scores by descending id
    assert score_run(run, qrels, ks=(2,), ties="given")[1]["mrr@2"].tolist() == [1.0]
    queries, found = score_run(run, qrels, ks=(2,), count_missing=True, empty=float("nan"))
    assert queries == ["q", "missing", "hopeless"]
    np.testing.assert_array_equal(found["recall@2"], [0.5, 0, np.nan])
    linear, exponential, custom = (
        score_run(run, qrels, ks=(3,), gains=gains)[1]["ndcg@3"][0] for gains in ("linear", "exponential", (0, 0, 1))
    )
    for found, low in ((linear, 1 / 2), (exponential, 1 / 3), (custom, 0)):
        assert found == pytest.approx((1 / LOG[1] + low / LOG[2]) / (1 + low / LOG[1]))


def test_more_grades_than_the_qrels_show() -> None:
    run, qrels = {"q": {"a": 1.0}}, {"q": {"a": 1}}
    assert "recall@1/2" not in score_run(run, qrels, ks=(1,))[1]
    assert "recall@1/2" in score_run(run, qrels, ks=(1,), n_grades=3)[1]
    with pytest.raises(UsageError, match=r"grade 1, outside the scale 0\.\.0; give n_grades=2"):
        score_run(run, qrels, n_grades=1)
    with pytest.raises(UsageError, match="none of the 1 queries of the run is among the 1 that are judged"):
        score_run(run, {"r": {"a": 1}})
