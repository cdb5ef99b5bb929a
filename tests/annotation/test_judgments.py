"""JudgmentAnnotator: what it accepts, how it is identified, and what it says about pairs it does not know."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from mr_st.annotation import JudgmentAnnotator, PairTable
from mr_st.errors import MrStError, UsageError
from mr_st.grades import ESCI_FOUR_GRADES


def pairs(*keys: tuple[str, str]) -> PairTable:
    n = len(keys)
    return PairTable([q for q, _ in keys], [i for _, i in keys], ["text"] * n, ["text"] * n, ["und"] * n)


def dataset(grades):
    judgments = {"query_id": ["q", "q"], "item_id": ["a", "b"], "grade": grades}
    return SimpleNamespace(judgments=judgments, scale=ESCI_FOUR_GRADES)


def test_a_dataset_brings_its_judgments_and_its_scale():
    annotator = JudgmentAnnotator(dataset([3, 0]))
    annotations = annotator.grade(pairs(("q", "b"), ("q", "a")))
    assert annotations.grades.tolist() == [0, 3]
    assert annotations.n_grades == 4
    with pytest.raises(UsageError, match="n_grades is 3"):
        JudgmentAnnotator(dataset([3, 0]), n_grades=3)


def test_identity_follows_content():
    one = JudgmentAnnotator({("q", "a"): 1, ("q", "b"): 0})
    assert one.identity == JudgmentAnnotator({("q", "b"): 0, ("q", "a"): np.int8(1)}).identity
    assert one.identity != JudgmentAnnotator({("q", "a"): 1, ("q", "b"): 1}).identity
    assert one.identity != JudgmentAnnotator({("q", "a"): 1, ("q", "b"): 0}, n_grades=4).identity
    assert one.identity == JudgmentAnnotator(
        SimpleNamespace(judgments={"query_id": ["q", "q"], "item_id": ["b", "a"], "grade": [0, 1]},
                        scale=SimpleNamespace(n_grades=3))
    ).identity  # fmt: skip


def test_a_later_change_of_the_mapping_does_not_reach_the_annotator():
    table = {("q", "a"): 1}
    annotator = JudgmentAnnotator(table)
    table["q", "a"] = 2
    assert annotator.grade(pairs(("q", "a"))).grades.tolist() == [1]


def test_a_callable_needs_a_name():
    with pytest.raises(UsageError, match="needs an identity"):
        JudgmentAnnotator(lambda q, i: 0)
    assert JudgmentAnnotator(lambda q, i: 0, name="a").identity != JudgmentAnnotator(lambda q, i: 0, name="b").identity


def test_an_unknown_pair_is_named():
    annotator = JudgmentAnnotator({("q", "a"): 1})
    with pytest.raises(MrStError, match=r"pair 2 \(query 'q', item 'x'\).*no grade for this pair"):
        annotator.grade(pairs(("q", "a"), ("q", "x")))


@pytest.mark.parametrize(
    ("grade", "message"), [(3, "grade 3, outside 0..2"), (-1, "grade -1, outside"), (300, "grade 300"), (1.5, "float"),
                           (None, "NoneType")]
)  # fmt: skip
def test_a_grade_outside_the_scale_is_named(grade, message):
    annotator = JudgmentAnnotator(lambda q, i: grade, name="wrong")
    with pytest.raises(MrStError, match=rf"pair 1 \(query 'q', item 'a'\).*{message}"):
        annotator.grade(pairs(("q", "a")))


def test_a_vectorised_policy_is_asked_once():
    class Policy:
        identity = "counting"
        calls = 0

        def grades(self, query_ids, item_ids):
            self.calls += 1
            return np.arange(len(query_ids)) % 3

        def __call__(self, query_id, item_id):
            raise AssertionError("asked pair by pair")

    policy = Policy()
    grades = JudgmentAnnotator(policy).grade(pairs(*[("q", str(n)) for n in range(5)])).grades
    assert grades.tolist() == [0, 1, 2, 0, 1]
    assert policy.calls == 1


@pytest.mark.parametrize(("answer", "message"), [([0], r"shape \(1,\) for 2 pairs"), ([0.5, 1.0], "whole numbers")])
def test_a_vectorised_policy_that_answers_wrongly(answer, message):
    policy = SimpleNamespace(identity="wrong", grades=lambda query_ids, item_ids: answer)
    with pytest.raises(MrStError, match=message):
        JudgmentAnnotator(policy).grade(pairs(("q", "a"), ("q", "b")))


def test_what_is_no_policy():
    with pytest.raises(UsageError, match="policy is list"):
        JudgmentAnnotator([("q", "a", 1)])
    with pytest.raises(UsageError, match="two grades or more"):
        JudgmentAnnotator({("q", "a"): 0}, n_grades=1)
