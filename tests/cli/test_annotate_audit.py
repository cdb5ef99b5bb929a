"""mr-st annotate audit: the whole way on a small noisy shop, its resuming, its exit codes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import polars as pl
import pytest

from mr_st.annotation.review import ReviewSheet
from mr_st.annotation.review.csv_cells import guarded
from mr_st.cli.main import main
from mr_st.data import GradedDataset
from mr_st.data.label_noise import DistortedLabels, LabelNoise, distort_labels
from mr_st.data.parquet import read_parquet


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = 0
    try:
        main([str(word) for word in words])
    except SystemExit as stop:
        code = int(stop.code or 0)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.fixture(scope="module")
def noisy() -> DistortedLabels:
    shop = GradedDataset.load("marketplace", size="tiny", engagement=True)
    return distort_labels(shop, LabelNoise.uniform(0.1))


@pytest.fixture(scope="module")
def folder(noisy: DistortedLabels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noisy.dataset.save(tmp_path_factory.mktemp("data") / "shop")


def truth_of(noisy: DistortedLabels) -> dict[tuple[str, str], int]:
    return {(q, i): g for q, i, g in noisy.truth.select("query_id", "item_id", "true_grade").iter_rows()}


def answer(path: Path, sheet: ReviewSheet, grades: dict[int, int], expert: str = "Ann") -> Path:
    with open(path, "w", encoding="utf-8-sig", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["key", "grade", "note", "expert"])
        writer.writerows([sheet.key(row), grade, guarded("=seen"), expert] for row, grade in grades.items())
    return path


def test_the_whole_way(capsys, noisy, folder, tmp_path) -> None:
    out = tmp_path / "audit"
    words = ("annotate", "audit", folder, "--judge", "policy", "--share", 1, "--out", out)
    code, printed, _ = run(capsys, *words)
    assert code == 0
    assert "--answers answers.csv" in printed
    assert str(out / "review" / "sheet.html") in printed
    assert not (out / "dataset").exists()

    sheet = ReviewSheet.load(out / "review")
    before = sheet.html.read_bytes()
    truth, label_of = truth_of(noisy), dict(zip_labels(noisy))
    assert sheet.pairs
    assert all(truth[pair] != label_of[pair] for pair in sheet.pairs), "the policy differs from wrong labels only"
    right = {row: truth[pair] for row, pair in enumerate(sheet.pairs)}
    half = {row: right[row] for row in list(right)[::2]}
    code, printed, remarks = run(capsys, *words, "--answers", answer(tmp_path / "a.csv", sheet, half), "--json")
    assert code == 0
    facts = json.loads(printed)
    n, n_half = len(sheet.pairs), len(half)
    assert facts["state"]["decided"] == n_half
    assert facts["figures"]["experts_sided"]["with_judges"] == n_half
    assert facts["figures"]["errors"]["basis"] == "truth"
    assert facts["figures"]["errors"]["total"]["mended"] == n_half
    assert "not decided yet" in remarks
    assert sheet.html.read_bytes() == before, "the experts' sheet stays as it is"

    rest = {row: grade for row, grade in right.items() if row not in half}
    code, printed, remarks = run(capsys, *words, "--answers", answer(tmp_path / "b.csv", sheet, rest, "Ben"))
    assert code == 0
    assert "81.8 %" in printed
    assert "Counted exactly" in printed
    assert "not decided yet" not in remarks
    audited = GradedDataset.load(out / "dataset")
    grades = dict(zip(zip(audited.judgments["query_id"], audited.judgments["item_id"], strict=True),
                      audited.judgments["grade"], strict=True))  # fmt: skip
    assert all(grades[pair] == truth[pair] for pair in sheet.pairs)
    untouched = set(grades) - set(sheet.pairs)
    assert all(grades[pair] == label_of[pair] for pair in untouched)
    assert json.loads((out / "report.json").read_text())["changed"] == n
    assert "Label audit of" in (out / "report.html").read_text(encoding="utf-8")
    notes = pl.DataFrame(read_parquet(out / "history.parquet")).filter(pl.col("event") == "expert")
    assert set(notes["note"]) == {"=seen"}
    assert set(notes["by"]) == {"Ann", "Ben"}


def zip_labels(noisy: DistortedLabels):
    rows = noisy.truth.select("query_id", "item_id", "grade").iter_rows()
    return [((query, item), grade) for query, item, grade in rows]


def test_without_experts_the_judges_may_decide(capsys, folder, tmp_path) -> None:
    words = ("annotate", "audit", folder, "--judge", "policy", "--share", 1, "--out", tmp_path, "--accept-above", 0.9)
    code, printed, _ = run(capsys, *words, "--quiet", "--json")
    assert code == 0
    facts = json.loads(printed)
    assert facts["figures"]["decided_by_judges"] == facts["state"]["differing"] > 0
    assert facts["figures"]["errors"]["total"]["introduced"] == 0


def test_a_call_without_answers_says_the_same_again(capsys, folder, tmp_path) -> None:
    words = ("annotate", "audit", folder, "--judge", "policy", "--share", 1, "--out", tmp_path / "a")
    first, second = run(capsys, *words), run(capsys, *words)
    assert first[:2] == second[:2]


def test_where_the_judges_share_every_label_nothing_is_asked(capsys, tmp_path) -> None:
    shop = ("marketplace", "-o", "size=tiny", "-o", "engagement=true")
    words = ("annotate", "audit", *shop, "--judge", "policy", "--share", 1, "--out", tmp_path / "a")
    code, printed, _ = run(capsys, *words, "--json")
    facts = json.loads(printed)
    assert code == 0
    assert facts["state"]["step"] == "done"
    assert facts["sheet"] is None
    assert Path(facts["report"]).is_file()
    assert GradedDataset.load(facts["dataset"]).judgments["grade"][:] == GradedDataset.load(
        "marketplace", size="tiny"
    ).judgments["grade"][:]  # fmt: skip
    code, _, errors = run(capsys, *words, "--answers", tmp_path / "answers.csv")
    assert code == 2
    assert "nothing was asked" in errors


def test_bad_answers_fail_with_their_places(capsys, folder, tmp_path) -> None:
    words = ("annotate", "audit", folder, "--judge", "policy", "--share", 1, "--out", tmp_path / "a")
    run(capsys, *words)
    sheet = ReviewSheet.load(tmp_path / "a" / "review")
    code, printed, errors = run(capsys, *words, "--answers", answer(tmp_path / "x.csv", sheet, {0: 5, 1: 1, 2: 7}))
    assert code == 1
    assert printed == ""
    assert "x.csv, row 3, column grade" in errors
    assert "error: x.csv, row 1, column grade: grade 5 is not on the scale" in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "a" / "dataset").exists()


def test_wrong_use(capsys, folder, tmp_path, noisy) -> None:
    def fails(*words: object) -> str:
        code, _, errors = run(capsys, "annotate", "audit", *words)
        assert code == 2
        return errors

    out = tmp_path / "a"
    assert "-o engagement=true" in fails("marketplace", "-o", "size=tiny", "--judge", "policy", "--out", out)
    plain = GradedDataset.from_tables(
        [{"query_id": "q", "text": "mug"}], [{"item_id": "i", "title": "Mug"}],
        [{"query_id": "q", "item_id": "i", "grade": 2}],
    ).save(tmp_path / "plain")  # fmt: skip
    assert "add the table engagement (query_id, item_id, impressions" in fails(
        plain, "--judge", "policy", "--out", out
    )
    assert "Missing option" in fails(folder, "--out", out)
    two = tmp_path / "two.md"
    two.write_text("# Two\n\n## Grade 0: no\n\nno\n\n## Grade 1: yes\n\nyes\n")
    assert "it defines 2 grades" in fails(folder, "--judge", "policy", "--out", out, "--guideline", two)
    assert not out.exists()
    assert run(capsys, "annotate", "audit", folder, "--judge", "policy", "--out", out, "--share", 1)[0] == 0
    words = (folder, "--judge", "policy", "--out", out)
    assert "holds an audit with other share" in fails(*words, "--share", 0.5)
    assert "the sheet shows another guideline" in fails(*words, "--share", 1, "--guideline", "brief")
