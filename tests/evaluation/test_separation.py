from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mr_st.errors import MrStError, UsageError
from mr_st.evaluation import Collection, GradedReport, evaluate_system
from mr_st.evaluation.separation import check_same_pairs, strata_of, whole_separability
from mr_st.measures import best_threshold, separability
from mr_st.search import TopK


class Known:
    """A system whose similarity of a pair is given by its grade and a seed; it finds the items in their order."""

    def __init__(self, seed: int = 0, gives_similarities: bool = True, name: str = "test/known"):
        self.name, self.revision, self.seed = name, f"r{seed}", seed
        self.settings: dict[str, Any] = {"kind": "known"}
        self.facts: dict[str, Any] = {}
        self.gives_similarities = gives_similarities

    def search(self, collection: Collection, k: int) -> TopK:
        n, k = collection.n_queries, min(k, len(collection.item_ids))
        return TopK(np.tile(np.arange(k), (n, 1)), np.tile(-np.arange(k, dtype=np.float32), (n, 1)))

    def score_pairs(self, collection: Collection) -> np.ndarray:
        rng = np.random.default_rng(self.seed)
        return np.clip(0.2 + 0.2 * collection.judged.grades + rng.normal(0, 0.1, collection.judged.n_pairs), -1, 1)


@pytest.fixture(scope="module")
def collection(dataset) -> Collection:
    made = Collection.from_dataset(dataset, "test")
    n = made.n_queries
    return replace(made, attributes={**made.attributes, "traffic": ["head", "tail"] * (n // 2) + ["head"] * (n % 2)})


@pytest.fixture(scope="module")
def known_report(collection) -> GradedReport:
    return evaluate_system(Known(), collection, task_name="Shop", ks=(5,))


def test_a_report_holds_its_separability(collection, known_report, tmp_path) -> None:
    similarities = Known().score_pairs(collection)
    direct = separability(
        collection.judged, similarities, 3, collection.overlaps(), strata_of(collection), hard=0.7
    ).to_dict()  # fmt: skip
    loaded = GradedReport.load(known_report.save(tmp_path))
    for report in (known_report, loaded):
        found = whole_separability(report)
        assert found["boundaries"] == direct["boundaries"]
        assert found["n_queries"] == collection.n_queries
        for pair, expected in zip(found["pairs"], direct["pairs"], strict=True):
            for name in ("auc_pooled", "auc_per_query", "overlap", "n_high", "n_low"):
                assert pair[name] == expected[name]
            for name in ("margin_average", "margin_worst", "margin_average_hard", "margin_worst_hard"):
                assert pair[name]["n"] == expected[name]["n"]
                assert pair[name]["value"] == pytest.approx(expected[name]["value"])
        json.dumps(found, allow_nan=False)
    threshold = found["boundaries"][0]["threshold"]["value"]
    assert threshold == best_threshold(similarities, collection.judged.grades, 1).value


def test_the_strata_are_the_attributes_that_tell_queries_apart(collection, known_report) -> None:
    assert list(strata_of(collection)) == ["traffic"]  # all of one locale and kind, none seen in training
    strata = known_report.separability["boundaries"][0]["strata"]
    assert [(stratum["attribute"], stratum["name"]) for stratum in strata] == [
        ("traffic", "head"),
        ("traffic", "tail"),
    ]
    assert sum(stratum["n_queries"] for stratum in strata) == collection.n_queries


def test_a_system_without_similarities_has_none(collection) -> None:
    report = evaluate_system(Known(gives_similarities=False), collection, task_name="Shop", ks=(5,))
    assert report.separability is None
    with pytest.raises(UsageError, match="test/known on Shop: its scores are no similarities"):
        whole_separability(report)


def test_a_part_and_an_old_result_say_why_they_have_none(known_report) -> None:
    with pytest.raises(UsageError, match="part 'head' of a split keeps no similarities"):
        whole_separability(known_report.take({"traffic": "head"}, "head"))
    with pytest.raises(UsageError, match="evaluate it again"):
        whole_separability(replace(known_report, separability=None))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_similarity_that_is_not_finite_is_refused(collection, value: float, monkeypatch) -> None:
    def broken(self, collection: Collection) -> np.ndarray:
        found = np.zeros(collection.judged.n_pairs)
        found[3] = value
        return found

    monkeypatch.setattr(Known, "score_pairs", broken)
    with pytest.raises(MrStError, match=r"test/known: 1 of \d+ judged pairs have a similarity that is not finite"):
        evaluate_system(Known(), collection, task_name="Shop", ks=(5,))


def test_only_results_of_one_task_stand_side_by_side(collection, known_report) -> None:
    check_same_pairs([known_report, evaluate_system(Known(1), collection, task_name="Shop", ks=(5,))])
    other = evaluate_system(Known(1, name="test/other"), collection, task_name="Mall", ks=(5,))
    with pytest.raises(UsageError, match="task is Shop in test/known and Mall in test/other"):
        check_same_pairs([known_report, other])
    other = replace(known_report, protocol={**known_report.protocol, "grades": ["no", "yes"]})
    with pytest.raises(UsageError, match="grades is"):
        check_same_pairs([known_report, other])
