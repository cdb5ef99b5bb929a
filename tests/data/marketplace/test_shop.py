"""The shelves: made chunk by chunk, the same whoever makes them, untidy as asked."""

from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np
import pyarrow as pa
import pytest

from mr_st.data.fingerprint import table_hash
from mr_st.data.marketplace.catalogue import DEPARTMENTS, Catalogue
from mr_st.data.marketplace.policy import Intent, grade
from mr_st.data.marketplace.shop import CHUNK_ITEMS, Item, Noise, Shop, draw_language
from mr_st.data.marketplace.streaming import stream_items
from mr_st.data.marketplace.world import make_world

TIDY = Noise(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def make(n_items: int = 2_000, noise: Noise | None = None, **languages: float) -> Shop:
    return Shop(Catalogue(), n_items, 0, noise or Noise(), languages or {"en": 1.0})


def test_a_chunk_does_not_depend_on_what_was_made_before() -> None:
    shop, again = make(10_000), make(10_000)
    late = again.chunk(2)
    assert [shop.chunk(number)[0].item_id for number in range(3)] == ["I0000000", "I0004000", "I0008000"]
    assert shop.chunk(2) == late
    assert len(late) == 10_000 - 2 * CHUNK_ITEMS
    assert list(shop.items(4_100))[-1] == shop.item(4_099)
    assert shop.chunk(0)[:50] != shop.chunk(1)[:50]


def test_the_same_batches_with_any_number_of_workers() -> None:
    alone = table_hash(pa.Table.from_batches(stream_items("medium", 3, workers=1)))
    together = table_hash(pa.Table.from_batches(stream_items("medium", 3, workers=2)))
    assert alone == together


def test_a_large_shop_is_made_lazily() -> None:
    batches = stream_items("large", 0, workers=1)
    first = next(batches)
    assert first.num_rows == CHUNK_ITEMS
    assert first["title"][0].as_py() == make_world("large", 0).shop.item(0).title
    assert make_world("large", 0).shop.item(999_999).item_id == "I0999999"


def test_every_type_has_its_shelf_in_every_chunk() -> None:
    shop = make(2 * CHUNK_ITEMS)
    for number in (0, 1):
        counts = Counter(item.type for item in shop.chunk(number))
        assert set(counts) == set(shop.catalogue.types)
        assert min(counts.values()) >= CHUNK_ITEMS // len(counts) // 2


def test_tidy_sellers_state_everything_and_nothing_else() -> None:
    shop = make(noise=TIDY)
    for item in shop.items():
        assert set(item.stated) == {"brand", *shop.catalogue.types[item.type].attributes}
        assert item.also == ()
        assert "better than" not in item.title.lower()


@pytest.mark.parametrize(
    ("noise", "is_noisy", "share"),
    [
        (Noise(bundle=0.5), lambda item: bool(item.also), None),
        (Noise(budget=0.3, premium=0.0), lambda item: item.stated.get("price") == ("budget",), 0.3),
        (Noise(budget=0.0, premium=0.3), lambda item: item.stated.get("price") == ("premium",), 0.3),
        (Noise(unstated_brand=0.5), lambda item: "brand" not in item.stated, 0.5),
    ],
)
def test_noise_is_as_asked(noise: Noise, is_noisy, share: float | None) -> None:
    noisy = np.mean([is_noisy(item) for item in make(noise=noise).items()])
    quiet = np.mean([is_noisy(item) for item in make(noise=TIDY).items()])
    assert quiet == 0
    assert noisy == pytest.approx(share, abs=0.05) if share else noisy > 0.1


def test_near_duplicates_and_listings_of_the_same_product() -> None:
    def neighbours_alike(noise: Noise) -> float:
        stated = Counter((item.type, repr(sorted(item.stated.items()))) for item in make(noise=noise).items())
        return sum(n for n in stated.values() if n > 1) / 2_000

    assert neighbours_alike(Noise(unstated=0, unstated_brand=0, relisted=0.5)) > neighbours_alike(TIDY) + 0.2


def test_a_bundle_names_both_products_and_is_graded_by_its_parts() -> None:
    bundles = [item for item in make(noise=Noise(bundle=1.0, unstated=0)).items() if item.also]
    catalogue = Catalogue()
    for item in bundles[:50]:
        assert item.also[0] in item.title.lower()
        assert item.also[0] in catalogue.types[item.type].partners
        assert grade(Intent("type", (item.type,)), item)[0] == 2
        found, reason = grade(Intent("type", item.also), item)
        assert (found, reason) == (1, f"substitute: {item.also[0]} comes only together with {item.type}")
        assert grade(Intent("attribute", item.also, required=(("color", "black"),)), item)[0] == 0


def test_titles_and_colors_in_the_language_of_the_listing() -> None:
    def titles(**languages: float) -> list[Item]:
        return list(make(1_000, TIDY, **languages).items())

    german = titles(de=1.0)
    assert {item.locale for item in german} == {"de-DE"}
    assert {item.color for item in german if item.stated.get("color") == ("black",)} == {"schwarz"}
    assert {item.category_path[0] for item in german} <= {department.name for department in DEPARTMENTS}
    japanese = titles(ja=1.0)
    assert all(any("\u3040" <= c <= "\u9fff" for c in item.title) for item in japanese)
    brands = [item.stated["brand"][0] in item.title for item in titles(es=1.0) if "model" not in item.stated]
    assert all(brands)


def test_languages_are_drawn_by_share() -> None:
    rng = Random(0)
    drawn = Counter(draw_language({"en": 0.5, "es": 0.3, "ja": 0.2}, rng) for _ in range(5_000))
    assert drawn["en"] / 5_000 == pytest.approx(0.5, abs=0.03)
    assert drawn["ja"] / 5_000 == pytest.approx(0.2, abs=0.03)
