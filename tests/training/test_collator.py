from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments

from mr_st.data import GradedDataset
from mr_st.errors import UsageError
from mr_st.losses.spelling_consistency import VARIANT
from mr_st.models import build_two_tower
from mr_st.training import GradedCollator, KnownGrades

ROWS = [
    {"query": "red shoes", "items": ["red running shoes for men", "mug", "blue cotton shirt"], "labels": [2, 0, 1]},
    {"query": "coffee mug", "items": ["mug", "black coffee mug small"], "labels": [1, 2]},
    {"query": "red shoes", "items": ["mug", "red running shoes for men"], "labels": [0, 2]},
]


@pytest.fixture(scope="module")
def model(tiny_base: Path) -> SentenceTransformer:
    return build_two_tower(tiny_base, 8, device="cpu")


def decoded(model: SentenceTransformer, ids: torch.Tensor) -> list[str]:
    return [model.tokenizer.decode(row, skip_special_tokens=True) for row in ids]


def test_distinct_items_once_and_every_pair_labelled(model: SentenceTransformer) -> None:
    batch = GradedCollator.from_trainer_args(model)(ROWS)
    queries = decoded(model, batch["query_input_ids"])
    items = decoded(model, batch["items_input_ids"])
    assert queries == ["red shoes", "coffee mug", "red shoes"]  # two instances of a query keep a row each
    assert items == ["mug", "blue cotton shirt", "black coffee mug small", "red running shoes for men"]
    assert batch["label"].dtype == torch.long
    pairs = {(q, items[i], g) for q, i, g in batch["label"].tolist()}
    assert pairs == {(n, i, g) for n, row in enumerate(ROWS) for i, g in zip(row["items"], row["labels"], strict=True)}
    assert len(batch["label"]) == 7


def test_neither_column_is_padded_to_the_other(model: SentenceTransformer) -> None:
    batch = GradedCollator.from_trainer_args(model)(ROWS)
    assert batch["query_input_ids"].shape == (3, 4)  # [CLS] red shoes [SEP]
    assert batch["items_input_ids"].shape == (4, 7)


def test_routes_and_prompts_come_from_model_and_arguments(tiny_base: Path, tmp_path: Path) -> None:
    prompts = {"query": "small ", "document": "large "}
    routed = build_two_tower(tiny_base, prompts=prompts, device="cpu")
    batch = GradedCollator.from_trainer_args(routed)(ROWS)
    assert (batch["query_task"], batch["items_task"]) == ("query", "document")
    assert decoded(routed, batch["query_input_ids"])[0] == "small red shoes"
    assert decoded(routed, batch["items_input_ids"])[0] == "large mug"
    args = SentenceTransformerTrainingArguments(str(tmp_path), prompts={"query": "blue "}, report_to="none",
                                                router_mapping={"query": "document", "items": "query"})  # fmt: skip
    other = GradedCollator.from_trainer_args(routed, args)(ROWS)
    assert (other["query_task"], other["items_task"]) == ("document", "query")
    assert decoded(routed, other["query_input_ids"])[0] == "blue red shoes"
    assert decoded(routed, other["items_input_ids"])[0] == "mug"
    without_router = build_two_tower(tiny_base, heads=None, device="cpu")
    assert "query_task" not in GradedCollator.from_trainer_args(without_router)(ROWS)


