"""Other people's retrieval data: MTEB's configurations in a folder, and BEIR's files."""

import gzip
import json

import polars as pl
import pytest

from mr_st.data import GradedDataset
from mr_st.errors import DataError, MrStError, UsageError
from mr_st.grades import ESCI_FOUR_GRADES, THREE_GRADES, TWO_GRADES

CORPUS = [
    {"_id": "d1", "title": "Red mug", "text": "A mug for coffee", "metadata": {"x": 1}},
    {"_id": "d2", "title": "", "text": "Blue hat"},
    {"_id": 3, "text": "コーヒー é"},
]
QUERIES = [{"_id": "q1", "text": "mug", "metadata": {}}, {"_id": "q2", "text": "hat"}]
QRELS = {"train": "q1\td1\t1\nq1\t3\t0\n", "test": "q2\td2\t1\n"}
HEADER = "query-id\tcorpus-id\tscore\n"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def write_beir(folder, corpus=CORPUS, queries=QUERIES, qrels=QRELS, packed=False):
    (folder / "qrels").mkdir(parents=True)

    def write(name, text):
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (folder / name).write_text(text)

    for name, rows in (("corpus.jsonl", corpus), ("queries.jsonl", queries)):
        write(name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    for split, lines in qrels.items():
        write(f"qrels/{split}.tsv", HEADER + lines)
    return folder


def write_mteb(folder, corpus, queries, qrels, prefix="", qrels_name="default"):
    """Parquet files and a README that names them; ``qrels`` is a mapping of split to rows."""
    folder.mkdir()
    lines = ["---", "license: cc-by-4.0", "configs:"]
    tables = {"corpus": {"corpus": corpus}, "queries": {"queries": queries}, qrels_name: qrels}
    for config, splits in tables.items():
        lines += [f"- config_name: {prefix}{config}", "  data_files:"]
        for split, rows in splits.items():
            pl.DataFrame(rows).write_parquet(folder / f"{config}-{split}.parquet")
            lines += [f"  - split: {split}", f"    path: {config}-{split}.parquet"]
    (folder / "README.md").write_text("\n".join([*lines, "---", "# Theirs"]))
    return folder


MTEB = {
    "corpus": [{"_id": "d1", "title": "Red mug", "text": "A mug"}, {"_id": "d2", "title": " ", "text": "Blue hat"}],
    "queries": [{"_id": "q1", "text": "mug"}, {"_id": "q2", "text": "hat"}],
    "qrels": {
        "test": [{"query-id": "q1", "corpus-id": "d1", "score": 2}, {"query-id": "q2", "corpus-id": "d2", "score": 0}],
        "validation": [{"query-id": "q1", "corpus-id": "d2", "score": 1}],
    },
}


@pytest.mark.parametrize("packed", [False, True])
def test_beirs_files(tmp_path, packed):
    folder = write_beir(tmp_path / "mugs", packed=packed)
    dataset = GradedDataset.load(folder, locale="en")
    assert dataset.items.select_columns(["item_id", "title", "description"]).to_list() == [
        {"item_id": "d1", "title": "Red mug", "description": "A mug for coffee"},
        {"item_id": "d2", "title": "Blue hat", "description": None},
        {"item_id": "3", "title": "コーヒー é", "description": None},
    ]
    assert dataset.queries["text"][:] == ["mug", "hat"]
    assert set(dataset.queries["locale"]) == set(dataset.items["locale"]) == {"en"}
    judged = {(j["query_id"], j["item_id"], j["grade"], j["split"]) for j in dataset.judgments}
    assert judged == {("q1", "d1", 1, "train"), ("q1", "3", 0, "train"), ("q2", "d2", 1, "test")}
    assert (dataset.scale, dataset.name, dataset.license) == (TWO_GRADES, "mugs", "unknown")


def test_a_tables_folder_of_our_own_that_went_through_beir_is_the_same(full_dataset, tmp_path):
    """Written by hand here from the tables, so that reader and writer share no code."""
    corpus = [
        {"_id": i["item_id"], "title": i["title"], "text": "text of " + i["item_id"]} for i in full_dataset.items
    ]
    queries = [{"_id": q["query_id"], "text": q["text"]} for q in full_dataset.queries]
    qrels = {}
    for j in full_dataset.judgments:
        line = f"{j['query_id']}\t{j['item_id']}\t{j['grade']}\n"
        qrels[j["split"]] = qrels.get(j["split"], "") + line
    loaded = GradedDataset.load(write_beir(tmp_path / "d", corpus, queries, qrels), scale=ESCI_FOUR_GRADES)
    assert loaded.queries["text"][:] == full_dataset.queries["text"][:]
    assert loaded.items["title"][:2] == full_dataset.items["title"][:2]
    assert loaded.items["title"][2] == "text of c"  # it has no title
    key = lambda j: (j["query_id"], j["item_id"], j["grade"], j["split"])  # noqa: E731
    assert sorted(map(key, loaded.judgments)) == sorted(map(key, full_dataset.judgments))


@pytest.mark.parametrize("qrels_name", ["default", "qrels"])
def test_mtebs_configurations(tmp_path, qrels_name):
    dataset = GradedDataset.load(write_mteb(tmp_path / "m", **MTEB, qrels_name=qrels_name))
    assert dataset.items.select_columns(["title", "description"]).to_list() == [
        {"title": "Red mug", "description": "A mug"},
        {"title": "Blue hat", "description": None},
    ]
    assert dataset.splits == ["dev", "test"]
    assert dataset.judged_pairs("test").grades.tolist() == [2, 0]
    assert (dataset.scale, dataset.license, dataset.source) == (THREE_GRADES, "cc-by-4.0", {"name": "mteb"})


def test_mtebs_own_loader_agrees(tmp_path):
    from mteb.abstasks.retrieval_dataset_loaders import RetrievalDatasetLoader

    folder = write_mteb(tmp_path / "m", **MTEB)
    theirs = RetrievalDatasetLoader(str(folder), None, split="test", config=None).load()["relevant_docs"]
    ours = {}
    for j in GradedDataset.load(folder).split("test").judgments:
        ours.setdefault(j["query_id"], {})[j["item_id"]] = j["grade"]
    assert ours == theirs


def test_subsets(tmp_path):
    folder = write_mteb(tmp_path / "m", **MTEB, prefix="en-", qrels_name="qrels")
    assert GradedDataset.load(folder).source == {"name": "mteb", "subset": "en"}
    text = (folder / "README.md").read_text()
    more = text.split("configs:\n")[1].split("---")[0].replace("en-", "de-", 3)
    (folder / "README.md").write_text(
        text.replace("configs:\n", "configs:\n" + more.replace("name: en-", "name: de-"))
    )
    with pytest.raises(UsageError, match=r"several subsets \(de, en\); choose one with subset"):
        GradedDataset.load(folder)
    assert GradedDataset.load(folder, subset="de").source["subset"] == "de"
    with pytest.raises(UsageError, match="no subset 'fr'; it has de, en"):
        GradedDataset.load(folder, subset="fr")


def test_rows_that_every_split_repeats_are_taken_once(tmp_path):
    folder = write_mteb(tmp_path / "m", **MTEB)
    text = (folder / "README.md").read_text()
    again = "  - split: again\n    path: corpus-again.parquet\n- config_name: queries"
    (folder / "README.md").write_text(text.replace("- config_name: queries", again))
    (folder / "corpus-again.parquet").write_bytes((folder / "corpus-corpus.parquet").read_bytes())
    assert len(GradedDataset.load(folder).items) == 2


def test_scores_become_grades(tmp_path):
    folder = write_beir(tmp_path / "d", qrels={"test": "q1\td1\t4\nq1\td2\t2\nq2\td2\t0.5\n"})
    dataset = GradedDataset.load(folder, grade_map={4: 2, 2: 1, 0.5: 0})
    assert sorted(dataset.judgments["grade"]) == [0, 1, 2]
    assert dataset.scale == THREE_GRADES
    with pytest.raises(
        DataError, match=r"^qrels/test\.tsv, row 2, column score: the label '2' .* not in the grade map"
    ):
        GradedDataset.load(folder, grade_map={4: 2, 0.5: 0})
    names = {"names": ["no", "a little", "some", "much", "all"], "gains": [0, 1, 2, 3, 4]}
    with pytest.raises(DataError, match=r"^qrels/test\.tsv, row 3, column score: the label '0\.5' "):
        GradedDataset.load(folder, scale=names)
    with pytest.raises(DataError) as error:
        GradedDataset.load(folder)
    assert [(p.row, p.column) for p in error.value.problems] == [(3, "score"), (1, "grade")]
    assert "grade 4 is outside the scale 0..2" in str(error.value.problems[1])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"grade_map": {1: 7}}, "no grade of the scale"),
        ({"grade_map": {}}, "grade_map"),
        ({"scale": {"names": ["a"]}}, "scale makes no sense"),
        ({"split_map": {"test": "exam"}}, "split_map leads to exam"),
        ({"split_map": "dev"}, "split_map is no mapping"),
        ({"locale": "not a locale"}, "locale"),
        ({"revision": "main"}, "is a folder, which has no revision"),
        ({"colour": 1}, "unknown option colour"),
    ],
)
def test_options_that_mean_nothing(tmp_path, options, expected):
    with pytest.raises(UsageError, match=expected):
        GradedDataset.load(write_beir(tmp_path / "d"), **options)


