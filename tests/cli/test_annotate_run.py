"""``mr-st annotate run``: what it writes, what it keeps, and one clear line for what cannot be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from faulty_endpoint import KEY, MODEL, faulty_endpoint, true_grade
from sentence_transformers import CrossEncoder

from mr_st.annotation import CrossEncoderAnnotator, LabelStore
from mr_st.cli.main import main
from mr_st.data import GradedDataset

TINY = ("marketplace", "-o", "size=tiny")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(words)
    printed = capsys.readouterr()
    return int(caught.value.code or 0), printed.out, printed.err


def annotate(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    return run(capsys, "annotate", "run", *TINY, *words)


@pytest.fixture(scope="module")
def shop() -> GradedDataset:
    return GradedDataset.load("marketplace", size="tiny")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    folder = tmp_path_factory.mktemp("fitted")
    CrossEncoder(str(tiny_base), num_labels=3, device="cpu").save(str(folder / "model"))
    return folder


@pytest.fixture
def hosted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A server on the loopback interface, and the file that names it."""
    monkeypatch.setenv("LOOPBACK_KEY", KEY)
    with faulty_endpoint() as server:
        (tmp_path / "hosted.yaml").write_text(
            f"kind: endpoint\nmodel: {MODEL}\nbase_url: {server.base_url}\napi_key_env: LOOPBACK_KEY\n"
            "guideline: brief\nconcurrency: 2\nprice_per_million_input: 1.0\nprice_per_million_output: 1.0\n"
        )
        yield server, str(tmp_path / "hosted.yaml")


def write_pairs(shop: GradedDataset, path: Path, n: int) -> list[tuple[str, str]]:
    """n pairs of ids that are not all judged, in a CSV file; the first one twice."""
    queries, items = shop.queries["query_id"], shop.items["item_id"]
    pairs = [(queries[row % len(queries)], items[(7 * row) % len(items)]) for row in range(n)]
    path.write_text("item_id,note,query_id\n" + "".join(f"{i},x,{q}\n" for q, i in [*pairs, pairs[0]]))
    return pairs


