"""What to_mteb writes: MTEB's own loader reads it, `datasets` reads it, and we read all of it back."""

import shutil
from pathlib import Path

import polars as pl
import pytest
import yaml

from mr_st.data import GradedDataset
from mr_st.errors import DataError, UsageError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def test_mtebs_own_loader_reads_it(dataset, tmp_path):
    from mteb.abstasks.retrieval_dataset_loaders import RetrievalDatasetLoader

    folder = dataset.to_mteb(tmp_path / "mteb")
    loaded = RetrievalDatasetLoader(str(folder), None, split="test", config="default").load()
    assert loaded["relevant_docs"] == {"q1": {"b": 0}, "q2": {"c": 1}}
    assert loaded["corpus"]["id"][:] == ["a", "b", "c"]
    assert loaded["corpus"]["text"][:] == dataset.item_texts()
    assert loaded["queries"]["text"][:] == ["red mug", "taza roja"]


def test_mteb_evaluates_a_model_on_it_nulls_and_all(full_dataset, tiny_base, tmp_path):
    import mteb
    from mteb.abstasks import AbsTaskRetrieval
    from sentence_transformers import SentenceTransformer

    class Exported(AbsTaskRetrieval):
        metadata = mteb.TaskMetadata(
            name="Exported", description="What to_mteb wrote.", type="Retrieval", modalities=["text"], category="t2t",
            eval_splits=["test"], eval_langs=["jpn-Jpan"], main_score="ndcg_at_10",
            dataset={"path": str(full_dataset.to_mteb(tmp_path / "mteb")), "revision": "none"},
        )  # fmt: skip

    result = mteb.evaluate(
        SentenceTransformer(str(tiny_base), device="cpu"), [Exported()], cache=None, encode_kwargs={"batch_size": 2}
    )
    assert 0.0 <= result.task_results[0].scores["test"][0]["ndcg_at_10"] <= 1.0


def test_datasets_reads_every_configuration(full_dataset, tmp_path):
    from datasets import load_dataset

    folder = str(full_dataset.to_mteb(tmp_path / "mteb"))
    assert load_dataset(folder, "corpus")["corpus"].column_names == ["_id", "text"]
    assert load_dataset(folder, "queries")["queries"].column_names == ["_id", "text"]
    assert load_dataset(folder, "qrels")["test"]["score"][:] == [3, 1]
    assert load_dataset(folder, "item_details")["item_details"]["title"][:] == full_dataset.items["title"][:]
    assert load_dataset(folder, "query_details")["query_details"]["frequency"][:] == [12.5, None, 0.0, None]
    assert load_dataset(folder, "engagement")["engagement"]["impressions"][:] == [9, 2**40]


def test_the_files(dataset, tmp_path):
    folder = dataset.to_mteb(tmp_path / "mteb", item_text_levels=0)
    dataset.to_mteb(folder, item_text_levels=0)  # an earlier one is replaced
    assert pl.read_parquet(folder / "corpus/corpus.parquet").rows() == [
        ("a", "Red mug"),
        ("b", "Blue hat"),
        ("c", "Red cup"),
    ]
    qrels = pl.read_parquet(folder / "qrels/train.parquet")
    assert qrels.select("query-id", "corpus-id", "score").rows() == [("q1", "c", 1), ("q1", "a", 2)]
    head = yaml.safe_load((folder / "README.md").read_text().split("---")[1])
    names = [c["config_name"] for c in head["configs"]]
    assert names == ["corpus", "queries", "qrels", "item_details", "query_details"]
    assert head["license"] == "mit"
    settings = yaml.safe_load((folder / "mr_st.yaml").read_text())
    assert settings["item_text"] == {"levels": 0, "max_chars": 400}


@pytest.mark.parametrize("texts", [{}, {"item_text_levels": 0, "max_chars": 3}, {"max_chars": None}])
def test_it_comes_back_whole_whatever_the_texts_say(full_dataset, tmp_path, texts):
    again = GradedDataset.load(full_dataset.to_mteb(tmp_path / "mteb", **texts))
    assert again.fingerprint == full_dataset.fingerprint
    for table in ("queries", "items", "judgments", "engagement"):
        assert getattr(again, table).to_list() == getattr(full_dataset, table).to_list()
    assert (again.name, again.license, again.source, again.scale) == (
        full_dataset.name, full_dataset.license, full_dataset.source, full_dataset.scale
    )  # fmt: skip
    assert GradedDataset.load("mteb", path_or_hub_id=tmp_path / "mteb").fingerprint == full_dataset.fingerprint


