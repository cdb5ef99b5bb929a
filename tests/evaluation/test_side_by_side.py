from __future__ import annotations

import dataclasses
import html
import json
from pathlib import Path

import numpy as np
import pytest
from word_shop import WordSystem, word_shop

from mr_st.errors import UsageError
from mr_st.evaluation import Collection, GradedReport, compare, evaluate_system
from mr_st.evaluation.query_sample import QuerySample
from mr_st.evaluation.side_by_side import SideBySide, run_side_by_side, side_by_side
from mr_st.evaluation.side_by_side_page import summary_rows, write_side_by_side_page

CONTROL, TREATMENT = WordSystem("test/old"), WordSystem("test/new", deepest=4)


@pytest.fixture(scope="module")
def collection() -> Collection:
    return Collection.from_dataset(word_shop())


@pytest.fixture(scope="module")
def arms(collection: Collection) -> tuple[SideBySide, GradedReport, GradedReport]:
    return run_side_by_side(CONTROL, TREATMENT, collection, task_name="Words", n_resamples=50)


def test_the_figures_by_hand(arms: tuple[SideBySide, GradedReport, GradedReport]) -> None:
    found, control, treatment = arms
    draws = found.sample.draws
    assert draws.sum() == 12_000
    a, b = control.values("ndcg@10"), treatment.values("ndcg@10")
    assert not np.array_equal(a, b)
    traffic, uniform = found.traffic, found.uniform
    assert traffic.control == pytest.approx(np.average(a, weights=draws))
    assert traffic.treatment == pytest.approx(np.average(b, weights=draws))
    assert traffic.difference.value == pytest.approx(traffic.treatment - traffic.control)
    assert traffic.relative.value == pytest.approx(traffic.treatment / traffic.control - 1)
    assert traffic.difference.low < traffic.difference.value < traffic.difference.high
    assert traffic.won == pytest.approx(draws[b > a].sum() / 12_000)
    assert traffic.won + traffic.lost + traffic.equal == pytest.approx(1)
    assert traffic.judged_treatment == pytest.approx(np.average(treatment.values("judged@10"), weights=draws))
    assert uniform.control == pytest.approx(a.mean())
    assert uniform.difference.n == 60
    plain = compare(control, treatment)
    assert (uniform.difference.low, uniform.difference.high) == (plain.low, plain.high)
    assert uniform.p_value == plain.p_value
    assert traffic.n_effective < 30 < uniform.n_effective


def test_overlap_by_hand(arms: tuple[SideBySide, GradedReport, GradedReport]) -> None:
    found, control, treatment = arms
    for i in (0, 20, 59):
        lists = [
            {r["item_id"] for r in report.run.to_pylist() if r["query_id"] == found.query_ids[i] and r["rank"] <= 10}
            for report in (control, treatment)
        ]
        assert lists[1] < lists[0], "the treatment finds four items of the control's"
        assert found.overlaps[i] == pytest.approx(len(lists[1]) / len(lists[0]))
    assert found.uniform.overlap == pytest.approx(found.overlaps.mean())


def test_more_draws_tell_nothing_more_of_other_queries(
    arms: tuple[SideBySide, GradedReport, GradedReport],
) -> None:
    _, control, treatment = arms
    few, many = (side_by_side(control, treatment, n_draws=n).traffic for n in (20_000, 2_000_000))
    assert many.difference.value == pytest.approx(few.difference.value, abs=0.01)
    widths = [i.difference.high - i.difference.low for i in (few, many)]
    assert widths[1] == pytest.approx(widths[0], rel=0.15)
    assert few.p_value == pytest.approx(many.p_value, abs=0.02)


def test_only_the_drawn_queries_are_searched_for(collection: Collection) -> None:
    searched: list[list[str]] = []

    class Watched(WordSystem):
        def search(self, collection, k):  # type: ignore[no-untyped-def]
            searched.append(list(collection.query_ids))
            return super().search(collection, k)

    found, control, _ = run_side_by_side(
        Watched("test/old"), Watched("test/new", k1=0.2), collection, n_draws=12, n_resamples=20
    )
    assert searched[0] == searched[1] == control.per_query["query_id"].to_pylist()
    assert 12 <= len(searched[0]) <= 24
    assert found.sample.draws.sum() == found.sample.once.sum() == 12
    assert (found.sample.n_pool, found.uniform.difference.n) == (60, 12)
    again, *_ = run_side_by_side(CONTROL, WordSystem("test/new", k1=0.2), collection, n_draws=12, n_resamples=20)
    assert json.dumps(again.to_dict()["traffic"]) == json.dumps(found.to_dict()["traffic"])


