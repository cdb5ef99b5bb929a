"""The shop's shelves: products drawn from the catalogue and listed by more or less tidy sellers, chunk by chunk."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache, cached_property, lru_cache
from itertools import accumulate
from random import Random
from typing import Any

from mr_st.data.marketplace.catalogue import Catalogue
from mr_st.data.marketplace.english import English
from mr_st.data.marketplace.families import FAMILIES
from mr_st.data.marketplace.policy import Listing
from mr_st.data.marketplace.schema import ProductType
from mr_st.data.marketplace.translated import LOCALES, Translated
from mr_st.data.marketplace.wording import Wording, chosen

__all__ = ["CHUNK_ITEMS", "ITEM_LANGUAGES", "Item", "Noise", "Shop", "draw_language", "item_id_of"]

CHUNK_ITEMS = 4_000
"""Listings made from one random stream: chunk c is drawn from (seed, c) alone, by any process."""

ITEM_LANGUAGES: dict[str, float] = {"en": 0.84, "es": 0.04, "fr": 0.04, "de": 0.04, "ja": 0.04}
"""Share of the listings that are written in each language."""

_CHUNKS_KEPT = 32  # chunks remembered for access by row: 128,000 listings


@dataclass(frozen=True)
class Noise:
    """How untidy the sellers are; all are probabilities.

    Args:
        unstated: A title leaves out an attribute.
        unstated_brand: A title leaves out the brand.
        puffery: A title ends with words that say nothing.
        mention: A title mentions a use, a thing that goes with the product, or one that it is better than.
        stuffing: A title is stuffed with the search words of a neighbouring type.
        variant: A listing is a near-duplicate of the one before it, with one attribute changed.
        relisted: A listing is the product before it once more, in other words.
        bundle: A listing holds a second product that goes with the first.
        budget, premium: A listing says that it is cheap, or that it is high-end.
    """

    unstated: float = 0.2
    unstated_brand: float = 0.15
    puffery: float = 0.25
    mention: float = 0.25
    stuffing: float = 0.06
    variant: float = 0.12
    relisted: float = 0.03
    bundle: float = 0.03
    budget: float = 0.1
    premium: float = 0.1


@dataclass(frozen=True)
class Item(Listing):
    """One listing of the shop.

    Args:
        item_id: Its id.
        title: What the seller wrote.
        category_path: Department first, in English: the taxonomy is the shop's, not the seller's.
        locale: BCP-47 locale of the title.
        color: The colour that it states, in the words of its locale, or None.
    """

    item_id: str = ""
    title: str = ""
    category_path: tuple[str, ...] = ()
    locale: str = English.locale
    color: str | None = None


def item_id_of(row: int) -> str:
    """The id of the listing in a row of the shop."""
    return f"I{row:07d}"


def draw_language(shares: Mapping[str, float], rng: Random) -> str:
    """One language, drawn by its share."""
    left = rng.random()
    for language, share in shares.items():
        left -= share
        if left < 0:
            return language
    return next(iter(shares))


@dataclass(frozen=True)
class Shop:
    """The listings of one catalogue, size and seed.

    Args:
        catalogue: What there is to sell.
        n_items: How many listings.
        seed: A whole number from 0 up.
        noise: How untidy the sellers are.
        languages: Share of the listings in each language.

    Example:
        >>> from mr_st.data.marketplace.catalogue import Catalogue
        >>> shop = Shop(Catalogue(), n_items=10_000, seed=0)
        >>> shop.n_chunks, shop.chunk(2)[-1].item_id, shop.item(9_999) == shop.chunk(2)[-1]
        (3, 'I0009999', True)
    """

    catalogue: Catalogue
    n_items: int
    seed: int
    noise: Noise = field(default_factory=Noise)
    languages: Mapping[str, float] = field(default_factory=lambda: ITEM_LANGUAGES)

    def __getstate__(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)}  # what is remembered is made again

    @cached_property
    def wordings(self) -> dict[str, Wording]:
        """The wording of every language of the shop, home market first."""
        return {"en": English(self.catalogue), **{name: Translated(name, self.catalogue) for name in LOCALES}}

    @property
    def n_chunks(self) -> int:
        """How many chunks the listings come in."""
        return -(-self.n_items // CHUNK_ITEMS)

    def chunk(self, number: int) -> list[Item]:
        """The listings of one chunk, in row order; the same in any process, whatever was made before."""
        first = number * CHUNK_ITEMS
        count = min(CHUNK_ITEMS, self.n_items - first)
        rng = Random(f"{self.seed} items {number}")
        drafts: list[tuple[ProductType, dict[str, Any]]] = []
        for one, n_listings in zip(self._types, self._shelf_sizes(count), strict=True):
            drafts += self._list_shelf(one, n_listings, rng)
        rng.shuffle(drafts)
        return [
            Item(type=one.key, item_id=item_id_of(row), category_path=(one.department, *one.path), **draft)
            for row, (one, draft) in enumerate(drafts, start=first)
        ]

    def items(self, count: int | None = None) -> Iterator[Item]:
        """The first ``count`` listings, or all, in row order."""
        count = self.n_items if count is None else min(count, self.n_items)
        for number in range(-(-count // CHUNK_ITEMS)):
            yield from self.chunk(number)[: count - number * CHUNK_ITEMS]

    def item(self, row: int) -> Item:
        """The listing of one row; recently used chunks are remembered."""
        return self._kept_chunk(row // CHUNK_ITEMS)[row % CHUNK_ITEMS]

    @cached_property
    def _kept_chunk(self) -> Any:
        return lru_cache(maxsize=_CHUNKS_KEPT)(self.chunk)

    @cached_property
    def _types(self) -> list[ProductType]:
        return list(self.catalogue.types.values())

    @cached_property
    def _weights(self) -> list[float]:
        rng = Random(f"{self.seed} shelves")
        return [rng.lognormvariate(0.0, 0.5) for _ in self._types]

    def _shelf_sizes(self, count: int) -> list[int]:
        """How many of ``count`` listings each type gets: half of an even share, the rest by its weight."""
        floor = count // len(self._weights) // 2
        total, left = sum(self._weights), count - floor * len(self._weights)
        exact = [floor + weight / total * left for weight in self._weights]
        sizes = [int(share) for share in exact]
        short = sorted(range(len(sizes)), key=lambda at: (sizes[at] - exact[at], at))
        for at in short[: count - sum(sizes)]:
            sizes[at] += 1
        return sizes

    def _list_shelf(self, one: ProductType, count: int, rng: Random) -> Iterator[tuple[ProductType, dict[str, Any]]]:
        noise = self.noise
        partners = [key for key in one.partners if key in self.catalogue.types]
        product: dict[str, tuple[str, ...]] = {}
        layout = 0
        for _ in range(count):
            chance = rng.random() if product else 1.0
            if chance < noise.variant:
                product = _variant_of(product, one, rng)
            elif chance >= noise.variant + noise.relisted:
                product, layout = _draw_product(one, rng, noise), int(rng.random() * 12)
            also = (chosen(partners, rng),) if partners and rng.random() < noise.bundle else ()
            stated = _leave_out(product, rng, noise)
            wording = self.wordings[draw_language(self.languages, rng)]
            extras = [name for name in ("mention", "stuffing", "puffery") if rng.random() < getattr(noise, name)]
            title = wording.title(Listing(one.key, stated, also), extras, layout, rng)
            color = wording.color(stated["color"][0]) if "color" in stated else None
            yield one, {"stated": stated, "also": also, "title": title, "locale": wording.locale, "color": color}


_POPULARITY = tuple(1.0 / rank**0.7 for rank in range(1, 7))


def _draw_product(one: ProductType, rng: Random, noise: Noise) -> dict[str, tuple[str, ...]]:
    ladder = _brand_ladder(len(one.brands))
    product: dict[str, tuple[str, ...]] = {"brand": (one.brands[bisect(ladder, rng.random() * ladder[-1])],)}
    for attribute, values in one.attributes.items():
        if attribute in ("model", "fits"):
            maker, model = chosen(FAMILIES[values[0]], rng)
            product[attribute] = (f"{maker} {model}",)
            if attribute == "model":
                product["brand"] = (maker,)
        elif attribute == "feature" and len(values) > 1 and rng.random() < 0.3:
            product[attribute] = tuple(rng.sample(values, 2))
        else:
            product[attribute] = (chosen(values, rng),)
    tier = rng.random()
    if tier < noise.budget + noise.premium:
        product["price"] = ("budget" if tier < noise.budget else "premium",)
    return product


@cache
def _brand_ladder(n_brands: int) -> list[float]:
    return list(accumulate(_POPULARITY[:n_brands]))


def _variant_of(product: dict[str, tuple[str, ...]], one: ProductType, rng: Random) -> dict[str, tuple[str, ...]]:
    changeable = [name for name in one.attributes if name not in ("model", "fits", "feature")]
    if not changeable:
        return product
    name = chosen(changeable, rng)
    return {**product, name: (chosen(one.attributes[name], rng),)}


_LEFT_OUT = {"model": 0.0, "fits": 0.0, "price": 0.0, "audience": 0.5, "pet": 0.15}  # so often as others are


def _leave_out(product: dict[str, tuple[str, ...]], rng: Random, noise: Noise) -> dict[str, tuple[str, ...]]:
    return {
        name: values
        for name, values in product.items()
        if rng.random() >= (noise.unstated_brand if name == "brand" else noise.unstated * _LEFT_OUT.get(name, 1.0))
    }
