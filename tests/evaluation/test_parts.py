"""The usual parts of a split: those that hold some of the queries and not all."""

from __future__ import annotations

from pathlib import Path

import pytest

from mr_st.evaluation import GradedReport
from mr_st.evaluation.parts import query_parts

CARD = Path(__file__).resolve().parents[2] / "model_cards" / "mr-minilm-marketplace"


@pytest.fixture(scope="module")
def report() -> GradedReport:
    (path,) = (CARD / "results" / "mr-st__mr-minilm-marketplace").glob("*/MarketplaceRetrieval.json")
    return GradedReport.load(path)


def test_the_parts_are_those_that_the_result_keeps(report: GradedReport) -> None:
    parts = query_parts(report)
    assert list(parts) == ["head", "tail", "misspelt", "en", "de", "es", "ja", "fr"]  # all are unseen: no part
    kinds = report.per_query["kind"].to_pylist()
    assert parts["misspelt"].protocol["n_queries"] == kinds.count("spelling") == 24
    mean = sum(v for v, kind in zip(report.values("ndcg@10"), kinds, strict=True) if kind == "spelling") / 24
    assert parts["misspelt"]["ndcg@10"].value == pytest.approx(mean)


def test_what_is_not_known_makes_no_part(report: GradedReport) -> None:
    from dataclasses import replace

    table = report.per_query.drop_columns(["kind", "traffic", "seen"])
    assert list(query_parts(replace(report, per_query=table))) == ["en", "de", "es", "ja", "fr"]
    assert query_parts(replace(report, per_query=table.drop_columns(["locale"]))) == {}
