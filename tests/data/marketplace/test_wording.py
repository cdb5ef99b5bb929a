"""The languages: every word is there, adjectives agree, and titles and queries say what they should."""

from __future__ import annotations

import re
from collections import Counter
from random import Random

import pytest

from mr_st.data.marketplace.catalogue import Catalogue
from mr_st.data.marketplace.intents import KIND_SHARES, IntentWriter
from mr_st.data.marketplace.policy import Intent, Listing
from mr_st.data.marketplace.shop import Shop
from mr_st.data.marketplace.translated import LOCALES, Translated, inflect
from mr_st.data.marketplace.vocabulary import measure_of, ways_to_say
from mr_st.data.marketplace.wording import tidy

CATALOGUE = Catalogue()
VALUES = {
    (name, value)
    for one in CATALOGUE.types.values()
    for name, values in one.attributes.items()
    if name not in ("fits", "model")
    for value in values
} | {("price", "budget"), ("price", "premium")}


@pytest.fixture(scope="module", params=list(LOCALES))
def wording(request: pytest.FixtureRequest) -> Translated:
    return Translated(request.param, CATALOGUE)


def test_every_type_value_group_and_use_has_words(wording: Translated) -> None:
    for key in CATALOGUE.types:
        assert wording._nouns[key]
    for _, value in VALUES:
        assert value in wording._values or measure_of(value), value
    assert set(wording._groups) == set(CATALOGUE.groups)
    assert {use.name for use in CATALOGUE.uses} <= set(wording._uses)


def test_words_tell_types_and_values_apart(wording: Translated) -> None:
    nouns = Counter(text for ways in wording._nouns.values() for text in {way.text.lower() for way in ways})
    assert [text for text, n in nouns.items() if n > 1] == []
    for attribute in {name for name, _ in VALUES}:
        said = Counter(
            way.lower()
            for name, value in VALUES
            if name == attribute
            for way in set(wording._ways_of(value, "m"))
        )  # fmt: skip
        assert [way for way, n in said.items() if n > 1] == []


def test_nothing_of_the_notation_is_left_in_what_is_said(wording: Translated) -> None:
    rng = Random(1)
    shop = Shop(CATALOGUE, 1_500, 0, languages={wording.language: 1.0})
    items = list(shop.items())
    shelves: dict[str, list] = {key: [] for key in CATALOGUE.types}
    for item in items:
        shelves[item.type].append(item)
    writer = IntentWriter({k: v for k, v in shelves.items() if v}, CATALOGUE)
    keys = [key for key in CATALOGUE.types if shelves[key]]
    intents = [intent for _ in range(1_500) if (intent := writer.draw(keys, rng))]
    assert {intent.kind for intent in intents} == set(KIND_SHARES)
    texts = [item.title for item in items] + [wording.query(intent, rng) for intent in intents]
    for text in texts:
        assert text == text.strip() != ""
        assert not re.search(r"[~{}|_]|\bNone\b|  |,,|\(\)", text.replace(" | ", " ")), text
        assert not re.search(r"(^|\s)(mp|fp) ", text), text
    assert len(set(texts)) > 0.9 * len(texts)


def test_a_query_names_what_is_asked(wording: Translated) -> None:
    rng = Random(0)
    asked = Intent("attribute", ("travel mug",), required=(("color", "black"),))
    nouns = {noun.text.lower() for noun in wording._nouns["travel mug"]}
    colors = {way.lower() for gender in ("m", "f", "mp", "fp") for way in wording._ways_of("black", gender)}
    for _ in range(30):
        text = wording.query(asked, rng)
        assert any(color in text for color in colors)
        assert any(noun in text for noun in nouns) or any(short in text for _, short in wording._abbreviations)
    fits = Intent("compatibility", ("phone case",), required=(("fits", "Orbis S20 Plus"),))
    assert all("s20 plus" in wording.query(fits, rng) for _ in range(20))


def test_a_title_states_brand_device_and_values(wording: Translated) -> None:
    listing = Listing("phone case", {"brand": ("Orbis",), "fits": ("Kanto One",), "color": ("black",)})
    for layout in range(4):
        title = wording.title(listing, (), layout, Random(0))
        assert "Orbis" in title
        assert "Kanto One" in title


def test_adjectives_agree() -> None:
    forms = {
        "es": {
            "~rojo": "rojo roja rojos rojas",
            "~verde": "verde verde verdes verdes",
            "~azul": "azul azul azules azules",
        },
        "fr": {
            "~noir": "noir noire noirs noires",
            "~rouge": "rouge rouge rouges rouges",
            "~gris": "gris grise gris grises",
        },
    }
    for language, table in forms.items():
        for way, expected in table.items():
            assert [inflect(way, gender, language) for gender in ("m", "f", "mp", "fp")] == expected.split()
    assert inflect("~doux/douce/doux/douces", "fp", "fr") == "douces"
    assert inflect("de cerámica", "fp", "es") == "de cerámica"


def test_tidy_closes_gaps() -> None:
    assert tidy("Mug  , , blue -  | Acme") == "Mug, blue | Acme"
    assert tidy(" - Mug ()") == "Mug"


def test_measures() -> None:
    assert measure_of("pack of 6") == ("pack of", "6")
    assert measure_of("2.5 inch") == ("inch", "2.5")
    assert measure_of("black") is None
    assert ways_to_say("budget")[0] == "budget"
