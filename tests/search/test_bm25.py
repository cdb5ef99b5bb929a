from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mr_st.search.bm25 as bm25_module
from mr_st.errors import MissingExtraError, MrStError, UsageError
from mr_st.search import Bm25Searcher, QueryBatch
from mr_st.search.analyser import Analyser, common_language

WORDS = ["red", "blue", "shoe", "mug", "lamp", "kettle"]
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join), min_size=1, max_size=12)


def by_hand(queries: list[str], items: list[str], k1: float, b: float, method: str = "lucene") -> np.ndarray:
    """BM25 with plain loops over words that need no analysis, -inf where no term of any weight is shared."""
    split = [item.split() for item in items]
    mean = sum(map(len, split)) / len(split)
    scores = np.full((len(queries), len(items)), -np.inf)
    for i, query in enumerate(queries):
        for j, words in enumerate(split):
            total = 0.0
            for term in query.split():
                tf, df, n = words.count(term), sum(term in other for other in split), len(split)
                if not tf:
                    continue
                length = 1 - b + b * len(words) / mean
                if method == "lucene":
                    total += math.log(1 + (n - df + 0.5) / (df + 0.5)) * tf / (tf + k1 * length)
                elif method == "robertson":
                    total += math.log(max(1, (n - df + 0.5) / (df + 0.5))) * tf / (tf + k1 * length)
                else:
                    total += math.log(n / df) * tf * (k1 + 1) / (tf + k1 * length)
            if total > 0:
                scores[i, j] = total
    return scores


def search(searcher: Bm25Searcher, *queries: str, k: int = 3) -> list[list[int]]:
    return searcher.search(QueryBatch(texts=list(queries)), k).ids.tolist()


@given(
    TEXTS,
    TEXTS,
    st.sampled_from([0.0, 0.3, 1.2, 2.0]),
    st.sampled_from([0.0, 0.6, 1.0]),
    st.sampled_from(["lucene", "robertson", "atire"]),
    st.integers(1, 15),
)
def test_equals_plain_loops(queries: list[str], items: list[str], k1: float, b: float, method: str, k: int) -> None:
    top = Bm25Searcher(items, k1=k1, b=b, method=method).search(QueryBatch(texts=queries), k)
    expected = by_hand(queries, items, k1, b, method)
    for row in range(len(queries)):
        found = top.ids[row][top.ids[row] >= 0]
        assert len(found) == min(k, np.isfinite(expected[row]).sum())
        np.testing.assert_allclose(top.scores[row, : len(found)], expected[row, found], rtol=1e-5)
        np.testing.assert_allclose(top.scores[row, : len(found)], -np.sort(-expected[row])[: len(found)], rtol=1e-5)
        assert np.isneginf(top.scores[row, len(found) :]).all()
        for a, c in zip(range(len(found)), range(1, len(found)), strict=False):
            assert top.scores[row, a] > top.scores[row, c] or found[a] < found[c]


def test_many_ties_at_the_last_place_come_in_row_order() -> None:
    searcher = Bm25Searcher(["red mug", "blue shoe"] * 300)
    top = searcher.search(QueryBatch(texts=["shoe"]), 7)
    assert top.ids.tolist() == [[1, 3, 5, 7, 9, 11, 13]]
    assert len(set(top.scores[0].tolist())) == 1


def test_small_blocks_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    items = [" ".join(rng.choice(WORDS, 5)) for _ in range(100)]
    queries = [" ".join(rng.choice([*WORDS, "nobody"], 2)) for _ in range(40)] + ["", "nobody"]
    searcher = Bm25Searcher(items)
    whole = searcher.search(QueryBatch(texts=queries), 20)
    for limit in (1, 100, 350):
        monkeypatch.setattr(bm25_module, "_BLOCK_POSTINGS", limit)
        again = searcher.search(QueryBatch(texts=queries), 20)
        np.testing.assert_array_equal(again.ids, whole.ids)
        np.testing.assert_array_equal(again.scores, whole.scores)


def test_what_shares_no_term_is_not_found() -> None:
    searcher = Bm25Searcher(["red mug", "", "blue mug"])
    assert search(searcher, "red shoe", "", "nothing known", "!!!") == [[0, -1, -1], [-1] * 3, [-1] * 3, [-1] * 3]


