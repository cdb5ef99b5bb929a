from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mr_st.measures import ABSENT, UNJUDGED, Judged, gains_of, judged_share, ndcg, precision, recall, run_order

GAINS = (0.0, 0.5, 1.0)


def random_case(rng: np.random.Generator) -> tuple[Judged, np.ndarray, np.ndarray]:
    """Judgments of n queries (some with none, some all 0) and a run with ties, unjudged items and short rows."""
    n, n_items, depth = int(rng.integers(1, 9)), int(rng.integers(1, 40)), int(rng.integers(1, 30))
    pairs = rng.random((n, n_items)) < rng.random()
    query_index, items = np.nonzero(pairs)
    grades = rng.integers(0, 3, size=len(items)) * (rng.random(n) < 0.8)[query_index]
    depth = min(depth, n_items)
    ids = np.stack([rng.permutation(n_items)[:depth] for _ in range(n)])
    lengths = rng.integers(1, depth + 1, size=n)
    ids[np.arange(depth) >= lengths[:, None]] = -1
    scores = rng.integers(0, 6, size=ids.shape) / 5  # many ties
    scores[ids < 0] = -np.inf
    return Judged.from_pairs(query_index, items, grades, n), ids, scores


@pytest.mark.parametrize("seed", range(60))
def test_all_metrics_equal_trec_eval(seed: int) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    rng = np.random.default_rng(seed)
    judged, ids, scores = random_case(rng)
    order = run_order(scores, tie_keys=-ids)  # names below sort as the ids do: descending name
    ids = np.take_along_axis(ids, order, axis=1)
    scores = np.take_along_axis(scores, order, axis=1)
    qrels: dict[str, dict[str, int]] = {}
    for query, item, grade in zip(judged.query_of_pair, judged.items, judged.grades, strict=True):
        qrels.setdefault(f"q{query}", {})[f"d{item:04d}"] = int(grade)
    qrels["missing from the run"] = {"d0000": 2}
    run = {
        f"q{query}": {f"d{item:04d}": float(score) for item, score in zip(*row, strict=True) if item >= 0}
        for query, row in enumerate(zip(ids, scores, strict=True))
    }
    grades = judged.look_up(ids)
    ideal = gains_of(judged.best_grades(max(1, int(judged.per_query.max()))), GAINS)
    cuts = (1, 3, 5, 10, 50)
    names = {f"{name}.{','.join(map(str, cuts))}" for name in ("ndcg_cut", "recall", "P")}
    for level in (1, 2):
        theirs = pytrec_eval.RelevanceEvaluator(qrels, names, relevance_level=level).evaluate(run)
        for k in cuts:
            ours = {
                "ndcg_cut": ndcg(gains_of(grades, GAINS), ideal, k),
                "recall": recall(grades, judged.count_at_least(level), k, level),
                "P": precision(grades, k, level),
            }
            for query in range(judged.n_queries):
                if f"q{query}" in theirs:  # it leaves out queries that nobody judged
                    for name, values in ours.items():
                        assert values[query] == pytest.approx(theirs[f"q{query}"][f"{name}_{k}"], abs=1e-9)


def test_ndcg_by_hand() -> None:
    # run: partial, unjudged, relevant; judged: two relevant, one partial
    ranked = np.array([[0.5, 0.0, 1.0]])
    dcg = 0.5 / 1 + 1 / 2  # log2(2) = 1, log2(4) = 2
    best = 1 + 1 / np.log2(3) + 0.5 / 2
    assert ndcg(ranked, np.array([[0.5, 1.0, 1.0]]), 10)[0] == pytest.approx(dcg / best, abs=1e-12)
    # cut at 1: the ideal is one relevant item
    assert ndcg(ranked, [[0.5, 1.0, 1.0]], 1)[0] == 0.5


def test_ideal_is_taken_over_all_judged_items_not_the_returned_ones() -> None:
    judged = Judged.from_pairs([0, 0], [5, 6], [1, 2], 1)
    grades = judged.look_up(np.array([[5]]))
    assert ndcg(gains_of(grades, GAINS), gains_of(judged.best_grades(10), GAINS), 10)[0] == pytest.approx(
        0.5 / (1 + 0.5 / np.log2(3))
    )


def test_other_gains() -> None:
    esci = (0.0, 0.01, 0.1, 1.0)
    ranked = gains_of(np.array([[1, 3]]), esci)
    value = ndcg(ranked, gains_of(np.array([[3, 1]]), esci), 10)[0]
    assert value == pytest.approx((0.01 + 1 / np.log2(3)) / (1 + 0.01 / np.log2(3)))


def test_nothing_relevant() -> None:
    grades = np.array([[0, UNJUDGED]])
    assert ndcg(gains_of(grades, GAINS), np.zeros((1, 3)), 10).tolist() == [0.0]
    assert recall(grades, np.array([0]), 10).tolist() == [0.0]
    assert np.isnan(recall(grades, np.array([0]), 10, empty=np.nan)[0])
    assert ndcg(np.zeros((2, 0)), [[], [1.0]], 5).tolist() == [0.0, 0.0]


def test_judged_share_leaves_absent_places_out() -> None:
    grades = np.array([[0, UNJUDGED, ABSENT], [2, 1, 0], [ABSENT, ABSENT, ABSENT]])
    assert judged_share(grades, 2)[:2].tolist() == [0.5, 1.0]
    assert judged_share(grades, 3)[:2].tolist() == [0.5, 1.0]
    assert np.isnan(judged_share(grades, 3)[2])


def test_precision_divides_by_k_even_when_the_run_is_short() -> None:
    assert precision(np.array([[2, 1]]), 10).tolist() == [0.2]
    assert precision(np.array([[2, 1]]), 10, grade=2).tolist() == [0.1]


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="k must be 1"):
        precision(np.zeros((1, 3)), 0)
    with pytest.raises(ValueError, match=r"grade 3 is outside the scale 0\.\.2"):
        gains_of(np.array([3]), GAINS)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(-1, 2), min_size=4, max_size=4), min_size=1, max_size=5), st.integers(1, 6))
def test_metrics_stay_in_range_and_grow_with_a_better_order(rows: list[list[int]], k: int) -> None:
    grades = np.array(rows)
    ideal = gains_of(grades, GAINS)
    found = ndcg(gains_of(grades, GAINS), ideal, k)
    best = ndcg(gains_of(-np.sort(-grades, axis=1), GAINS), ideal, k)
    assert ((found >= 0) & (found <= best + 1e-12)).all()
    assert np.isin(np.round(best, 12), [0.0, 1.0]).all()


def test_run_order_is_stable_and_compares_float32() -> None:
    close = np.array([[1.0, 1.0 + 1e-12, 0.5]])
    assert run_order(close).tolist() == [[0, 1, 2]]
    assert run_order(close, tie_keys=np.array([5, 4, 3])).tolist() == [[1, 0, 2]]
