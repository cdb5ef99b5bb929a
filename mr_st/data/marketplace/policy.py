"""The relevance policy: one pure function from what a shopper means and what a listing states to a grade and why.

A listing is judged by what it states. An attribute that it does not state counts as missed, as it would for a shopper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mr_st.data.marketplace.schema import HARD_ATTRIBUTES
from mr_st.data.marketplace.vocabulary import NARROWER

__all__ = ["DEVICE_ATTRIBUTES", "Intent", "Listing", "grade"]

DEVICE_ATTRIBUTES = frozenset({"fits", "model"})
"""Attributes that name a device: the one a thing is, or the one it must fit."""


@dataclass(frozen=True)
class Intent:
    """What a shopper means.

    Args:
        kind: type, attribute, brand, price, use, compatibility, negation or group.
        types: Any of these product types is what is asked for.
        topic: Name of the use or the group asked for, or "".
        required: (attribute, value) pairs that must hold; ``brand`` and ``price`` are attributes too.
        excluded: (attribute, value) pairs that must not hold.
        siblings: Types that can stand in for ``types``.
        partners: Types that go with ``types``.
    """

    kind: str
    types: tuple[str, ...]
    topic: str = ""
    required: tuple[tuple[str, str], ...] = ()
    excluded: tuple[tuple[str, str], ...] = ()
    siblings: tuple[str, ...] = ()
    partners: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listing:
    """What a listing says of its product: the type, and every attribute that its title states.

    Args:
        type: Key of the product type.
        stated: Attribute (``brand`` and ``price`` too) to the values stated.
        also: Keys of further types that come with it in a bundle; what is stated is stated of ``type`` alone.
    """

    type: str
    stated: Mapping[str, tuple[str, ...]]
    also: tuple[str, ...] = ()


def grade(intent: Intent, item: Listing) -> tuple[int, str]:
    """Grade one pair.

    2, relevant: the right type, and everything asked for holds.
    1, partial: a substitute, where exactly one thing is not as asked (one attribute, the brand, or the type being a
    sibling of the same substitute group); or a complement, a partner of the type asked for, when the shopper asked for
    nothing else, or only for a device and the partner suits the same device; or the type asked for, with nothing else
    wanted, as the smaller part of a bundle. (A bundle whose main part is asked for is judged by that part.)
    0, irrelevant: another kind of product; two or more things not as asked; made for another device, animal or wearer;
    or something that the shopper ruled out.

    Args:
        intent: What the shopper means.
        item: What the listing states.

    Returns:
        The grade and the reason for it.

    Source:
        ours; the grades' meaning after arXiv 2602.17654, section 3.
    """
    missed: list[str] = []
    judged, stated_of_it = item.type, item.stated
    if judged in intent.types:
        pass
    elif bundled := next((key for key in item.also if key in intent.types), None):
        missed.append(f"{bundled} comes only together with {item.type}")
        judged, stated_of_it = bundled, {}
    elif item.type in intent.siblings:
        missed.append(f"{item.type} stands in for {intent.topic or intent.types[0]}")
    elif item.type in intent.partners:
        return _grade_complement(intent, item)
    else:
        return 0, f"another kind of product: {item.type}"

    for attribute, asked in intent.required:
        stated = stated_of_it.get(attribute, ())
        if _holds(asked, stated) or _is_named_so(asked, judged):
            continue
        if stated and attribute in HARD_ATTRIBUTES:
            return 0, f"{attribute} is {_said(stated)}, useless where {asked} is asked"
        missed.append(f"{attribute} is {_said(stated)}, not {asked}" if stated else f"does not state {attribute}")
    for attribute, ruled_out in intent.excluded:
        stated = stated_of_it.get(attribute, ())
        if _holds(ruled_out, stated):
            return 0, f"{attribute} is {_said(stated)}, which is ruled out"
        if not stated:
            missed.append(f"does not state {attribute}")

    if not missed:
        return 2, "all that is asked holds"
    if len(missed) == 1:
        return 1, f"substitute: {missed[0]}"
    return 0, f"too far from what is asked: {'; '.join(missed)}"


def _grade_complement(intent: Intent, item: Listing) -> tuple[int, str]:
    devices = [value for attribute, value in intent.required if attribute in DEVICE_ATTRIBUTES]
    if len(devices) < len(intent.required) or intent.excluded:
        return 0, f"goes with it, but more than the kind of product was asked: {item.type}"
    suits = [value for attribute in ("fits", "model") for value in item.stated.get(attribute, ())]
    if devices and suits and not set(devices) & set(suits):
        return 0, f"goes with another device: {_said(tuple(suits))}"
    return 1, f"complement: {item.type} goes with {intent.types[0]}"


def _holds(asked: str, stated: tuple[str, ...]) -> bool:
    narrower = NARROWER.get(asked, frozenset())
    return any(value == asked or value in narrower for value in stated)


def _is_named_so(asked: str, type_key: str) -> bool:
    """A wireless mouse is wireless, stated or not."""
    return f" {asked} " in f" {type_key} "


def _said(stated: tuple[str, ...]) -> str:
    return " and ".join(stated)
