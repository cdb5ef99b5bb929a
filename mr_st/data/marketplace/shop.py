"""The shop's shelves: products drawn from the catalogue, and the noisy titles that their sellers wrote."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mr_st.data.marketplace.catalogue import Catalogue
from mr_st.data.marketplace.families import FAMILIES
from mr_st.data.marketplace.policy import Listing
from mr_st.data.marketplace.schema import ProductType
from mr_st.data.marketplace.vocabulary import PUFFERY, ways_to_say

__all__ = ["Item", "Noise", "stock_shop"]

LOCALE = "en-US"
_BEFORE_NOUN = (
    "audience",
    "pet",
    "color",
    "material",
    "style",
    "pattern",
    "roast",
    "flavor",
    "scent",
    "finish",
    "tone",
)


@dataclass(frozen=True)
class Noise:
    """How untidy the sellers are; all are probabilities.

    Args:
        unstated: A title leaves out an attribute.
        unstated_brand: A title leaves out the brand.
        other_words: A title says a value in other words ("grey", "16 oz" as "16 ounce").
        puffery: A title is stuffed with words that say nothing.
        mention: A title mentions a use or a thing that goes with the product.
        variant: A listing is a near-duplicate of the one before it, with one attribute changed.
    """

    unstated: float = 0.2
    unstated_brand: float = 0.15
    other_words: float = 0.3
    puffery: float = 0.25
    mention: float = 0.25
    variant: float = 0.15


@dataclass(frozen=True)
class Item(Listing):
    """One listing of the shop.

    Args:
        item_id: Its id.
        title: What the seller wrote.
        category_path: Department first.
    """

    item_id: str = ""
    title: str = ""
    category_path: tuple[str, ...] = ()


def stock_shop(catalogue: Catalogue, n_items: int, rng: np.random.Generator, noise: Noise | None = None) -> list[Item]:
    """Fill the shelves: ``n_items`` listings, some types with many, some with few, in random order."""
    noise = noise or Noise()
    types = list(catalogue.types.values())
    drafts: list[tuple[ProductType, dict[str, tuple[str, ...]], str]] = []
    for one, count in zip(types, _shelf_sizes(len(types), n_items, rng), strict=True):
        product: dict[str, tuple[str, ...]] = {}
        layout = 0
        for _ in range(count):
            if product and rng.random() < noise.variant:
                product = _variant_of(product, one, rng)
            else:
                product, layout = _draw_product(one, rng), int(rng.integers(4))
            stated = _leave_out(product, rng, noise)
            drafts.append((one, stated, _write_title(one, stated, layout, catalogue, rng, noise)))
    order = rng.permutation(len(drafts))
    return [
        Item(one.key, stated, f"I{number:07d}", title, (one.department, *one.path))
        for number, (one, stated, title) in enumerate(drafts[at] for at in order)
    ]


def _shelf_sizes(n_types: int, n_items: int, rng: np.random.Generator) -> list[int]:
    weights = rng.lognormal(0.0, 0.5, n_types)
    floor = n_items // n_types // 2
    exact = floor + weights / weights.sum() * (n_items - floor * n_types)
    sizes = np.floor(exact).astype(int)
    sizes[np.argsort(sizes - exact, kind="stable")[: n_items - sizes.sum()]] += 1
    return [int(size) for size in sizes]


def _draw_product(one: ProductType, rng: np.random.Generator) -> dict[str, tuple[str, ...]]:
    popularity = 1.0 / np.arange(1, len(one.brands) + 1) ** 0.7
    brand = one.brands[int(rng.choice(len(one.brands), p=popularity / popularity.sum()))]
    product: dict[str, tuple[str, ...]] = {"brand": (brand,)}
    for attribute, values in one.attributes.items():
        if attribute in ("model", "fits"):
            devices = FAMILIES[values[0]]
            maker, model = devices[int(rng.integers(len(devices)))]
            product[attribute] = (f"{maker} {model}",)
            if attribute == "model":
                product["brand"] = (maker,)
        elif attribute == "feature" and len(values) > 1 and rng.random() < 0.3:
            first, second = (int(at) for at in rng.choice(len(values), 2, replace=False))
            product[attribute] = (values[first], values[second])
        else:
            product[attribute] = (values[int(rng.integers(len(values)))],)
    return product


def _variant_of(
    product: dict[str, tuple[str, ...]], one: ProductType, rng: np.random.Generator
) -> dict[str, tuple[str, ...]]:
    changeable = [name for name in one.attributes if name not in ("model", "fits", "feature")]
    if not changeable:
        return product
    name = changeable[int(rng.integers(len(changeable)))]
    values = one.attributes[name]
    return {**product, name: (values[int(rng.integers(len(values)))],)}


def _leave_out(
    product: dict[str, tuple[str, ...]], rng: np.random.Generator, noise: Noise
) -> dict[str, tuple[str, ...]]:
    chances = {"brand": noise.unstated_brand, "model": 0.0, "fits": 0.0, "audience": 0.1, "pet": 0.03}
    return {name: values for name, values in product.items() if rng.random() >= chances.get(name, noise.unstated)}


def _write_title(
    one: ProductType,
    stated: dict[str, tuple[str, ...]],
    layout: int,
    catalogue: Catalogue,
    rng: np.random.Generator,
    noise: Noise,
) -> str:
    noun = one.names[0] if rng.random() < 0.5 else one.names[int(rng.integers(len(one.names)))]
    if "model" in stated:
        noun = f"{stated['model'][0]} {noun}"
    brand = "" if "model" in stated else "".join(stated.get("brand", ()))
    device = ""
    if "fits" in stated:
        device = ("for {}", "fits {}", "compatible with {}")[int(rng.integers(3))].format(stated["fits"][0])
    names = [name for name in stated if name not in ("brand", "model", "fits")]
    names = [names[int(at)] for at in rng.permutation(len(names))]
    before = " ".join(
        _say(value, name, rng, noise) for name in names if name in _BEFORE_NOUN for value in stated[name]
    )
    after = ", ".join(
        _say(value, name, rng, noise) for name in names if name not in _BEFORE_NOUN for value in stated[name]
    )
    if layout == 0:
        title = f"{brand} {before} {noun} {device}, {after}"
    elif layout == 1:
        title = f"{noun} {device} - {before}, {after}" + (f" by {brand}" if brand else "")
    elif layout == 2:
        title = f"{brand} {noun} {after} {device}" + (f" ({before})" if before else "")
    else:
        title = f"{before} {noun}, {after} {device}" + (f" | {brand}" if brand else "")
    extra = _mention(one, catalogue, rng) if rng.random() < noise.mention else ""
    if rng.random() < noise.puffery:
        puff = PUFFERY[int(rng.integers(len(PUFFERY)))]
        extra = f"{extra}, {puff}" if extra else puff
    return _tidy(f"{title}, {extra}" if extra else title)


def _say(value: str, attribute: str, rng: np.random.Generator, noise: Noise) -> str:
    ways = ways_to_say(value)
    if len(ways) > 1 and rng.random() < noise.other_words:
        return ways[int(rng.integers(1, len(ways)))]
    return f"{value}'s" if attribute == "audience" and value in ("men", "women") else value


def _mention(one: ProductType, catalogue: Catalogue, rng: np.random.Generator) -> str:
    sellers = [use.seller for use in catalogue.uses if use.seller and one.key in use.types]
    goes_with = [f"goes with {key}" for key in one.partners if key in catalogue.types]
    instead = [f"better than {key}" for key in catalogue.siblings((one.key,))]
    choices = sellers * 2 + goes_with + instead
    return choices[int(rng.integers(len(choices)))] if choices else ""


_SLIPS = (
    (" ,", ","),
    (",,", ","),
    (" -,", ","),
    ("- ,", "-"),
    ("( ", "("),
    (", |", " |"),
    (", (", " ("),
    (", by", " by"),
)
_SMALL_WORDS = ("for", "with", "and", "by", "of", "to", "in")


def _tidy(title: str) -> str:
    """Close the gaps that left-out parts leave, and capitalise as sellers do."""
    text = " ".join(title.split())
    for wrong, right in _SLIPS:
        text = text.replace(wrong, right)
    words = text.strip(" ,-|").split(" ")
    return " ".join(
        word if at and word in _SMALL_WORDS else word[:1].upper() + word[1:] for at, word in enumerate(words)
    )
