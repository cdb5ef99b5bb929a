from __future__ import annotations

import mteb
import pytest

from mr_st.errors import UsageError
from mr_st.evaluation import as_mteb_model, compare
from mr_st.tasks import MarketplaceRetrieval, get_task, run_mteb

TRIPLES = [
    ("red mug", "red mug big", 2), ("red mug", "blue mug", 1), ("red mug", "garden hose", 0),
    ("led lamp", "led desk lamp", 2), ("led lamp", "desk", 1), ("led lamp", "red mug big", 0),
    ("no luck", "desk", 0),
]  # fmt: skip


def agree(task, model, split: str = "test") -> None:
    """mteb.evaluate and our evaluation give the same figures; MTEB rounds to 5 decimals."""
    theirs = mteb.evaluate(as_mteb_model(model), task, cache=None, show_progress_bar=False).task_results[0]
    ours = task.report(model, split=split, ks=(10, 50, 100))
    scores = theirs.scores[split][0]
    assert scores["main_score"] == scores["ndcg_at_10"]
    for k in (10, 50, 100):
        for name in ("ndcg", "recall", "precision"):
            assert scores[f"{name}_at_{k}"] == pytest.approx(ours[f"{name}@{k}"].value, abs=5.001e-6), f"{name}@{k}"


def test_same_numbers_as_mteb_on_hand_made_data(hand_made, model) -> None:
    agree(hand_made(TRIPLES), model)
    agree(hand_made(TRIPLES, item_text_levels=0), model)


def test_same_numbers_as_mteb_on_the_marketplace(model) -> None:
    agree(get_task("MarketplaceRetrieval", size="tiny"), model)


def test_what_mteb_is_given(hand_made) -> None:
    task = hand_made(TRIPLES)
    task.load_data()
    data = task.dataset["default"]["test"]
    assert data["queries"]["id"][:] == ["led lamp", "red mug"]  # the query without a relevant item is left out
    assert data["corpus"].column_names == ["id", "text"]  # the title stands in the text: MTEB joins a title twice
    assert data["corpus"]["text"][0] == "blue mug. Category: home > kitchen"
    assert len(data["corpus"]) == 7
    qrels = data["relevant_docs"]
    assert qrels["red mug"] == {"red mug big": 2, "blue mug": 1, "garden hose": 0}
    assert {type(grade) for grades in qrels.values() for grade in grades.values()} == {int}
    assert data["top_ranked"] is None


def test_metadata_is_complete_and_pinned_to_the_data(tiny_shop) -> None:
    task = MarketplaceRetrieval(size="tiny")
    assert task.metadata.is_filled()
    assert task.metadata.revision == tiny_shop.fingerprint
    assert task.metadata.main_score == "ndcg_at_10"
    assert MarketplaceRetrieval.metadata.revision != tiny_shop.fingerprint  # the class is not touched


def test_options_that_change_the_data_change_the_name() -> None:
    names = {MarketplaceRetrieval(size="tiny", seed=s).metadata.name for s in (0, 1)}
    assert names == {"MarketplaceRetrieval-tiny-seed0", "MarketplaceRetrieval-tiny-seed1"}
    assert MarketplaceRetrieval(size="tiny", name="Mine").metadata.name == "Mine"
    with pytest.raises(UsageError, match="cannot name a file"):
        MarketplaceRetrieval(size="tiny", name="../mine")


def test_the_report_carries_the_tasks_identity(model, tmp_path) -> None:
    task = MarketplaceRetrieval(size="tiny")
    report = task.report(model, model_name="test/tiny")
    assert report.task_name == task.metadata.name
    assert report.dataset_fingerprint == task.metadata.revision
    assert report.split == "test"
    report.save(tmp_path / "results")
    # MTEB takes our file for its own and does not evaluate again
    (found,) = run_mteb(model, [task], tmp_path, model_name="test/tiny", show_progress_bar=False)
    assert "graded" in found.scores["test"][0]
    assert compare(report, report).ties == report.protocol["n_queries"]


def test_mtebs_cache_serves_no_other_model_and_no_other_data(hand_made, model, tiny_base, tmp_path) -> None:
    import torch
    from sentence_transformers import SentenceTransformer

    other = SentenceTransformer(str(tiny_base), device="cpu")
    with torch.no_grad():
        other[0].auto_model.embeddings.word_embeddings.weight.normal_(generator=torch.Generator().manual_seed(3))
    first, second = hand_made(TRIPLES), hand_made([(q, i, 2 - g) for q, i, g in TRIPLES])
    assert first.metadata.name == second.metadata.name

    def scores(which, task) -> dict:
        (result,) = run_mteb(which, [task], tmp_path, show_progress_bar=False)
        assert result.dataset_revision == task.metadata.revision
        return result.scores["test"][0]

    one = scores(model, first)
    assert scores(other, first)["ndcg_at_10"] == pytest.approx(first.report(other)["ndcg@10"].value, abs=5.001e-6)
    assert scores(model, second)["ndcg_at_10"] == pytest.approx(second.report(model)["ndcg@10"].value, abs=5.001e-6)
    assert scores(model, first)["ndcg_at_10"] == one["ndcg_at_10"]
    # the trap that run_mteb closes: mteb.evaluate itself serves the cached score of the other data
    mine = as_mteb_model(model)
    trapped = mteb.evaluate(mine, second, cache=mteb.ResultCache(tmp_path), show_progress_bar=False).task_results[0]
    assert trapped.dataset_revision == first.metadata.revision


def test_a_split_that_is_not_there(hand_made, model) -> None:
    with pytest.raises(UsageError, match="no split 'dev'"):
        hand_made(TRIPLES, splits=["dev"]).load_data()


def test_esci_from_an_original_download(esci_folder) -> None:
    task = get_task("ESCIRetrieval", path=esci_folder)
    assert task.metadata.name == "ESCIRetrieval"
    assert task.metadata.is_filled()
    task.load_data()
    data = task.dataset["default"]["test"]
    assert (len(data["queries"]), len(data["corpus"])) == (40, 6764)
    assert set().union(*(set(grades.values()) for grades in data["relevant_docs"].values())) == {0, 1, 2}


def test_esci_names_and_faults(esci_folder, tmp_path, tiny_shop) -> None:
    four = get_task("ESCIRetrieval", path=esci_folder, data_options={"grades": 4})
    assert four.metadata.name == "ESCIRetrieval-grades=4"
    assert four.graded.scale.n_grades == 4
    with pytest.raises(UsageError, match="no locale 'fr'"):
        get_task("ESCIRetrieval", path=esci_folder, locale="fr")
    saved = tiny_shop.save(tmp_path / "saved")
    assert get_task("ESCIRetrieval", path=saved).metadata.revision == tiny_shop.fingerprint
    with pytest.raises(UsageError, match="saved dataset"):
        get_task("ESCIRetrieval", path=saved, data_options={"grades": 4})
