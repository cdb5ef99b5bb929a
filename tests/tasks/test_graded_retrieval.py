from __future__ import annotations

import pytest

from mr_st.errors import UsageError
from mr_st.evaluation import compare
from mr_st.tasks import MarketplaceRetrieval, get_task, run_mteb

TRIPLES = [
    ("red mug", "red mug big", 2), ("red mug", "blue mug", 1), ("red mug", "garden hose", 0),
    ("led lamp", "led desk lamp", 2), ("led lamp", "desk", 1), ("led lamp", "red mug big", 0),
    ("no luck", "desk", 0),
]  # fmt: skip


def test_same_numbers_as_mteb_on_hand_made_data(hand_made, agree) -> None:
    agree(hand_made(TRIPLES))
    agree(hand_made(TRIPLES, item_text_levels=0))


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
