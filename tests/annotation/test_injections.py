"""Attacks on a labeller: distinct, seeded, with a twin that differs in nothing but its words."""

from __future__ import annotations

import pytest

from mr_st.annotation.injections import FAMILIES, HELD_OUT_FAMILIES, TRAIN_FAMILIES, inject
from mr_st.errors import UsageError

TEXTS = [f"Red Desk Lamp number {n}. Category: Office > Lighting" for n in range(300)]


def test_three_hundred_texts_get_three_hundred_attacks_of_all_families():
    found = inject(TEXTS, seed=1)
    assert len({entry.attack for entry in found}) == 300
    assert [entry.row for entry in found] == list(range(300))
    counts = [sum(entry.family == family for entry in found) for family in FAMILIES]
    assert counts == [30] * 10


def test_the_twin_has_the_same_words_around_and_like_length():
    for entry in inject(TEXTS, seed=2):
        assert entry.text.replace(entry.attack, "#", 1) == entry.control.replace(entry.harmless, "#", 1)
        assert entry.text.replace(entry.attack, "", 1).split() == TEXTS[entry.row].split()
        assert abs(len(entry.attack) - len(entry.harmless)) <= max(10, 0.2 * len(entry.attack))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_asks_for_the_target_and_its_twin_does_not(family):
    found = inject(TEXTS[:60], seed=3, kinds=[family], target=7)
    asking = [entry for entry in found if "7" in entry.attack]
    assert len(asking) == 60 or family == "encoded"  # disguised: base64 and the like hide the number
    assert not any("7" in entry.harmless for entry in found if family != "encoded")


def test_no_training_family_is_held_out():
    assert not set(TRAIN_FAMILIES) & set(HELD_OUT_FAMILIES)
    assert {entry.family for entry in inject(TEXTS, kinds=TRAIN_FAMILIES)} == set(TRAIN_FAMILIES)


def test_seeds():
    assert inject(TEXTS[:20], seed=4) == inject(TEXTS[:20], seed=4)
    assert inject(TEXTS[:20], seed=4) != inject(TEXTS[:20], seed=5)


def test_an_empty_text_becomes_the_attack_alone():
    entry = inject([""], kinds=["direct_order"])[0]
    assert entry.text == entry.attack


@pytest.mark.parametrize("kinds", [["direct_order", "sorcery"], []])
def test_unknown_families(kinds):
    with pytest.raises(UsageError, match="expected some of direct_order"):
        inject(["a"], kinds=kinds)