def test_the_policy_agrees_with_itself_and_needs_no_store(
    shop: GradedDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "labels.parquet"
    code, printed, err = annotate(
        capsys, "--annotator", "policy", "--split", "test", "--out", str(out), "--json", "-q"
    )
    assert (code, err) == (0, "")
    facts = json.loads(printed)
    judged = shop.judged_pairs("test")
    assert facts["n_pairs"] == facts["newly_labelled"] == len(judged)
    assert facts["agreement_with_judgments"]["accuracy"] == 1.0
    assert sum(facts["by_grade"].values()) == len(judged)
    assert facts["complete"] is True
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.parquet"]
    table = pl.read_parquet(out)
    assert table.columns == ["query_id", "item_id", "grade", "probabilities", "confidence", "annotator"]
    assert table["grade"].to_list() == judged.grades.tolist()
    assert table["annotator"].unique().to_list() == [facts["annotator"]]
    assert table["probabilities"].to_list()[0] == [float(g == judged.grades[0]) for g in range(3)]


def test_a_rerun_asks_nothing_and_writes_the_same(
    shop: GradedDataset, fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = write_pairs(shop, tmp_path / "pairs.csv", 30)
    words = ("--annotator", str(fitted), "--pairs", str(tmp_path / "pairs.csv"), "--json", "-q")
    code, printed, err = annotate(
        capsys, *words, "--out", str(tmp_path / "a.parquet"), "--to-dataset", str(tmp_path / "ds")
    )
    assert code == 0, err
    first = json.loads(printed)
    assert (first["n_pairs"], first["known_before"]) == (30, 0)
    table = pl.read_parquet(tmp_path / "a.parquet")
    assert list(zip(table["query_id"], table["item_id"], strict=True)) == pairs
    labelled = GradedDataset.load(tmp_path / "ds")
    identity = CrossEncoderAnnotator(fitted / "model").identity
    assert first["dataset"]["fingerprint"] == labelled.fingerprint
    assert set(labelled.judgments["source"]) == {identity}
    assert labelled.judgments["grade"] == table["grade"].to_list()
    assert labelled.judgments["confidence"] == table["confidence"].to_list()

    code, printed, err = annotate(capsys, *words, "--out", str(tmp_path / "b.parquet"))
    again = json.loads(printed)
    assert (again["known_before"], again["newly_labelled"]) == (30, 0)
    assert again["store"] == str(tmp_path / "labels.sqlite")
    assert pl.read_parquet(tmp_path / "b.parquet").equals(table)
    assert LabelStore(tmp_path / "labels.sqlite").facts()[0]["identity"] == identity


def test_an_endpoint_out_of_budget_and_out_of_it_again(
    hosted, shop: GradedDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server, file = hosted
    write_pairs(shop, tmp_path / "pairs.csv", 40)
    words = ("--annotator", file, "--pairs", str(tmp_path / "pairs.csv"), "--out", str(tmp_path / "a.parquet"))
    code, printed, err = annotate(capsys, *words, "--limit", "5", "--json", "-q")
    assert code == 0
    cost = json.loads(printed)["spend"] / 5
    assert cost > 0
    code, printed, err = annotate(capsys, *words, "--budget", f"{20 * cost:.9f}")
    assert code == 1
    line = err.strip().splitlines()[-1]
    assert line.startswith("mr-st: error: ")
    assert "raise the budget and run again: only these are asked" in line
    assert KEY not in err + printed
    table = pl.read_parquet(tmp_path / "a.parquet")
    assert 5 < table.height < 40
    assert f"{table.height} (5 kept before, {table.height - 5} new)" in printed
    code, printed, err = annotate(capsys, *words, "--json")
    facts = json.loads(printed)
    assert (code, facts["complete"], facts["known_before"]) == (0, True, table.height)
    assert "spent" in err  # the bar
    assert set(server.good.values()) == {1}
    assert not server.asked_after_good
    (known,) = LabelStore(tmp_path / "labels.sqlite").facts()
    assert known["n_labels"] == 40
    assert known["cost"] == pytest.approx(40 * cost, rel=0.2)
    texts = dict(zip(shop.items["item_id"], shop.item_texts(), strict=True))
    queries = dict(zip(shop.queries["query_id"], shop.query_texts(), strict=True))
    for query_id, item_id, grade in pl.read_parquet(tmp_path / "a.parquet").select(pl.col(pl.String), "grade").select(
        "query_id", "item_id", "grade"
    ).iter_rows():  # fmt: skip
        assert grade == true_grade(queries[query_id], texts[item_id])


def test_labels_of_an_endpoint_are_marked_as_a_models(
    hosted, shop: GradedDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, file = hosted
    code, _, _ = annotate(
        capsys, "--annotator", file, "--split", "dev", "--limit", "12", "--out", str(tmp_path / "a.parquet"),
        "--to-dataset", str(tmp_path / "ds"), "-q",
    )  # fmt: skip
    labelled = GradedDataset.load(tmp_path / "ds")
    assert code == 0
    assert len(labelled.judgments) == 12
    assert set(labelled.judgments["split"]) == {"dev"}
    (source,) = set(labelled.judgments["source"])
    assert source.startswith("llm:endpoint-")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--pairs", "p.csv", "--split", "test"), 2, "--pairs and --split exclude each other"),
        (("--split", "tset"), 2, "no split 'tset'"),
        (("--budget", "1"), 2, "the policy costs nothing"),
        (("--pairs", "no.csv"), 1, "no.csv"),
        (("--pairs", "pairs.txt"), 2, "no table file"),
        (("--to-dataset", "SOURCE"), 2, "holds other files"),
        (("--annotator", "nowhere/at/all"), 2, "no such folder or file"),
        (("--annotator", "bad.yaml"), 2, "bad.yaml: kind: found 'endpont'; did you mean endpoint?"),
        (("--out", "."), 2, "a folder; name the labels' file"),
    ],
)
def test_what_cannot_be_is_one_line(
    words: tuple[str, ...], code: int, message: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text("kind: endpont\n")
    (tmp_path / "SOURCE").mkdir()
    (tmp_path / "SOURCE" / "own.txt").write_text("mine")
    given = ("--annotator", "policy", "--out", "a.parquet", *words)
    got, printed, err = annotate(capsys, *given, "-q")
    assert (got, printed) == (code, "")
    assert err.startswith("mr-st: error: ")
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "a.parquet").exists()


def test_faults_of_the_pairs_file_name_row_and_column(
    shop: GradedDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query, item = shop.queries["query_id"][0], shop.items["item_id"][0]
    path = tmp_path / "pairs.csv"
    words = ("--annotator", "policy", "--pairs", str(path), "--out", str(tmp_path / "a.parquet"), "-q")
    path.write_text(f"query_id,item_id\n{query},{item}\n{query},none\nnone,{item}\n")
    code, _, err = annotate(capsys, *words)
    assert code == 1
    assert "pairs.csv, row 3, column query_id: no query has the id none" in err
    assert "(and 1 more" in err
    path.write_text(f"query,item_id\n{query},{item}\n")
    code, _, err = annotate(capsys, *words)
    assert code == 1
    assert "pairs.csv, column query_id: missing; found query, item_id" in err


def test_another_scale_is_refused_before_anything_is_asked(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    CrossEncoder(str(tiny_base), num_labels=2, device="cpu").save(str(tmp_path / "two"))
    code, _, err = annotate(
        capsys, "--annotator", str(tmp_path / "two"), "--out", str(tmp_path / "a.parquet"), "-q"
    )  # fmt: skip
    assert code == 2
    assert "grades 0..1, but the dataset's scale is" in err
    assert not (tmp_path / "labels.sqlite").exists()


@pytest.mark.parametrize("command", [("annotate", "run"), ("mine",), ("data", "golden")])
def test_the_help_says_what_an_annotator_may_be(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, _ = run(capsys, *command, "--help")
    assert code == 0
    assert "Example" in printed
    words = " ".join(printed.replace("│", " ").split())
    assert "a YAML file that says which annotator it is" in words


def test_mining_keeps_the_labels_that_it_paid_for(
    hosted, tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server, file = hosted
    for _ in range(2):  # its working folder is lost, the labels are not
        code, _, err = run(
            capsys, "mine", str(tiny_base), *TINY, "--annotator", file, "--out", str(tmp_path / "mined"),
            "--k", "10", "--json", "-q",
        )  # fmt: skip
        assert code == 0, err
        shutil.rmtree(tmp_path / "mined" / "work")
    (known,) = LabelStore(tmp_path / "mined" / "labels.sqlite").facts()
    assert known["n_labels"] == len(server.asked) > 10
    assert set(server.asked.values()) == {1}
