"""What goes through a conversion comes back whole: the ESCI sample, compared with its original files, and any dataset.

The round trip over the Hub stands in sources/test_hub.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mr_st.cli.main import main
from mr_st.data import GradedDataset
from mr_st.grades import GradeScale


def convert(source: Path, out: Path, *options: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["data", "convert", str(source), str(out), *options])
    assert ended.value.code == 0


FORMS = {"saved": GradedDataset.save, "mteb": GradedDataset.to_mteb}


@pytest.mark.parametrize(
    ("grades", "of_label"), [(3, {"E": 2, "S": 1, "C": 1, "I": 0}), (4, {"E": 3, "S": 2, "C": 1, "I": 0})]
)
def test_convert_keeps_every_judgment_title_and_category_of_esci(esci_folder, tmp_path, grades, of_label):
    """Read with polars from the original files and from what was written, without our loader."""
    out = tmp_path / "out"
    convert(esci_folder, out, "-o", f"grades={grades}")
    examples = pl.read_parquet(esci_folder / "shopping_queries_dataset_examples.parquet")
    products = pl.read_parquet(esci_folder / "shopping_queries_dataset_products.parquet")
    categories = pl.read_parquet(esci_folder / "product_categories.parquet")
    queries, items, judgments = (
        pl.read_parquet(out / f"{name}.parquet") for name in ("queries", "items", "judgments")
    )
    item_id = (pl.col("product_locale") + ":" + pl.col("product_id")).alias("item_id")

    expected = examples.select(
        pl.col("query_id").cast(pl.String),
        item_id,
        pl.col("esci_label").replace_strict(of_label, return_dtype=pl.Int8).alias("grade"),
        (pl.col("split") == "test").alias("is_test"),
    )
    found = judgments.select("query_id", "item_id", "grade", (pl.col("split") == "test").alias("is_test"))
    assert found.height == 6_441
    assert found.sort(found.columns).equals(expected.sort(found.columns))

    texts = examples.select(pl.col("query_id").cast(pl.String), pl.col("query").alias("text")).unique()
    assert queries.select("query_id", "text").sort("query_id").equals(texts.sort("query_id"))

    paths = categories.select(item_id, pl.col("category").alias("category_path"))
    titled = products.select(item_id, pl.col("product_title").alias("title")).join(paths, on="item_id", how="left")
    assert titled["category_path"].null_count() == 0
    found = items.select("item_id", "title", "category_path")
    assert found.height == 6_764
    assert found.sort("item_id").equals(titled.sort("item_id"))


@pytest.mark.parametrize("form", FORMS)
def test_the_esci_sample_survives(esci_folder, tmp_path, form):
    dataset = GradedDataset.load(esci_folder)
    again = GradedDataset.load(FORMS[form](dataset, tmp_path / form))
    assert again.fingerprint == dataset.fingerprint
    assert (again.name, again.license, again.source) == (dataset.name, dataset.license, dataset.source)


@pytest.mark.parametrize("form", FORMS)
def test_every_column_survives(full_dataset, tmp_path, form):
    again = GradedDataset.load(FORMS[form](full_dataset, tmp_path / form))
    assert again.fingerprint == full_dataset.fingerprint
    for table in ("queries", "items", "judgments", "engagement"):
        assert getattr(again, table).to_list() == getattr(full_dataset, table).to_list()


def test_from_form_to_form_and_back(full_dataset, tmp_path):
    dataset = full_dataset
    for step, form in enumerate(["mteb", "saved", "mteb", "saved"]):
        dataset = GradedDataset.load(FORMS[form](dataset, tmp_path / f"{step}"))
    assert dataset.fingerprint == full_dataset.fingerprint


def test_convert_to_mteb_and_back_on_the_command_line(full_dataset, tmp_path):
    full_dataset.save(tmp_path / "a")
    convert(tmp_path / "a", tmp_path / "b", "--mteb")
    convert(tmp_path / "b", tmp_path / "c")
    assert GradedDataset.load(tmp_path / "c").fingerprint == full_dataset.fingerprint


# no NUL and no surrogates in any text; an id has neither blanks around it nor control characters
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
ids = st.lists(st.text("abcXYZ019-_.:é日", min_size=1, max_size=5), min_size=1, max_size=5, unique=True)
locales = st.sampled_from(["en-US", "ja-JP", "fr", "und", "zh-Hant-TW"])
sources = st.dictionaries(text, st.none() | st.integers() | text | st.lists(st.booleans(), max_size=2), max_size=2)


@st.composite
def datasets(draw: Any) -> GradedDataset:
    query_ids, item_ids = draw(ids), draw(ids)
    pairs = [(q, i) for q in query_ids for i in item_ids]
    judged = draw(st.lists(st.sampled_from(pairs), min_size=1, max_size=8, unique=True))
    shown = draw(st.none() | st.lists(st.sampled_from(pairs), max_size=4, unique=True))
    some = st.none() | text
    n_grades = draw(st.integers(2, 5))
    return GradedDataset.from_tables(
        queries=[
            {
                "query_id": q, "text": "q" + draw(text), "locale": draw(locales),
                "frequency": draw(st.none() | st.floats(0, 1e12)),
                "kind": draw(st.sampled_from(["organic", "synthetic"])),
                "source_query_id": draw(st.none() | st.sampled_from(query_ids[:n])) if n else None,
            }
            for n, q in enumerate(query_ids)
        ],
        items=[
            {
                "item_id": i, "title": draw(text), "category_path": draw(st.lists(text, max_size=3)),
                "description": draw(some), "brand": draw(some), "color": draw(some), "locale": draw(locales),
            }
            for i in item_ids
        ],
        judgments=[
            {
                "query_id": q, "item_id": i, "grade": draw(st.integers(0, n_grades - 1)),
                "split": draw(st.sampled_from(["train", "dev", "test"])),
                "source": draw(st.sampled_from(["human", "llm:x"])),
                "confidence": draw(st.none() | st.floats(0, 1, width=32)),
            }
            for q, i in judged
        ],
        engagement=None if shown is None else {
            "query_id": [q for q, _ in shown], "item_id": [i for _, i in shown],
            **{column: [draw(st.integers(0, 5))] * len(shown) for column in ("add_to_carts", "purchases")},
            "impressions": [2**40] * len(shown), "clicks": [7] * len(shown),
        },
        scale=GradeScale(tuple(f"g{g}" for g in range(n_grades)), tuple(range(n_grades))),
        name=draw(text), license=draw(text), source=draw(sources),
    )  # fmt: skip


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dataset=datasets(), levels=st.none() | st.integers(0, 3), max_chars=st.none() | st.integers(1, 9))
def test_any_valid_dataset_survives_both_forms(tmp_path, dataset, levels, max_chars):
    assert dataset.problems() == []
    for folder in (dataset.save(tmp_path / "saved"), dataset.to_mteb(tmp_path / "mteb", levels, max_chars)):
        again = GradedDataset.load(folder)
        assert again.fingerprint == dataset.fingerprint
        assert (again.name, again.license, again.source) == (dataset.name, dataset.license, dataset.source)
        assert again.item_texts() == dataset.item_texts()
