"""Several annotators as one: hand-computed means, votes, ties and disagreement."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mr_st.annotation import Annotations, Annotator, EnsembleAnnotator, JudgmentAnnotator, PairTable
from mr_st.annotation.ensemble import vote_shares
from mr_st.errors import MrStError, UsageError

PAIRS = PairTable(["q"] * 2, ["a", "b"], ["query"] * 2, ["item a", "item b"], ["en"] * 2)


class Fixed:
    """Gives the same probabilities to every pair."""

    def __init__(self, *probabilities: float):
        self.probabilities = probabilities
        self.identity = "fixed-" + "-".join(map(str, probabilities))
        self.n_calls = 0

    def grade(self, pairs: PairTable) -> Annotations:
        self.n_calls += 1
        rows = np.tile(np.array(self.probabilities, dtype=np.float32), (len(pairs), 1))
        return Annotations(rows.argmax(axis=1), rows)


SURE_2, LEANS_0, LEANS_1 = Fixed(0.0, 0.1, 0.9), Fixed(0.6, 0.3, 0.1), Fixed(0.2, 0.5, 0.3)


def test_mean():
    annotations = EnsembleAnnotator([SURE_2, LEANS_0]).grade(PAIRS)
    np.testing.assert_allclose(annotations.probabilities, [[0.3, 0.2, 0.5]] * 2, atol=1e-6)
    assert annotations.grades.tolist() == [2, 2]


def test_weighted_mean():
    annotations = EnsembleAnnotator([SURE_2, LEANS_0], weights=[1, 3]).grade(PAIRS)
    np.testing.assert_allclose(annotations.probabilities[0], [0.45, 0.25, 0.3], atol=1e-6)
    assert annotations.grades.tolist() == [0, 0]


def test_vote_of_the_majority():
    annotations = EnsembleAnnotator([SURE_2, LEANS_0, Fixed(0.4, 0.3, 0.3)], how="vote").grade(PAIRS)
    np.testing.assert_allclose(annotations.probabilities[0], [2 / 3, 0, 1 / 3], atol=1e-6)
    assert annotations.grades.tolist() == [0, 0]  # though the mean would say 2


def test_a_tie_goes_to_the_more_probable_grade():
    annotations = EnsembleAnnotator([LEANS_0, SURE_2, LEANS_1], how="vote").grade(PAIRS)
    assert annotations.grades.tolist() == [2, 2]  # means: .267, .3, .433
    np.testing.assert_allclose(annotations.probabilities[0], [0.333, 0.333, 0.334], atol=1e-5)


def test_a_tie_in_everything_goes_to_the_lower_grade():
    annotations = EnsembleAnnotator([Fixed(0.1, 0.1, 0.8), Fixed(0.1, 0.8, 0.1)], how="vote").grade(PAIRS)
    assert annotations.grades.tolist() == [1, 1]
    assert EnsembleAnnotator([Fixed(0, 0, 1), Fixed(0, 1, 0)]).grade(PAIRS).grades.tolist() == [1, 1]


def test_weights_make_a_vote():
    annotations = EnsembleAnnotator([SURE_2, LEANS_0, LEANS_1], how="vote", weights=[2, 5, 2]).grade(PAIRS)
    np.testing.assert_allclose(annotations.probabilities[0], [5 / 9, 2 / 9, 2 / 9], atol=1e-6)


@given(
    st.lists(st.lists(st.integers(1, 9), min_size=3, max_size=3), min_size=2, max_size=5),
    st.lists(st.integers(1, 4), min_size=5, max_size=5),
)
def test_votes_by_plain_counting(scores, weights):
    probabilities = np.array(scores, dtype=np.float64)[:, None, :]
    probabilities /= probabilities.sum(axis=2, keepdims=True)
    grades, given_weights = probabilities.argmax(axis=2), weights[: len(scores)]
    votes = [sum(w for g, w in zip(grades[:, 0], given_weights, strict=True) if g == grade) for grade in range(3)]
    mean = [sum(w * p for w, p in zip(given_weights, probabilities[:, 0, g], strict=True)) for g in range(3)]
    winner = max(range(3), key=lambda grade: (votes[grade], round(mean[grade], 7), -grade))
    shares = vote_shares(probabilities, grades, np.array(given_weights) / sum(given_weights))[0]
    assert shares.astype(np.float32).argmax() == winner
    np.testing.assert_allclose(shares, np.array(votes) / sum(votes), atol=1e-3)
    assert shares.sum() == pytest.approx(1)


def test_disagreement():
    assert EnsembleAnnotator([SURE_2, Fixed(0, 0, 1)]).disagreement(PAIRS).tolist() == [0, 0]
    assert EnsembleAnnotator([SURE_2, LEANS_0]).disagreement(PAIRS).tolist() == [1, 1]
    # of the three pairs of members two differ
    np.testing.assert_allclose(EnsembleAnnotator([SURE_2, LEANS_0, Fixed(0, 0, 1)]).disagreement(PAIRS), 2 / 3)


def test_opinions_name_the_members_in_the_order_given_and_ask_each_once():
    members = [Fixed(0.2, 0.2, 0.6), Fixed(0.5, 0.3, 0.2)]
    opinions = EnsembleAnnotator(members).opinions(PAIRS)
    assert opinions.member_grades.tolist() == [[2, 2], [0, 0]]
    assert opinions.annotations.grades.tolist() == [2, 2]  # .35 .25 .4
    assert [member.n_calls for member in members] == [1, 1]


def test_identity_and_grades_do_not_depend_on_the_members_order():
    members, weights = [SURE_2, LEANS_0, LEANS_1], [0.2, 0.3, 0.7]
    one, other = EnsembleAnnotator(members, weights=weights), EnsembleAnnotator(members[::-1], weights=weights[::-1])
    assert one.identity == other.identity
    np.testing.assert_array_equal(one.grade(PAIRS).probabilities, other.grade(PAIRS).probabilities)
    assert isinstance(one, Annotator)


def test_identity_covers_members_weights_and_how():
    ensembles = [
        EnsembleAnnotator([SURE_2, LEANS_0]),
        EnsembleAnnotator([SURE_2, LEANS_1]),
        EnsembleAnnotator([SURE_2, LEANS_0], how="vote"),
        EnsembleAnnotator([SURE_2, LEANS_0], weights=[1, 2]),
        EnsembleAnnotator([SURE_2, LEANS_0], weights=[2, 1]),
    ]
    assert len({ensemble.identity for ensemble in ensembles}) == 5
    assert EnsembleAnnotator([SURE_2, LEANS_0], weights=[2, 2]).identity == ensembles[0].identity


def test_a_member_with_another_scale_is_refused():
    with pytest.raises(UsageError, match=r"knows 3 grades and fixed-0\.5-0\.5 2"):
        EnsembleAnnotator([SURE_2, Fixed(0.5, 0.5)]).grade(PAIRS)


def test_no_pairs():
    for how in ("mean", "vote"):
        annotations = EnsembleAnnotator([SURE_2, LEANS_0], how=how).grade(PAIRS.take([]))
        assert annotations.probabilities.shape == (0, 3)


def test_a_members_failure_is_the_ensembles():
    known = JudgmentAnnotator({("q", "a"): 1}, n_grades=3)
    with pytest.raises(MrStError, match="item 'b'"):
        EnsembleAnnotator([SURE_2, known]).grade(PAIRS)


@pytest.mark.parametrize(
    ("members", "settings", "message"),
    [
        ([SURE_2], {}, "ensemble of 1"),
        ([SURE_2, LEANS_0], {"how": "median"}, "how is 'median'"),
        ([SURE_2, LEANS_0], {"weights": [1]}, "weights are"),
        ([SURE_2, LEANS_0], {"weights": [1, 0]}, "weights are"),
        ([SURE_2, LEANS_0], {"weights": [1, float("nan")]}, "weights are"),
    ],
)
def test_ensembles_that_mean_nothing(members, settings, message):
    with pytest.raises(UsageError, match=message):
        EnsembleAnnotator(members, **settings)
