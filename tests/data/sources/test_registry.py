import pytest

from mr_st.data import GradedDataset
from mr_st.data.sources import SAVED, SOURCES, source_names
from mr_st.errors import UsageError


def test_the_names():
    assert source_names() == ["esci", "hub", "marketplace", "mteb", "table", "wands"]


def test_every_source_can_be_imported_and_names_its_form():
    for source in SOURCES.values():
        assert callable(source.function(source.loader))
        assert bool(source.form) == bool(source.is_form)
        assert not source.is_form or source.function(source.is_form)("/no/such/path") is False


def test_a_path_that_does_not_exist_says_what_is_accepted(tmp_path):
    with pytest.raises(UsageError) as error:
        GradedDataset.load(tmp_path / "nowhere")
    text = str(error.value)
    assert text.startswith(f"{tmp_path / 'nowhere'} is no known dataset, no path and no Hub id; give esci, hub, ")
    for accepted in (
        "a folder that GradedDataset.save wrote", "ESCI's original Parquet files", "WANDS' product.csv",
        "MTEB's or BEIR's form", "one joined file, as CSV, TSV, JSONL or Parquet", "or the id of a Hub dataset",
    ):  # fmt: skip
        assert accepted in text


def test_a_file_and_a_folder_of_another_form_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UsageError, match="is a file of no known form"):
        GradedDataset.load(tmp_path / "notes.txt")
    with pytest.raises(UsageError, match="is a folder of no known form"):
        GradedDataset.load(tmp_path)


@pytest.mark.parametrize(
    ("files", "form"),
    [
        (["queries.csv", "items.jsonl", "judgments.tsv.gz"], "is_table_path"),
        (["judgments.parquet", "queries.parquet", "items.parquet"], "is_saved_folder"),
        (["product.csv", "query.csv", "label.csv"], "is_wands_folder"),
        (["corpus.jsonl", "queries.jsonl", "items.csv"], "is_mteb_folder"),
        (["shopping_queries_dataset_examples.parquet"], "is_esci_folder"),
    ],
)
def test_a_folder_is_recognised_by_its_files(tmp_path, files, form):
    for name in files:
        (tmp_path / name).write_bytes(b"")
    tried = [SAVED, *(source for source in SOURCES.values() if source.form)]
    assert next(source.is_form for source in tried if source.function(source.is_form)(tmp_path)) == form


def test_options_are_checked_before_anything_is_loaded(dataset, tmp_path):
    with pytest.raises(UsageError, match="esci: unknown option local; it takes path_or_hub_id, locale"):
        GradedDataset.load("esci", local="us")
    with pytest.raises(UsageError, match="esci: option path_or_hub_id is needed"):
        GradedDataset.load("esci", locale="us")
    with pytest.raises(UsageError, match="unknown option size; it takes validate"):
        GradedDataset.load(dataset.save(tmp_path / "d"), size="small")