def test_splits_are_mapped_or_left_out(tmp_path):
    folder = write_beir(tmp_path / "d", qrels={"dl19": "q1\td1\t1\n", "validation": "q2\td2\t1\n"})
    with pytest.raises(DataError, match=r"^qrels/dl19\.tsv: the split 'dl19' is none of train, dev, "):
        GradedDataset.load(folder)
    assert GradedDataset.load(folder, split_map={"dl19": "test"}).splits == ["dev", "test"]
    assert GradedDataset.load(folder, split_map={"dl19": None}).splits == ["dev"]


def test_all_faults_of_beirs_files_in_one_pass(tmp_path):
    folder = write_beir(tmp_path / "d", corpus=[*CORPUS, {"_id": "d2", "text": "again"}])
    with open(folder / "queries.jsonl", "ab") as file:
        file.write(b'{"_id": "q3"}\n["q4"]\nnot json\n{"_id": "q5", "text": "caf\xe9"}\n{"_id": "q6", "text": 1}\n')
        file.write(b'{"_id": "q7", "text": "\\ud800"}\n')
    (folder / "qrels" / "test.tsv").write_text(HEADER + "q2\td2\t1\nq2\td9\t1\nq2\t3\thigh\nq9\td1\t0\n")
    (folder / "qrels" / "dev.tsv").write_text("q2\td1\t1\n")
    with pytest.raises(DataError) as error:
        GradedDataset.load(folder)
    found = [(p.where, p.row) for p in error.value.problems]
    assert sorted(found, key=str) == sorted(
        [
            ("queries.jsonl", 3), ("queries.jsonl", 4), ("queries.jsonl", 5), ("queries.jsonl", 6),
            ("queries.jsonl", 7), ("queries.jsonl", 8),
            ("corpus.jsonl", 4),  # an id that stands twice
            ("qrels/dev.tsv", None),  # no header
            ("qrels/test.tsv", 3),  # no score
            ("qrels/test.tsv", 2),  # an unknown item; that q9 is unknown may follow from the broken queries
        ],
        key=str,
    )  # fmt: skip
    assert all("\n" not in str(p) for p in error.value.problems)
    (repeated,) = [p for p in error.value.problems if p.where == "corpus.jsonl"]
    assert "'d2' stands in row 2 already" in repeated.what or "row 2" in repeated.what