def test_without_frequencies_every_query_counts_once() -> None:
    collection = Collection.from_dataset(word_shop(20, with_frequency=False))
    found, *_ = run_side_by_side(CONTROL, TREATMENT, collection, n_resamples=20)
    assert not found.sample.by_frequency
    assert found.traffic == found.uniform
    told = found.to_dict()
    assert told["traffic"] is None
    assert told["queries"]["without_frequency"] == 20
    assert [len(values) for _, values in summary_rows(found)] == [1] * 9


def test_what_was_swapped_is_told(arms: tuple[SideBySide, GradedReport, GradedReport]) -> None:
    found, control, treatment = arms
    assert [str(swap) for swap in found.swaps] == ["the system (bm25): deepest 1000 -> 4"]
    assert found.to_dict()["swapped"][0]["settings"] == {"deepest": [1000, 4]}
    old = [
        dataclasses.replace(r, protocol={k: v for k, v in r.protocol.items() if k != "system"})
        for r in (control, treatment)
    ]
    (swap,) = side_by_side(*old).swaps
    assert swap.settings == {"revision": (control.revision, treatment.revision)}
    texts = dataclasses.replace(treatment, protocol={**treatment.protocol, "item_text": {"levels": 0}})
    assert [swap.component for swap in side_by_side(control, texts).swaps] == ["the system", "the item text"]


def test_an_arm_that_is_judged_less_is_warned_of(arms: tuple[SideBySide, GradedReport, GradedReport]) -> None:
    found, control, _ = arms
    apart = abs(found.uniform.judged_control - found.uniform.judged_treatment) >= 0.05
    assert any("may be better than it seems" in note for note in found.notes) == apart
    near = dataclasses.replace(control, revision="other", model_name="test/other")
    assert side_by_side(control, near).notes == []


def test_wrong_use_is_refused(collection: Collection, arms: tuple[SideBySide, GradedReport, GradedReport]) -> None:
    _, control, treatment = arms
    with pytest.raises(UsageError, match="are the same system"):
        run_side_by_side(CONTROL, WordSystem("test/copy"), collection)
    with pytest.raises(UsageError, match="are the same system"):
        side_by_side(control, control)
    with pytest.raises(UsageError, match=r"k is 101; it must be in 1\.\.100"):
        side_by_side(control, treatment, k=101)
    with pytest.raises(UsageError, match="no metric 'ndcg@7'"):
        side_by_side(control, treatment, k=7)
    other = evaluate_system(TREATMENT, Collection.from_dataset(word_shop(seed=5)), ks=(10,), n_resamples=20)
    with pytest.raises(UsageError, match="cannot be compared: dataset"):
        side_by_side(control, other)


def test_the_queries_that_moved_most_come_first(arms: tuple[SideBySide, GradedReport, GradedReport]) -> None:
    found, *_ = arms
    rows = found.most_moved()
    assert sorted(rows.tolist()) == np.flatnonzero(found.sample.draws).tolist()
    change = np.abs(found.b - found.a)[rows]
    assert (np.diff(change) <= 1e-9).all()
    ties = np.abs(np.diff(change)) < 1e-12
    assert (np.diff(found.sample.draws[rows])[ties] <= 0).all(), "of equal changes the more frequent query first"


def test_the_page_holds_the_lists_and_nothing_from_elsewhere(
    arms: tuple[SideBySide, GradedReport, GradedReport], tmp_path: Path
) -> None:
    found, control, treatment = arms
    hostile = "</script><script>alert(1)</script>"
    path = write_side_by_side_page(
        tmp_path / "page.html", found, control, treatment,
        query_texts={found.query_ids[0]: hostile}, titles={"i00": hostile}, most=30,
    )  # fmt: skip
    page = path.read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "default-src 'none'" in html.unescape(page)
    assert "http://" not in page
    assert "https://" not in page
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert len(data["queries"]) == 30
    query = data["queries"][0]
    row = found.query_ids.index(query["id"])
    assert query["a"] == pytest.approx(found.a[row], abs=1e-4)
    run = [r for r in control.run.to_pylist() if r["query_id"] == query["id"] and r["rank"] <= 10]
    assert [(data["items"][item][0], grade) for item, grade in query["lists"][0]] == [
        (r["item_id"], r["grade"]) for r in sorted(run, key=lambda r: r["rank"])
    ]
    again = write_side_by_side_page(
        tmp_path / "again.html", found, control, treatment,
        query_texts={found.query_ids[0]: hostile}, titles={"i00": hostile}, most=30,
    )  # fmt: skip
    assert again.read_bytes() == path.read_bytes()


def test_a_sample_of_ones_is_the_plain_mean(arms: tuple[SideBySide, GradedReport, GradedReport]) -> None:
    _, control, treatment = arms
    ones = QuerySample(np.ones(60, np.int64), np.ones(60, bool), True, 60, 0, 0)
    found = side_by_side(control, treatment, sample=ones)
    assert found.traffic == found.uniform
    assert found.traffic.difference.value == pytest.approx(compare(control, treatment).difference)
