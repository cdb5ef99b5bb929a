from __future__ import annotations

import json

import pytest

from mr_st.data import GradedDataset
from mr_st.evaluation import Collection
from mr_st.tasks import MarketplaceRetrieval, list_tasks, task_class
from mr_st.tasks.statistics import BASELINES, collection_statistics, read_baselines


def test_statistics_counted_by_hand() -> None:
    dataset = GradedDataset.from_tables(
        [
            {"query_id": "a", "text": "red mug", "locale": "en-US", "frequency": 9.0},
            {"query_id": "b", "text": "Red  Mug", "locale": "es-ES", "frequency": 1.0},
            {"query_id": "c", "text": "no luck", "locale": "es-ES", "frequency": 1.0},
        ],
        [{"item_id": f"i{n}", "title": title} for n, title in enumerate(["mug", "Mug", "a lamp", "hose"])],
        [
            {"query_id": q, "item_id": f"i{i}", "grade": g, "split": "test"}
            for q, i, g in [("a", 0, 2), ("a", 1, 0), ("a", 2, 0), ("a", 3, 0), ("b", 1, 1), ("b", 2, 0), ("c", 0, 0)]
        ],
    )
    collection = Collection.from_dataset(dataset, "test")
    found = collection_statistics(collection, {"es": {"locale": "es"}, "misspelt": {"kind": "spelling"}})
    assert json.loads(json.dumps(found)) == found
    assert found == {
        "split": "test", "corpus": "full catalogue", "fingerprint": dataset.fingerprint,
        "n_queries": 2, "n_queries_left_out": 1, "n_items": 4, "n_items_judged": 4, "n_judged_pairs": 6,
        "grades": {"irrelevant": 4, "partial": 1, "relevant": 1},
        "zero_share": {"pairs": 0.6667, "mean_of_queries": 0.625},
        "judged_per_query": {"min": 2.0, "median": 3.0, "mean": 3.0, "max": 4.0},
        "relevant_per_query": {"min": 1.0, "median": 1.0, "mean": 1.0, "max": 1.0},
        "query_characters": {"min": 7.0, "median": 7.5, "mean": 7.5, "max": 8.0},
        "item_characters": {"min": 3.0, "median": 3.5, "mean": 4.0, "max": 6.0},
        "duplicates": {"queries": 1, "items": 1},
        "queries_by": {
            "locale": {"en-US": 1, "es-ES": 1}, "kind": {"organic": 2}, "traffic": {"head": 1, "tail": 1},
        },
        "queries_of_subsets": {"es": 1, "misspelt": 0},
    }  # fmt: skip


def test_a_tasks_statistics_are_of_what_it_searches() -> None:
    task = MarketplaceRetrieval(size="tiny")
    whole, pool = task.statistics(), task.twin().statistics()
    assert whole["task"] == "MarketplaceRetrieval-tiny-seed0"
    assert (whole["n_items"], whole["corpus"]) == (250, "full catalogue")
    assert (pool["n_items"], pool["corpus"]) == (whole["n_items_judged"], "judged pool")
    assert whole["grades"] == pool["grades"]
    assert sum(whole["queries_by"]["locale"].values()) == whole["n_queries"]
    assert MarketplaceRetrieval(size="tiny", max_chars=30).statistics()["item_characters"]["max"] == 30


@pytest.mark.parametrize("name", [path.stem for path in sorted(BASELINES.glob("*.json"))])
def test_recorded_baselines_have_protocol_data_and_intervals(name) -> None:
    found = task_class(name).baselines()
    assert found == read_baselines(name)
    assert found["task"] == name
    assert found["entries"] or found["not_measured"]  # nothing is left blank without a word
    for entry in found["entries"]:
        assert entry["task"].partition("-")[0] == name
        assert (
            entry["fingerprint"] == entry["protocol"]["dataset"]["fingerprint"] == entry["statistics"]["fingerprint"]
        )
        assert entry["protocol"]["corpus"] == ("judged pool" if task_class(name).judged_pool else "full catalogue")
        assert {"random", "bm25"} <= set(entry["systems"])
        for system in entry["systems"].values():
            for value, low, high, n in system["metrics"].values():
                assert n == 0 or low <= value <= high
            assert system["metrics"]["ndcg@10"][3] == entry["protocol"]["n_queries"]
        random, bm25 = (entry["systems"][key]["metrics"]["ndcg@10"][0] for key in ("random", "bm25"))
        assert random < bm25 < 0.95  # neither hopeless nor trivial


def test_every_task_of_ours_has_a_record_of_its_baselines() -> None:
    assert {path.stem for path in BASELINES.glob("*.json")} == set(list_tasks())


def test_the_marketplaces_record_is_of_the_marketplace_of_now() -> None:
    task = MarketplaceRetrieval()
    assert task.metadata.revision in [entry["fingerprint"] for entry in task.baselines()["entries"]]