def test_items_without_any_term_are_searched_in_vain(tmp_path: Path) -> None:
    Bm25Searcher(["", "...", " "]).save(tmp_path / "index")
    searcher = Bm25Searcher.load(tmp_path / "index")
    assert len(searcher) == 3
    assert search(searcher, "mug") == [[-1, -1, -1]]


def test_k1_holds_repetition_and_b_length() -> None:
    items = ["mug mug mug plain words here", "mug and plain words here too", "mug"]
    assert search(Bm25Searcher(items, k1=2.0, b=0.0), "mug") == [[0, 1, 2]]
    assert search(Bm25Searcher(items, k1=0.0, b=0.0), "mug") == [[0, 1, 2]]  # all alike
    assert search(Bm25Searcher(items, k1=1.2, b=1.0), "mug")[0][0] == 2
    assert search(Bm25Searcher(["x mug", "mug mug mug mug"], k1=0.0), "mug")[0][:2] == [0, 1]


@pytest.mark.parametrize(
    ("language", "item", "query"),
    [
        ("en", "Running shoes", "runs shoe"),
        ("es", "Zapatillas rojas", "zapatilla roja"),
        ("de-AT", "Rote Lampen für die Küche", "Küchen Lampe"),
        ("fr-FR", "Chaussures légères", "chaussure légère"),
    ],
)
def test_a_language_stems_and_passes_over_its_stop_words(language: str, item: str, query: str) -> None:
    items = [item, "something else"]
    assert search(Bm25Searcher(items, language=language), query, k=1) == [[0]]
    plain, stemmed = Bm25Searcher(items), Bm25Searcher(items, language=language)
    assert stemmed.settings != plain.settings
    stop_word = {"en": "the", "es": "para", "de-AT": "für", "fr-FR": "avec"}[language]
    assert search(Bm25Searcher([stop_word, "x"], language=language), stop_word, k=1) == [[-1]]
    assert search(Bm25Searcher([stop_word, "x"], language=language, stop_words=[]), stop_word, k=1) == [[0]]


def test_own_stop_words() -> None:
    items = ["brand new mug", "brand new lamp"]
    assert search(Bm25Searcher(items, stop_words=["Brand", "new"]), "brand new", "new lamp", k=2) == [
        [-1, -1],
        [1, -1],
    ]


def test_unicode_forms_and_case_are_one() -> None:
    assert search(Bm25Searcher(["Größe ＸＬ", "cafe\u0301"]), "GRÖSSE xl", "CAFÉ", k=1) == [[0], [1]]


def test_scripts_without_spaces_are_found_by_character_pairs() -> None:
    items = ["ナイキ運動靴 27cm", "赤い傘", "革の手袋", "ｽﾆｰｶｰ"]
    searcher = Bm25Searcher(items, language="ja")
    assert search(searcher, "運動靴", "傘", "手袋 赤い", "スニーカー", "靴", k=1) == [[0], [1], [1], [3], [0]]
    assert search(searcher, "動手", k=1) == [[-1]]  # both characters are there, never side by side
    assert Analyser().terms(["Nike靴27cm 赤い傘"], "query") == [["nike", "靴", "27cm", "赤い", "い傘"]]
    assert Analyser().terms(["赤い"], "item") == [["赤い", "赤", "い"]]
    assert Analyser("ko").terms(["나이키 운동화"]) == [["나이키", "운동화"]]


def test_common_language() -> None:
    assert common_language(["en-US", "en_GB", "EN"]) == "en"
    assert common_language(["en", None]) is None
    assert common_language(["und-x", "fr"]) is None
    assert common_language(["und", "und"]) is None
    assert common_language([]) is None


@pytest.mark.parametrize("mmap", [True, False])
def test_saved_and_loaded(tmp_path: Path, mmap: bool) -> None:
    items = ["red running shoes", "靴 for the rain", "", "coffee mug, red"]
    searcher = Bm25Searcher(items, k1=0.3, b=0.6, language="en", method="atire")
    searcher.save(tmp_path / "index")
    again = Bm25Searcher.load(tmp_path / "index", mmap=mmap)
    assert again.settings == searcher.settings
    assert len(again) == 4
    queries = QueryBatch(texts=["red shoe", "靴", "the", "mug rain"])
    for name in ("ids", "scores"):
        np.testing.assert_array_equal(
            getattr(again.search(queries, 4), name), getattr(searcher.search(queries, 4), name)
        )
    assert not list(tmp_path.glob(".tmp*"))


