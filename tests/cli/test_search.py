"""``mr-st search``: what it prints, what it keeps, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mr_st.cli.main import main
from mr_st.data import GradedDataset
from mr_st.encoding import EncodeStage


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    items = [
        {"item_id": "i1", "title": "Red running shoes", "category_path": ["shoes"]},
        {"item_id": "i2", "title": "[red]x[/red] shoe", "category_path": ["shoes"]},
        {"item_id": "i3", "title": "Coffee mug \x1b[31m\x1b]0;owned\x07 steel", "category_path": ["kitchen"]},
        {"item_id": "i4", "title": "Desk lamp\r\n\x9b2J led", "category_path": ["office"]},
    ]
    return GradedDataset.from_tables(
        [{"query_id": "q1", "text": "red shoes"}, {"query_id": "q2", "text": "mug"}],
        [{**item, "locale": "en-US"} for item in items],
        [
            {"query_id": "q1", "item_id": "i1", "grade": 2, "split": "train"},
            {"query_id": "q1", "item_id": "i2", "grade": 1, "split": "test"},
            {"query_id": "q2", "item_id": "i3", "grade": 2, "split": "train"},
        ],
    ).save(tmp_path / "shop")


def run(*words: Any) -> int:
    try:
        main(["search", *map(str, words)])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def found(capsys: pytest.CaptureFixture[str], *words: Any) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert run(*words, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_words_alone_need_no_model(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (answer,) = found(capsys, "-", shop, "mugs", "--kind", "bm25")
    assert [hit["item_id"] for hit in answer["results"]] == ["i3"]
    assert answer["query"] == "mugs"
    assert answer["results"][0]["grade"] is None, "judged is 'mug', not 'mugs'"


@pytest.mark.parametrize("kind", ["auto", "exact", "hybrid"])
def test_a_model_finds_and_grades_are_shown(
    kind: str, shop: Path, tiny_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = found(capsys, tiny_base, shop, "red shoes", "something else", "--kind", kind, "--k", 4)
    assert [answer["query"] for answer in answers] == ["red shoes", "something else"]
    assert {hit["item_id"]: hit["grade"] for hit in answers[0]["results"]} == {
        "i1": 2,
        "i2": 1,
        "i3": None,
        "i4": None,
    }
    assert [hit["rank"] for hit in answers[0]["results"]] == [1, 2, 3, 4]
    assert not answers[1]["is_judged"]
    assert run(tiny_base, shop, "red shoes", "--kind", kind) == 0
    shown = capsys.readouterr().out
    assert "2 relevant" in shown
    assert "1 partial" in shown


def test_titles_cannot_move_the_terminal_or_act_as_markup(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("-", shop, "shoe", "mug", "lamp", "--kind", "bm25") == 0
    shown = capsys.readouterr().out
    assert "[red]x[/red] shoe" in shown
    assert r"Coffee mug \u001b[31m\u001b]0;owned\u0007 steel" in shown
    assert r"Desk lamp  \u009b2J led" in shown
    assert not {character for character in shown if not character.isprintable()} - {"\n"}


def test_a_query_cannot_either(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("-", shop, "\x1b[bold]zzz", "[/nope] mug", "--kind", "bm25") == 0
    shown = capsys.readouterr().out
    assert r"\u001b[bold]zzz: nothing found" in shown
    assert "[/nope] mug" in shown
    assert "\x1b" not in shown


def test_queries_come_from_a_file_too(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "queries.txt").write_text("\ufeffmug\n\n  desk lamp \n", encoding="utf-8")
    answers = found(capsys, "-", shop, "--kind", "bm25", "--queries", tmp_path / "queries.txt")
    assert [answer["query"] for answer in answers] == ["mug", "desk lamp"]
    both = found(capsys, "-", shop, "shoes", "--kind", "bm25", "--queries", tmp_path / "queries.txt")
    assert [answer["query"] for answer in both] == ["shoes", "mug", "desk lamp"]


@pytest.mark.parametrize("kind", ["exact", "hnsw", "hybrid"])
def test_an_index_is_built_once_and_opened_after(
    kind: str, shop: Path, tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    words = (tiny_base, shop, "red shoes", "--index", tmp_path / "index")
    assert run(*words, "--kind", kind) == 0
    recall = ", 100.0% of exact search's top 4" if kind == "hnsw" else ""
    assert f"index: built in {tmp_path / 'index'} ({kind}, 4 items{recall})" in capsys.readouterr().err
    first = found(capsys, *words, "--kind", kind)
    monkeypatch.setattr(EncodeStage, "run", lambda *args: pytest.fail("encoded again"))
    assert run(*words) == 0
    assert f"index: {tmp_path / 'index'} ({kind}, 4 items), as it was built" in capsys.readouterr().err
    assert found(capsys, *words) == first


def test_a_stale_index_is_refused_and_rebuilt(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("-", tmp_path / "shop", "mug", "--kind", "bm25", "--index", tmp_path / "index")
    assert run(*words) == 0
    dataset = GradedDataset.load(shop)
    changed = [{**item, "title": item["title"].replace("Coffee", "Tea")} for item in dataset.items]
    GradedDataset.from_tables(dataset.queries, changed, dataset.judgments).save(shop)
    capsys.readouterr()
    assert run(*words) == 1
    said = capsys.readouterr().err
    assert "the index is stale (the items' texts changed); run again with --rebuild" in said
    assert len(said.strip().splitlines()) == 1
    assert found(capsys, *words, "--rebuild")[0]["results"][0]["title"].startswith("Tea mug")
    assert found(capsys, *words)[0]["results"][0]["title"].startswith("Tea mug")


def test_an_index_of_another_kind_is_refused(
    shop: Path, tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("-", shop, "mug", "--kind", "bm25", "--index", tmp_path / "index") == 0
    assert run(tiny_base, shop, "mug", "--kind", "hybrid", "--index", tmp_path / "index") == 1
    assert "is of kind bm25, asked for is hybrid; run again with --rebuild" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mug", " "], "the query is empty"),
        ([], "no query"),
        (["--queries", "nowhere.txt"], "nowhere.txt: cannot read the queries"),
        (["mug", "--kind", "hybrid"], "--kind hybrid needs a model"),
        (["mug"], "give a model, or --kind bm25"),
        (["mug", "--rebuild", "--kind", "bm25"], "--rebuild needs --index"),
    ],
)
def test_wrong_use_is_one_line(words: list[str], said: str, shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("-", shop, *words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1


def test_hnsw_needs_a_folder(shop: Path, tiny_base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tiny_base, shop, "mug", "--kind", "hnsw") == 2
    assert "--kind hnsw needs --index" in capsys.readouterr().err
