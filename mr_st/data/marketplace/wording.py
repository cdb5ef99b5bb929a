"""How a language says things: the titles that its sellers write and the queries that its shoppers type."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Protocol, TypeVar

from mr_st.data.marketplace.families import FAMILIES
from mr_st.data.marketplace.policy import Intent, Listing

__all__ = ["BEFORE_NOUN", "DEVICE", "PLAIN_SHARE", "Wording", "chosen", "short_device", "tidy"]

T = TypeVar("T")

DEVICE = ("model", "fits")
BEFORE_NOUN = frozenset(
    "price audience pet color material style pattern roast flavor scent finish tone".split()  # as English has them
)
PLAIN_SHARE = 0.45  # of the values in queries: said in the plainest way


class Wording(Protocol):
    """What a language must be able to say."""

    locale: str

    def title(self, listing: Listing, noise: Sequence[str], layout: int, rng: Random) -> str:
        """A seller's title.

        Args:
            listing: What it must state.
            noise: Any of mention, stuffing, puffery: what the seller adds that is none of it.
            layout: Any whole number; near-duplicates share it.
            rng: Where chance comes from.
        """

    def query(self, intent: Intent, rng: Random) -> str:
        """One of the many ways in which a shopper types ``intent``, in lower case."""

    def color(self, value: str) -> str:
        """The plain word for a colour."""


def chosen(values: Sequence[T], rng: Random) -> T:
    """One of ``values``, all equally likely (faster than ``rng.choice``)."""
    return values[int(rng.random() * len(values))]


_DEVICES = [(maker, model) for devices in FAMILIES.values() for maker, model in devices]
_MODELS = [model for _, model in _DEVICES]
_CLEAR_MODELS = {
    f"{maker} {model}": model
    for maker, model in _DEVICES
    if _MODELS.count(model) == 1 and any(c.isdigit() for c in model) and any(c.isalpha() for c in model)
}


def short_device(value: str, rng: Random) -> str:
    """A device by maker and model, or now and then by the model alone where nobody else makes one of that name."""
    return _CLEAR_MODELS[value] if value in _CLEAR_MODELS and rng.random() < 0.25 else value


_SLIPS = (
    (" ,", ","), (",,", ","), (" -,", ","), ("- ,", "-"), ("( ", "("), ("()", ""), (", |", " |"), (", (", " ("),
    (", by", " by"), (", -", " -"), ("- -", "-"), ("| |", "|"), ("- |", "|"), (":,", ":"),
)  # fmt: skip


def tidy(title: str) -> str:
    """Close the gaps that left-out parts leave in a title."""
    text, before = " ".join(title.split()), ""
    while text != before:  # closing one gap may open the next
        before = text
        for wrong, right in _SLIPS:
            if wrong in text:
                text = text.replace(wrong, right)
    return " ".join(text.strip(" ,-|、/").split())
