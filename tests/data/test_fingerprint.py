import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from mr_st.data.fingerprint import table_hash

SCHEMA = pa.schema([("t", pa.string()), ("l", pa.list_(pa.string())), ("n", pa.int8()), ("f", pa.float32())])
text = st.text(max_size=4)
row = st.fixed_dictionaries(
    {
        "t": st.none() | text,
        "l": st.none() | st.lists(st.none() | text, max_size=3),
        "n": st.none() | st.integers(-128, 127),
        "f": st.none() | st.floats(0, 1, width=32),
    }
)


@settings(deadline=None)
@given(st.lists(row, max_size=8), st.integers(0, 8), st.integers(0, 8))
def test_chunks_and_slices_do_not_count(rows, cut, lead):
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    padded = pa.Table.from_pylist([*rows[:lead], *rows], schema=SCHEMA).slice(len(rows[:lead]))
    chunked = pa.concat_tables([padded.slice(0, cut), padded.slice(cut)])
    assert table_hash(chunked) == table_hash(table)


@settings(deadline=None)
@given(st.lists(row, max_size=6), st.lists(row, max_size=6))
def test_equal_hashes_mean_equal_rows(left, right):
    left, right = (pa.Table.from_pylist(rows, schema=SCHEMA) for rows in (left, right))
    assert (table_hash(left) == table_hash(right)) == (left.to_pylist() == right.to_pylist())


def test_boundaries_nulls_and_order_count():
    columns = [["ab", "c"], ["a", "bc"], ["c", "ab"], ["ab", "c", None], ["ab", "c", ""]]
    hashes = {table_hash(pa.table({"t": pa.array(values, pa.string())})) for values in columns}
    lists = [[["a"], ["b"]], [["a", "b"], []], [["a", "b"], None]]
    hashes |= {table_hash(pa.table({"t": pa.array(values, pa.list_(pa.string()))})) for values in lists}
    assert len(hashes) == 8