def test_the_same_texts_give_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        Bm25Searcher(["red mug", "blue mug", "red red shoe"], language="en").save(tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("file", ["data.npy", "indices.npy", "indptr.npy", "vocabulary.json", "bm25.json"])
@pytest.mark.parametrize("fault", ["missing", "cut", "empty", "flipped"])
def test_damage_is_refused(tmp_path: Path, file: str, fault: str) -> None:
    Bm25Searcher(["red running shoes", "coffee mug"], language="en").save(tmp_path / "index")
    path = tmp_path / "index" / file
    if fault == "missing":
        path.unlink()
    elif fault == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    elif fault == "empty":
        path.write_bytes(b"")
    elif path.suffix == ".json":
        path.write_text(path.read_text().replace("run", "ran").replace("n_items", "items"))
    else:
        _flip(path)
    with pytest.raises(MrStError, match=r"build it again|run again"):
        Bm25Searcher.load(tmp_path / "index")


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    Bm25Searcher(["red"]).save(tmp_path / "index")
    np.save(tmp_path / "index" / "data.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(MrStError, match="damaged"):
        Bm25Searcher.load(tmp_path / "index", mmap=False)


def test_another_stemmer_version_is_refused(tmp_path: Path) -> None:
    Bm25Searcher(["red shoes"], language="en").save(tmp_path / "index")
    path = tmp_path / "index" / "bm25.json"
    about = json.loads(path.read_text())
    about["settings"]["analyser"]["stemmer_version"] = "0.1"
    path.write_text(json.dumps(about))
    with pytest.raises(MrStError, match=r"english 0\.1.*build it again"):
        Bm25Searcher.load(tmp_path / "index")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"k1": -1}, "k1 is -1"),
        ({"k1": float("nan")}, "k1 is nan"),
        ({"b": 1.5}, "b is 1.5"),
        ({"method": "bm99"}, "method is 'bm99'"),
        ({"language": "english"}, "language is 'english'"),
        ({"stop_words": "the"}, "stop_words is one string"),
    ],
)
def test_wrong_arguments(options: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Bm25Searcher(["red mug"], **options)


def test_wrong_texts() -> None:
    with pytest.raises(UsageError, match="no item texts"):
        Bm25Searcher([])
    with pytest.raises(UsageError, match="one string"):
        Bm25Searcher("red mug")
    with pytest.raises(UsageError, match=r"item texts\[1\] is NoneType"):
        Bm25Searcher(["red", None])
    with pytest.raises(UsageError, match=r"query texts\[0\] is int"):
        Bm25Searcher(["red"]).search(QueryBatch(texts=[3]), 1)


def test_without_the_extra_its_name_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "bm25s", None)
    with pytest.raises(MissingExtraError, match=r"mr-st\[bm25\]"):
        Bm25Searcher(["red mug"])


@given(queries=TEXTS, items=TEXTS, method=st.sampled_from(["lucene", "robertson", "atire"]))
def test_named_pairs_score_as_by_hand_and_as_in_a_search(queries: list[str], items: list[str], method: str) -> None:
    searcher = Bm25Searcher(items, method=method)
    query_rows, item_rows = (a.ravel() for a in np.indices((len(queries), len(items))))
    found = searcher.score_pairs(queries, query_rows, item_rows)
    expected = np.maximum(by_hand(queries, items, 1.2, 0.75, method).ravel(), 0)
    assert np.allclose(found, expected, atol=1e-5)
    top = searcher.search(QueryBatch(texts=queries), len(items))
    given_ids = top.ids >= 0
    rows = np.nonzero(given_ids)[0]
    in_pairs = found.reshape(len(queries), len(items))[rows, top.ids[given_ids]]
    assert in_pairs.tolist() == top.scores[given_ids].tolist(), "to the last bit"


def test_named_pairs_in_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    items, queries = [f"{a} {b}" for a in WORDS for b in WORDS], ["nothing", *WORDS, "red mug", ""]
    query_rows = np.array([0, 1, 1, 3, 7, 7, 8])
    item_rows = np.array([0, 0, 35, 14, 3, 18, 5])
    searcher = Bm25Searcher(items)
    whole = searcher.score_pairs(queries, query_rows, item_rows)
    monkeypatch.setattr(bm25_module, "_BLOCK_POSTINGS", 5)
    assert searcher.score_pairs(queries, query_rows, item_rows).tolist() == whole.tolist()
    assert (whole > 0).tolist() == [False, True, False, True, True, True, False]
