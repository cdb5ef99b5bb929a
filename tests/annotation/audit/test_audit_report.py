"""The audit's page and summary: figures as counted by hand, pairs as the tables say, texts as texts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mr_st.annotation import JudgmentAnnotator
from mr_st.annotation.audit import Audit, AuditResult
from mr_st.annotation.audit.flags import LITTLE, MUCH
from mr_st.annotation.audit.page import (
    audit_rows,
    audit_summary,
    audited_pairs,
    error_rows,
    write_audit_report,
)
from mr_st.annotation.audit.plot import engagement_figures
from mr_st.data import GradedDataset
from mr_st.data.label_noise import LabelNoise, distort_labels

NAMES = ("irrelevant", "partial", "relevant")


def interval(value: float | None, n: int) -> dict[str, Any]:
    ends = (None, None) if value is None else (max(value - 0.1, 0), min(value + 0.1, 1))
    return {"value": value, "low": ends[0], "high": ends[1], "n": n, "queries": n}


def report(**changes: Any) -> dict[str, Any]:
    figures = {
        "dataset": {"name": "shop", "fingerprint": "abc", "splits": None},
        "settings": {"share": 0.3, "signals": ["clicks", "purchases"]},
        "accept_without_experts": None,
        "annotated": 1000, "sampled": 300, "judged": 150, "flagged": 40, "rejudged": 40, "differing": 10,
        "share_sampled": 0.3, "share_judged_by_engagement": 0.5, "share_flagged": interval(0.1333, 300),
        "flagged_by_reason": {LITTLE: 30, MUCH: 10},
        "judges": [{"judge": "llm-1", "answered": 40, "differs": interval(0.25, 40)}],
        "disagreement": interval(0.25, 40),
        "expert_workload": {"pairs_to_answer": 10, "experts": 2, "answers": 16},
        "decided_by_experts": 8, "decided_by_judges": 0, "open": {"no answer": 2, "tie": 0},
        "experts_sided": {"with_judges": 6, "with_label": 1, "with_neither": 1},
        "sided_with_judges": interval(0.75, 8),
        "changed": 7, "changed_share_of_annotated": 0.007,
        "errors": {
            "basis": "truth",
            "flagged": {"pairs": 40, "before": 20, "after": 14, "mended": 7, "introduced": 1, "reduction": 0.3},
            "total": {"pairs": 1000, "before": 100, "after": 94, "mended": 7, "introduced": 1, "reduction": 0.06},
            "precision_of_flags": interval(0.5, 40), "mended_of_flagged_errors": interval(0.35, 20),
        },
    }  # fmt: skip
    return {**figures, **changes}


def flagged(**changes: list[Any]) -> pl.DataFrame:
    columns: dict[str, list[Any]] = {
        "query_id": ["q1", "q2", "q3"], "item_id": ["a", "b", "c"], "grade": [0, 2, 2],
        "reason": [MUCH, LITTLE, LITTLE], "impressions": [50, 60, 70], "clicks": [30, 0, 1], "purchases": [5, 0, 0],
        "expected": [3.0, 9.0, 4.5], "query": ["mug", "lamp", "shoe"], "item": ["Mug", "Lamp", "Shoe"],
        "judges": [[2, 2], [0, 1], [2]], "experts": [[2], [], []], "final": [2, None, 2],
    }  # fmt: skip
    kinds = {"judges": pl.List(pl.Int8), "experts": pl.List(pl.Int8), "final": pl.Int8}
    return pl.DataFrame({**columns, **changes}, schema_overrides=kinds)


OTHERS = pl.DataFrame({"grade": [0, 1, 2], "clicks": [0, 3, 100], "expected": [0.5, 2.0, 80.0]})


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found is not None
    return json.loads(found[1])


def test_rows_are_the_steps_with_their_shares_and_the_papers_marks() -> None:
    rows = {row.name: row for row in audit_rows(report())}
    assert [(row.n, row.percent, row.paper_percent) for row in rows.values()] == [
        (1000, "–", ""),
        (300, "30.0 %", "30.0 %"),
        (150, "50.0 %", ""),
        (40, "13.3 %", ""),
        (30, "75.0 %", ""),
        (10, "25.0 %", ""),
        (10, "25.0 %", "23.4 %"),
        (8, "80.0 %", ""),
        (6, "75.0 %", "81.8 %"),
        (1, "12.5 %", ""),
        (1, "12.5 %", ""),
        (2, "20.0 %", ""),
        (7, "0.70 %", ""),
    ]
    assert rows["the experts side with the judges"].interval_text == "65.0 to 85.0"


def test_several_judges_stand_one_by_one_and_decide_alone_where_they_may() -> None:
    judges = [
        {"judge": name, "answered": 40, "differs": interval(share, 40)} for name, share in (("a", 0.25), ("b", 0.5))
    ]
    rows = {row.name: row for row in audit_rows(report(judges=judges, decided_by_judges=2, rejudged=38))}
    assert (rows["a"].n, rows["b"].n) == (10, 20)
    assert rows["decided by the judges alone"].percent == "20.0 %"
    assert rows["judged again"].n == 38


def test_an_audit_that_flagged_nothing_has_a_report() -> None:
    none = interval(None, 0)
    empty = report(
        flagged=0, rejudged=0, differing=0, flagged_by_reason={}, judges=[], disagreement=none, decided_by_experts=0,
        open={"no answer": 0, "tie": 0}, sided_with_judges=none, changed=0, changed_share_of_annotated=0.0,
        errors={"basis": "guess", "flagged": {"pairs": 0, "before": 0, "after": 0, "mended": 0, "reduction": None},
                "precision_of_flags": none},
    )  # fmt: skip
    assert "nan" not in audit_summary(empty).lower()
    assert [row.percent for row in audit_rows(empty)][-2:] == ["–", "0.0 %"]


def test_errors_before_and_after() -> None:
    assert error_rows(report()) == [
        {
            "name": "40 flagged pairs", "before": "20 (50.0 %)", "after": "14 (35.0 %)",
            "change": "−30.0 %", "paper": "",
        },
        {
            "name": "all 1,000 annotated pairs", "before": "100 (10.0 %)", "after": "94 (9.40 %)",
            "change": "−6.00 %", "paper": "−5.74 %",
        },
    ]  # fmt: skip
    assert "Counted exactly" in audit_summary(report())


def test_an_estimate_is_said_to_be_one() -> None:
    errors = {
        "basis": "decided pairs", "precision_of_flags": {"value": 0.175, "low": None, "high": None, "n": 40},
        "flagged": {"pairs": 40, "before": 7, "after": 0, "mended": 7, "reduction": None},
    }  # fmt: skip
    estimated = report(errors=errors)
    assert [(row["after"], row["change"]) for row in error_rows(estimated)] == [("0 (as decided)", "–")]
    assert "Estimated, for the true grades are not known; basis: decided pairs." in audit_summary(estimated)


def test_the_summary_is_a_table_in_line() -> None:
    lines = audit_summary(report(dataset={"name": "a|b", "fingerprint": "", "splits": None})).splitlines()
    first = lines[: lines.index("")]
    assert len({len(line) for line in first}) == 1
    assert all(line.count("|") == 6 for line in first)


def test_the_page_holds_pairs_with_their_outcome(tmp_path: Path) -> None:
    page = write_audit_report(tmp_path, report(), flagged(), OTHERS, grade_names=NAMES).read_text(encoding="utf-8")
    rows = data_of(page)["rows"]
    assert [(row["query"], row["label"], row["final"], row["outcome"]) for row in rows] == [
        ("mug", 0, 2, "changed"),
        ("lamp", 2, None, "open"),
        ("shoe", 2, 2, "kept"),
    ]
    assert rows[1]["judges"] == [0, 1]
    assert "81.8 %" in page
    assert "Label audit of shop" in page
    assert "signals clicks + purchases" in page


def test_texts_of_the_data_stay_texts(tmp_path: Path) -> None:
    bad = "</script><script>alert(1)</script>"
    named = report(dataset={"name": bad, "fingerprint": bad, "splits": [bad]})
    pairs = flagged(query=[bad] * 3, item=[bad] * 3, query_id=[bad] * 3)
    path = write_audit_report(tmp_path, named, pairs, OTHERS, grade_names=(bad,) * 3, about={bad: bad})
    page = path.read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert data_of(page)["rows"][0]["query"] == bad


def test_the_figure_places_pairs_on_logarithmic_axes() -> None:
    panels = engagement_figures(flagged(), OTHERS, NAMES, much=MUCH)
    assert [heading for heading, _ in panels] == [
        "Label 0, irrelevant: 1 flagged, 1 others",
        "Label 1, partial: 0 flagged, 1 others",
        "Label 2, relevant: 2 flagged, 1 others",
    ]
    assert [svg.count('class="much"') for _, svg in panels] == [1, 0, 0]
    assert [svg.count('class="little"') for _, svg in panels] == [0, 0, 2]
    # the pair with the most of both stands in the upper right corner: 320 - 12 wide, 12 from the top
    assert '<circle class="plain" r="2.2" cx="308.0" cy="12.0"/>' in panels[2][1]
    none = engagement_figures(flagged().clear(), OTHERS.clear(), NAMES, much=MUCH)
    assert none == []


def test_of_very_many_pairs_every_kth_is_drawn_and_said() -> None:
    many = pl.DataFrame({"grade": [1] * 4000, "clicks": list(range(4000)), "expected": [1.0] * 4000})
    ((heading, svg),) = engagement_figures(flagged().clear(), many, NAMES, much=MUCH)
    assert heading == "Label 1, partial: 0 flagged, 1 in 3 of 4,000 others"
    assert svg.count("<circle") == 1334


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> tuple[Audit, AuditResult]:
    shop = GradedDataset.load("marketplace", size="tiny", engagement=True)
    noisy = distort_labels(shop, LabelNoise.uniform(0.1))
    audit = Audit(noisy.dataset, JudgmentAnnotator(shop), tmp_path_factory.mktemp("audit"), share=1.0)
    audit.run()
    differing = pl.read_parquet(audit.folder / "differing.parquet").rows(named=True)
    answers = [{**row, "grade": row["judged"], "expert": "Ann", "note": ""} for row in differing[1:]]
    answers += [{**answers[0], "grade": 1 - min(differing[1]["judged"], 1), "expert": "Ben"}]
    return audit, audit.decide(answers, noisy.truth.select("query_id", "item_id", "true_grade"))


def test_pairs_of_a_real_audit(audited: tuple[Audit, AuditResult]) -> None:
    audit, result = audited
    pairs, others = audited_pairs(audit)
    differing = pl.read_parquet(audit.folder / "differing.parquet")
    asked = set(differing.select("query_id", "item_id").iter_rows())
    text_of = dict(zip(audit.dataset.queries["query_id"], audit.dataset.queries["text"], strict=True))
    for row in pairs.iter_rows(named=True):
        assert row["query"] == text_of[row["query_id"]]
        if (row["query_id"], row["item_id"]) not in asked:
            assert row["judges"] == [row["final"]] == [row["grade"]]
            assert row["experts"] == []
        elif row["experts"] == row["judges"]:
            assert row["final"] == row["judges"][0] != row["grade"]
        else:  # nobody answered, or two experts who differ
            assert len(row["experts"]) in (0, 2)
            assert row["final"] is None
    outcomes = (int((pairs["final"] != pairs["grade"]).sum()), pairs["final"].null_count())
    assert outcomes == (result.report["changed"], 2)
    assert len(pairs) == result.report["flagged"]
    assert len(others) == result.report["shown"] - result.report["flagged"]


def test_the_same_audit_gives_the_same_page(audited: tuple[Audit, AuditResult], tmp_path: Path) -> None:
    audit, result = audited
    pages = [
        write_audit_report(tmp_path / name, result.report, *audited_pairs(audit), grade_names=NAMES) for name in "ab"
    ]
    assert pages[0].read_bytes() == pages[1].read_bytes()
