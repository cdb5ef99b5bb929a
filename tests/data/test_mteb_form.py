import polars as pl
import pytest
import yaml

from mr_st.errors import UsageError


def test_mtebs_own_loader_reads_it(dataset, tmp_path, monkeypatch):
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    from mteb.abstasks.retrieval_dataset_loaders import RetrievalDatasetLoader

    folder = dataset.to_mteb(tmp_path / "mteb")
    loaded = RetrievalDatasetLoader(str(folder), None, split="test", config="default").load()
    assert loaded["relevant_docs"] == {"q1": {"b": 0}, "q2": {"c": 1}}
    assert loaded["corpus"]["id"][:] == ["a", "b", "c"]
    assert loaded["corpus"]["text"][:] == dataset.item_texts()
    assert loaded["queries"]["text"][:] == ["red mug", "taza roja"]


def test_the_files(dataset, tmp_path):
    folder = dataset.to_mteb(tmp_path / "mteb", item_text_levels=0)
    dataset.to_mteb(folder, item_text_levels=0)  # an earlier one is replaced
    assert pl.read_parquet(folder / "corpus/corpus.parquet").rows() == [
        ("a", "Red mug"),
        ("b", "Blue hat"),
        ("c", "Red cup"),
    ]
    assert pl.read_parquet(folder / "qrels/train.parquet").rows() == [("q1", "c", 1), ("q1", "a", 2)]
    head = yaml.safe_load((folder / "README.md").read_text().split("---")[1])
    assert [c["config_name"] for c in head["configs"]] == ["corpus", "queries", "qrels"]
    assert head["license"] == "mit"


def test_a_folder_with_other_files_is_left_alone(dataset, tmp_path):
    (tmp_path / "README.md").write_text("my project")
    with pytest.raises(UsageError, match="holds other files"):
        dataset.to_mteb(tmp_path)
    assert (tmp_path / "README.md").read_text() == "my project"
