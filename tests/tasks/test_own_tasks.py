"""Each task of ours and its twin: complete, and the same under mteb.evaluate as here."""

from __future__ import annotations

import re

import polars as pl
import pytest

from mr_st.augment.golden import build_golden_set
from mr_st.errors import UsageError
from mr_st.tasks import get_task, list_tasks, task_class
from mr_st.tasks.base import twin_metadata

WANDS = {
    "product.csv": "product_id\tproduct_name\tcategory hierarchy\tproduct_description\n"
    + "".join(f"{n}\t{'solid wood' if n % 2 else 'steel'} chair {n}\tFurniture / Chairs\t\n" for n in range(12)),
    "query.csv": "query_id\tquery\tquery_class\n"
    + "".join(f"{q}\t{'wooden chair' if q % 2 else 'steel chair'} {q}\tChairs\n" for q in range(10)),
    "label.csv": "id\tquery_id\tproduct_id\tlabel\n"
    + "".join(
        f"{12 * q + n}\t{q}\t{n}\t{['Exact', 'Partial', 'Irrelevant'][(q + n) % 3]}\n"
        for q in range(10)
        for n in range(12)
    ),
}
TITLES = {
    "es": ["taza roja", "taza azul", "manguera", "tetera"],
    "jp": ["赤いマグカップ red mug", "青いマグカップ blue mug", "ホース garden hose", "やかん kettle"],
}
"""The tiny model knows no Japanese: without a known word all would be equal, and MTEB breaks ties otherwise."""


@pytest.fixture
def wands_folder(tmp_path):
    for name, text in WANDS.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def esci_files(tmp_path):
    """ESCI's original files with a few rows in each of its locales es and jp."""
    products = [(locale, f"B{n}", title) for locale, titles in TITLES.items() for n, title in enumerate(titles)]
    pl.DataFrame(
        [
            {
                "product_id": number, "product_title": title, "product_description": None,
                "product_bullet_point": None, "product_brand": None, "product_color": None, "product_locale": locale,
            }
            for locale, number, title in products
        ],
        schema_overrides=dict.fromkeys(
            ["product_description", "product_bullet_point", "product_brand", "product_color"], pl.String
        ),
    ).write_parquet(tmp_path / "shopping_queries_dataset_products.parquet")  # fmt: skip
    pl.DataFrame(
        [
            {
                "example_id": 10 * q + n, "query": TITLES[locale][q % 4], "query_id": q, "product_id": f"B{n}",
                "product_locale": locale, "esci_label": "ESCI"[(n - q) % 4], "small_version": 1, "large_version": 1,
                "split": "test",
            }
            for q, locale in enumerate(["es", "jp", "es", "jp"])
            for n in range(4)
        ]
    ).write_parquet(tmp_path / "shopping_queries_dataset_examples.parquet")  # fmt: skip
    return tmp_path


def test_each_task_has_a_twin_under_its_name_and_full_metadata() -> None:
    twins = {name for name in list_tasks() if task_class(name).judged_pool}
    tasks = set(list_tasks()) - twins
    assert tasks == {"ESCIRetrieval", "GoldenRetrieval", "MarketplaceRetrieval", "WANDSRetrieval"}
    for name in tasks:
        metadata = task_class(name).metadata
        twin = twin_metadata(metadata, task_class(name).twin_task).name
        assert twin.endswith("Reranking")
        twins.remove(twin)
        assert task_class(twin).metadata.type == "Reranking"
        assert issubclass(task_class(twin), task_class(name))
        for one in (metadata, task_class(twin).metadata):
            assert one.is_filled()
            assert re.fullmatch(r"@\w+\{\w+,\n(  .+\n)+\}", one.bibtex_citation)
            assert one.intext_citation().startswith("\\cite{")
    assert not twins


def test_none_of_our_tasks_is_called_like_one_of_mtebs() -> None:
    """Their results would be taken for each other's: MTEB has an ESCIReranking."""
    from mteb.get_tasks import _TASKS_REGISTRY

    assert "ESCIReranking" in _TASKS_REGISTRY
    assert not set(list_tasks()) & set(_TASKS_REGISTRY)


def test_wands(wands_folder, agree) -> None:
    task = get_task("WANDSRetrieval", path=wands_folder)
    assert task.metadata.name == "WANDSRetrieval"
    assert len(task.collection().item_ids) == 12
    assert task.collection().n_queries == 2  # a fifth
    agree(task)
    agree(task.twin())
    more = get_task("WANDSReranking", path=wands_folder, data_options={"test_share": 0.5, "validate": True})
    assert more.metadata.name == "WANDSReranking-test_share=0.5"
    assert more.collection().n_queries == 5
    with pytest.raises(UsageError, match="WANDSRetrieval needs WANDS' files; clone github"):
        get_task("WANDSRetrieval")


@pytest.mark.parametrize(("locale", "language"), [("es", "spa-Latn"), ("jp", "jpn-Jpan")])
def test_esci_in_spanish_and_japanese(esci_files, agree, locale, language) -> None:
    task = get_task("ESCIRetrieval", path=esci_files, locale=locale)
    assert task.metadata.name == f"ESCIRetrieval-{locale}"
    assert task.metadata.eval_langs == [language]
    assert len(task.collection().item_ids) == 4
    agree(task)
    twin = task.twin()
    assert twin.metadata == get_task("ESCIGradedReranking", path=esci_files, locale=locale).metadata
    agree(twin)
    agree(get_task("ESCIRetrieval", path=esci_files, locale=locale, data_options={"grades": 4}))


def test_the_golden_set_of_the_marketplace(agree) -> None:
    task = get_task("GoldenRetrieval", size="tiny")
    assert task.metadata.name == "GoldenRetrieval-tiny-seed0"
    assert get_task("GoldenRetrieval", size="tiny").metadata.revision == task.metadata.revision
    collection = task.collection()
    for query in range(collection.n_queries):
        grades = collection.judged.grades[collection.judged.query_of_pair == query]
        assert (grades == 0).mean() >= 0.65
        assert (grades > 0).any()
    assert {"seen", "unseen"} <= set(task.statistics()["queries_of_subsets"])
    task.subsets = {"seen": {"seen": "seen"}, "unseen": {"seen": "unseen"}}
    agree(task)
    agree(task.twin())


def test_a_golden_set_from_a_folder(tiny_shop, tmp_path) -> None:
    from mr_st.annotation import JudgmentAnnotator
    from mr_st.data.marketplace import MarketplacePolicy

    annotator = JudgmentAnnotator(MarketplacePolicy.for_dataset(tiny_shop))
    made = build_golden_set(tiny_shop, annotator, split="dev", n_queries=4, allow_shortfall=True)
    folder = made.save(tmp_path / "golden")
    task = get_task("GoldenRetrieval", path=folder)
    assert task.metadata.name == f"GoldenRetrieval-{made.dataset.name}-{made.dataset.fingerprint[:8]}"
    assert task.metadata.eval_splits == ["dev"]
    assert task.collection().n_queries == 4
    with pytest.raises(UsageError, match="give one of them"):
        get_task("GoldenRetrieval", path=folder, size="tiny")
    with pytest.raises(UsageError, match="is no golden set"):
        get_task("GoldenRetrieval", path=tiny_shop.save(tmp_path / "shop"))
