"""What shoppers mean (intents drawn from the shelves) and what they type (paraphrases, short forms, misspellings)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mr_st.data.marketplace.catalogue import Catalogue
from mr_st.data.marketplace.families import FAMILIES
from mr_st.data.marketplace.policy import Intent
from mr_st.data.marketplace.schema import ProductType
from mr_st.data.marketplace.shop import Item
from mr_st.data.marketplace.vocabulary import ABBREVIATIONS, ways_to_say

__all__ = ["KIND_SHARES", "draw_intent", "misspell", "write_query"]

KIND_SHARES: dict[str, float] = {
    "type": 0.13,
    "attribute": 0.32,
    "brand": 0.13,
    "use": 0.15,
    "compatibility": 0.12,
    "negation": 0.08,
    "group": 0.07,
}
"""How often each way to ask is tried; where the drawn type does not allow it (few fit a device), all is redrawn."""

_DEVICE = ("model", "fits")
_CAN_BE_EXCLUDED = ("material", "scent", "flavor", "pattern", "color", "style", "theme", "neck")
_PLAIN = ("color", "material", "audience", "pet")  # what a shopper adds to a use or a group
_AFTER_NOUN = (
    "for",
    "with",
    "without",
    "w",
    "no",
    "wont",
    "can",
    "that",
    "folds",
    "turns",
    "stays",
    "keeps",
    "blocks",
)
_ENDINGS = ("",) * 16 + (" online", " ideas", " for sale", " please")
_LEADS = ("",) * 16 + ("best ", "good ", "looking for ", "need ", "buy ")
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")  # a keyboard
_NEARBY = {key: row[max(0, at - 1) : at] + row[at + 1 : at + 2] for row in _ROWS for at, key in enumerate(row)}


def draw_intent(
    kind: str, shelves: dict[str, list[Item]], keys: Sequence[str], catalogue: Catalogue, rng: np.random.Generator
) -> Intent | None:
    """Draw an intent that at least one item on the shelves meets in full, or None where this draw gives none.

    Args:
        kind: One of :data:`KIND_SHARES`.
        shelves: Items by type.
        keys: The types that may be asked for.
        catalogue: What the types are.
        rng: Where chance comes from.
    """
    if kind == "use":
        uses = [use for use in catalogue.uses if set(use.types) & set(keys)]
        use = uses[int(rng.integers(len(uses)))]
        return _whole(kind, use.types, use.name, shelves, catalogue, rng, extra=0.3)
    if kind == "group":
        groups = [group for group, members in catalogue.groups.items() if set(members) & set(keys)]
        group = groups[int(rng.integers(len(groups)))]
        return _whole(kind, catalogue.groups[group], group, shelves, catalogue, rng, extra=0.55)
    key = keys[int(rng.integers(len(keys)))]
    item = _pick(shelves[key], rng)
    device = [(name, item.stated[name][0]) for name in _DEVICE if name in item.stated]
    free = [name for name in item.stated if name not in (*_DEVICE, "brand")]
    required: list[tuple[str, str]] = []
    excluded: list[tuple[str, str]] = []
    if kind == "attribute":
        required = _some_of(item, free, 1 if rng.random() < 0.5 else 2, rng)
    elif kind == "brand" and "brand" in item.stated and not device:
        required = [("brand", item.stated["brand"][0]), *_some_of(item, free, int(rng.random() < 0.45), rng)]
    elif kind == "compatibility" and device:
        required = [*device, *_some_of(item, free, int(rng.random() < 0.35), rng)]
    elif kind == "negation":
        names = [name for name in _CAN_BE_EXCLUDED if name in item.stated]
        others = [(name, value) for name in names for value in _other_values(catalogue.types[key], name, item)]
        if others:
            excluded = [others[int(rng.integers(len(others)))]]
    if kind != "type" and not required and not excluded:
        return None
    return _intent(kind, (key,), "", required, excluded, catalogue, with_partners=True)


def _whole(
    kind: str,
    types: tuple[str, ...],
    topic: str,
    shelves: dict[str, list[Item]],
    catalogue: Catalogue,
    rng: np.random.Generator,
    extra: float,
) -> Intent | None:
    """A use or a group, sometimes with one plain attribute."""
    key = types[int(rng.integers(len(types)))]
    item = _pick(shelves[key], rng)
    plain = [name for name in _PLAIN if name in item.stated]
    required = _some_of(item, plain, int(rng.random() < extra), rng)
    return _intent(kind, types, topic, required, [], catalogue, with_partners=False)


def _intent(
    kind: str,
    types: tuple[str, ...],
    topic: str,
    required: list[tuple[str, str]],
    excluded: list[tuple[str, str]],
    catalogue: Catalogue,
    with_partners: bool,
) -> Intent:
    siblings = catalogue.siblings(types)
    partners = tuple(key for key in catalogue.partners(types) if key not in siblings) if with_partners else ()
    return Intent(kind, types, topic, tuple(sorted(required)), tuple(excluded), siblings, partners)


def _some_of(item: Item, names: list[str], count: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    chosen = [names[int(at)] for at in rng.permutation(len(names))[:count]]
    return [(name, _pick(item.stated[name], rng)) for name in chosen]


def _other_values(one: ProductType, name: str, item: Item) -> list[str]:
    return [value for value in one.attributes[name] if value not in item.stated[name]]


def _pick(values: Sequence[Any], rng: np.random.Generator) -> Any:
    return values[int(rng.integers(len(values)))]


def write_query(intent: Intent, catalogue: Catalogue, rng: np.random.Generator) -> str:
    """Type a query for ``intent``: one of many ways to say it, in lower case."""
    said = [_say(value, rng) for name, value in intent.required if name not in (*_DEVICE, "brand")]
    if intent.kind == "use":
        phrases = next(use.phrases for use in catalogue.uses if use.name == intent.topic)
        text = _pick(phrases, rng) + "".join(_WISHES[name].format(value) for name, value in intent.required)
    elif intent.kind == "group":
        phrases = catalogue.group_phrases[intent.topic]  # the first is a noun, the others may be sentences
        text = _around(phrases[0], said, rng) if said else _pick(phrases, rng)
    else:
        one = catalogue.types[intent.types[0]]
        noun = _pick(one.asked, rng) if one.asked and rng.random() < 0.4 else _pick(one.names, rng)
        text = _with_constraints(intent, noun, said, rng)
        if not intent.excluded:
            text = _pick(_LEADS, rng) + text
    text = (text.strip() + _pick(_ENDINGS, rng)).lower()
    return _shorten(text, rng) if rng.random() < 0.12 else text


_WISHES = {"color": " in {}", "material": " made of {}", "audience": " for {}", "pet": " for my {}"}


def _with_constraints(intent: Intent, noun: str, said: list[str], rng: np.random.Generator) -> str:
    wanted = dict(intent.required)
    if intent.excluded:
        return _pick(_NEGATIONS, rng).format(n=noun, v=_say(intent.excluded[0][1], rng))
    core = _around(noun, said, rng)
    if "fits" in wanted:
        return _pick(_FITS, rng).format(n=core, d=_device(wanted["fits"], rng))
    if "model" in wanted:
        return _pick(("{d} {n}", "{n} {d}", "{d} {s}"), rng).format(
            n=core, d=_device(wanted["model"], rng), s=" ".join(said)
        )
    if "brand" in wanted:
        return _pick(("{b} {n}", "{b} {n}", "{n} {b}", "{n} by {b}", "{n} from {b}"), rng).format(
            n=core, b=wanted["brand"]
        )
    return core


_NEGATIONS = ("{n} not {v}", "non {v} {n}", "{n} no {v}", "{n} but not {v}", "any {n} except {v}", "{n} without {v}")
_FITS = (
    "{n} for {d}",
    "{d} {n}",
    "{n} that fits {d}",
    "{n} compatible with my {d}",
    "{n} {d}",
    "{n} i can use with {d}",
)


def _around(noun: str, said: list[str], rng: np.random.Generator) -> str:
    """Put attribute words before or after the noun, where they can stand."""
    before = [words for words in said if words.split()[0] not in _AFTER_NOUN and rng.random() < 0.65]
    after = [words for words in said if words not in before]
    return " ".join([*before, noun, *after])


def _say(value: str, rng: np.random.Generator) -> str:
    ways = ways_to_say(value)
    return ways[0] if rng.random() < 0.45 else _pick(ways, rng)


def _device(value: str, rng: np.random.Generator) -> str:
    """A device by maker and model, or by the model alone where nobody else makes one of that name."""
    models = [model for devices in FAMILIES.values() for maker, model in devices if f"{maker} {model}" == value]
    names = [model for devices in FAMILIES.values() for _, model in devices]
    alone = models[0]
    clear = names.count(alone) == 1 and any(c.isdigit() for c in alone) and any(c.isalpha() for c in alone)
    return alone if clear and rng.random() < 0.25 else value


def _shorten(text: str, rng: np.random.Generator) -> str:
    padded = f" {text} "
    found = [(word, short) for word, short in ABBREVIATIONS if f" {word} " in padded]
    if not found:
        return text
    word, short = _pick(found, rng)
    return padded.replace(f" {word} ", f" {short} ").strip()


def misspell(text: str, rng: np.random.Generator) -> str:
    """Misspell one longer word (two of a long text) by a dropped, doubled, swapped or neighbouring letter."""
    words = text.split(" ")
    long = [at for at, word in enumerate(words) if len(word) >= 5 and word.isalpha()]
    if not long:
        return text
    for at in rng.permutation(long)[: 1 + (len(long) > 3)]:
        words[int(at)] = _slip(words[int(at)], rng)
    return " ".join(words)


def _slip(word: str, rng: np.random.Generator) -> str:
    at = int(rng.integers(1, len(word) - 1))
    slip = int(rng.integers(4))
    if slip == 0:
        return word[:at] + word[at + 1 :]
    if slip == 1:
        return word[: at + 1] + word[at:]
    if slip == 2 and word[at] != word[at + 1]:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    near = _NEARBY[word[at]]
    return word[:at] + near[int(rng.integers(len(near)))] + word[at + 1 :]
