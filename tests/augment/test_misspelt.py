"""Misspelt queries: additive, in place and as pairs; what stays, what is refused, what is reported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from mr_st.augment.misspelt import (
    add_misspelt_queries,
    misspelt_pairs,
    misspelt_variants,
    substitute_misspelt_queries,
)
from mr_st.augment.misspelt_report import MisspeltReport, plot_edit_distances
from mr_st.data import GradedDataset
from mr_st.data.marketplace import MarketplacePolicy, load_marketplace
from mr_st.errors import UsageError
from mr_st.measures.plots import save_figure
from mr_st.text.spelling import SpellingChannel, edit_distance

TEXTS = {
    "en-US": ["stainless steel bottle", "wireless headphones", "leather wallet brown", "cotton curtains", "desk lamp"],
    "de-DE": ["weiße kaffeetasse", "großer teppich", "kopfhörer kabellos", "winterjacke damen", "holzstuhl küche"],
    "fr-FR": ["théière en verre", "chaussures randonnée", "lampe de chevet", "manteau femme", "housse canapé"],
    "ja-JP": ["赤い折り畳み傘", "ワイヤレスイヤホン", "革財布 メンズ", "コーヒーメーカー", "柔らかいタオル"],
}


def make_dataset() -> GradedDataset:
    """Four locales with five train queries each, one of them (a0 of each) judged in test too, and two test queries."""
    queries, judgments = [], []
    for locale, texts in TEXTS.items():
        for at, text in enumerate(texts):
            query_id = f"{locale}-{at}"
            queries.append({"query_id": query_id, "text": text, "locale": locale, "frequency": 10.0})
            for item, grade in (("i0", 2), ("i1", 0)):
                row = {"query_id": query_id, "item_id": item, "grade": grade, "split": "train", "source": "llm:x"}
                judgments.append({**row, "confidence": 0.9})
        judgments.append({"query_id": f"{locale}-0", "item_id": "i2", "grade": 1, "split": "test"})
    for at, text in enumerate(("garden hose", "toy car")):
        queries.append({"query_id": f"t{at}", "text": text, "locale": "en-US"})
        judgments.append({"query_id": f"t{at}", "item_id": "i0", "grade": at, "split": "test"})
    items = [{"item_id": f"i{at}", "title": f"item {at}"} for at in range(3)]
    return GradedDataset.from_tables(queries, items, judgments, name="four locales", source={"name": "made"})


@pytest.fixture(scope="module")
def dataset() -> GradedDataset:
    return make_dataset()


@pytest.fixture(scope="module")
def market() -> GradedDataset:
    return load_marketplace("tiny", seed=1)


# ---- additive ------------------------------------------------------------------------------------------------------


def test_additive_keeps_everything_and_adds_the_share(dataset: GradedDataset) -> None:
    made, report = add_misspelt_queries(dataset)
    made.validate()
    assert made.queries[: len(dataset.queries)] == dataset.queries[:]
    assert made.judgments[: len(dataset.judgments)] == dataset.judgments[:]
    assert report.n_queries == 20
    assert report.n_variants == len(made.queries) - len(dataset.queries) == 8
    assert report.share_with_variant == 0.4
    assert {locale: facts["variants"] for locale, facts in report.locales.items()} == dict.fromkeys(TEXTS, 2)
    assert report.n_pairs == len(made.judgments) - len(dataset.judgments) == 16
    assert len(made.items) == len(dataset.items)
    assert made.source["name"] == "made"
    assert made.source["augmented"] == [
        {"misspelt": "additive", "share": 0.4, "split": "train", "seed": 0, "channel": "default of each locale"}
    ]


def test_a_variant_has_its_own_id_and_the_pairs_of_its_source(dataset: GradedDataset) -> None:
    made, _ = add_misspelt_queries(dataset, share=1.0)
    clean = {row["query_id"]: row for row in dataset.queries}
    pairs: dict[str, list[tuple]] = {}
    for row in made.judgments:
        pairs.setdefault(row["query_id"], []).append(
            (row["item_id"], row["grade"], row["split"], row["source"], row["confidence"])
        )
    variants = [row for row in made.queries if row["kind"] == "spelling"]
    assert len(variants) == 20
    for row in variants:
        source = clean[row["source_query_id"]]
        assert row["query_id"] not in clean
        assert row["locale"] == source["locale"]
        assert row["frequency"] is None
        assert row["text"] != source["text"]
        assert pairs[row["query_id"]] == [
            (item, grade, split, f"spelling:{label}", confidence)
            for item, grade, split, label, confidence in pairs[source["query_id"]]
            if split == "train"
        ]


def test_other_splits_are_touched_only_when_named(dataset: GradedDataset) -> None:
    made, _ = add_misspelt_queries(dataset, share=1.0)
    assert made.split("test").judgments[:] == dataset.split("test").judgments[:]
    assert made.split("test").queries[:] == dataset.split("test").queries[:]
    named, report = add_misspelt_queries(dataset, share=1.0, split="test")
    assert report.n_queries == 6
    assert named.split("train").judgments[:] == dataset.split("train").judgments[:]
    assert len(named.split("test").judgments) == 2 * len(dataset.split("test").judgments)


def test_variants_of_japanese_and_accented_queries_stay_valid(dataset: GradedDataset) -> None:
    seen = 0
    for seed in range(10):
        for row in add_misspelt_queries(dataset, share=1.0, seed=seed)[0].queries:
            if row["kind"] != "spelling":
                continue
            text = row["text"]
            seen += 1
            assert text.strip()
            assert unicodedata.is_normalized("NFC", text)
            assert text.encode("utf-8").decode("utf-8") == text
            assert not any(unicodedata.category(c)[0] in "MC" for c in text)
            if row["locale"] == "ja-JP":
                assert not any(c.isascii() and c.isalnum() for c in text)
            else:
                assert all("LATIN" in unicodedata.name(c) for c in text if not c.isspace())
    assert seen == 200


def test_an_existing_text_is_never_a_variant(dataset: GradedDataset) -> None:
    """A channel with two outcomes: one is another query's text, in other letters' case."""
    channel = SpellingChannel(table={}, fallback={}, swaps={"mug": ("mog", "mig")}, swap_share=1.0)
    queries = [{"query_id": "a", "text": "mug"}, {"query_id": "b", "text": "MOG"}, {"query_id": "c", "text": "mug"}]
    judgments = [
        {"query_id": "a", "item_id": "i", "grade": 1},
        {"query_id": "b", "item_id": "i", "grade": 0, "split": "test"},
        {"query_id": "c", "item_id": "i", "grade": 0, "split": "dev"},
    ]
    small = GradedDataset.from_tables(queries, [{"item_id": "i", "title": "x"}], judgments)
    refused = 0
    for seed in range(12):
        made, report = add_misspelt_queries(small, share=1.0, seed=seed, channel=channel)
        assert [row["text"] for row in made.queries][3:] == ["mig"]
        refused += report.n_refused
    assert refused > 0
    blocked = GradedDataset.from_tables(
        [*queries[:2], {"query_id": "c", "text": "mig"}], [{"item_id": "i", "title": "x"}], judgments
    )
    made, report = add_misspelt_queries(blocked, share=1.0, channel=channel)
    assert len(made.queries) == 3
    assert (report.n_variants, report.n_without_variant, report.n_refused) == (0, 1, 8)


def test_two_variants_never_share_a_text() -> None:
    channel = SpellingChannel(table={}, fallback={}, swaps={"mug": ("mog",), "mag": ("mog",)}, swap_share=1.0)
    queries = [{"query_id": "a", "text": "mug"}, {"query_id": "b", "text": "mag"}]
    judgments = [{"query_id": query, "item_id": "i", "grade": 1} for query in "ab"]
    small = GradedDataset.from_tables(queries, [{"item_id": "i", "title": "x"}], judgments)
    made, report = add_misspelt_queries(small, share=1.0, channel=channel)
    assert [row["text"] for row in made.queries][2:] == ["mog"]
    assert report.n_without_variant == 1


def test_misspellings_are_not_misspelt_again(dataset: GradedDataset) -> None:
    once, first = add_misspelt_queries(dataset, share=1.0)
    twice, second = add_misspelt_queries(once, share=1.0, seed=1)
    assert second.n_already_misspelt == first.n_variants
    assert second.n_queries == first.n_queries
    ids = twice.queries["query_id"][:]
    assert len(set(ids)) == len(ids)
    assert len({text.lower() for text in twice.query_texts()}) == len(ids)
    assert len(twice.source["augmented"]) == 2


def test_the_shop_judges_a_variant_as_its_source(market: GradedDataset) -> None:
    made, report = add_misspelt_queries(market)
    assert report.n_variants > 3
    policy = MarketplacePolicy.for_dataset(made)
    items = market.items["item_id"][:]
    for row in made.queries:
        if row["query_id"].endswith("~misspelt"):
            own = policy.grades([row["query_id"]] * len(items), items)
            assert np.array_equal(own, policy.grades([row["source_query_id"]] * len(items), items))
    pairs = made.judged_pairs("train")
    assert np.array_equal(policy.grades(pairs.query_rows, pairs.item_rows), pairs.grades)


# ---- the default settings, determinism -----------------------------------------------------------------------------


def test_default_settings_give_30_to_50_percent_of_the_queries_a_variant(dataset: GradedDataset) -> None:
    words = ["bottle", "lamp", "carpet", "wallet", "speaker", "mirror", "blanket"]
    texts = [f"{a} {b}" for a in words for b in words if a != b]
    queries = [{"query_id": str(at), "text": text, "locale": "en"} for at, text in enumerate(texts)]
    judgments = [{"query_id": str(at), "item_id": "i", "grade": 1} for at in range(len(texts))]
    plain = GradedDataset.from_tables(queries, [{"item_id": "i", "title": "x"}], judgments)
    for given in (dataset, plain):
        report = add_misspelt_queries(given)[1]
        assert 0.3 <= report.share_with_variant <= 0.5


def test_the_draw_does_not_depend_on_the_order_of_the_rows(dataset: GradedDataset) -> None:
    turned = GradedDataset.from_tables(
        dataset.queries[:], dataset.items, dataset.judgments, source=dict(dataset.source)
    )
    turned.queries = turned.queries.select(range(len(turned.queries) - 1, -1, -1)).flatten_indices()

    def made(given: GradedDataset, seed: int = 0) -> dict[str, str]:
        rows = add_misspelt_queries(given, seed=seed)[0].queries
        return {row["query_id"]: row["text"] for row in rows if row["kind"] == "spelling"}

    assert made(dataset) == made(turned)
    assert made(dataset) != made(dataset, seed=1)


def test_same_fingerprint_in_other_processes(dataset: GradedDataset, tmp_path: Path) -> None:
    dataset.save(tmp_path / "data")
    script = (
        "import sys; from mr_st.data import GradedDataset; from mr_st.augment.misspelt import add_misspelt_queries\n"
        "print(add_misspelt_queries(GradedDataset.load(sys.argv[1]))[0].fingerprint)"
    )
    expected = add_misspelt_queries(dataset)[0].fingerprint
    environment = {**os.environ, "PYTHONHASHSEED": "99"}
    command = [sys.executable, "-c", script, str(tmp_path / "data")]
    out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert out.split()[-1] == expected


def test_saved_and_loaded(dataset: GradedDataset, tmp_path: Path) -> None:
    made, _ = add_misspelt_queries(dataset)
    made.save(tmp_path / "data")
    again = GradedDataset.load(tmp_path / "data")
    assert again.fingerprint == made.fingerprint
    assert again.source == made.source


# ---- in place, and as pairs ----------------------------------------------------------------------------------------


def test_in_place_changes_texts_and_nothing_else(dataset: GradedDataset) -> None:
    made, report = substitute_misspelt_queries(dataset, share=0.5)
    made.validate()
    assert made.queries["query_id"][:] == dataset.queries["query_id"][:]
    assert made.judgments[:] == dataset.judgments[:]
    changed = [
        (old, new) for old, new in zip(dataset.queries, made.queries, strict=True) if old["text"] != new["text"]
    ]
    assert report.n_in_other_splits == 4  # those with test judgments stay
    assert report.n_queries == 16
    assert len(changed) == report.n_variants == 8
    assert report.n_pairs == 16
    for old, new in changed:
        assert new == {**old, "text": new["text"], "kind": "spelling"}
        assert not old["query_id"].endswith("-0")
        assert not old["query_id"].startswith("t")


def test_pairs_of_clean_and_misspelt_texts(dataset: GradedDataset) -> None:
    pairs = misspelt_pairs(dataset)
    assert pairs.column_names == ["clean", "misspelt"]
    assert pairs["clean"][:] == [text for texts in TEXTS.values() for text in texts]
    assert all(edit_distance(row["clean"], row["misspelt"]) > 0 for row in pairs)
    some = misspelt_pairs(dataset, share=0.25)
    assert len(some) == 5
    assert {tuple(row.values()) for row in some} <= {tuple(row.values()) for row in pairs}


def test_variants_by_query_id_are_those_that_additive_adds(dataset: GradedDataset) -> None:
    variants, report = misspelt_variants(dataset)
    made, additive = add_misspelt_queries(dataset)
    added = [row for row in made.queries if row["kind"] == "spelling"]
    assert list(variants.items()) == [(row["source_query_id"], row["text"]) for row in added]
    assert (report.way, report.n_pairs) == ("regularise", 0)
    assert (report.n_queries, report.n_variants) == (additive.n_queries, additive.n_variants) == (20, 8)
    assert variants != misspelt_variants(dataset, seed=1)[0]


@pytest.mark.parametrize(
    "augment", [add_misspelt_queries, substitute_misspelt_queries, misspelt_pairs, misspelt_variants]
)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 1.2}, r"share of misspelt queries is 1\.2; give a number in 0\.\.1"),
        ({"share": -0.1}, "give a number in"),
        ({"share": float("nan")}, "give a number in"),
        ({"split": "validation"}, "no split 'validation'"),
    ],
)
def test_wrong_arguments_are_refused(dataset: GradedDataset, augment, options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        augment(dataset, **options)


def test_nothing_asked_or_nothing_to_misspell(dataset: GradedDataset) -> None:
    made, report = add_misspelt_queries(dataset, share=0)
    assert made.fingerprint == dataset.fingerprint
    assert report.n_variants == 0
    assert len(misspelt_pairs(dataset, share=0)) == 0
    assert substitute_misspelt_queries(dataset, share=0)[0].fingerprint == dataset.fingerprint
    numbers = GradedDataset.from_tables(
        [{"query_id": "a", "text": "s21 500 ml"}],
        [{"item_id": "i", "title": "x"}],
        [{"query_id": "a", "item_id": "i", "grade": 1}],
    )
    made, report = add_misspelt_queries(numbers, share=1.0)
    assert made.fingerprint == numbers.fingerprint
    assert (report.n_without_variant, report.n_variants) == (1, 0)
    with pytest.raises(ValueError, match="no variant to plot"):
        plot_edit_distances(report)


# ---- the report ----------------------------------------------------------------------------------------------------


def test_the_histogram_counts_the_distances_of_the_variants(dataset: GradedDataset) -> None:
    made, report = add_misspelt_queries(dataset, share=1.0)
    clean = {row["query_id"]: row["text"] for row in dataset.queries}
    found: dict[int, int] = {}
    for row in made.queries:
        if row["kind"] == "spelling":
            distance = edit_distance(clean[row["source_query_id"]], row["text"])
            found[distance] = found.get(distance, 0) + 1
    assert report.edit_distances == found
    assert set(report.locales) == set(TEXTS)
    for facts in report.locales.values():
        assert (facts["queries"], facts["variants"], facts["share"]) == (5, 5, 1.0)
        assert sum(facts["edit_distances"].values()) == 5


def test_report_by_hand_and_as_json() -> None:
    report = MisspeltReport("additive", "train", 0.4, 0)
    report.count(["en", "en", "ja"], [("mug", "mgu", "en"), ("傘", "かさ", "ja")])
    assert report.edit_distances == {1: 1, 2: 1}
    assert report.share_with_variant == pytest.approx(2 / 3)
    known = json.loads(json.dumps(report.with_pairs(7).to_dict()))
    assert known["edit_distances"] == {"1": 1, "2": 1}
    assert known["locales"]["en"] == {"queries": 2, "variants": 1, "share": 0.5, "edit_distances": {"1": 1}}
    assert known["n_pairs"] == 7
    assert known["share_with_variant"] == 0.6667


def test_the_figure_shows_each_locale(dataset: GradedDataset, tmp_path: Path) -> None:
    figure = plot_edit_distances(add_misspelt_queries(dataset, share=1.0)[1])
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        f"{locale}, n=5" for locale in sorted(TEXTS)
    ]
    heights = [bar.get_height() for container in axes.containers for bar in container]
    assert sum(heights) == pytest.approx(4.0)
    assert save_figure(figure, tmp_path / "distances.png").stat().st_size > 1000
