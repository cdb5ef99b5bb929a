"""Samples to read: the right number, the right locale, and the same ones for the same seed."""

from __future__ import annotations

from collections import Counter

import pytest

from mr_st.data import GradedDataset
from mr_st.data.describe_samples import draw_samples
from mr_st.errors import UsageError


@pytest.fixture
def shop() -> GradedDataset:
    """Forty queries in English (two regions) and ten in Japanese; each has every grade once."""
    locales = ["en-US"] * 20 + ["en-GB"] * 20 + ["ja-JP"] * 10
    return GradedDataset.from_tables(
        queries=[{"query_id": f"q{n}", "text": f"query {n}", "locale": tag} for n, tag in enumerate(locales)],
        items=[{"item_id": i, "title": f"Item {i}", "category_path": ["Home", "Mugs", "Red"]} for i in "abc"],
        judgments=[
            {"query_id": f"q{n}", "item_id": i, "grade": g, "split": "test" if n % 2 else "train"}
            for n in range(len(locales))
            for g, i in enumerate("abc")
        ],
    )


def test_so_many_of_each_grade_spread_over_the_locales(shop):
    samples = draw_samples(shop, 6)
    assert [sample.grade for sample in samples] == [2] * 6 + [1] * 6 + [0] * 6
    assert [sample.grade_name for sample in samples[::6]] == ["relevant", "partial", "irrelevant"]
    for grade in range(3):
        assert Counter(s.locale for s in samples if s.grade == grade) == {"en-US": 2, "en-GB": 2, "ja-JP": 2}
    first = samples[0]
    assert first.query == f"query {first.query_id[1:]}"
    assert first.item == "Item c. Category: Home > Mugs > Red"
    assert first.reason is None


def test_so_many_of_each_grade_for_each_locale(shop):
    samples = draw_samples(shop, 4, locale="all")
    assert Counter((s.locale, s.grade) for s in samples) == {
        (tag, grade): 4 for tag in ("en-US", "en-GB", "ja-JP") for grade in range(3)
    }
    assert [s.locale for s in samples[::12]] == ["en-GB", "en-US", "ja-JP"]


def test_one_locale_one_language_one_split(shop):
    assert {s.locale for s in draw_samples(shop, 5, locale="en-GB")} == {"en-GB"}
    assert {s.locale for s in draw_samples(shop, 5, locale="en")} == {"en-US", "en-GB"}
    assert {s.split for s in draw_samples(shop, 5, split="test")} == {"test"}
    for options in ({"locale": "de"}, {"split": "dev"}):
        with pytest.raises(UsageError, match=r"there are en-GB|it has train, test"):
            draw_samples(shop, 5, **options)
    with pytest.raises(UsageError, match="1 or more"):
        draw_samples(shop, 0)


def test_fewer_where_there_are_fewer_and_no_pair_twice(shop):
    samples = draw_samples(shop, 1000)
    assert len(samples) == 150
    assert len({(s.query_id, s.item_id) for s in samples}) == 150


def test_the_seed_decides(shop):
    assert draw_samples(shop, 5, seed=1) == draw_samples(shop, 5, seed=1)
    assert draw_samples(shop, 5, seed=1) != draw_samples(shop, 5, seed=2)


def test_a_marketplace_gives_its_reasons():
    shop = GradedDataset.load("marketplace", size="tiny")
    samples = draw_samples(shop, 4)
    assert all(sample.reason and sample.true_grade is None for sample in samples)
    renamed = GradedDataset.from_tables(
        [{**row, "text": row["text"] + "!"} for row in shop.queries], shop.items, shop.judgments, source=shop.source
    )
    assert all(sample.reason is None for sample in draw_samples(renamed, 2))  # not the shop's queries any more


def test_label_noise_shows_beside_the_truth():
    shop = GradedDataset.load("marketplace", size="tiny", label_noise=0.5)
    samples = draw_samples(shop, 30, split="train")
    noisy = [sample for sample in samples if sample.true_grade is not None]
    assert noisy
    assert all(abs(sample.true_grade - sample.grade) == 1 for sample in noisy)