def test_no_engagement_and_an_empty_engagement_are_two_things(tables, tmp_path):
    columns = ("query_id", "item_id", "impressions", "clicks")
    none = GradedDataset.from_tables(**tables)
    empty = GradedDataset.from_tables(**tables, engagement={column: [] for column in columns})
    assert GradedDataset.load(none.to_mteb(tmp_path / "none")).engagement is None
    again = GradedDataset.load(empty.to_mteb(tmp_path / "empty"))
    assert again.engagement is not None
    assert again.fingerprint == empty.fingerprint != none.fingerprint


def test_other_peoples_folders_are_left_alone(dataset, tmp_path):
    (tmp_path / "README.md").write_text("my project")
    (tmp_path / "qrels").mkdir()
    with pytest.raises(UsageError, match="holds other files"):
        dataset.to_mteb(tmp_path)
    assert (tmp_path / "README.md").read_text() == "my project"


def test_what_mteb_would_drop_in_silence_is_refused(tables, tmp_path):
    tables["judgments"][0]["split"] = "../../elsewhere"
    tables["judgments"][1]["query_id"] = "nobody"
    with pytest.raises(DataError) as error:
        GradedDataset.from_tables(**tables).to_mteb(tmp_path / "mteb")
    assert len(error.value.problems) == 2
    assert list(tmp_path.iterdir()) == []


def test_markup_in_a_name_stays_text(tables, tmp_path):
    name = "x](http://e.vil)\n---\n# <script>"
    folder = GradedDataset.from_tables(**tables, name=name, license=name).to_mteb(tmp_path / "mteb")
    text = (folder / "README.md").read_text()
    assert "<script>" not in text.replace("\\<script\\>", "")
    assert text.count("\n---\n") == 1
    assert GradedDataset.load(folder).name == name


def _without(path):
    return lambda folder: (folder / path).unlink()


def _cut(path):
    return lambda folder: (folder / path).write_bytes((folder / path).read_bytes()[:-30])


def _settings(**changes):
    def change(folder: Path) -> None:
        path = folder / "mr_st.yaml"
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))

    return change


def _rewrite(path, change):
    return lambda folder: change(pl.read_parquet(folder / path)).write_parquet(folder / path)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (_without("qrels/dev.parquet"), r"^qrels/dev\.parquet: the file is missing"),
        (_without("engagement/engagement.parquet"), r"^engagement/engagement\.parquet: the file is missing"),
        (_cut("corpus/corpus.parquet"), r"^corpus/corpus\.parquet: not a readable Parquet file"),
        (
            _rewrite("qrels/test.parquet", lambda t: t.drop("confidence")),
            r"^qrels/test\.parquet, column confidence: m",
        ),
        (_rewrite("corpus/corpus.parquet", lambda t: t.head(2)), r"^item_details/.*: 3 rows where corpus/.* has 2"),
        (_rewrite("corpus/corpus.parquet", lambda t: t.reverse()), r"^corpus/corpus.parquet, row 1, column _id: 'c'"),
        (_rewrite("query_details/query_details.parquet", lambda t: t.drop("query_id")), "column query_id: missing"),
        (
            _rewrite("qrels/test.parquet", lambda t: t.with_columns(score=t["score"] + 1)),
            r"^qrels/test\.parquet, row 1, column grade: grade 4 is outside the scale",
        ),
        (_rewrite("qrels/test.parquet", lambda t: t.with_columns(score=t["score"] + 300)), r"^qrels/test\.parquet"),
        (_settings(format=9), r"^mr_st\.yaml: format 9 where 1 is expected"),
        (_settings(splits=["../x"]), r"^mr_st\.yaml: .* where a list of train, dev, test"),
        (_settings(scale={"names": ["a"], "gains": [0]}), r"^mr_st\.yaml, column scale: not a grade scale"),
        (lambda folder: (folder / "mr_st.yaml").write_text("a: [1"), r"^mr_st\.yaml: cannot be read"),
    ],
)
def test_damage_is_named(full_dataset, tmp_path, damage, expected):
    folder = full_dataset.to_mteb(tmp_path / "mteb")
    damage(folder)
    with pytest.raises(DataError, match=expected) as error:
        GradedDataset.load(folder)
    assert all("\n" not in str(problem) for problem in error.value.problems)


def test_all_damage_is_named_at_once(full_dataset, tmp_path):
    folder = full_dataset.to_mteb(tmp_path / "mteb")
    shutil.rmtree(folder / "corpus")
    (folder / "qrels/train.parquet").write_text("x")
    _settings(scale=None)(folder)
    with pytest.raises(DataError) as error:
        GradedDataset.load(folder)
    assert [p.where for p in error.value.problems] == ["mr_st.yaml", "corpus/corpus.parquet"]  # no splits are known


def test_an_export_takes_no_options_that_would_change_it(dataset, tmp_path):
    folder = dataset.to_mteb(tmp_path / "mteb")
    with pytest.raises(UsageError, match="comes back as it was; leave out grade_map, locale"):
        GradedDataset.load(folder, grade_map={0: 0}, locale="en")
