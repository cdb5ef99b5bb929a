import numpy as np
import pytest

from mr_st.data import JudgedPairs, PairTable
from mr_st.errors import UsageError


def test_pairs_are_sorted_and_found_by_query():
    pairs = JudgedPairs.from_rows([3, 0, 3, 0], [1, 9, 0, 2], [2, 0, 1, 2], n_queries=5)
    assert pairs.query_rows.tolist() == [0, 0, 3, 3]
    assert pairs.item_rows.tolist() == [2, 9, 0, 1]
    assert pairs.grades.tolist() == [2, 0, 1, 2]
    assert (pairs.query_rows.dtype, pairs.item_rows.dtype, pairs.grades.dtype) == (np.int32, np.int32, np.int8)
    assert pairs.offsets.tolist() == [0, 2, 2, 2, 4, 4]
    assert pairs.query_rows_with_pairs.tolist() == [0, 3]
    assert len(pairs) == pairs.n_pairs == 4
    items, grades = pairs.for_query(3)
    assert (items.tolist(), grades.tolist()) == ([0, 1], [1, 2])
    items, grades = pairs.for_query(4)
    assert (items.tolist(), grades.tolist()) == ([], [])


def test_a_pair_table_takes_rows_in_the_order_asked():
    table = PairTable(["q", "r"], ["a", "b"], ["red", "blue"], ["A", "B"], ["en", "de"])
    assert len(table) == 2
    assert table.take([1, 0, 1]) == PairTable(
        ["r", "q", "r"], ["b", "a", "b"], ["blue", "red", "blue"], ["B", "A", "B"], ["de", "en", "de"]
    )
    assert len(table.take(np.array([], dtype=int))) == 0


def test_columns_of_different_length_are_refused():
    with pytest.raises(UsageError, match="differ in length"):
        PairTable(["q"], ["a", "b"], ["red"], ["A"], ["en"])
