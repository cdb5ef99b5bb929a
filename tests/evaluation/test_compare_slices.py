"""Comparisons cut by what is known of the queries."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from word_shop import WordSystem, word_shop

from mr_st.errors import UsageError
from mr_st.evaluation import Collection, GradedReport, compare, evaluate_system
from mr_st.evaluation.slices import compare_slices


@pytest.fixture(scope="module")
def reports() -> list[GradedReport]:
    collection = Collection.from_dataset(word_shop())
    systems = [WordSystem("test/a", k1=3.0, b=1.0), WordSystem("test/b", deepest=4)]
    return [evaluate_system(s, collection, task_name="Words", ks=(10,), n_resamples=50) for s in systems]


def without(report: GradedReport, *names: str) -> GradedReport:
    return dataclasses.replace(report, per_query=report.per_query.drop_columns(list(names)))


def test_a_slice_is_the_comparison_over_its_queries(reports: list[GradedReport]) -> None:
    found = compare_slices(*reports, "locale")
    assert list(found.parts) == ["en-US", "es-ES"]
    assert [part.n for part in found.parts.values()] == [40, 20]
    locales = np.array(reports[0].per_query["locale"].to_pylist())
    differences = reports[1].values("ndcg@10") - reports[0].values("ndcg@10")
    for locale, part in found.parts.items():
        assert part.difference == pytest.approx(differences[locales == locale].mean())
        parts = [r.take({"locale": locale}, locale) for r in reports]
        whole = compare(*parts)
        assert (part.low, part.high, part.p_value) == (whole.low, whole.high, whole.p_value)
    p = sorted(part.p_value for part in found.parts.values())
    assert sorted(part.p_holm for part in found.parts.values()) == pytest.approx(
        sorted([min(1, 2 * p[0]), max(min(1, 2 * p[0]), p[1])])
    )


def test_head_torso_and_tail_stand_in_that_order(reports: list[GradedReport]) -> None:
    found = compare_slices(*reports, "traffic")
    assert list(found.parts) == ["head", "torso", "tail"]
    assert sum(part.n for part in found.parts.values()) == 60


def test_a_slice_of_few_queries_gets_its_n_and_no_verdict(reports: list[GradedReport]) -> None:
    found = compare_slices(*reports, "kind")
    assert [(value, part.n) for value, part in found.parts.items()] == [("organic", 55), ("spelling", 5)]
    few = found.parts["spelling"]
    assert np.isfinite(few.difference)
    assert np.isnan([few.low, few.high, few.p_value]).all()
    assert few.verdict == "too few queries"
    assert found.parts["organic"].p_holm is None, "one tested slice is a family of one"
    assert json.loads(json.dumps(found.to_dict()))["parts"]["spelling"]["p_value"] is None
    assert compare_slices(*reports, "kind", least=5).parts["spelling"].verdict != "too few queries"


def test_results_of_an_older_version_are_said_to_have_no_slices(reports: list[GradedReport]) -> None:
    old = [without(report, "traffic", "seen") for report in reports]
    found = compare_slices(*old, "traffic")
    assert found.parts == {}
    assert "an older mr-st wrote these results; evaluate again" in found.note
    either = compare_slices(old[0], reports[1], "traffic")
    assert list(either.parts) == ["head", "torso", "tail"], "one report that knows is enough"


def test_an_attribute_that_the_data_does_not_tell(reports: list[GradedReport]) -> None:
    found = compare_slices(*reports, "seen")  # no train split
    assert found.parts == {}
    assert "the data does not tell it" in found.note
    assert found.n_unknown == 60


def test_queries_of_unknown_attribute_are_counted(reports: list[GradedReport]) -> None:
    import pyarrow as pa

    table = reports[0].per_query
    kinds = ["organic"] * 50 + [None] * 10
    table = table.set_column(table.column_names.index("kind"), "kind", pa.array(kinds, pa.string()))
    found = compare_slices(dataclasses.replace(reports[0], per_query=table), reports[1], "kind")
    assert [part.n for part in found.parts.values()] == [50]
    assert found.n_unknown == 10


def test_an_unknown_attribute_is_refused(reports: list[GradedReport]) -> None:
    with pytest.raises(UsageError, match="no 'colour' to slice by; choose from locale"):
        compare_slices(*reports, "colour")
