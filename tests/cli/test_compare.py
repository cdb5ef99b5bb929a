"""``mr-st compare``: what it prints of results, their slices and queries, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from word_shop import WordSystem, word_shop

from mr_st.cli.main import main
from mr_st.evaluation import Collection, compare, evaluate_system


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the shop and results of three systems on it."""
    folder = tmp_path_factory.mktemp("compare")
    dataset = word_shop()
    dataset.save(folder / "shop")
    collection = Collection.from_dataset(dataset)
    for system in (WordSystem("t/a"), WordSystem("t/b", deepest=4), WordSystem("t/c", k1=3.0, b=1.0)):
        evaluate_system(system, collection, task_name="Words", ks=(5, 10), n_resamples=50).save(folder / "results")
    return folder


def run(*words: Any) -> int:
    try:
        main(["compare", *map(str, words)])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def found(capsys: pytest.CaptureFixture[str], *words: Any) -> dict[str, Any]:
    capsys.readouterr()
    assert run(*words, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_two_models(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from mr_st.cli.reports import find_report

    value = found(capsys, "t/a", "t/b", "--task", "Words", "--results", made / "results", "--top", 2)
    (one,) = value["comparisons"]
    a, b = (find_report(name, "Words", made / "results") for name in ("t/a", "t/b"))
    expected = compare(a, b)
    assert (value["task"], value["split"], value["baseline"]["model"]) == ("Words", "test", "t/a")
    assert one["difference"] == expected.difference
    assert (one["low"], one["high"], one["p_value"]) == (expected.low, expected.high, expected.p_value)
    assert one["p_holm"] is None
    assert [m["query_id"] for m in one["most_moved"]] == [query for query, _ in expected.most_moved(2)]
    assert one["most_moved"][0]["b"] - one["most_moved"][0]["a"] == pytest.approx(expected.most_moved(1)[0][1])
    assert one["most_moved"][0]["query"] is None


def test_several_models_and_metrics(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["t/a", "t/b", "t/c", "-t", "Words", "--results", made / "results", "-m", "ndcg@10", "-m", "recall@5"]
    comparisons = found(capsys, *words)["comparisons"]
    assert [(c["metric"], c["model_b"]) for c in comparisons] == [
        ("ndcg@10", "t/b"), ("ndcg@10", "t/c"), ("recall@5", "t/b"), ("recall@5", "t/c"),
    ]  # fmt: skip
    for metric in (comparisons[:2], comparisons[2:]):
        p = sorted(c["p_value"] for c in metric)
        assert sorted(c["p_holm"] for c in metric) == pytest.approx([min(1, 2 * p[0]), max(min(1, 2 * p[0]), p[1])])
    assert run(*words) == 0
    shown = capsys.readouterr().out
    assert "p (Holm)" in shown
    assert "recall@5 of t/c: queries that moved most" in shown


def test_slices_texts_and_a_plot(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plot = tmp_path / "slices.png"
    words = [
        "t/a",
        "t/b",
        "-t",
        "Words",
        "--results",
        made / "results",
        "--by",
        "traffic",
        "--by",
        "kind",
        "--by",
        "seen",
    ]
    value = found(capsys, *words, "--data", made / "shop", "--plot", plot)
    traffic, kind, seen = value["comparisons"][0]["slices"]
    assert list(traffic["parts"]) == ["head", "torso", "tail"]
    assert kind["parts"]["spelling"]["p_value"] is None
    assert (kind["parts"]["spelling"]["n"], kind["parts"]["spelling"]["verdict"]) == (5, "too few queries")
    assert "does not tell" in seen["note"]
    texts = dict(zip((q := word_shop().queries)["query_id"], q["text"], strict=True))
    assert all(m["query"] == texts[m["query_id"]] for m in value["comparisons"][0]["most_moved"])
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert run(*words, "--data", made / "shop") == 0
    shown = capsys.readouterr().out
    assert "ndcg@10 by traffic" in shown
    assert "too few queries" in shown
    assert "note: no slices by seen" in shown


def test_results_of_an_older_version_have_no_slices_and_go_on(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(made / "results", tmp_path / "results")
    for path in (tmp_path / "results").glob("*/*/*.per_query.parquet"):
        pq.write_table(pq.read_table(path).drop_columns(["locale", "kind", "traffic", "seen", "frequency"]), path)
    assert run("t/a", "t/b", "-t", "Words", "--results", tmp_path / "results", "--by", "traffic") == 0
    shown = capsys.readouterr().out
    assert "no slices by traffic: an older mr-st wrote these results" in shown
    assert "0.0" in shown


def test_texts_out_of_data_move_no_cursor(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from mr_st.data import GradedDataset

    shop = word_shop()
    queries = [{**q, "text": q["text"] + " [red]\x1b[31m\n\x07"} for q in shop.queries]
    hostile = GradedDataset.from_tables(queries, list(shop.items), list(shop.judgments), name="hostile")
    hostile.save(tmp_path / "shop")
    collection = Collection.from_dataset(hostile)
    for system in (WordSystem("t/a"), WordSystem("t/b", deepest=4)):
        evaluate_system(system, collection, task_name="Words", ks=(10,), n_resamples=20).save(tmp_path / "results")
    capsys.readouterr()
    assert run("t/a", "t/b", "-t", "Words", "--results", tmp_path / "results", "--data", tmp_path / "shop") == 0
    shown = capsys.readouterr().out
    assert "\x1b[31m" not in shown
    assert "\x07" not in shown
    assert "[red]" in shown


def test_a_system_by_its_last_name_or_by_what_evaluate_was_given(made: Path, tmp_path: Path, capsys) -> None:
    system = tmp_path / "other.yaml"
    system.write_text("kind: random\nname: t/b\n")
    for name in ("b", str(system)):
        assert run("a", name, "--task", "Words", "--results", made / "results") == 0
        assert "t/b" in capsys.readouterr().out
    assert run("a", "bm25", "--task", "Words", "--results", made / "results") == 2
    assert "it has t/a, t/b" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["t/a"], "t/a stands alone; give a baseline and at least one model"),
        (["t/a", "t/none"], "no result of t/none on Words; run: mr-st evaluate"),
        (["t/a", "t/b", "-m", "mrr@7"], "no metric 'mrr@7'; it has ndcg@5"),
        (["t/a", "t/b", "-o", "size=tiny"], "--option says how to load --data"),
        (["t/a", "t/b", "--plot", "slices.txt"], "the file must end in .png, .svg or .pdf"),
        (["t/a", "t/b", "--data", "marketplace", "-o", "size=tiny"], "is other data (fingerprint"),
        (["t/a", "t/b", "--split", "dev"], "no split 'dev'"),
    ],
)
def test_wrong_use_is_one_line(made: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert run(*words, "--task", "Words", "--results", made / "results") == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
