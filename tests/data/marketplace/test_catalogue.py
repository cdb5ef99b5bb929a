"""The handwritten tables hang together, and words say one thing only."""

from __future__ import annotations

from collections import Counter

import pytest

from mr_st.data.marketplace.catalogue import DEPARTMENTS, Catalogue
from mr_st.data.marketplace.families import FAMILIES
from mr_st.data.marketplace.schema import ProductType
from mr_st.data.marketplace.vocabulary import NARROWER, ways_to_say

CATALOGUE = Catalogue()
TYPES = list(CATALOGUE.types.values())


def test_breadth() -> None:
    assert len(DEPARTMENTS) >= 12
    assert len(TYPES) >= 300
    assert sum(len(department.types) for department in DEPARTMENTS) == len(TYPES), "two types share a key"


def test_every_name_means_one_type() -> None:
    said = Counter(name for one in TYPES for name in (*one.names, *one.asked))
    assert [name for name, count in said.items() if count > 1] == []


def test_every_reference_leads_somewhere() -> None:
    keys = set(CATALOGUE.types)
    assert {partner for one in TYPES for partner in one.partners} <= keys
    assert {other for one in TYPES for other in one.instead} <= keys
    assert {key for department in DEPARTMENTS for use in department.uses for key in use.types} <= keys
    assert {one.group for one in TYPES if one.group} == set(CATALOGUE.group_phrases)
    assert min(len(members) for members in CATALOGUE.groups.values()) >= 2
    families = {one.attributes[name][0] for one in TYPES for name in ("model", "fits") if name in one.attributes}
    assert families == set(FAMILIES)


@pytest.mark.parametrize("one", TYPES, ids=lambda one: one.key)
def test_values_of_an_attribute_are_told_apart(one: ProductType) -> None:
    for values in one.attributes.values():
        said = Counter(way for value in values for way in ways_to_say(value))
        assert [way for way, count in said.items() if count > 1] == []


def test_substitutes_and_partners() -> None:
    assert CATALOGUE.siblings(("travel mug",)) == ("thermos", "coffee mug")
    assert CATALOGUE.siblings(("coffee mug",)) == ("travel mug",)
    assert CATALOGUE.siblings(("travel mug", "thermos")) == ("coffee mug",)
    assert "cat wand toy" not in CATALOGUE.siblings(("dog chew toy",)), "of no use to a dog"
    assert {"dog chew toy", "cat wand toy"} <= set(CATALOGUE.groups["pet toy"])
    assert CATALOGUE.partners(("inkjet printer",)) == ("ink cartridge", "printer paper")
    assert Catalogue(DEPARTMENTS[:1]).partners(("coffee grinder",)) == (), "coffee beans are in another department"


def test_ways_to_say() -> None:
    assert ways_to_say("set of 4") == ("set of 4", "4 piece set", "4 pc set", "set 4")
    assert ways_to_say("1.7 liter") == ("1.7 liter", "1.7l", "1.7 litre")
    assert ways_to_say("navy")[0] == "navy"
    assert ways_to_say("something else") == ("something else",)


def test_no_wider_word_is_its_own_narrower_one() -> None:
    for wide, narrow in NARROWER.items():
        assert narrow
        assert wide not in narrow
