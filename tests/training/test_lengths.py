from __future__ import annotations

from functools import partial

import pytest
from datasets import Dataset, concatenate_datasets
from sentence_transformers import SentenceTransformerTrainer

from mr_st.data import GradedDataset, build_instances
from mr_st.errors import UsageError
from mr_st.training.lengths import longest_items


def shop() -> GradedDataset:
    titles = {"a": "red mug", "b": "stainless steel kettle", "c": "hat"}
    return GradedDataset.from_tables(
        queries=[{"query_id": "q1", "text": "mug"}, {"query_id": "q2", "text": "hat"}],
        items=[{"item_id": item, "title": title} for item, title in titles.items()],
        judgments=[
            {"query_id": query, "item_id": item, "grade": grade}
            for query, item, grade in [("q1", "a", 2), ("q1", "b", 0), ("q2", "c", 2), ("q2", "a", 0)]
        ],
    )


def test_pieces_are_words_cut_at_seven_letters_two_digits_or_any_other_character() -> None:
    texts = ["red mug", "stainless", "12345 ml", "A-4", "赤い皿", "  "]
    assert longest_items(Dataset.from_dict({"items": [[text] for text in texts]})).tolist() == [2, 2, 4, 3, 3, 0]


def test_instances_are_measured_by_their_ids() -> None:
    instances = build_instances(shop(), epochs=2)
    assert [len(row["items"]) for row in instances] == [2, 2, 2, 2]
    expected = [4, 2]  # stainle|ss|steel|kettle, red|mug; hat is shorter
    assert longest_items(instances).tolist() == expected * 2
    assert longest_items(instances.select([1, 0, 0])).tolist() == [2, 4, 4]
    assert longest_items(concatenate_datasets([instances, instances])).tolist() == expected * 4


def test_instances_are_measured_through_what_the_trainer_wraps_them_in() -> None:
    instances = build_instances(shop())
    wrapper = SentenceTransformerTrainer.add_dataset_name_transform
    instances.set_transform(partial(wrapper, dataset_name="shop", **instances.format["format_kwargs"]))
    assert instances[0]["dataset_name"] == "shop"
    assert longest_items(instances).tolist() == [4, 2]


def test_an_instance_without_items_is_empty() -> None:
    assert longest_items(Dataset.from_dict({"items": [["hat"], [], ["red mug", "hat"]]})).tolist() == [1, 0, 2]


@pytest.mark.parametrize("columns", [{"query": ["q"]}, {"items": ["a text"]}, {"items": [[1, 2]]}])
def test_other_rows_are_refused(columns: dict) -> None:
    with pytest.raises(UsageError, match="length_aware needs instances of build_instances or a column items"):
        longest_items(Dataset.from_dict(columns))