def test_training_embeds_what_encode_embeds(tiny_base: Path) -> None:
    model = build_two_tower(tiny_base, 8, prompts={"query": "small ", "passage": "large "}, device="cpu").eval()
    with torch.no_grad():
        model[2].sub_modules["query"][0].linear.weight.neg_()
    batch = GradedCollator.from_trainer_args(model)(ROWS)
    for column, expected in (
        ("query_", model.encode_query([row["query"] for row in ROWS], convert_to_tensor=True)),
        ("items_", model.encode_document(["mug", "blue cotton shirt"], convert_to_tensor=True)),
    ):
        features = {k.removeprefix(column): v for k, v in batch.items() if k.startswith(column)}
        got = model(features)["sentence_embedding"][: len(expected)]
        torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"query": "x", "items": ["a"]}, "lacks column 'labels'"),
        ({"query": "x", "items": ["a", "b"], "labels": [1]}, "got 2 and 1"),
        ({"query": "x", "items": "ab", "labels": [1, 2]}, "must be a list"),
        ({"query": "x", "items": ["a"], "labels": [-1]}, "grade -1 is below 0"),
        ({"query": "x", "items": [], "labels": []}, "no item"),
    ],
)
def test_bad_rows_are_named(model: SentenceTransformer, row: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        GradedCollator.from_trainer_args(model)([row])


def test_known_pairs_across_the_batch_are_labelled_once(model: SentenceTransformer) -> None:
    items = {"r": "red running shoes for men", "m": "mug", "s": "blue cotton shirt", "b": "black coffee mug small"}
    judged = [("q", "r", 2), ("q", "m", 1), ("q", "s", 1), ("q", "b", 0), ("c", "m", 1), ("c", "b", 2), ("c", "s", 0)]
    dataset = GradedDataset.from_tables(
        [{"query_id": "q", "text": "red shoes"}, {"query_id": "c", "text": "coffee mug"}],
        [{"item_id": item_id, "title": title} for item_id, title in items.items()],
        [{"query_id": query, "item_id": item, "grade": grade} for query, item, grade in judged],
    )
    plain = GradedCollator.from_trainer_args(model)(ROWS)["label"]
    known = KnownGrades.from_dataset(dataset)
    batch = GradedCollator.from_trainer_args(model, known=known)(ROWS)
    assert torch.equal(batch["label"][: len(plain)], plain)  # "mug" keeps the 0 of its instances, whatever is judged
    texts = decoded(model, batch["items_input_ids"])
    added = [(query, texts[item], grade) for query, item, grade in batch["label"][len(plain) :].tolist()]
    assert sorted(added) == [
        (0, "black coffee mug small", 0),
        (1, "blue cotton shirt", 0),
        (2, "black coffee mug small", 0),
        (2, "blue cotton shirt", 1),
    ]
    other = [{**row, "dataset_name": name} for row, name in zip(ROWS, ["shop"] * 3, strict=True)]
    of_shop = GradedCollator.from_trainer_args(model, known={"shop": known})
    assert torch.equal(of_shop(other)["label"], batch["label"])
    assert torch.equal(of_shop([{**row, "dataset_name": "else"} for row in ROWS])["label"], plain)
    with pytest.raises(UsageError, match="none of the 1 query texts of a batch, such as 'red shoe'"):
        GradedCollator.from_trainer_args(model, known=known)([{**ROWS[0], "query": "red shoe"}])
    levels = GradedCollator.from_trainer_args(model, known=KnownGrades.from_dataset(dataset, max_chars=2))
    with pytest.raises(UsageError, match=r"none of the 4 item texts .* item_text_levels and max_chars"):
        levels(ROWS)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_known_pairs_equal_a_loop(model: SentenceTransformer, data) -> None:
    queries, items = ["red shoes", "coffee mug", "desk lamp"], ["mug", "desk", "lamp", "kettle", "shirt"]
    pairs = data.draw(st.sets(st.tuples(st.integers(0, 2), st.integers(0, 4)), min_size=3))
    grades = {pair: data.draw(st.integers(0, 2)) for pair in sorted(pairs)}
    splits = {pair: data.draw(st.sampled_from(["train", "dev"])) for pair in sorted(pairs)}
    splits[min(pairs)] = "train"
    dataset = GradedDataset.from_tables(
        [{"query_id": n, "text": text} for n, text in enumerate(queries)],
        [{"item_id": n, "title": text} for n, text in enumerate(items)],
        [{"query_id": q, "item_id": i, "grade": grade, "split": splits[q, i]} for (q, i), grade in grades.items()],
    )
    # the first row asks for a judged pair, so that the lookup is seen to belong to the instances
    first = min(pairs)
    row = st.tuples(st.integers(0, 2), st.lists(st.integers(0, 4), unique=True, min_size=1))
    rows = [(first[0], [first[1]]), *data.draw(st.lists(row, max_size=4))]
    instances = [
        {"query": queries[q], "items": [items[i] for i in of_row], "labels": [3] * len(of_row)} for q, of_row in rows
    ]
    batch = GradedCollator.from_trainer_args(model, known=KnownGrades.from_dataset(dataset))(instances)
    texts = decoded(model, batch["items_input_ids"])
    got = sorted((query, items.index(texts[item]), grade) for query, item, grade in batch["label"].tolist())
    here = {i for _, of_row in rows for i in of_row}
    expected = [(row, i, 3) for row, (_, of_row) in enumerate(rows) for i in of_row]
    for row, (q, of_row) in enumerate(rows):
        for i in here - set(of_row):
            if splits.get((q, i)) == "train":
                expected.append((row, i, grades[q, i]))
    assert got == sorted(expected)


def test_variants_are_a_third_column_encoded_as_queries(tiny_base: Path) -> None:
    routed = build_two_tower(tiny_base, prompts={"query": "small ", "document": "large "}, device="cpu")
    of_rows = [["red mug"], [], ["red mug", "red mug", "kettle"]]
    rows = [{**row, "variants": texts} for row, texts in zip(ROWS, of_rows, strict=True)]
    rows.append({"query": "desk", "items": ["desk"], "labels": [2], "variants": ["lamp"]})
    batch = GradedCollator.from_trainer_args(routed)(rows)
    assert decoded(routed, batch["variants_input_ids"]) == ["small red mug", "small kettle", "small lamp"]
    assert batch["variants_task"] == "query"
    assert list(batch)[-1] == "label"
    columns = [key.removesuffix("_input_ids") for key in batch if key.endswith("_input_ids")]
    assert columns == ["query", "items", "variants"]  # the order in which the trainer hands them to the loss
    labels = batch["label"].tolist()
    pairs = [(0, 0), (2, 0), (2, 1), (3, 2)]
    assert [row for row in labels if row[2] == VARIANT] == [[query, text, VARIANT] for query, text in pairs]
    without = GradedCollator.from_trainer_args(routed)([{**row, "variants": []} for row in rows])
    assert not any(key.startswith("variant") for key in without)
    assert [row for row in labels if row[2] != VARIANT] == without["label"].tolist()
    for wrong in ("red mug", None, [7]):
        with pytest.raises(UsageError, match=r"query 'red shoes': variants is .*; expected a list of texts"):
            GradedCollator.from_trainer_args(routed)([{**ROWS[0], "variants": wrong}])
