from __future__ import annotations

import numpy as np
import pytest

from mr_st.measures import ABSENT, UNJUDGED, Judged


@pytest.fixture
def judged() -> Judged:
    """Query 0: items 4, 9; query 1: nothing; query 2: items 0, 4, 7."""
    return Judged.from_pairs([2, 0, 2, 0, 2], [7, 9, 0, 4, 4], [0, 1, 2, 2, 1], n_queries=3)


def test_look_up_against_a_dictionary(judged: Judged) -> None:
    known = {
        (q, i): g
        for q, i, g in zip(judged.query_of_pair.tolist(), judged.items.tolist(), judged.grades.tolist(), strict=True)
    }
    ids = np.array([[4, 0, 9, 100], [4, 0, 7, -1], [7, 4, 0, -1]])
    expected = [[ABSENT if i < 0 else known.get((q, i), UNJUDGED) for i in row] for q, row in enumerate(ids.tolist())]
    assert judged.look_up(ids).tolist() == expected
    assert expected[0] == [2, UNJUDGED, 1, UNJUDGED]
    assert expected[1][3] == ABSENT


def test_counts_and_best(judged: Judged) -> None:
    assert judged.per_query.tolist() == [2, 0, 3]
    assert judged.count_at_least(1).tolist() == [2, 0, 2]
    assert judged.count_at_least(2).tolist() == [1, 0, 1]
    assert judged.best_grades(2).tolist() == [[2, 1], [ABSENT, ABSENT], [2, 1]]
    assert judged.best_grades(4)[2].tolist() == [2, 1, 0, ABSENT]
    assert judged.best_grades().tolist() == [[2, 1, ABSENT], [ABSENT] * 3, [2, 1, 0]]


def test_take_renumbers(judged: Judged) -> None:
    some = judged.take(np.array([2, 0]))
    assert some.items.tolist() == [0, 4, 7, 4, 9]
    assert some.offsets.tolist() == [0, 3, 5]
    assert judged.take(np.array([True, False, True])).per_query.tolist() == [2, 3]


@pytest.mark.parametrize("n_items", [40, 300_000, 1 << 40])
def test_look_up_of_catalogues_of_any_size(n_items: int) -> None:
    """Small ones in one table, larger ones in several, row numbers beyond any table by search."""
    rng = np.random.default_rng(n_items)
    n = 50
    pool = np.unique(rng.integers(0, n_items, size=30))
    rows, columns = np.nonzero(rng.random((n, len(pool))) < 0.4)
    grades = rng.integers(0, 3, size=len(rows))
    judged = Judged.from_pairs(rows, pool[columns], grades, n)
    known = dict(zip(zip(rows.tolist(), pool[columns].tolist(), strict=True), grades.tolist(), strict=True))
    ids = rng.choice(np.concatenate([pool, [-1, n_items - 1]]), size=(n, 25))
    expected = [[ABSENT if i < 0 else known.get((q, i), UNJUDGED) for i in row] for q, row in enumerate(ids.tolist())]
    assert judged.look_up(ids).tolist() == expected
    assert judged.look_up(ids).dtype == np.int8


def test_pairs_are_sorted_however_large_their_rows() -> None:
    huge = 2**62
    judged = Judged.from_pairs([1, 0, 1, 0], [huge, 7, 3, huge + 1], [0, 1, 2, 3], n_queries=2)
    assert judged.items.tolist() == [7, huge + 1, 3, huge]
    assert judged.grades.tolist() == [1, 3, 2, 0]


def test_grades_beyond_a_byte_are_kept() -> None:
    judged = Judged.from_pairs([0, 0], [1, 2], [1000, 127], 1)
    assert judged.look_up(np.array([[2, 1, 0]])).tolist() == [[127, 1000, UNJUDGED]]
    assert judged.best_grades().tolist() == [[1000, 127]]


def test_no_judgment_at_all() -> None:
    nothing = Judged.from_pairs([], [], [], n_queries=2)
    assert nothing.look_up(np.array([[3], [-1]])).tolist() == [[UNJUDGED], [ABSENT]]
    assert nothing.best_grades(2).tolist() == [[ABSENT, ABSENT]] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 0], [3, 3], [1, 2], 1), "query 0, item 3: judged twice"),
        (([0], [3], [-1], 1), "0 or more"),
        (([1], [3], [1], 1), "query indices must be 0..0"),
        (([0], [3, 4], [1], 1), "different length"),
    ],
)
def test_bad_pairs_are_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Judged.from_pairs(*arguments)


def test_a_run_of_other_queries_is_refused(judged: Judged) -> None:
    with pytest.raises(ValueError, match="a run of 2 queries against judgments of 3"):
        judged.look_up(np.zeros((2, 1), dtype=int))
