import pytest

from mr_st.data import GradedDataset
from mr_st.data.sources import source_names
from mr_st.errors import UsageError


def test_the_names():
    assert source_names() == ["esci", "marketplace"]


def test_a_path_that_does_not_exist_says_what_is_accepted(tmp_path):
    with pytest.raises(UsageError) as error:
        GradedDataset.load(tmp_path / "nowhere")
    assert str(error.value) == (
        f"{tmp_path / 'nowhere'} is no known dataset and no folder; give esci, marketplace, a folder that "
        "GradedDataset.save wrote, or a folder with ESCI's original Parquet files"
    )


def test_a_file_and_a_folder_of_another_form_are_refused(tmp_path):
    (tmp_path / "table.csv").write_text("x")
    with pytest.raises(UsageError, match="is a file, not a folder"):
        GradedDataset.load(tmp_path / "table.csv")
    with pytest.raises(UsageError, match="of no known form"):
        GradedDataset.load(tmp_path)


def test_options_are_checked_before_anything_is_loaded(dataset, tmp_path):
    with pytest.raises(UsageError, match="esci: unknown option local; it takes path_or_hub_id, locale"):
        GradedDataset.load("esci", local="us")
    with pytest.raises(UsageError, match="esci: option path_or_hub_id is needed"):
        GradedDataset.load("esci", locale="us")
    with pytest.raises(UsageError, match="unknown option size; it takes validate"):
        GradedDataset.load(dataset.save(tmp_path / "d"), size="small")
