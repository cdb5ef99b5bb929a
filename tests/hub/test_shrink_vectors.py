"""Vectors at each setting, on arrays small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mr_st.errors import MrStError, UsageError
from mr_st.hub.shrink_settings import Setting, default_settings, parse_setting, settings_of
from mr_st.hub.shrink_speed import search_ms
from mr_st.hub.shrink_vectors import cut, int8_codes, int8_ranges, int8_values, rescored, shrink_vectors, signs
from mr_st.search import TopK


def unit(rows: int, d: int, seed: int = 0) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(rows, d)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("name", "searched", "in_all"),
    [
        ("float32", 40, 40), ("float16", 20, 20), ("int8", 10, 10), ("int8+rescore", 10, 10), ("int8+float32", 10, 50),
        ("binary", 2, 2), ("binary+rescore", 2, 2), ("binary+int8", 2, 12), ("binary+float32", 2, 42),
        ("float32-4", 16, 16), ("binary+int8-8", 1, 9), ("onnx", 40, 40), ("float16-weights", 40, 40),
    ],
)  # fmt: skip
def test_bytes_of_ten_dimensions(name: str, searched: int, in_all: int) -> None:
    setting = parse_setting(name, 10)
    assert (setting.bytes_searched, setting.bytes_per_vector) == (searched, in_all)


@pytest.mark.parametrize(
    "name", ["int4", "float32-0", "float32-11", "", "int8 ", "../x", "float32--4", "onnx-5", "-4"]
)
def test_what_is_no_setting_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"no setting|expected 1 to 10"):
        parse_setting(name, 10)


def test_the_usual_settings() -> None:
    names = [setting.name for setting in default_settings(384)]
    assert names[0] == "float32"
    assert {"float32-192", "float32-96", "float32-48", "int8+rescore-96", "float16", "binary+rescore"} <= set(names)
    assert len(names) == len(set(names))
    assert [setting.dims for setting in default_settings(1)] == [1] * 9  # nothing to cut
    assert {setting.dims for setting in default_settings(8, [3])} == {8, 3}
    with pytest.raises(UsageError, match="500 dimensions: the model's vectors have 384"):
        default_settings(384, [500])
    assert [setting.name for setting in settings_of(["int8", "int8", "int8-8"], 8)] == ["float32", "int8"]


def test_cut_vectors_have_length_1_again() -> None:
    assert cut(np.array([[0.36, 0.48, 0.8]], np.float32), 2) == pytest.approx(np.array([[0.6, 0.8]]), abs=1e-7)
    whole = unit(2, 3)
    assert cut(whole, 3) is whole
    with pytest.raises(MrStError, match="vector 1: its first 1 components are all zero"):
        cut(np.array([[1, 0], [0, 1]], np.float32), 1)


def test_int8_is_within_half_a_step() -> None:
    items = unit(500, 12)
    ranges = int8_ranges(items)
    assert ranges.tolist() == [items.min(axis=0).tolist(), items.max(axis=0).tolist()]
    values = int8_values(int8_codes(items, ranges), ranges)
    steps = (ranges[1] - ranges[0]) / 255
    assert (np.abs(values - items) <= steps / 2 + 1e-6).all()
    outside = int8_values(int8_codes(np.array([[9.0] * 12, [-9.0] * 12], np.float32), ranges), ranges)
    assert np.abs(outside - ranges[::-1]).max() <= steps.max() / 2 + 1e-6  # the ends of the range
    constant = np.array([[0.25], [0.25]], np.float32)
    assert int8_values(int8_codes(constant, int8_ranges(constant)), int8_ranges(constant)).tolist() == [[0.25]] * 2


def test_the_codes_of_a_query_follow_the_catalogue_alone() -> None:
    items, queries = unit(50, 6), unit(4, 6, seed=1)
    alone = shrink_vectors(queries[:1], items, parse_setting("int8", 6))
    among = shrink_vectors(queries, items, parse_setting("int8", 6))
    assert np.array_equal(alone.first[0][0], among.first[0][0])
    assert np.array_equal(alone.first[1], among.first[1])


def test_binary_similarity_is_the_share_of_equal_bits() -> None:
    items = np.array([[1, 1, 1, 1], [1, 1, 1, -1], [-1, -1, -1, -1]], np.float32) / 2
    query = np.array([[0.7, 0.1, 0.1, 0.7]], np.float32)
    found = shrink_vectors(query, items, parse_setting("binary", 4))
    assert (found.similarity[0] @ found.similarity[1].T).tolist() == [[1.0, 0.5, -1.0]]  # 0, 1 and 4 bits differ
    assert found.search(2, 200).ids.tolist() == [[0, 1]]
    assert signs(np.zeros((1, 4))).tolist() == [[-0.5] * 4]  # as packbits has it: above 0 or not


def test_binary_candidates_are_scored_again() -> None:
    items = np.array([[0.6, 0.8], [0.96, 0.28], [0.28, 0.96], [1.0, -0.02]], np.float32)
    query = np.array([[0.999, 0.0447]], np.float32)  # item 3 is nearest, by its signs it is not
    assert shrink_vectors(query, items, parse_setting("binary", 2)).search(4, 4).ids.tolist() == [[0, 1, 2, 3]]
    again = parse_setting("binary+float32", 2)
    assert shrink_vectors(query, items, again).search(4, 4).ids.tolist() == [[3, 1, 0, 2]]
    assert shrink_vectors(query, items, again).search(2, 3).ids.tolist() == [[1, 0]]  # 3 was no candidate
    assert shrink_vectors(query, items, parse_setting("binary+int8", 2)).search(2, 3).ids.tolist() == [[1, 0]]
    by_signs = shrink_vectors(query, items, parse_setting("binary+rescore", 2)).search(2, 4)
    assert by_signs.ids.tolist() == [[0, 1]]  # the signs of the first three are the same: lower row first


def test_places_that_no_candidate_fills_stay_empty() -> None:
    items, query = unit(3, 4), unit(1, 4, seed=1)
    for name in ("float32", "int8+rescore", "binary+float32"):
        found = shrink_vectors(query, items, parse_setting(name, 4)).search(5, 2)
        assert sorted(found.ids[0].tolist()) == [-1, -1, 0, 1, 2]
        assert (found.scores[0, 3:] == -np.inf).all()
    top = TopK(np.array([[1, -1], [-1, -1]]), np.array([[1.0, -np.inf], [-np.inf, -np.inf]], np.float32))
    assert rescored(top, unit(2, 4), items, 2).ids.tolist() == [[1, -1], [-1, -1]]


def test_codes_that_are_all_zero_are_searched_too() -> None:
    items = np.array([[0.0], [1.0], [255.0], [128.5]], np.float32)  # 128.5 has the code 0
    shrunk = shrink_vectors(np.array([[128.2]], np.float32), items, Setting("int8", 1, "int8"))
    assert shrunk.first[0].tolist() == [[0.0]]
    assert shrunk.search(4, 4).scores.tolist() == [[0.0] * 4]


def test_float16_and_full_are_what_they_say() -> None:
    queries, items = unit(3, 8, seed=1), unit(40, 8)
    full = shrink_vectors(queries, items, parse_setting("float32", 8))
    assert full.first[1] is items
    half = shrink_vectors(queries, items, parse_setting("float16", 8))
    assert np.array_equal(half.similarity[1], items.astype(np.float16).astype(np.float32))
    assert np.abs(half.similarity[0] @ half.similarity[1].T - queries @ items.T).max() < 2e-3


@pytest.mark.parametrize("name", [setting.name for setting in default_settings(12)])
def test_every_setting_finds_what_the_engine_that_is_timed_finds(name: str) -> None:
    from mr_st.hub.shrink_speed import _search

    queries, items = unit(5, 12, seed=1), unit(60, 12)
    setting = parse_setting(name, 12)
    timed = _search(cut(items, setting.dims), setting, 10, 30)
    searched = shrink_vectors(queries, items, setting)
    for row, query in enumerate(cut(queries, setting.dims)):
        rows = timed(query[None])
        expected = searched.search(10, 30).scores[row]
        pair = searched.first if searched.again is None else searched.again
        scores = pair[0][row] @ pair[1][rows].T
        most = 2e-3 if setting.dtype == "float16" else 1e-4 * max(1.0, np.abs(expected).max())
        if setting.dtype != "binary" or setting.rescored_with is None:  # ties of bits are broken otherwise
            assert np.abs(np.sort(scores) - np.sort(expected)).max() <= most
    assert search_ms(queries, items, setting, 10, 30) > 0
