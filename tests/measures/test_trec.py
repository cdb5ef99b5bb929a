"""Every metric against trec_eval itself (pytrec_eval), and the adapters that bring its order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mr_st.errors import UsageError
from mr_st.measures import (
    NamedRun,
    average_precision,
    gain_table,
    gains_of,
    judged_share,
    ndcg,
    precision,
    recall,
    reciprocal_rank,
    run_order,
    trec_order,
)

CUTS = (1, 3, 5, 10, 50)
RUNS, BLOCK = 1000, 100
# ids of which one begins another, that sort otherwise as numbers, and outside of ASCII
NAMES = [f"d{n}" for n in range(30)] + ["", "D1", "d", "d1a", "d 1", "é", "été", "Ω", "漢", "😀", "ﬀ", "~"]

Qrels = dict[str, dict[str, int]]
Run = dict[str, dict[str, float]]


def random_case(rng: np.random.Generator) -> tuple[Run, Qrels, int]:
    """A run and judgments: ties (also of doubles that are one float32), unjudged items, queries of one side only."""
    n_grades = int(rng.integers(2, 6))
    qrels: Qrels = {}
    run: Run = {}
    for query in (f"q{n}" for n in rng.permutation(12)[: rng.integers(1, 9)]):
        if rng.random() < 0.85:
            names = rng.choice(NAMES, size=rng.integers(1, 25), replace=False).tolist()
            least = -1 if rng.random() < 0.1 else 0  # trec_eval takes a grade below 0 for none
            best = 1 if rng.random() < 0.15 else n_grades  # some queries have nothing relevant
            grades = [0, *rng.integers(least, best, size=len(names) - 1).tolist()]
            qrels[query] = dict(
                zip(names, grades, strict=True)
            )  # with grades below 0 only, pytrec_eval may not return
        if rng.random() < 0.85:
            names = rng.choice(NAMES, size=rng.integers(0, len(NAMES)), replace=False).tolist()
            scores = rng.choice([-1.5, 0.0, 0.1, 0.3, 1e-30, 7.0], size=len(names)) + rng.choice(
                [0, 1e-12], len(names)
            )
            run[query] = dict(zip(names, scores.tolist(), strict=True))
    return run, qrels, n_grades


def trec_eval(run: Run, qrels: Qrels, level: int = 1) -> dict[str, dict[str, float]]:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    cuts = ",".join(map(str, CUTS))
    names = {f"{name}.{cuts}" for name in ("ndcg_cut", "map_cut", "recall", "P")} | {"map", "ndcg", "recip_rank"}
    return pytrec_eval.RelevanceEvaluator(qrels, names, relevance_level=level).evaluate(run)


def ours(run: Run, qrels: Qrels, gains: tuple[float, ...], level: int = 1, **options: Any) -> dict[str, np.ndarray]:
    """The same under the same names, by our functions."""
    named = NamedRun.from_dicts(run, qrels, **options)
    grades, n_relevant = named.judged.look_up(named.ids), named.judged.count_at_least(level)
    ideal, gained = gains_of(named.judged.best_grades(), gains), gains_of(grades, gains)
    at_k = {
        "ndcg_cut": ndcg(gained, ideal, CUTS),
        "map_cut": average_precision(grades, n_relevant, CUTS, level),
        "recall": recall(grades, n_relevant, CUTS, level),
        "P": precision(grades, CUTS, level),
    }
    return {
        "query": np.array(named.query_ids),
        "ndcg": ndcg(gained, ideal),
        "map": average_precision(grades, n_relevant, grade=level),
        "recip_rank": reciprocal_rank(grades, grade=level),
        **{f"mrr_{k}": reciprocal_rank(grades, k, level) for k in CUTS},
        **{f"{name}_{k}": values[:, at] for name, values in at_k.items() for at, k in enumerate(CUTS)},
    }


def agree(found: dict[str, np.ndarray], theirs: dict[str, dict[str, float]], only: str = "") -> int:
    """How many figures were compared; each to 1e-9."""
    queries = found["query"].tolist()
    assert sorted(queries) == sorted(theirs)
    names = [name for name in next(iter(theirs.values()), {}) if name.startswith(only)]
    expected = np.array([[theirs[query][name] for query in queries] for name in names])
    wrong = np.abs(expected - np.array([found[name] for name in names])) > 1e-9
    assert not wrong.any(), [(names[n], queries[q]) for n, q in zip(*np.nonzero(wrong), strict=True)]
    return wrong.size


@pytest.mark.parametrize("block", range(RUNS // BLOCK))
def test_every_metric_equals_trec_eval_on_a_thousand_runs(block: int) -> None:
    compared = 0
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        rng = np.random.default_rng(seed)
        run, qrels, n_grades = random_case(rng)
        for level in range(1, n_grades):
            theirs = trec_eval(run, qrels, level)
            found = ours(run, qrels, gain_table("linear", n_grades), level)
            compared += agree(found, theirs)
            whole = np.array([theirs[query]["recip_rank"] for query in found["query"].tolist()])
            for k in CUTS:  # trec_eval does not cut reciprocal ranks
                assert np.abs(found[f"mrr_{k}"] - np.where(whole >= 1 / k, whole, 0)).max(initial=0) <= 1e-9
        whole_gains = np.cumsum(rng.integers(0, 8, size=n_grades) * (np.arange(n_grades) > 0)).tolist()
        for scheme, of_grade in (("exponential", [2**g - 1 for g in range(n_grades)]), (whole_gains, whole_gains)):
            gained = {q: {i: of_grade[g] for i, g in grades.items() if g >= 0} for q, grades in qrels.items()}
            compared += agree(ours(run, qrels, gain_table(scheme, n_grades)), trec_eval(run, gained), "ndcg")
    assert compared > 100 * BLOCK


def test_the_thousand_runs_hold_what_they_should() -> None:
    """Ties that decide a figure, missing and extra queries, short runs, unjudged items and hopeless queries."""
    seen = dict.fromkeys(("tie", "missing", "extra", "short", "unjudged", "hopeless", "negative", "empty"), 0)
    for seed in range(100):
        run, qrels, n_grades = random_case(np.random.default_rng(seed))
        gains = gain_table("linear", n_grades)
        seen["missing"] += bool(qrels.keys() - run.keys())
        seen["extra"] += bool(run.keys() - qrels.keys())
        both = run.keys() & qrels.keys()
        seen["short"] += any(0 < len(run[q]) < max(CUTS) for q in both)
        seen["empty"] += any(not run[q] for q in both)
        seen["unjudged"] += any(run[q].keys() - qrels[q].keys() for q in both)
        seen["hopeless"] += any(max(qrels[q].values()) <= 0 for q in both)
        seen["negative"] += any(min(qrels[q].values()) < 0 for q in both)
        other = ours(run, qrels, gains, ties="given")
        seen["tie"] += not np.allclose(other["ndcg"], ours(run, qrels, gains)["ndcg"], rtol=0, atol=1e-9)
    assert min(seen.values()) >= 5, seen


def test_counting_the_missing_is_trec_evals_c() -> None:
    qrels = {"a": {"x": 1}, "b": {"x": 2}, "nothing judged": {}}
    run = {"a": {"x": 0.1}, "extra": {"x": 1.0}}
    gains = (0.0, 0.5, 1.0)
    assert ours(run, qrels, gains)["query"].tolist() == ["a"]
    found = ours(run, qrels, gains, count_missing=True)
    assert found["query"].tolist() == ["a", "b"]
    agree(found, trec_eval({**run, "b": {}}, qrels))
    assert found["map"].mean() == 0.5


def test_no_query_in_common_is_no_figure() -> None:
    found = ours({"a": {"x": 1.0}}, {"b": {"x": 1}}, (0.0, 1.0))
    assert {len(values) for values in found.values()} == {0}


def test_infinite_scores_are_scores() -> None:
    run = {"q": {"a": float("-inf"), "b": 1e300, "c": float("inf"), "d": 0.0}}
    named = NamedRun.from_dicts(run, {"q": {"a": 1}})
    assert [named.item_ids[row] for row in named.ids[0]] == ["c", "b", "d", "a"]  # 1e300 is infinite as a float32
    agree(ours(run, {"q": {"a": 1}}, (0.0, 1.0)), trec_eval(run, {"q": {"a": 1}}))


@pytest.mark.parametrize("seed", range(20))
def test_arrays_are_brought_into_the_same_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    run, _, _ = random_case(rng)
    run = {"at least one": {"d1": 0.5, "d10": 0.5}, **run}
    named = NamedRun.from_dicts(run, {query: {"d1": 1} for query in run})
    names = rng.permutation(named.item_ids).tolist()
    row_of = {name: row for row, name in enumerate(names)}
    ids, scores = np.full(named.ids.shape, -1), np.full(named.ids.shape, -np.inf)
    for row, query in enumerate(named.query_ids):
        ids[row, : len(run[query])] = [row_of[name] for name in run[query]]
        scores[row, : len(run[query])] = list(run[query].values())
    shuffle = rng.permutation(ids.shape[1])
    found, sorted_scores = trec_order(ids[:, shuffle], scores[:, shuffle], names)
    of_name = np.array([row_of[name] for name in named.item_ids])
    np.testing.assert_array_equal(found, np.where(named.ids < 0, -1, of_name[named.ids]))
    np.testing.assert_array_equal(sorted_scores.astype(np.float32), named.scores)


def test_trec_order_by_rows_and_absent_places_last() -> None:
    ids, scores = trec_order(np.array([[4, -1, 9, 2]]), np.array([[0.5, 0.9, 0.5, -np.inf]]))
    assert ids.tolist() == [[9, 4, 2, -1]]
    assert scores.tolist() == [[0.5, 0.5, -np.inf, 0.9]]
    assert trec_order(np.zeros((2, 0), dtype=int), np.zeros((2, 0)))[0].shape == (2, 0)


def test_run_order_is_stable_and_compares_float32() -> None:
    close = np.array([[1.0, 1.0 + 1e-12, 0.5]])
    assert run_order(close).tolist() == [[0, 1, 2]]
    assert run_order(close, tie_keys=np.array([5, 4, 3])).tolist() == [[1, 0, 2]]


def test_judged_share_of_a_named_run() -> None:
    named = NamedRun.from_dicts(
        {"q": {"a": 3, "b": 2, "c": 1}, "r": {}}, {"q": {"a": 0, "c": 1, "z": 1}, "r": {"a": 1}}
    )
    found = judged_share(named.judged.look_up(named.ids), (1, 2, 3))
    assert found[0].tolist() == [1, 0.5, pytest.approx(2 / 3)]
    assert np.isnan(found[1]).all()


@pytest.mark.parametrize(
    ("run", "qrels", "message"),
    [
        ({"q": {"a": float("nan")}}, {"q": {"a": 1}}, "query 'q', item 'a': score nan; expected a number"),
        ({"q": {"a": "0.5", "b": 1.0}}, {"q": {"a": 1}}, "query 'q', item 'a': score '0.5'; expected a number"),
        ({"q": {"a": 1, "b": None}}, {"q": {"a": 1}}, "query 'q', item 'b': score None"),
        ({"q": {"a": 1, "b": [1.0]}}, {"q": {"a": 1}}, r"query 'q', item 'b': score \[1.0\]"),
        ({"q": {"a": 1.0}}, {"q": {"b": 1, "a": 0.5}}, "query 'q', item 'a': grade 0.5; expected a whole number"),
        ({"q": {"a": 1.0}}, {"q": {"a": True}}, "grade True"),
        ({"q": {7: 1.0}}, {"q": {"a": 1}}, "id 7: expected a string"),
        ({0: {"a": 1.0}}, {0: {"a": 1}}, "id 0: expected a string"),
    ],
)
def test_what_is_no_run_is_named(run: dict, qrels: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        NamedRun.from_dicts(run, qrels)


def test_ties_have_two_ways() -> None:
    assert NamedRun.from_dicts({"q": {"a": 1, "b": 1}}, {"q": {"a": 1}}, ties="given").ids.tolist() == [[0, 1]]
    with pytest.raises(UsageError, match="ties 'random': expected trec_eval or given"):
        NamedRun.from_dicts({}, {}, ties="random")
