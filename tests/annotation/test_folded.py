"""FoldedAnnotator: each pair goes to the annotator that did not see its query; cross-fitting keeps queries apart."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mr_st.annotation import JudgmentAnnotator, PairTable
from mr_st.annotation.folded import FoldedAnnotator, cross_fit_annotators, fold_queries
from mr_st.data import GradedDataset
from mr_st.errors import MrStError, UsageError


def always(grade: int, n_grades: int = 3) -> JudgmentAnnotator:
    return JudgmentAnnotator(lambda q, i: grade, n_grades=n_grades, name=f"always-{grade}-of-{n_grades}")


def pairs_of(texts: list[str]) -> PairTable:
    n = len(texts)
    return PairTable([f"id of {t}" for t in texts], [f"i{k}" for k in range(n)], texts, ["an item"] * n, ["en"] * n)


@pytest.fixture(scope="module")
def dataset() -> GradedDataset:
    queries = [{"query_id": f"q{n}", "text": f"text {n}"} for n in range(12)]
    queries += [
        {"query_id": "v0", "text": "txt 0", "kind": "spelling", "source_query_id": "q0"},
        {"query_id": "v1", "text": "tetx 0", "kind": "spelling", "source_query_id": "v0"},
        {"query_id": "same", "text": "text 3"},
    ]
    judgments = [
        {"query_id": query["query_id"], "item_id": f"i{k}", "grade": k % 3} for query in queries for k in range(4)
    ]
    return GradedDataset.from_tables(
        queries, [{"item_id": f"i{k}", "title": f"item {k}"} for k in range(4)], judgments
    )


def test_every_pair_goes_to_its_folds_annotator_in_order():
    folded = FoldedAnnotator([always(0), always(1), always(2)], {"a": 2, "b": 0, "c": 1})
    annotations = folded.grade(pairs_of(["a", "b", "c", "a", "b"]))
    assert annotations.grades.tolist() == [2, 0, 1, 2, 0]
    np.testing.assert_array_equal(annotations.probabilities.argmax(axis=1), annotations.grades)


def test_no_pairs():
    assert FoldedAnnotator([always(0)], {"a": 0}).grade(pairs_of([])).probabilities.shape == (0, 3)


def test_a_query_of_no_fold_is_named():
    with pytest.raises(MrStError, match=r"pair 2 .*'id of b'.*no fold"):
        FoldedAnnotator([always(0)], {"a": 0}).grade(pairs_of(["a", "b"]))


def test_folds_without_an_annotator_are_refused():
    with pytest.raises(UsageError, match="one annotator for each fold"):
        FoldedAnnotator([always(0)], {"a": 0, "b": 1})
    with pytest.raises(UsageError, match="one annotator for each fold"):
        FoldedAnnotator([], {})


def test_annotators_of_two_scales_are_refused():
    folded = FoldedAnnotator([always(0), always(1, n_grades=4)], {"a": 0, "b": 1})
    with pytest.raises(MrStError, match="scales of different length"):
        folded.grade(pairs_of(["a", "b"]))


def test_identity_covers_annotators_their_order_and_the_folds():
    folds = {"a": 0, "b": 1}
    identities = [
        FoldedAnnotator([always(0), always(1)], folds).identity,
        FoldedAnnotator([always(1), always(0)], folds).identity,
        FoldedAnnotator([always(0), always(2)], folds).identity,
        FoldedAnnotator([always(0), always(1)], {"a": 1, "b": 0}).identity,
    ]
    assert len(set(identities)) == 4
    assert identities[0] == FoldedAnnotator([always(0), always(1)], dict(reversed(folds.items()))).identity
    assert not set(identities[0]) & set(" :/\t\n")


def test_folds_keep_variants_and_equal_texts_together(dataset):
    for seed in range(5):
        folds = fold_queries(dataset, 3, seed)
        assert set(folds) == set(dataset.queries["query_id"])
        assert set(folds.values()) == {0, 1, 2}
        assert folds["q0"] == folds["v0"] == folds["v1"]
        assert folds["q3"] == folds["same"]
    assert len({tuple(fold_queries(dataset, 3, seed).values()) for seed in range(5)}) > 1


def test_folds_have_about_as_many_pairs(dataset):
    folds = fold_queries(dataset, 3)
    sizes = np.bincount(list(folds.values()))  # each query has four pairs
    assert sizes.max() - sizes.min() <= 3


@pytest.mark.parametrize("k", [0, 1, 13])
def test_too_few_or_too_many_folds(dataset, k):
    with pytest.raises(UsageError, match="12 different queries"):
        fold_queries(dataset, k)


def test_no_annotator_saw_the_queries_that_it_grades(dataset):
    seen: dict[int, set[str]] = {}

    def fit(part: GradedDataset, fold: int) -> JudgmentAnnotator:
        seen[fold] = set(part.judgments["query_id"])
        return always(fold)

    folded = cross_fit_annotators(dataset, fit, k=3, seed=1)
    folds = fold_queries(dataset, 3, seed=1)
    everything = set(dataset.judgments["query_id"])
    for fold in range(3):
        assert seen[fold] == {query for query in everything if folds[query] != fold}
    judged = dataset.judged_pairs()
    grades = folded.grade(dataset.pair_table(judged.query_rows, judged.item_rows)).grades
    ids = list(dataset.queries["query_id"])
    assert grades.tolist() == [folds[ids[row]] for row in judged.query_rows]


def test_labels_reach_the_fit_as_they_are(dataset):
    parts = []
    cross_fit_annotators(dataset, lambda part, fold: parts.append(part) or always(fold), k=2)
    given = {
        (q, i): g for q, i, g in pl.DataFrame(dataset.judgments.data.table)["query_id", "item_id", "grade"].iter_rows()
    }
    for part in parts:
        for row in part.judgments:
            assert row["grade"] == given[row["query_id"], row["item_id"]]
    assert sum(len(part.judgments) for part in parts) == len(dataset.judgments)  # each pair is left out once of two
