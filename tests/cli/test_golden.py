"""``mr-st data golden``: the table as asked and as reported, JSON, and one clear line for what cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mr_st.cli.main import main
from mr_st.data import GradedDataset

TINY = ("marketplace", "-o", "size=tiny")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(words)
    printed = capsys.readouterr()
    return int(caught.value.code or 0), printed.out, printed.err


def golden(capsys: pytest.CaptureFixture[str], out: Path, *words: str) -> tuple[int, str, str]:
    return run(capsys, "data", "golden", TINY[0], str(out), *TINY[1:], *words)


def test_the_table_says_what_was_asked_and_what_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "golden"
    code, printed, err = golden(capsys, out, "--queries", "10", "--misspelt", "0.2", "--head", "0.3", "-q")
    assert (code, err) == (0, "")
    rows = {cells[1].strip(): [c.strip() for c in cells[2:4]] for line in printed.splitlines()
            if len(cells := line.split("│")) == 5}  # fmt: skip
    assert rows["queries"] == ["10", "10"]
    assert rows["unseen queries"] == ["30.0%", "30.0%"]
    assert rows["head queries"] == ["30.0%", "30.0%"]
    assert rows["misspelt queries"] == ["20.0%", "20.0%"]
    assert rows["label-0 share, least of a query"][0] == ">= 65.0%"
    saved = GradedDataset.load(out)
    assert saved.fingerprint in printed
    assert len(saved.split("test").queries) == 10
    assert saved.source["golden"]["asked"]["head_share"] == 0.3


def test_json_is_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "golden"
    code, printed, _ = golden(capsys, out, "--json", "--quiet", "--locale-share", "en=1", "--seed", "3")
    report = json.loads(printed)
    saved = GradedDataset.load(out)
    assert code == 0
    assert report["fingerprint"] == saved.fingerprint
    assert report["asked"]["locale_shares"] == {"en": 1.0}
    assert report["seed"] == saved.source["golden"]["seed"] == 3
    assert report["reported"]["zero_share_min"] >= 0.65


def test_a_shortfall_is_an_error_unless_allowed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--queries", "10", "--locale-share", "xx=0.5")
    code, _, err = golden(capsys, tmp_path / "golden", *asked, "-q")
    assert code == 2
    assert err.startswith("mr-st: error: golden set: locale xx: asked 50% of 10 queries, 0 can be had")
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "golden").exists()
    code, _, err = golden(capsys, tmp_path / "golden", *asked, "--allow-shortfall")
    assert code == 0
    assert "shortfall: locale xx: asked 50% of 10 queries, 0 can be had" in err
    assert (tmp_path / "golden" / "dataset.yaml").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--locale-share", "es"), "--locale-share es: expected LOCALE=SHARE"),
        (("--locale-share", "es=many"), "--locale-share es=many: expected LOCALE=SHARE"),
        (("--locale-share", "es=0.1", "--locale-share", "es=0.2"), "--locale-share es=0.2: expected"),
        (("--locale-share", "es=7"), "locale_shares['es'] is 7.0; a share is in 0..1"),
        (("--split", "train"), "split is 'train'; a golden set stands in test or dev"),
        (("--zero-share", "1"), "zero_share is 1.0"),
        (("--unseen", "1.5"), "less than or equal to 1"),
        (("--annotator", "no/such/model"), "no/such/model"),
    ],
)  # fmt: skip
def test_wrong_use_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    code, _, err = golden(capsys, tmp_path / "golden", *words, "-q")
    assert code in (1, 2)
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "golden").exists()


def test_the_policy_is_the_marketplaces_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = GradedDataset.from_tables(
        [{"query_id": "q", "text": "mug"}], [{"item_id": "a", "title": "Mug"}],
        [{"query_id": "q", "item_id": "a", "grade": 2}],
    )  # fmt: skip
    shop.save(tmp_path / "shop")
    code, _, err = run(capsys, "data", "golden", str(tmp_path / "shop"), str(tmp_path / "golden"))
    assert code == 2
    assert "--annotator policy: only the marketplace has a policy that can be called" in err


def test_a_fitted_cross_encoder_labels_any_dataset(
    tmp_path: Path, tiny_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from sentence_transformers import CrossEncoder

    CrossEncoder(str(tiny_base), num_labels=3, device="cpu").save_pretrained(str(tmp_path / "labeller"))
    items = [{"item_id": f"i{n}", "title": f"Mug {n}"} for n in range(30)]
    pairs = [("i0", 2), ("i1", 2), ("i2", 0)]
    judgments = [{"query_id": "q", "item_id": item, "grade": grade} for item, grade in pairs]
    GradedDataset.from_tables([{"query_id": "q", "text": "mug"}], items, judgments).save(tmp_path / "shop")
    code, printed, err = run(
        capsys, "data", "golden", str(tmp_path / "shop"), str(tmp_path / "golden"), "--zero-share", "0",
        "--unseen", "0", "--annotator", str(tmp_path / "labeller"), "--json", "-q",
    )  # fmt: skip
    assert code == 0, err
    report = json.loads(printed)
    assert report["annotator"].startswith("cross-encoder-")
    assert sum(report["random_items"].values()) == 10


def test_neither_the_source_nor_other_files_are_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "shop"
    GradedDataset.load("marketplace", size="tiny").save(source)
    before = GradedDataset.load(source).fingerprint
    code, _, err = run(capsys, "data", "golden", str(source), str(source))
    assert code == 2
    assert "would take the place of its source" in err
    assert GradedDataset.load(source).fingerprint == before
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    code, _, err = golden(capsys, tmp_path / "notes")
    assert code == 2
    assert (tmp_path / "notes" / "a.txt").read_text() == "mine"


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, _ = run(capsys, "data", "golden", "--help")
    assert code == 0
    assert "Example: mr-st data golden" in printed