def test_the_other_row_of_a_repeated_pair_is_named_with_its_file(tmp_path):
    folder = write_beir(tmp_path / "d", qrels={"train": "q1\td1\t1\n", "test": "q2\td2\t1\nq1\td1\t0\n"})
    with pytest.raises(DataError) as error:
        GradedDataset.load(folder)
    (problem,) = error.value.problems
    assert {problem.where, *(w for w in ("qrels/test.tsv, row 2", "qrels/train.tsv, row 1") if w in problem.what)} in (
        {"qrels/test.tsv", "qrels/train.tsv, row 1"},
        {"qrels/train.tsv", "qrels/test.tsv, row 2"},
    )


def test_missing_and_truncated_files(tmp_path):
    folder = write_beir(tmp_path / "d")
    (folder / "queries.jsonl").unlink()
    for path in (folder / "qrels").iterdir():
        path.unlink()
    whole = gzip.compress((folder / "corpus.jsonl").read_bytes())
    (folder / "corpus.jsonl").unlink()
    (folder / "corpus.jsonl.gz").write_bytes(whole[:-9])
    with pytest.raises(DataError) as error:
        GradedDataset.load(folder)
    assert [p.where for p in error.value.problems] == ["queries.jsonl", "qrels/test.tsv", "corpus.jsonl.gz"]
    assert "cannot be read to its end" in error.value.problems[2].what


def test_missing_columns_of_configurations(tmp_path):
    rows = dict(MTEB, corpus=[{"doc": "d1", "text": "x"}])
    rows["qrels"] = {"test": [{"query-id": "q1", "corpus-id": "d1", "relevance": 1}]}
    with pytest.raises(DataError) as error:
        GradedDataset.load(write_mteb(tmp_path / "m", **rows))
    found = {(p.where, p.column) for p in error.value.problems}
    assert found == {("corpus, split corpus", "_id"), ("default, split test", "score")}


def test_configurations_that_are_not_there(tmp_path):
    folder = write_mteb(tmp_path / "m", **MTEB, qrels_name="labels")
    with pytest.raises(UsageError, match="no configuration qrels or default; found corpus, queries, labels"):
        GradedDataset.load(folder)
    (folder / "corpus-corpus.parquet").write_text("no parquet")
    (folder / "README.md").write_text((folder / "README.md").read_text().replace("labels", "default", 1))
    with pytest.raises(MrStError, match="the configuration corpus cannot be read") as error:
        GradedDataset.load(folder)
    assert "\n" not in str(error.value)


def test_a_path_that_is_neither_folder_nor_id(tmp_path):
    with pytest.raises(UsageError, match="is no folder; give one in MTEB's or BEIR's form"):
        GradedDataset.load("mteb", path_or_hub_id=tmp_path / "nowhere")
