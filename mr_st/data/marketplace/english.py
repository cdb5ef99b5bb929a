"""English: titles and queries. The base vocabulary of the catalogue is English, so no table stands between."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from random import Random

from mr_st.data.marketplace.catalogue import Catalogue
from mr_st.data.marketplace.policy import Intent, Listing
from mr_st.data.marketplace.vocabulary import ABBREVIATIONS, PUFFERY, ways_to_say
from mr_st.data.marketplace.wording import BEFORE_NOUN, DEVICE, PLAIN_SHARE, chosen, short_device, tidy

__all__ = ["English"]

_SHOPPERS_OWN_NAME = 0.4  # of the queries name a type as only shoppers do
_SHORTENED = 0.12
_AFTER_NOUN = frozenset("for with without w no wont can that folds turns stays keeps blocks".split())
_LEADS = ("",) * 16 + ("best ", "good ", "looking for ", "need ", "buy ")
_ENDINGS = ("",) * 16 + (" online", " ideas", " for sale", " please")
_NEGATIONS = ("{n} not {v}", "non {v} {n}", "{n} no {v}", "{n} but not {v}", "any {n} except {v}", "{n} without {v}")
_FITS = (
    "{n} for {d}", "{d} {n}", "{n} that fits {d}", "{n} compatible with my {d}", "{n} {d}", "{n} i can use with {d}",
)  # fmt: skip
_BRANDS = ("{b} {n}", "{b} {n}", "{n} {b}", "{n} by {b}", "{n} from {b}")
_MODELS = ("{d} {n}", "{n} {d}")
_WISHES = {"color": " in {}", "material": " made of {}", "audience": " for {}", "pet": " for my {}"}
_TITLE_FITS = ("for {}", "fits {}", "compatible with {}")
_BUNDLES = ("{a} + {b} bundle", "{a} and {b} set", "{a} with {b} included", "bundle: {a}, {b}")
_SMALL_WORDS = frozenset("for with and by of to in".split())


class English:
    """The wording of the shop's home market.

    Args:
        catalogue: What the types, groups and uses are.
    """

    locale = "en-US"

    def __init__(self, catalogue: Catalogue):
        self.catalogue = catalogue

    # ---- titles ----------------------------------------------------------------------------------------------------

    def title(self, listing: Listing, noise: Sequence[str], layout: int, rng: Random) -> str:
        """A seller's title: brand, noun, attributes, device, and what sellers stuff in besides."""
        stated = listing.stated
        names = self.catalogue.types[listing.type].names
        noun = names[0] if rng.random() < 0.5 else chosen(names, rng)
        if "model" in stated:
            noun = f"{stated['model'][0]} {noun}"
        for other in listing.also:
            noun = chosen(_BUNDLES, rng).format(a=noun, b=other)
        brand = "" if "model" in stated else "".join(stated.get("brand", ()))
        device = chosen(_TITLE_FITS, rng).format(stated["fits"][0]) if "fits" in stated else ""
        names_of = [name for name in stated if name not in ("brand", "model", "fits")]
        rng.shuffle(names_of)
        before: list[str] = []
        after: list[str] = []
        for name in names_of:
            part = before if name in BEFORE_NOUN else after
            part += [self._seller_says(value, name, rng) for value in stated[name]]
        text_before, text_after = " ".join(before), ", ".join(after)
        form = layout % 4
        if form == 0:
            title = f"{brand} {text_before} {noun} {device}, {text_after}"
        elif form == 1:
            title = f"{noun} {device} - {text_before}, {text_after}" + (f" by {brand}" if brand else "")
        elif form == 2:
            title = f"{brand} {noun} {text_after} {device}" + (f" ({text_before})" if before else "")
        else:
            title = f"{text_before} {noun}, {text_after} {device}" + (f" | {brand}" if brand else "")
        extra = [self._extra(listing.type, kind, rng) for kind in noise]
        return _capitalise(tidy(", ".join([title, *(words for words in extra if words)])))

    def color(self, value: str) -> str:
        """The colour as it is."""
        return value

    def _seller_says(self, value: str, attribute: str, rng: Random) -> str:
        ways = ways_to_say(value)
        if len(ways) > 1 and rng.random() < 0.3:
            return ways[1 + int(rng.random() * (len(ways) - 1))]
        return f"{value}'s" if attribute == "audience" and value in ("men", "women") else value

    def _extra(self, key: str, kind: str, rng: Random) -> str:
        if kind == "puffery":
            return chosen(PUFFERY, rng)
        choices = self._mentions[key] if kind == "mention" else self._stuffing[key]
        return chosen(choices, rng) if choices else ""

    @cached_property
    def _mentions(self) -> dict[str, list[str]]:
        """What a title of each type may name besides: uses, partners, substitutes."""
        sellers: dict[str, list[str]] = {}
        for use in self.catalogue.uses:
            for key in use.types if use.seller else ():
                sellers.setdefault(key, []).append(use.seller)
        return {
            key: sellers.get(key, []) * 2
            + [f"goes with {partner}" for partner in one.partners if partner in self.catalogue.types]
            + [f"better than {other}" for other in self.catalogue.siblings((key,))]
            for key, one in self.catalogue.types.items()
        }

    @cached_property
    def _stuffing(self) -> dict[str, list[str]]:
        """Runs of search words that a title may be stuffed with: names of its type and of others near it."""
        return {
            key: [f"{' '.join(one.names[1:2])} {other}".strip() for other in self.catalogue.neighbours(key)]
            for key, one in self.catalogue.types.items()
        }

    # ---- queries ---------------------------------------------------------------------------------------------------

    def query(self, intent: Intent, rng: Random) -> str:
        """One of many ways to type the intent."""
        said = [_shopper_says(value, rng) for name, value in intent.required if name not in (*DEVICE, "brand")]
        if intent.kind == "use":
            phrases = next(use.phrases for use in self.catalogue.uses if use.name == intent.topic)
            text = chosen(phrases, rng) + "".join(_WISHES[name].format(value) for name, value in intent.required)
        elif intent.kind == "group":
            phrases = self.catalogue.group_phrases[intent.topic]  # the first is a noun, the others may be sentences
            text = _around(phrases[0], said, rng) if said else chosen(phrases, rng)
        else:
            one = self.catalogue.types[intent.types[0]]
            own = one.asked and rng.random() < _SHOPPERS_OWN_NAME
            text = _with_constraints(intent, chosen(one.asked if own else one.names, rng), said, rng)
            if not intent.excluded:
                text = chosen(_LEADS, rng) + text
        text = (text.strip() + chosen(_ENDINGS, rng)).lower()
        return _shorten(text, rng) if rng.random() < _SHORTENED else text


