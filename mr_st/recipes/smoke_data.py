"""A made-up shop in the form of ESCI's original files, in its three locales, for trial runs of recipes."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

from mr_st.files import atomic_folder

__all__ = ["smoke_texts", "write_smoke_esci"]

_SHOPS: dict[str, dict[str, Any]] = {
    "us": {
        "query": "{colour} {thing}", "title": "{brand} {thing}, {colour}",
        "things": ["running shoes", "coffee mug", "desk lamp", "rain jacket", "phone case", "water bottle"],
        "colours": ["red", "blue", "black", "white", "green"],
    },
    "es": {
        "query": "{thing} de color {colour}", "title": "{brand} {thing}, color {colour}",
        "things": ["zapatillas", "taza de café", "lámpara", "chubasquero", "funda de móvil", "botella de agua"],
        "colours": ["rojo", "azul", "negro", "blanco", "verde"],
    },
    "jp": {
        "query": "{thing} {colour}", "title": "{brand} {thing} {colour}色",
        "things": ["ランニングシューズ", "マグカップ", "デスクランプ", "レインジャケット", "スマホケース", "水筒"],
        "colours": ["赤", "青", "黒", "白", "緑"],
    },
}  # fmt: skip
_BRANDS = ("Corvane", "Lumetra", "Tavik")


def write_smoke_esci(folder: str | Path) -> Path:
    """Write examples and products under ESCI's file names; the same bytes every time.

    A query names a thing and a colour. The thing in that colour is exact, in another a substitute; the next kind of
    thing in that colour is called a complement, everything else is irrelevant.
    """
    import polars as pl

    from mr_st.data.sources.esci_files import EXAMPLES, PRODUCTS

    folder = Path(folder)
    rows, products = [], []
    for place, (locale, shop) in enumerate(_SHOPS.items()):
        things, colours = shop["things"], shop["colours"]
        for number, (thing, colour) in enumerate(product(things, colours)):
            brand = _BRANDS[number % len(_BRANDS)]
            products.append(
                {
                    "product_id": _id(place, number),
                    "product_title": shop["title"].format(brand=brand, thing=thing, colour=colour),
                    "product_description": None, "product_brand": brand, "product_color": colour,
                    "product_locale": locale,
                }
            )  # fmt: skip
        for number, (thing, colour) in enumerate(product(range(len(things)), range(len(colours)))):
            query = {
                "query_id": place * 1000 + number,
                "query": shop["query"].format(thing=things[thing], colour=colours[colour]),
                "product_locale": locale, "small_version": 1, "large_version": 1,
                "split": "test" if number % 4 == 3 else "train",
            }  # fmt: skip
            n = len(colours)
            judged = {
                thing * n + colour: "E",
                thing * n + (colour + 1) % n: "S",
                (thing + 1) % len(things) * n + colour: "C",
                (thing + 2) % len(things) * n + (colour + 2) % n: "I",
                (thing + 3) % len(things) * n + (colour + 3) % n: "I",
            }
            rows += [{**query, "product_id": _id(place, item), "esci_label": label} for item, label in judged.items()]
    with atomic_folder(folder) as temporary:
        pl.DataFrame(rows).write_parquet(temporary / EXAMPLES)
        pl.DataFrame(products, schema_overrides={"product_description": pl.String}).write_parquet(temporary / PRODUCTS)
    return folder


def smoke_texts() -> list[str]:
    """The words of the shop, for a tokenizer to learn."""
    texts = [*_BRANDS, "query: passage: search_query: search_document: Category: > , . : | Brand Color"]
    for shop in _SHOPS.values():
        for thing, colour in product(shop["things"], shop["colours"]):
            texts += [shop[form].format(brand=_BRANDS[0], thing=thing, colour=colour) for form in ("query", "title")]
    return texts


def _id(place: int, number: int) -> str:
    return f"B{place}{number:06d}"
