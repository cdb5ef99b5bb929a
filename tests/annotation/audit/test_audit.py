"""The audit's procedure: steps in a folder that resume, answers that decide, and what every pair went through."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mr_st.annotation import Annotations, BudgetSpentError, GradedPart, JudgmentAnnotator, PairTable
from mr_st.annotation.audit import FlagSettings
from mr_st.annotation.audit.figures import share_interval
from mr_st.annotation.audit.procedure import DONE, WAITING, Audit
from mr_st.annotation.audit.tables import REJUDGED, combine_judges
from mr_st.data import GradedDataset
from mr_st.data.label_noise import LabelNoise, distort_labels
from mr_st.data.schema import arrow_table
from mr_st.errors import DataError, MrStError, UsageError

KEYS = ["query_id", "item_id"]


class TextJudge:
    """Grades from a table, ten pairs at a time, notes what it is asked, and stops when ``budget`` is spent."""

    def __init__(self, grades: dict[tuple[str, str], int], name: str = "text", confidence: float = 0.8, budget=10**9):
        self.grades, self.confidence, self.budget = grades, confidence, budget
        self.identity = f"judge-{name}"
        self.asked: list[tuple[str, str]] = []

    def grade(self, pairs: PairTable) -> Annotations:
        keys = list(zip(pairs.query_ids, pairs.item_ids, strict=True))
        self.asked += keys
        grades = np.array([self.grades[key] for key in keys], dtype=np.int64)
        probabilities = np.full((len(keys), 3), (1 - self.confidence) / 2)
        probabilities[np.arange(len(keys)), grades] = self.confidence
        return Annotations(grades, probabilities)

    def grade_in_parts(self, pairs: PairTable):
        for start in range(0, len(pairs), 10):
            rows = np.arange(start, min(start + 10, len(pairs)))
            if len(self.asked) + len(rows) > self.budget:
                raise BudgetSpentError(f"{self.identity}: {self.budget} requests are spent")
            yield GradedPart(rows, self.grade(pairs.take(rows)), cost=0.1)


@pytest.fixture(scope="module")
def noisy():
    """The tiny shop with labels of which a fifth are wrong in every split, and the truth."""
    shop = GradedDataset.load("marketplace", size="tiny", engagement=True)
    return distort_labels(shop, LabelNoise.uniform(0.2), seed=3, splits=tuple(shop.splits))


@pytest.fixture(scope="module")
def truth(noisy) -> dict[tuple[str, str], int]:
    return {(q, i): g for q, i, g in noisy.truth.select(*KEYS, "true_grade").iter_rows()}


@pytest.fixture
def audit(noisy, truth, tmp_path):
    def make(judges=None, folder="audit", dataset=noisy.dataset, **options) -> Audit:
        judges = JudgmentAnnotator(truth) if judges is None else judges
        return Audit(dataset, judges, tmp_path / folder, **{"share": 1.0, **options})

    return make


def answers_of(audit: Audit, truth: dict, expert: str = "anna") -> pl.DataFrame:
    pairs = audit._read("differing").select(KEYS)
    grades = [truth[pair] for pair in pairs.iter_rows()]
    return pairs.with_columns(pl.Series("grade", grades, dtype=pl.Int8), pl.lit(expert).alias("expert"))


def test_experts_who_know_mend_every_flagged_error_and_nothing_else(audit, noisy, truth):
    one = audit()
    state = one.run()
    assert state.step == WAITING
    assert state.flagged > state.differing == state.open > 10
    result = one.decide(answers_of(one, truth), truth=noisy.truth)
    assert result.state.step == DONE
    assert result.state.open == 0
    errors = result.report["errors"]
    assert errors["flagged"]["after"] == errors["flagged"]["introduced"] == 0
    assert errors["flagged"]["before"] == errors["flagged"]["mended"] == state.differing
    assert errors["total"]["before"] - errors["total"]["after"] == state.differing
    flags = pl.read_parquet(one.folder / "flags.parquet")
    before = pl.DataFrame(arrow_table(noisy.dataset.judgments))
    after = pl.DataFrame(arrow_table(result.dataset.judgments))
    assert after.select(KEYS).equals(before.select(KEYS))
    touched = after["source"] == "audit:expert"
    assert int(touched.sum()) == state.differing
    assert after.filter(~touched).equals(before.filter(~touched))
    for row in after.filter(touched).iter_rows(named=True):
        assert row["grade"] == truth[row["query_id"], row["item_id"]]
        assert row["confidence"] == 1.0
    assert set(after.filter(touched).select(KEYS).iter_rows()) <= set(flags.select(KEYS).iter_rows())
    assert result.dataset.engagement is not None
    result.dataset.validate()
    assert GradedDataset.load(one.folder / "dataset").fingerprint == result.dataset.fingerprint


def test_the_report_says_who_was_right(audit, noisy, truth):
    one = audit()
    one.run()
    answers = answers_of(one, truth)
    label = dict(zip(answers.select(KEYS).iter_rows(), one._read("differing")["grade"], strict=True))
    half = len(answers) // 2
    sides = [
        row | {"grade": label[row["query_id"], row["item_id"]]} if n < half else row
        for n, row in enumerate(answers.iter_rows(named=True))
    ]
    report = one.decide(sides).report
    assert report["experts_sided"] == {"with_judges": len(answers) - half, "with_label": half, "with_neither": 0}
    assert report["sided_with_judges"]["value"] == pytest.approx(1 - half / len(answers))
    assert (
        report["sided_with_judges"]["low"] < report["sided_with_judges"]["value"] < report["sided_with_judges"]["high"]
    )
    assert report["disagreement"]["value"] == pytest.approx(report["differing"] / report["flagged"])
    assert report["changed"] == len(answers) - half
    assert sum(report["flagged_by_reason"].values()) == report["flagged"] == sum(report["flagged_by_grade"].values())
    assert report["errors"]["basis"].startswith("decided pairs")
    assert report["errors"]["flagged"]["before"] == report["changed"]
    assert report["paper"]["disagreement"] == 0.234


def test_history_holds_every_step_of_every_flagged_pair(audit, noisy, truth):
    one = audit([TextJudge(truth, "a"), TextJudge(truth, "b")])
    one.run()
    answers = pl.concat([answers_of(one, truth, "anna"), answers_of(one, truth, "ben")])
    answers = answers.with_columns(note=pl.lit("looked it up"))
    history = one.decide(answers).history
    flags, differing = one._read("flags"), one._read("differing")
    assert history.select(KEYS).unique(maintain_order=True).equals(flags.select(KEYS))
    was_different = set(differing.select(KEYS).iter_rows())
    labels = {(q, i): g for q, i, g in flags.select(*KEYS, "grade").iter_rows()}
    for pair, part in history.group_by(KEYS, maintain_order=True):
        expected = ["labelled", "flagged", "judged", "judged", "combined"]
        expected += ["expert", "expert"] if pair in was_different else []
        assert part["event"].to_list() == [*expected, "final"]
        assert part["step"].to_list() == list(range(1, len(part) + 1))
        first, last = part.row(0, named=True), part.row(-1, named=True)
        assert (first["by"], first["grade"]) == ("noisy:oracle", labels[pair])
        assert last["grade"] == (truth[pair] if pair in was_different else labels[pair])
        assert last["by"] == ("experts" if pair in was_different else "label")
        if pair in was_different:
            assert part.filter(pl.col("event") == "expert")["by"].to_list() == ["anna", "ben"]
            assert set(part.filter(pl.col("event") == "expert")["note"]) == {"looked it up"}


def test_a_run_goes_on_where_it_stopped(audit, truth):
    weary = TextJudge(truth, budget=40)
    with pytest.raises(MrStError, match=r"judge-text: .* are spent: .* run again: only these are asked"):
        audit(weary).run()
    assert len(weary.asked) == 40
    with pytest.raises(MrStError, match="have not graded the flagged pairs yet"):
        audit(weary).state()
    fresh = TextJudge(truth)
    one = audit(fresh)
    state = one.run()
    assert len(fresh.asked) + len(weary.asked) == state.flagged
    assert not set(fresh.asked) & set(weary.asked)
    again = TextJudge(truth)
    assert audit(again).run() == state
    assert again.asked == []


def test_another_dataset_judge_or_setting_never_meets_old_state(audit, noisy, truth):
    audit().run()
    others = {
        "judges": {"judges": TextJudge(truth)},
        "share": {"share": 0.5},
        "seed": {"seed": 1},
        "settings": {"settings": FlagSettings(min_probability=0.3)},
        "splits": {"splits": ["train"]},
        "combine": {"combine": "majority"},
        "dataset": {"dataset": distort_labels(noisy.dataset, LabelNoise.near(0.1)).dataset},
    }
    for name, options in others.items():
        with pytest.raises(UsageError, match=f"holds an audit with other {name}; choose another folder"):
            audit(**options)
    audit()  # the same may go on


def test_tables_without_their_key_are_refused(audit, tmp_path):
    audit().run()
    (tmp_path / "audit" / "audit.json").unlink()
    with pytest.raises(UsageError, match=r"flags.parquet but no audit.json"):
        audit()


def test_most_experts_hold_and_a_tie_stays_open(audit, noisy, truth):
    one = audit()
    one.run()
    differing = one._read("differing")
    (a, b, c), label = list(differing.select(KEYS).iter_rows())[:3], differing["grade"].to_list()
    said = {a: [truth[a], truth[a], label[0]], b: [truth[b], label[1]], c: [label[2]]}
    rows = [
        {"query_id": q, "item_id": i, "grade": grade, "expert": f"e{n}"}
        for (q, i), grades in said.items()
        for n, grade in enumerate(grades)
    ]
    result = one.decide(rows)
    decisions = {(row["query_id"], row["item_id"]): row for row in one._read("decisions").iter_rows(named=True)}
    assert (decisions[a]["decided"], decisions[a]["votes"], decisions[a]["votes_for"]) == (truth[a], 3, 2)
    assert (decisions[b]["decided"], decisions[b]["why_open"]) == (None, "tie")
    assert (decisions[c]["decided"], decisions[c]["by"]) == (label[2], "experts")
    assert result.report["open"] == {"tie": 1, "no answer": len(differing) - 3}
    assert result.state.step == WAITING
    after = {
        (r["query_id"], r["item_id"]): r
        for r in pl.DataFrame(arrow_table(result.dataset.judgments)).iter_rows(named=True)
    }
    assert after[a]["confidence"] == pytest.approx(2 / 3)
    assert after[b]["source"] == "noisy:oracle"
    assert after[b]["grade"] == label[1]
    assert after[c]["source"] == "audit:expert"


def test_answers_add_up_over_calls_and_a_later_one_replaces(audit, truth):
    one = audit()
    one.run()
    answers = answers_of(one, truth)
    one.decide(answers[:4])
    assert audit().state().decided == 4  # kept in the folder
    other = (int(answers["grade"][3]) + 1) % 3
    changed = [{**answers.row(3, named=True), "grade": other}]
    result = audit().decide(changed)
    assert result.state.decided == 4
    decisions = one._read("decisions").filter(pl.col("decided").is_not_null())
    assert decisions.join(pl.DataFrame(changed), on=KEYS)["decided"].to_list() == [other]


def test_answers_that_cannot_be_taken_are_named_and_change_nothing(audit, truth):
    one = audit()
    one.run()
    good = answers_of(one, truth).row(0, named=True)
    cases = {
        "row 2, column query_id: query 'nobody'": [good, {**good, "query_id": "nobody"}],
        "row 1, column grade: grade 3 is outside 0..2": [{**good, "grade": 3}],
        "row 1, column grade: grade 1.5 is outside": [{**good, "grade": 1.5}],
        "row 2, column grade: 'anna' gave": [good, {**good, "grade": (good["grade"] + 1) % 3}],
        "no such column": [{"query_id": "q", "item_id": "i"}],
    }
    for message, answers in cases.items():
        with pytest.raises(DataError, match=message):
            one.decide(answers)
    assert one.state().decided == 0
    assert one.decide([{**good, "grade": None}]).state.decided == 0  # not answered yet
    assert one.decide([good, good]).report["expert_workload"]["answers"] == 1


def test_without_experts_the_judges_are_believed_from_a_confidence_on(audit, truth):
    for confidence, accept, n_decided in ((0.8, None, 0), (0.8, 0.9, 0), (0.8, 0.8, "all")):
        one = audit(TextJudge(truth, "c", confidence), f"accept-{accept}", accept_without_experts=accept)
        state = one.run()
        assert state.decided == (state.differing if n_decided == "all" else n_decided)
        result = one.decide()
        assert result.report["decided_by_judges"] == state.decided
        assert result.report["decided_by_experts"] == 0
    judgments = pl.DataFrame(arrow_table(result.dataset.judgments)).filter(pl.col("source") == "audit:judge")
    assert len(judgments) == state.differing
    assert judgments["confidence"].to_list() == pytest.approx([0.8] * len(judgments))
    with pytest.raises(UsageError, match="accept_without_experts"):
        audit(accept_without_experts=1.5)


def test_only_the_named_splits_are_audited(audit, noisy, truth):
    one = audit(splits=["dev"])
    state = one.run()
    assert set(one._read("flags")["split"]) == {"dev"}
    assert state.annotated == len(noisy.dataset.judged_pairs("dev"))
    report = one.decide(truth=noisy.truth).report
    assert report["errors"]["total"]["pairs"] == state.annotated


def test_no_judge_or_one_twice(audit, truth):
    with pytest.raises(UsageError, match="one or more, each once"):
        audit([])
    with pytest.raises(UsageError, match="one or more, each once"):
        audit([TextJudge(truth), TextJudge(truth)])


def test_nothing_flagged_is_an_audit_too(audit):
    one = audit(settings=FlagSettings(min_impressions=10**6))
    state = one.run()
    assert (state.step, state.flagged, state.differing) == (DONE, 0, 0)
    result = one.decide()
    assert result.history.is_empty()
    assert result.report["disagreement"]["value"] is None


def table(rows) -> pl.DataFrame:
    return pl.DataFrame(
        [("q", "i", judge, int(np.argmax(p)), max(p), list(p)) for judge, p in rows], schema=REJUDGED, orient="row"
    )


def test_combining_by_hand():
    two_to_one = table([("a", (0.4, 0.3, 0.3)), ("b", (0.4, 0.35, 0.25)), ("c", (0.0, 0.0, 1.0))])
    mean = combine_judges(two_to_one, "mean")
    assert (mean["judged"][0], round(mean["confidence"][0], 4)) == (2, 0.5167)  # (.3 + .25 + 1) / 3
    majority = combine_judges(two_to_one, "majority")
    assert (majority["judged"][0], round(majority["confidence"][0], 4)) == (0, 0.6667)
    tie = table([("a", (0.1, 0.9, 0.0)), ("b", (0.2, 0.1, 0.7))])
    assert combine_judges(tie, "majority")["judged"][0] == 1  # means .15, .5, .35


def test_shares_have_intervals_by_query():
    hits = np.array([True, False] * 20)
    by_pair = share_interval(hits, [f"q{n}" for n in range(40)])
    assert by_pair["value"] == 0.5
    assert by_pair["low"] < 0.4
    assert by_pair["high"] > 0.6
    assert (by_pair["n"], by_pair["queries"]) == (40, 40)
    within = share_interval(hits, [f"q{n // 2}" for n in range(40)])  # each query has one of each
    assert within["low"] == within["high"] == 0.5
    assert share_interval(np.zeros(0, bool), [])["value"] is None
