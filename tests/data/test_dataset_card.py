import yaml
from huggingface_hub import DatasetCard

from mr_st.data import GradedDataset
from mr_st.data.dataset_card import dataset_card

HOSTILE = 'x"\n---\nlicense: mit\n---\n# <script>alert(1)</script> | `code` [a](javascript:alert(2))'


def test_the_metadata(full_dataset):
    metadata = DatasetCard(dataset_card(full_dataset, "org/mugs")).data.to_dict()
    assert metadata["license"] == "cc-by-4.0"
    assert metadata["language"] == ["en", "fr", "ja"]
    assert metadata["task_categories"] == ["text-retrieval"]
    assert metadata["size_categories"] == ["n<1K"]
    assert metadata["configs"][2] == {
        "config_name": "judgments",
        "data_files": [{"split": "judgments", "path": "judgments.parquet"}],
    }
    assert [c["config_name"] for c in metadata["configs"]] == ["queries", "items", "judgments", "engagement"]


def test_the_numbers(full_dataset):
    text = dataset_card(full_dataset, "org/mugs")
    assert "| `judgments` | 5 | which item" in text
    # train: grades 2 and 0; dev: 2; test: 3 and 1
    assert "| split | judgments | 0 irrelevant | 1 complement | 2 substitute | 3 exact |" in text
    assert "| `train` | 2 | 50.0% | 0.0% | 50.0% | 0.0% |" in text
    assert "| `dev` | 1 | 0.0% | 0.0% | 100.0% | 0.0% |" in text
    assert "| `test` | 2 | 0.0% | 50.0% | 0.0% | 50.0% |" in text
    assert "lowest grade first: 0, 0.01, 0.1, 1." in text
    assert f"`{full_dataset.fingerprint}`" in text
    assert 'GradedDataset.load("org/mugs")' in text


def test_a_large_dataset_and_unknown_things():
    n = 1_000
    dataset = GradedDataset.from_tables(
        {"query_id": ["q"], "text": ["x"]},
        {"item_id": list(range(n)), "title": ["x"] * n},
        {"query_id": ["q"], "item_id": ["0"], "grade": [0]},
    )
    metadata = DatasetCard(dataset_card(dataset, "org/x")).data.to_dict()
    assert metadata["size_categories"] == ["1K<n<10K"]
    assert "language" not in metadata
    assert "license" not in metadata


def test_text_from_elsewhere_stays_text(full_dataset):
    dataset = GradedDataset(
        full_dataset.queries, full_dataset.items, full_dataset.judgments, name=HOSTILE, license=HOSTILE,
        scale=type(full_dataset.scale)((HOSTILE, "b", "c", "d"), (0, 1, 2, 3)),
    )  # fmt: skip
    text = dataset_card(dataset, "org/mugs")
    _, head, body = text.split("---\n", 2)
    metadata = yaml.safe_load(head)
    assert metadata["license"] == "other"
    assert set(metadata["license_name"]) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-")
    assert "<script>" not in body
    assert "\nlicense: mit" not in body
    assert "](javascript:" not in body
    rows = [line for line in body.splitlines() if line.startswith("| ")]
    widths = {len(row.replace("\\|", "").split("|")) for row in rows}
    assert widths == {5, 8}  # the two tables keep their columns
