"""``mr-st annotate fit``: the report as a table and as JSON, resuming, the chat export, and wrong use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mr_st.annotation import CrossEncoderAnnotator
from mr_st.cli.main import main
from mr_st.data import GradedDataset
from mr_st.identity import folder_hash

WORDS = ["shirt", "mug", "lamp"]
QUICK = ["--epochs", "1", "--max-length", "16", "--learning-rate", "1e-3", "--device", "cpu", "--seed", "3"]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(words)
    printed = capsys.readouterr()
    return int(caught.value.code or 0), printed.out, printed.err


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 queries, 6 items, all judged; names with what looks like markup."""
    queries = [{"query_id": f"q{n}", "text": f"{WORDS[n % 3]} [bold]{n}"} for n in range(12)]
    items = [{"item_id": f"i{n}", "title": f"{WORDS[n % 3]} red"} for n in range(6)]
    judgments = [
        {"query_id": f"q{q}", "item_id": f"i{i}", "grade": 2 if q % 3 == i % 3 else (q + i) % 2}
        for q in range(12) for i in range(6)
    ]  # fmt: skip
    folder = tmp_path_factory.mktemp("shop") / "data"
    GradedDataset.from_tables(queries, items, judgments, name="shop").save(folder)
    return folder


@pytest.fixture(scope="module")
def fitted(shop: Path, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fit") / "fitted"
    with pytest.raises(SystemExit) as caught:
        main(["annotate", "fit", str(shop), "--out", str(out), "--base", str(tiny_base), *QUICK, "-q"])
    assert caught.value.code == 0
    return out


def test_the_table_has_the_reports_figures_and_a_rerun_does_not_fit_again(shop, tiny_base, fitted, capsys):
    before = folder_hash(fitted)
    code, printed, err = run(
        capsys, "annotate", "fit", str(shop), "--out", str(fitted), "--base", str(tiny_base), *QUICK, "--quiet"
    )
    assert (code, err) == (0, "")
    assert folder_hash(fitted) == before
    held = json.loads((fitted / "report.json").read_text())["held_out"]
    assert CrossEncoderAnnotator(fitted / "model", device="cpu").identity in printed
    rows = {cells[1].strip(): [c.strip() for c in cells[2:-1]] for line in printed.splitlines()
            if len(cells := line.split("│")) > 4}  # fmt: skip
    interval = held["intervals"]["accuracy"]
    assert rows["accuracy"] == [
        f"{held['accuracy']:.3f}", f"{interval['low']:.3f} to {interval['high']:.3f}", f"{held['majority_share']:.3f}"
    ]  # fmt: skip
    assert rows["Cohen's kappa"][0] == f"{held['kappa']:.3f}"
    assert rows["Cohen's kappa"][2] == "0.000"  # of the majority class
    assert [int(cell) for cell in rows["2 relevant"][:3]] == held["confusion"][2]
    assert "random items" not in printed  # every item is judged for every query


def test_json_is_the_report(shop, tiny_base, fitted, capsys):
    words = ["annotate", "fit", str(shop), "--out", str(fitted), "--base", str(tiny_base), *QUICK, "-q", "--json"]
    code, printed, _ = run(capsys, *words)
    facts = json.loads(printed)
    assert code == 0
    assert facts["folder"] == str(fitted / "model")
    assert facts["settings"]["seed"] == 3
    assert {name: facts[name] for name in ("held_out", "temperature")} == {
        name: json.loads((fitted / "report.json").read_text())[name] for name in ("held_out", "temperature")
    }


def test_export_alone_writes_chat_examples_and_fits_nothing(shop, tmp_path, capsys):
    code, printed, _ = run(
        capsys, "annotate", "fit", str(shop), "--export-chat", str(tmp_path / "chat"), "--guideline", "brief",
        "--holdout", "0.25", "--json", "-q",
    )  # fmt: skip
    assert code == 0
    exported = json.loads(printed)["exported"]
    assert (exported["train"]["n_queries"], exported["validation"]["n_queries"]) == (9, 3)
    lines = (tmp_path / "chat" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 9 * 6
    assert json.loads(lines[0])["messages"][-1]["role"] == "assistant"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to do: give --out FOLDER"),
        (["--out", "OUT", "--lora-rank", "4"], "--lora-rank: not for --kind cross-encoder"),
        (["--out", "OUT", "--guideline", "brief"], "--guideline: not for --kind cross-encoder"),
        (["--out", "OUT", "--kind", "llm", "--random-negatives", "1"], "--random-negatives: not for --kind llm"),
        (["--out", "OUT", "--kind", "llm"], "--kind llm needs --base"),
        (["--out", "OUT", "--split", "tset"], "no split 'tset'"),
        (["--out", "OUT", "--label-smoothing", "1"], "label_smoothing is 1.0"),
        (["--out", "OUT", "--label-noise", "1"], "label_noise is 1.0"),
        (["--out", "OUT", "--kind", "llm", "--label-noise", "0.1"], "--label-noise: not for --kind llm"),
    ],
)
def test_wrong_use_is_one_line(shop, tiny_base, tmp_path, capsys, words, message):
    words = [str(tmp_path / "out") if word == "OUT" else word for word in words]
    base = [] if "llm" in words else ["--base", str(tiny_base)]
    code, printed, err = run(capsys, "annotate", "fit", str(shop), *words, *base, "-q")
    assert (code, printed) == (2, "")
    assert err.startswith("mr-st: error: ")
    assert message in err
    assert err.count("\n") == 1


def test_help_has_an_example(capsys):
    code, printed, _ = run(capsys, "annotate", "fit", "--help")
    assert code == 0
    assert "mr-st annotate fit shop/ --out fitted/" in " ".join(printed.split())
