"""ESCI: the real sample, and small files in the original's form for every locale and fault."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from mr_st.data import GradedDataset
from mr_st.data.sources.esci import load_esci
from mr_st.data.sources.esci_files import CATEGORIES, EXAMPLES, PRODUCTS, split_joined
from mr_st.errors import DataError, MrStError, UsageError
from mr_st.grades import ESCI_FOUR_GRADES


def example(query_id: int, product: str, label: str, locale: str = "us", split: str = "train", small: int = 1) -> dict:
    return {
        "example_id": 0, "query": f"query {query_id}", "query_id": query_id, "product_id": product,
        "product_locale": locale, "esci_label": label, "small_version": small, "large_version": 1, "split": split,
    }  # fmt: skip


def product(product_id: str, locale: str = "us", title: str | None = None) -> dict:
    return {
        "product_id": product_id, "product_title": title or f"Product {product_id} {locale}",
        "product_description": None, "product_bullet_point": "x", "product_brand": "Acme", "product_color": None,
        "product_locale": locale,
    }  # fmt: skip


@pytest.fixture
def files() -> dict[str, list[dict]]:
    examples = [example(q, "A", "E") for q in range(10, 30)] + [example(q, "B", "S") for q in range(10, 30)]
    examples += [example(1, p, label, split="test") for p, label in zip("ABCD", "ESCI", strict=True)]
    examples += [example(2, "A", "I", locale="jp"), example(5, "A", "E", small=0)]
    return {
        EXAMPLES: examples,
        PRODUCTS: [product(p) for p in "ABCDZ"] + [product("A", "jp"), product("B", "es")],
        CATEGORIES: [
            {"product_id": "A", "product_locale": "jp", "category": ["家電"]},
            {"product_id": "A", "product_locale": "us", "category": ["Home", "Kitchen"]},
            {"product_id": "B", "product_locale": "us", "category": []},
        ],
    }


def write(files: dict[str, list[dict]], folder: Path) -> Path:
    for name, rows in files.items():
        pl.DataFrame(rows, infer_schema_length=None).write_parquet(folder / name)
    return folder


def test_the_sample_is_kept_whole(esci_folder):
    dataset = GradedDataset.load(esci_folder)
    assert (len(dataset.judgments), len(dataset.queries), len(dataset.items)) == (6441, 770, 6764)
    grades = pl.Series("g", dataset.judgments["grade"][:]).value_counts().rows()
    assert dict(grades) == {2: 3331, 1: 2004 + 319, 0: 787}
    four = load_esci(esci_folder, grades=4)
    assert four.scale == ESCI_FOUR_GRADES
    assert dict(pl.Series("g", four.judgments["grade"][:]).value_counts().rows()) == {3: 3331, 2: 2004, 1: 319, 0: 787}
    products = pl.read_parquet(esci_folder / PRODUCTS)
    assert dataset.items["title"][:] == products["product_title"].to_list()
    assert sum(not path for path in dataset.items["category_path"][:]) == 252
    assert set(dataset.queries["locale"][:]) == {"en-US"}
    assert dataset.license == "Apache-2.0"


def test_the_samples_splits(esci_folder):
    dataset = GradedDataset.load(esci_folder)
    assert dataset.splits == ["train", "dev", "test"]
    queries = {split: set(dataset.split(split).queries["query_id"][:]) for split in dataset.splits}
    assert {split: len(ids) for split, ids in queries.items()} == {"train": 720, "dev": 10, "test": 40}
    assert not queries["train"] & queries["dev"]
    examples = pl.read_parquet(esci_folder / EXAMPLES)
    small = set(examples.filter(pl.col("small_version") == 1)["query_id"].cast(pl.String))
    assert queries["dev"] <= small
    assert queries["test"] <= small
    assert dataset.judged_pairs("test").n_pairs == 1763
    assert dataset.judged_pairs("dev").n_pairs == 453
    assert dataset.fingerprint == GradedDataset.load(esci_folder).fingerprint


def test_the_samples_item_text_is_that_of_the_known_figures(esci_folder):
    dataset = GradedDataset.load(esci_folder)
    products = pl.read_parquet(esci_folder / PRODUCTS).join(pl.read_parquet(esci_folder / CATEGORIES), on="product_id")
    titles_and_paths = dict(
        zip(products["product_id"], products.select("product_title", "category").rows(), strict=True)
    )
    for item_id, text in list(zip(dataset.items["item_id"][:], dataset.item_texts(), strict=True))[::97]:
        title, path = titles_and_paths[item_id.removeprefix("us:")]
        assert text == (f"{title}. Category: {path[0]} > {path[1]}"[:400] if path else title[:400])


def test_locales_keep_their_own_products_and_ids(files, tmp_path):
    folder = write(files, tmp_path)
    us, japanese = load_esci(folder), load_esci(folder, locale="jp", dev_share=0)
    assert us.items["item_id"][:] == ["us:A", "us:B", "us:C", "us:D", "us:Z"]  # Z is judged by nobody, and searched
    assert us.items["category_path"][:] == [["Home", "Kitchen"], [], [], [], []]
    assert japanese.items[0] | {"brand": None} == {
        "item_id": "jp:A", "title": "Product A jp", "category_path": ["家電"], "description": "x", "brand": None,
        "color": None, "locale": "ja-JP",
    }  # fmt: skip
    assert japanese.queries[0]["locale"] == "ja-JP"
    assert not set(us.items["item_id"][:]) & set(japanese.items["item_id"][:])
    with pytest.raises(DataError, match="no judgment has product_locale 'es'; the file has jp, us"):
        load_esci(folder, locale="es")


def test_dev_queries_are_small_ones_whole_and_the_same_in_any_row_order(files, tmp_path):
    folder = write(files, tmp_path)
    dataset = load_esci(folder, dev_share=0.2)
    dev, train = dataset.split("dev"), dataset.split("train")
    ids = set(dev.queries["query_id"][:])
    assert len(ids) == 4  # of the twenty
    assert len(dev.judgments) == 8
    assert not ids & set(train.queries["query_id"][:])
    files[EXAMPLES].reverse()
    assert set(load_esci(write(files, tmp_path), dev_share=0.2).split("dev").queries["query_id"][:]) == ids
    assert set(load_esci(folder, dev_share=0.2, seed=1).split("dev").queries["query_id"][:]) != ids
    assert load_esci(folder, dev_share=0).splits == ["train", "test"]
    everything = {i for s in range(30) for i in load_esci(folder, seed=s).split("dev").queries["query_id"][:]}
    assert "5" not in everything  # small_version 0
    everything = {
        i
        for s in range(30)
        for i in load_esci(folder, seed=s, small_only_eval=False).split("dev").queries["query_id"][:]
    }
    assert "5" in everything


def test_the_category_file_is_optional(files, tmp_path):
    del files[CATEGORIES]
    assert load_esci(write(files, tmp_path)).items["category_path"][:] == [[]] * 5


def test_a_product_without_title_keeps_its_place(files, tmp_path, caplog):
    files[PRODUCTS][1]["product_title"] = None
    assert load_esci(write(files, tmp_path)).items["title"][1] == ""
    assert "1 products have no title" in caplog.text


def test_several_locales_stand_side_by_side(files, tmp_path, caplog):
    folder = write(files, tmp_path)
    two = load_esci(folder, locale=["jp", "us"], dev_share=0)
    assert two.name == "esci-us-jp"
    assert two.items["item_id"][:] == ["us:A", "us:B", "us:C", "us:D", "us:Z", "jp:A"]  # the order of the file
    assert two.items["category_path"][:] == [["Home", "Kitchen"], [], [], [], [], ["家電"]]
    assert two.items["locale"][:] == ["en-US"] * 5 + ["ja-JP"]
    parts = [load_esci(folder, locale=locale, dev_share=0) for locale in ("us", "jp")]
    assert len(two.judgments) == sum(len(part.judgments) for part in parts)
    assert dict(zip(two.queries["query_id"][:], two.queries["locale"][:], strict=True))["2"] == "ja-JP"
    assert load_esci(folder, locale="us, jp", dev_share=0).fingerprint == two.fingerprint
    every = load_esci(folder, locale="all", dev_share=0)
    assert every.name == "esci"
    assert every.items["item_id"][-1] == "es:B"  # it can be found, though no query of its locale is judged
    assert "no judgment has product_locale es" in caplog.text
    assert load_esci(folder, locale="us").source["locale"] == "us"
    assert two.source["locale"] == ["us", "jp"]
    with pytest.raises(DataError, match="no judgment has product_locale 'es'; the file has jp, us"):
        load_esci(folder, locale="us,es")


def test_a_query_id_of_two_locales_is_refused(files, tmp_path):
    files[EXAMPLES].append(example(1, "A", "E", locale="jp"))
    with pytest.raises(DataError) as error:
        load_esci(write(files, tmp_path), locale="all")
    assert [(p.row, p.column) for p in error.value.problems] == [(47, "product_locale")]
    assert "'jp' is another locale than the first row of the same query_id has" in str(error.value)
    assert len(load_esci(tmp_path, locale="us").queries) == 22  # nobody asked for the other


def test_versions_choose_the_judgments_never_the_items(files, tmp_path):
    for row, large in ((0, 0), (3, 0)):
        files[EXAMPLES][row]["large_version"] = large
    folder = write(files, tmp_path)
    whole, small, large = (load_esci(folder, version=version) for version in (None, "small", "large"))
    n_small = sum(row["small_version"] for row in files[EXAMPLES] if row["product_locale"] == "us")
    assert (len(whole.judgments), len(small.judgments), len(large.judgments)) == (45, n_small, 43) == (45, 44, 43)
    assert whole.items["item_id"][:] == small.items["item_id"][:] == large.items["item_id"][:]
    assert small.source["version"] == "small"
    for row in files[EXAMPLES]:
        row["small_version"] = 0
    with pytest.raises(DataError, match="no judgment has product_locale 'us'"):
        load_esci(write(files, tmp_path), version="small")
    for row in files[EXAMPLES]:
        del row["large_version"]
    with pytest.raises(DataError, match="column large_version: missing"):
        load_esci(write(files, tmp_path), version="large")
    assert len(load_esci(folder).judgments) == 45  # nobody needs that column otherwise


def test_the_samples_versions(esci_folder):
    small = load_esci(esci_folder, version="small")
    assert (len(small.queries), len(small.items)) == (110, 6764)
    examples = pl.read_parquet(esci_folder / EXAMPLES)
    assert len(small.judgments) == examples.filter(pl.col("small_version") == 1).height


@pytest.mark.parametrize(
    ("description", "bullets", "expected"),
    [
        ("long", "one\ntwo", "long\n\none\ntwo"),
        (None, "one", "one"),
        ("", "one", "one"),
        ("long", None, "long"),
        ("long", "", "long"),
        ("", None, ""),
        (None, None, None),
    ],
)
def test_the_description_holds_the_bullet_points(files, tmp_path, description, bullets, expected):
    files[PRODUCTS][0] |= {"product_description": description, "product_bullet_point": bullets}
    folder = write(files, tmp_path)
    assert load_esci(folder).items["description"][0] == expected
    assert load_esci(folder, bullet_points=False).items["description"][0] == description
    for row in files[PRODUCTS]:
        del row["product_bullet_point"]
    assert load_esci(write(files, tmp_path)).items["description"][0] == description  # a file may lack the column


def test_no_text_of_the_sample_is_lost(esci_folder):
    items = load_esci(esci_folder).items
    products = pl.read_parquet(esci_folder / PRODUCTS).rows(named=True)
    for found, row in zip(items, products, strict=True):
        assert (found["title"], found["brand"], found["color"]) == (
            row["product_title"], row["product_brand"], row["product_color"],
        )  # fmt: skip
        for column in ("product_description", "product_bullet_point"):
            assert (row[column] or "") in (found["description"] or "")


def test_products_read_in_pieces_are_those_read_at_once(tmp_path, monkeypatch):
    """50,000 products in small row groups, spooled and mapped, against one group held in memory."""
    import datasets
    from datasets.table import MemoryMappedTable

    from mr_st.data import spool

    n = 50_000
    row = pl.int_range(n, eager=True)
    locale = pl.Series(["us", "jp", "us", "es"] * (n // 4))
    products = pl.DataFrame({"n": row, "product_locale": locale}).select(
        pl.format("P{}", "n").alias("product_id"),
        pl.format("Title é {}", "n").alias("product_title"),
        pl.when(row % 2 == 0).then(pl.format("About {}", "n")).alias("product_description"),
        pl.when(row % 5 > 0).then(pl.format("Point {}", "n")).alias("product_bullet_point"),
        pl.lit(None, pl.String).alias("product_brand"),
        pl.format("colour {}", row % 7).alias("product_color"),
        "product_locale",
    )
    categories = products.filter(row % 3 > 0).select(
        "product_id", "product_locale", pl.concat_list(pl.lit("Shop"), "product_color").alias("category")
    )
    examples = pl.DataFrame([example(q, f"P{4 * q + 37 * i}", "ESCI"[i % 4]) for q in range(300) for i in (0, 4, 8)])
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    found = {}
    for name, group_rows, memory_bytes in (("pieces", 900, 1_000), ("whole", n, 2**30)):
        (tmp_path / name).mkdir()
        examples.write_parquet(tmp_path / name / EXAMPLES)
        products.write_parquet(tmp_path / name / PRODUCTS, row_group_size=group_rows)
        categories.sample(fraction=1, shuffle=True, seed=1).write_parquet(tmp_path / name / CATEGORIES)
        monkeypatch.setattr(spool.spool_table, "__kwdefaults__", {"schema": None, "memory_bytes": memory_bytes})
        spool._process_folder.cache_clear()
        found[name] = load_esci(tmp_path / name)
    spool._process_folder.cache_clear()
    assert isinstance(found["pieces"].items.data, MemoryMappedTable)
    assert found["pieces"].fingerprint == found["whole"].fingerprint
    assert len(found["pieces"].items) == n // 2
    assert found["pieces"].items[12_345] == {
        "item_id": "us:P24690", "title": "Title é 24690", "category_path": [], "description": "About 24690",
        "brand": None, "color": "colour 1", "locale": "en-US",
    }  # fmt: skip
    assert found["pieces"].items[12_346]["category_path"] == ["Shop", "colour 3"]


def test_damage_in_the_texts_of_a_product_file_is_found(files, tmp_path):
    files[PRODUCTS] += [product(f"M{row}", title=f"{row} " * 40) for row in range(3000)]
    path = write(files, tmp_path) / PRODUCTS
    column = pq.read_metadata(path).row_group(0).column(1)
    assert column.path_in_schema == "product_title"
    data = bytearray(path.read_bytes())
    start = column.data_page_offset
    data[start : start + 200] = bytes(200)
    path.write_bytes(data)
    with pytest.raises(DataError, match=rf"^{PRODUCTS}: not a readable Parquet file") as error:
        load_esci(tmp_path)
    assert "\n" not in str(error.value)


def change(name, row, column, value):
    return lambda files: files[name][row].update({column: value})


@pytest.mark.parametrize(
    ("fault", "where", "row", "column", "what"),
    [
        (change(EXAMPLES, 2, "esci_label", "X"), EXAMPLES, 3, "esci_label", "'X' is none of E, S, C, I"),
        (change(EXAMPLES, 2, "esci_label", None), EXAMPLES, 3, "esci_label", "None is none of"),
        (change(EXAMPLES, 40, "split", "valid"), EXAMPLES, 41, "split", "'valid' is neither train nor test"),
        (change(EXAMPLES, 43, "product_id", "Y"), EXAMPLES, 44, "product_id", "'Y' is no product of locale us"),
        (change(EXAMPLES, 25, "query", "other"), EXAMPLES, 26, "query", "another text"),
        (lambda f: [r.update(product_bullet_point=1) for r in f[PRODUCTS]], PRODUCTS, None, "product_bullet_point",
         "type Int64 where text is expected"),
        (lambda f: f[PRODUCTS].append(product("B")), PRODUCTS, 8, "product_id", "'B' stands twice in locale us"),
        (lambda f: f[CATEGORIES].append(f[CATEGORIES][1]), CATEGORIES, 4, "product_id", "'A' stands twice"),
        (lambda f: [r.pop("esci_label") for r in f[EXAMPLES]], EXAMPLES, None, "esci_label", "missing"),
        (lambda f: [r.pop("product_title") for r in f[PRODUCTS]], PRODUCTS, None, "product_title", "missing"),
        (
            lambda f: [r.update(category="Home") for r in f[CATEGORIES]], CATEGORIES, None, "category",
            "a list of texts is expected",
        ),
        (
            lambda f: [r.update(query_id=0.5) for r in f[EXAMPLES]], EXAMPLES, None, "query_id",
            "type Float64 where text or a whole number is expected",
        ),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_file_row_and_column(files, tmp_path, fault, where, row, column, what):
    fault(files)
    with pytest.raises(DataError) as error:
        GradedDataset.load(write(files, tmp_path))
    assert [(p.where, p.row, p.column) for p in error.value.problems] == [(where, row, column)]
    assert what in str(error.value)


def test_an_empty_query_and_a_repeated_pair_are_found_by_the_shared_rules(files, tmp_path):
    for row in (0, 20):
        files[EXAMPLES][row]["query"] = " "
    files[EXAMPLES].append(example(1, "A", "S", split="test"))
    with pytest.raises(DataError) as error:
        load_esci(write(files, tmp_path))
    assert [(p.where, p.column) for p in error.value.problems] == [("queries", "text"), ("judgments", "grade")]


def test_missing_and_damaged_files_are_named_together(files, tmp_path):
    write(files, tmp_path)
    (tmp_path / PRODUCTS).unlink()
    (tmp_path / CATEGORIES).write_bytes(b"PAR1 not really")
    with pytest.raises(DataError) as error:
        GradedDataset.load(tmp_path)
    assert [p.where for p in error.value.problems] == [PRODUCTS, CATEGORIES]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"locale": "de"}, "locale 'de' is not one of us, es, jp"),
        ({"grades": 2}, "choose 3"),
        ({"dev_share": 1.0}, "outside"),
        ({"locale": "us,uk"}, "locale 'uk' is not one of us, es, jp; or give all"),
        ({"locale": []}, "no locale; give some of us, es, jp, or all"),
        ({"version": "tiny"}, "choose small, large"),
    ],
)
def test_wrong_options(files, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        load_esci(write(files, tmp_path), **options)


def test_original_files_are_found_in_a_hub_dataset(files, tmp_path, monkeypatch):
    import huggingface_hub

    folder = write(files, tmp_path)
    names = [f"data/{name}" for name in files]
    monkeypatch.setattr(huggingface_hub, "list_repo_files", lambda *_, **__: names)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda _, name, **__: str(folder / Path(name).name))
    dataset = load_esci("someone/esci-copy")
    assert dataset.fingerprint == load_esci(folder).fingerprint
    assert dataset.source["hub_id"] == "someone/esci-copy"


def test_a_joined_hub_dataset_with_full_label_names(files, tmp_path, monkeypatch):
    import datasets
    import huggingface_hub

    products = {(p["product_id"], p["product_locale"]): p for p in files[PRODUCTS]}
    names = {"E": "Exact", "S": "Substitute", "C": "Complement", "I": "Irrelevant"}
    joined: dict[str, list[dict]] = {"train": [], "test": []}
    for row in files[EXAMPLES]:
        whole = products[row["product_id"], row["product_locale"]] | row | {"esci_label": names[row["esci_label"]]}
        joined[whole.pop("split")].append(whole)
    parts = datasets.DatasetDict({split: datasets.Dataset.from_list(rows) for split, rows in joined.items()})
    monkeypatch.setattr(huggingface_hub, "list_repo_files", lambda *_, **__: ["data/train.parquet"])
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: parts)
    dataset = load_esci("someone/esci-joined")
    original = load_esci(write(files, tmp_path))
    key = ("query_id", "item_id", "grade", "split")
    triples = [sorted(zip(*(d.judgments[c][:] for c in key), strict=True)) for d in (dataset, original)]
    assert triples[0] == triples[1]
    assert set(dataset.items["item_id"][:]) == {"us:A", "us:B", "us:C", "us:D"}  # only judged ones are in such a table
    with pytest.raises(DataError, match="column product_title: missing"):
        split_joined({"train": datasets.Dataset.from_list(files[EXAMPLES])}, "someone/esci-joined", ["us"])


def test_a_hub_dataset_that_cannot_be_reached_gives_one_line(monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import OfflineModeIsEnabled

    def offline(*_, **__):
        raise OfflineModeIsEnabled("offline mode is enabled\nand more")

    monkeypatch.setattr(huggingface_hub, "list_repo_files", offline)
    with pytest.raises(MrStError) as error:
        load_esci("someone/nowhere")
    assert "someone/nowhere cannot be read from the Hub (offline mode is enabled)" in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match="is no folder"):
        load_esci("./not/a/folder")
