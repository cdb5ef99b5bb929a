from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from mr_st.errors import UsageError
from mr_st.evaluation import GradedReport, compare
from mr_st.evaluation.compare import compare_several, corrected


def with_values(report: GradedReport, metric: str, values: list[float], name: str = "test/b") -> GradedReport:
    table = report.per_query
    column = pa.array(values, pa.float64(), from_pandas=True)
    table = table.set_column(table.column_names.index(metric), metric, column)
    return dataclasses.replace(report, per_query=table, model_name=name)


def test_wins_losses_and_difference_by_hand(report: GradedReport) -> None:
    a = with_values(report, "ndcg@10", [0.1, 0.2, 0.3, 0.4, 0.5], "test/a")
    b = with_values(report, "ndcg@10", [0.4, 0.2, 0.2, 0.6, np.nan])
    found = compare(a, b)
    assert (found.metric, found.n, found.wins, found.losses, found.ties) == ("ndcg@10", 4, 2, 1, 1)
    assert found.value_a == pytest.approx(0.25)
    assert found.value_b == pytest.approx(0.35)
    assert found.difference == pytest.approx(0.1)
    assert found.low < 0.1 < found.high
    assert 0 < found.p_value <= 1
    assert found.most_moved(2)[0] == (report.per_query["query_id"][0].as_py(), pytest.approx(0.3))
    assert [round(d, 6) for _, d in found.most_moved(2)] == [0.3, 0.2]
    assert found.to_dict()["wins"] == 2
    assert "+0.1000" in str(found)


def test_the_other_way_round_is_the_mirror_image(report: GradedReport) -> None:
    b = with_values(report, "ndcg@10", [0.9, 0.1, 0.5, 0.7, 0.6])
    there, back = compare(report, b), compare(b, report)
    assert back.difference == pytest.approx(-there.difference)
    assert (back.wins, back.losses) == (there.losses, there.wins)
    assert back.p_value == there.p_value


def test_queries_are_paired_by_id_not_by_place(report: GradedReport) -> None:
    order = [3, 0, 4, 1, 2]
    shuffled = dataclasses.replace(report, per_query=report.per_query.take(order))
    found = compare(report, shuffled)
    assert found.ties == 5
    assert found.p_value == 1.0
    fewer = dataclasses.replace(report, per_query=report.per_query.take([2, 1]))
    assert compare(report, fewer).n == 2


def test_reports_of_other_data_are_refused(report: GradedReport) -> None:
    for key, value in (("split", "dev"), ("gains", [0, 1, 3]), ("n_items", 7), ("dataset", {"fingerprint": "x"})):
        other = dataclasses.replace(report, protocol={**report.protocol, key: value})
        with pytest.raises(UsageError, match=f"cannot be compared: {key}"):
            compare(report, other)
    with pytest.raises(UsageError, match="no metric 'mrr'"):
        compare(report, report, "mrr")
    nothing = with_values(report, "ndcg@10", [np.nan] * 5)
    with pytest.raises(UsageError, match="defined for no query"):
        compare(report, nothing)


def test_another_item_text_is_noted_not_refused(report: GradedReport) -> None:
    text = {"levels": 0, "max_chars": 400}
    other = dataclasses.replace(report, protocol={**report.protocol, "item_text": text})
    assert compare(report, other).notes == [f"item_text: {report.protocol['item_text']} against {text}"]
    assert compare(report, report).notes == []


def test_other_protocols_are_noted_in_words(report: GradedReport) -> None:
    other = dataclasses.replace(report, protocol={**report.protocol, "ties": "by chance", "mr_st": "0.0"})
    assert [note.split(":")[0] for note in compare(report, other).notes] == ["ties", "mr_st"]


def test_a_part_is_not_compared_with_the_whole(report: GradedReport) -> None:
    with pytest.raises(UsageError, match=r"cannot be compared: subset is default in .* and head"):
        compare(report, dataclasses.replace(report, subset="head"))


def test_several_models_are_corrected_for_each_other(report: GradedReport) -> None:
    rng = np.random.default_rng(0)
    values = [list(rng.uniform(size=5)) for _ in range(3)]
    others = [with_values(report, "ndcg@10", v, f"test/{i}") for i, v in enumerate(values)]
    found = compare_several(report, others)
    alone = np.array([compare(report, other).p_value for other in others])
    assert [one.model_b for one in found] == ["test/0", "test/1", "test/2"]
    assert [one.p_value for one in found] == alone.tolist()
    step, expected = 0.0, np.empty(3)
    for place, i in enumerate(np.argsort(alone, kind="stable")):  # Holm, step by step
        step = max(step, (3 - place) * alone[i])
        expected[i] = min(step, 1.0)
    assert [one.p_holm for one in found] == pytest.approx(expected.tolist())
    assert "(Holm: " in str(found[0])
    (single,) = compare_several(report, others[:1])
    assert single.p_holm is None


def test_what_was_not_tested_is_in_no_family(report: GradedReport) -> None:
    one = compare(report, with_values(report, "ndcg@10", [0.9, 0.1, 0.5, 0.7, 0.6]))
    untested = dataclasses.replace(one, p_value=float("nan"), low=float("nan"), high=float("nan"))
    assert [c.p_holm for c in corrected([one, untested])] == [None, None]
    three = corrected([one, untested, one])
    assert three[0].p_holm == pytest.approx(min(1.0, 2 * one.p_value))
    assert three[1].p_holm is None
    assert untested.verdict == "too few queries"
    assert untested.to_dict()["p_value"] is None


def test_the_verdict_is_of_the_corrected_p_value(report: GradedReport) -> None:
    found = compare(report, with_values(report, "ndcg@10", [0.9, 0.1, 0.5, 0.7, 0.6]))
    better = dataclasses.replace(found, difference=0.1, p_value=0.01)
    assert better.verdict == "better"
    assert dataclasses.replace(better, difference=-0.1).verdict == "worse"
    assert dataclasses.replace(better, p_holm=0.06).verdict == "no difference shown"


def test_queries_that_did_not_move_are_not_among_those_that_moved_most(report: GradedReport) -> None:
    a = with_values(report, "ndcg@10", [0.1, 0.2, 0.3, 0.4, 0.5], "test/a")
    b = with_values(report, "ndcg@10", [0.1, 0.4, 0.3, 0.2, 0.5])
    ids = report.per_query["query_id"].to_pylist()
    moved = compare(a, b).most_moved(5)
    assert [query for query, _ in moved] == [ids[1], ids[3]]
    assert [difference for _, difference in moved] == pytest.approx([0.2, -0.2])
