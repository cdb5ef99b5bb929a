"""Spanish, French, German and Japanese: titles and queries from a table of words and patterns a language."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property, lru_cache
from importlib.resources import files
from random import Random
from typing import Any, NamedTuple

import yaml

from mr_st.data.marketplace.catalogue import Catalogue
from mr_st.data.marketplace.policy import Intent, Listing
from mr_st.data.marketplace.vocabulary import measure_of
from mr_st.data.marketplace.wording import BEFORE_NOUN, DEVICE, PLAIN_SHARE, chosen, short_device, tidy

__all__ = ["LOCALES", "Noun", "Translated", "inflect"]

LOCALES = {"es": "es-ES", "fr": "fr-FR", "de": "de-DE", "ja": "ja-JP"}
"""Language of a table in ``locales/`` -> BCP-47."""

_SHORTENED, _LED, _ENDED = 0.12, 0.15, 0.1  # of the queries are shortened, begin or end with filler words
_GENDERS = ("m", "f", "mp", "fp")
_MARKED = re.compile(r"^(m|f|mp|fp) (.+)$")


class Noun(NamedTuple):
    """A noun phrase and the form that adjectives take beside it: m, f, mp, fp; m where the language has none."""

    text: str
    gender: str


class Translated:
    """The wording of a language that has a table in ``locales/``.

    Args:
        language: es, fr, de or ja.
        catalogue: What the types, groups and uses are.
    """

    def __init__(self, language: str, catalogue: Catalogue):
        self.language, self.locale, self.catalogue = language, LOCALES[language], catalogue
        table = _table(language)
        self._nouns = {key: [_noun(way) for way in _ways(text)] for key, text in table["types"].items()}
        self._groups = {key: [_noun(way) for way in _ways(text)] for key, text in table["groups"].items()}
        self._uses = {key: _ways(text) for key, text in table["uses"].items()}
        self._values = {key: _ways(text) for key, text in table["values"].items()}
        self._units = {key: _ways(text) for key, text in table["units"].items()}
        self._patterns: dict[str, Any] = table["patterns"]
        self._leads = [words for words in self._patterns["lead"] if words.strip()]
        self._endings = [words for words in self._patterns["ending"] if words.strip()]
        self._abbreviations = list(table["abbreviations"].items())
        self._said: dict[tuple[str, str], list[str]] = {}

    # ---- titles ----------------------------------------------------------------------------------------------------

    def title(self, listing: Listing, noise: Sequence[str], layout: int, rng: Random) -> str:
        """A seller's title in one of the language's layouts."""
        stated = listing.stated
        noun = chosen(self._nouns[listing.type][:2], rng)
        text = noun.text
        if "model" in stated:
            text = chosen(self._patterns["model"], rng).format(n=text, d=stated["model"][0])
        for other in listing.also:
            text = chosen(self._patterns["bundle"], rng).format(a=text, b=self._nouns[other][0].text)
        names = [name for name in stated if name not in ("brand", "model", "fits")]
        rng.shuffle(names)
        values: list[str] = []
        more: list[str] = []
        for name in names:
            part = values if name in BEFORE_NOUN else more
            part += [self._seller_says(value, noun.gender, rng) for value in stated[name]]
        layouts = self._patterns["title"]
        title = layouts[layout % len(layouts)].format(
            brand="" if "model" in stated else "".join(stated.get("brand", ())),
            noun=text,
            device=chosen(self._patterns["title_fits"], rng).format(stated["fits"][0]) if "fits" in stated else "",
            values=" ".join(values),
            more=", ".join(more),
        )
        extra = [self._extra(listing.type, kind, rng) for kind in noise]
        title = tidy(", ".join([title, *(words for words in extra if words)]))
        return title[:1].upper() + title[1:]

    def color(self, value: str) -> str:
        """The plain word for a colour."""
        return self._ways_of(value, "m")[0]

    def _seller_says(self, value: str, gender: str, rng: Random) -> str:
        ways = self._ways_of(value, gender)
        return ways[0] if len(ways) == 1 or rng.random() < 0.7 else ways[1 + int(rng.random() * (len(ways) - 1))]

    def _extra(self, key: str, kind: str, rng: Random) -> str:
        if kind == "puffery":
            return chosen(self._patterns["puffery"], rng)
        choices = self._mentions[key] if kind == "mention" else self._stuffing[key]
        return chosen(choices, rng) if choices else ""

    @cached_property
    def _mentions(self) -> dict[str, list[str]]:
        def say(pattern: str, other: str) -> str:
            return self._patterns[pattern][0].format(self._nouns[other][0].text)

        return {
            key: [say("goes_with", partner) for partner in one.partners if partner in self.catalogue.types]
            + [say("better_than", other) for other in self.catalogue.siblings((key,))]
            for key, one in self.catalogue.types.items()
        }

    @cached_property
    def _stuffing(self) -> dict[str, list[str]]:
        return {
            key: [
                " ".join(noun.text for noun in (*self._nouns[key][1:2], self._nouns[other][0]))
                for other in self.catalogue.neighbours(key)
            ]
            for key in self.catalogue.types
        }

    # ---- queries ---------------------------------------------------------------------------------------------------

    def query(self, intent: Intent, rng: Random) -> str:
        """One of the ways to type the intent."""
        patterns = self._patterns
        free = [(name, value) for name, value in intent.required if name not in (*DEVICE, "brand")]
        if intent.kind == "use":
            text = chosen(self._uses[intent.topic], rng) + self._wishes(free)
        elif intent.kind == "group":
            text = self._noun_with(self._groups[intent.topic][0], free, rng)
            if not free:
                text = chosen(self._groups[intent.topic], rng).text
        else:
            noun = chosen(self._nouns[intent.types[0]], rng)
            wanted = dict(intent.required)
            text = self._noun_with(noun, free, rng)
            if intent.excluded:
                ruled_out = self._shopper_says(intent.excluded[0][1], noun.gender, rng)
                text = chosen(patterns["without"], rng).format(n=noun.text, v=ruled_out)
            elif "fits" in wanted:
                text = chosen(patterns["fits"], rng).format(n=text, d=short_device(wanted["fits"], rng))
            elif "model" in wanted:
                text = chosen(patterns["model"], rng).format(n=text, d=short_device(wanted["model"], rng))
            elif "brand" in wanted:
                text = chosen(patterns["brand"], rng).format(n=text, b=wanted["brand"])
            if not intent.excluded and rng.random() < _LED:
                text = chosen(self._leads, rng) + text
            elif rng.random() < _ENDED:
                text += chosen(self._endings, rng)
        text = " ".join(text.split()).lower()
        return self._shorten(text, rng) if rng.random() < _SHORTENED else text

    def _noun_with(self, noun: Noun, required: list[tuple[str, str]], rng: Random) -> str:
        if not required:
            return noun.text
        words = " ".join(self._shopper_says(value, noun.gender, rng) for _, value in required)
        return chosen(self._patterns["noun_values"], rng).format(n=noun.text, v=words)

    def _wishes(self, required: list[tuple[str, str]]) -> str:
        return "".join(self._patterns["wish"][name].format(self._ways_of(value, "m")[0]) for name, value in required)

    def _shopper_says(self, value: str, gender: str, rng: Random) -> str:
        ways = self._ways_of(value, gender)
        return ways[0] if rng.random() < PLAIN_SHARE else chosen(ways, rng)

    def _ways_of(self, value: str, gender: str) -> list[str]:
        found = self._said.get((value, gender))
        if found is None:
            measure = measure_of(value)
            if value in self._values:
                found = [inflect(way, gender, self.language) for way in self._values[value]]
            elif measure and measure[0] in self._units:
                found = [way.format(measure[1]) for way in self._units[measure[0]]]
            else:
                found = [value]
            self._said[value, gender] = found
        return found

    def _shorten(self, text: str, rng: Random) -> str:
        apart = "" if self.language == "ja" else " "
        padded = f"{apart}{text}{apart}"
        found = [(f"{apart}{long}{apart}", f"{apart}{short}{apart}") for long, short in self._abbreviations]
        found = [(long, short) for long, short in found if long in padded]
        return padded.replace(*chosen(found, rng)).strip() if found else text


def inflect(way: str, gender: str, language: str) -> str:
    """Give an adjective the form for a gender and number; any other way to say a value stays as it is.

    Args:
        way: An adjective in masculine singular after ``~``, or its four forms m/f/mp/fp; or words without ``~``.
        gender: m, f, mp or fp.
        language: es or fr.

    Example:
        >>> [inflect("~negro mate", gender, "es") for gender in ("m", "fp")]
        ['negro mate', 'negras mate']
        >>> inflect("~blanc/blanche/blancs/blanches", "f", "fr"), inflect("con asa", "f", "es")
        ('blanche', 'con asa')
    """
    if not way.startswith("~"):
        return way
    word, *rest = way[1:].split(" ")
    if "/" in way:
        forms = way[1:].split("/")
        return forms[min(_GENDERS.index(gender), len(forms) - 1)]
    if language == "es":
        stem = word[:-1] + "a" if word.endswith("o") and "f" in gender else word
        plural = stem + ("s" if stem[-1] in "aeiouáéíóú" else "es")
        word = plural if "p" in gender else stem
    else:
        stem = word + "e" if "f" in gender and not word.endswith("e") else word
        word = stem + "s" if "p" in gender and stem[-1] not in "sx" else stem
    return " ".join([word, *rest])


def _ways(text: str) -> list[str]:
    return [way.strip() for way in text.split("|") if way.strip()]


def _noun(way: str) -> Noun:
    marked = _MARKED.match(way)
    return Noun(marked[2], marked[1]) if marked else Noun(way, "m")


@lru_cache(maxsize=len(LOCALES))
def _table(language: str) -> dict[str, Any]:
    text = (files("mr_st.data.marketplace") / "locales" / f"{language}.yaml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return table
