from __future__ import annotations

import numpy as np
import pytest

from mr_st.measures import Judged, grade_pairs, margins


def test_margins_by_hand() -> None:
    # query 0: grades 2 (.8, .6), 1 (.5), 0 (.4, -.2); query 1: 2 (.9), 0 (.95); query 2: only grade 1
    judged = Judged.from_pairs(
        [0, 0, 0, 0, 0, 1, 1, 2], [0, 1, 2, 3, 4, 0, 1, 0], [2, 2, 1, 0, 0, 2, 0, 1], n_queries=3
    )
    similarities = np.array([0.8, 0.6, 0.5, 0.4, -0.2, 0.9, 0.95, 0.3])
    found = margins(judged, similarities, 2, 0)
    np.testing.assert_allclose(found.average, [0.7 - 0.1, -0.05, np.nan])
    np.testing.assert_allclose(found.worst, [0.6 - 0.4, -0.05, np.nan])
    assert found.n == 2
    found = margins(judged, similarities, 2, 1)
    np.testing.assert_allclose(found.average, [0.2, np.nan, np.nan])
    np.testing.assert_allclose(found.worst, [0.1, np.nan, np.nan])


def test_margins_equal_plain_loops() -> None:
    rng = np.random.default_rng(0)
    pairs = np.argwhere(rng.random((20, 15)) < 0.5)
    judged = Judged.from_pairs(pairs[:, 0], pairs[:, 1], rng.integers(0, 3, len(pairs)), 22)  # two without a pair
    similarities = rng.uniform(-1, 1, len(pairs))
    counted = rng.random(len(pairs)) < 0.6
    for high, low in grade_pairs(3):
        found = margins(judged, similarities, high, low, counted)
        for query in range(22):
            mine = (judged.query_of_pair == query) & counted
            above, below = (similarities[mine & (judged.grades == grade)] for grade in (high, low))
            if len(above) and len(below):
                assert found.average[query] == pytest.approx(above.mean() - below.mean())
                assert found.worst[query] == pytest.approx(above.min() - below.max())
            else:
                assert np.isnan(found.average[query])
                assert np.isnan(found.worst[query])


def test_grade_pairs_of_four_grades() -> None:
    assert grade_pairs(4) == [(3, 0), (2, 0), (3, 1), (1, 0), (2, 1), (3, 2)]


def test_no_pair_at_all_gives_no_margin() -> None:
    found = margins(Judged.from_pairs([], [], [], 2), np.empty(0), 1, 0)
    assert found.n == 0
    assert np.isnan(found.worst).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_cannot_be_is_refused(value: float) -> None:
    judged = Judged.from_pairs([0], [0], [0], 1)
    with pytest.raises(ValueError, match="higher"):
        margins(judged, np.array([0.1]), 0, 2)
    with pytest.raises(ValueError, match="one similarity a judged pair"):
        margins(judged, np.array([0.1, 0.2]), 2, 0)
    with pytest.raises(ValueError, match="1 of 1 similarities are not finite"):
        margins(judged, np.array([value]), 2, 0)