def _with_constraints(intent: Intent, noun: str, said: list[str], rng: Random) -> str:
    wanted = dict(intent.required)
    if intent.excluded:
        return chosen(_NEGATIONS, rng).format(n=noun, v=_shopper_says(intent.excluded[0][1], rng))
    core = _around(noun, said, rng)
    if "fits" in wanted:
        return chosen(_FITS, rng).format(n=core, d=short_device(wanted["fits"], rng))
    if "model" in wanted:
        return chosen(_MODELS, rng).format(n=core, d=short_device(wanted["model"], rng))
    if "brand" in wanted:
        return chosen(_BRANDS, rng).format(n=core, b=wanted["brand"])
    return core


def _around(noun: str, said: Sequence[str], rng: Random) -> str:
    """Put attribute words before or after the noun, where they can stand."""
    before = [words for words in said if words.split()[0] not in _AFTER_NOUN and rng.random() < 0.65]
    return " ".join([*before, noun, *(words for words in said if words not in before)])


def _shopper_says(value: str, rng: Random) -> str:
    ways = ways_to_say(value)
    return ways[0] if rng.random() < PLAIN_SHARE else chosen(ways, rng)


def _shorten(text: str, rng: Random) -> str:
    padded = f" {text} "
    found = [(word, short) for word, short in ABBREVIATIONS if f" {word} " in padded]
    if not found:
        return text
    word, short = chosen(found, rng)
    return padded.replace(f" {word} ", f" {short} ").strip()


def _capitalise(title: str) -> str:
    return " ".join(
        word if at and word in _SMALL_WORDS else word[:1].upper() + word[1:]
        for at, word in enumerate(title.split(" "))
    )
