"""The spelling channel: seeded, natural misspellings of a text in any script, from default or estimated tables."""

from __future__ import annotations

import hashlib
import random
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, cast

from mr_st.errors import MrStError, UsageError
from mr_st.files import read_json, write_json
from mr_st.identity import settings_hash
from mr_st.text.spelling_distance import edit_distance
from mr_st.text.spelling_draws import Options, Slip, Token, edited, swapped, thinned
from mr_st.text.spelling_japanese import OKURIGANA, other_kana
from mr_st.text.spelling_tables import FALLBACK, Table, default_swaps, default_table
from mr_st.text.spelling_tokens import Piece, case_key, is_movable, pieces

__all__ = ["EDITS_BY_LENGTH", "MIXING", "Slip", "SpellingChannel", "edit_distance", "text_rng"]

EDITS_BY_LENGTH: tuple[tuple[int | None, tuple[float, ...]], ...] = (
    (3, (0.9, 0.1)),
    (6, (0.7, 0.15, 0.15)),
    (None, (0.2, 0.25, 0.35, 0.15, 0.05)),
)
"""Longest token (in grapheme clusters), and how likely 0, 1, 2, ... edits are for it. Source: NeuSpell's noiser."""

MIXING = (0.025, 0.05, 0.2, 0.7)
"""Weights of the tables for left contexts of 0, 1, 2 and 3 letters; those that exist share them. Source: the same."""

_FORMAT = "mr_st spelling channel 1"
_EDIT = re.compile(r"[d2t]|[si]:.+", re.DOTALL)
_BLANKS = re.compile(r"(\s+)")
_MAX_PLANS, _MAX_KNOWN = 50_000, 200_000  # entries that the caches hold
_REDRAWS = 12  # tries for a text that differs, before one edit is forced
_FRUITLESS = 20  # draws in a row that bring no new variant


@dataclass(frozen=True, eq=False)
class SpellingChannel:
    """A noisy channel that turns a text into one with the spelling errors that people make.

    Each token is, with ``swap_share``, taken for another word where the tables know one; otherwise it gets as many
    edits as its length suggests. A place is drawn by how often its letter goes wrong after its left context, the edit
    by what goes wrong there; no letter is edited twice, no token vanishes, no grapheme cluster is split.

    Args:
        locale: BCP-47; whose keyboard, accents and sounds these are.
        table: ``{left context: {letter: {edit: weight}}}``, edits as in :mod:`mr_st.text.spelling_tables`.
        swaps: Lower-case word -> what is written for it by mistake.
        swap_share: Chance that a swap is tried for a token that has one.
        edits: (longest token or None, chances of 0, 1, 2, ... edits), by rising length.
        fallback: Edits of a letter that the table lacks; kanji are left alone.
        first_letter: How likely a token's first letter goes wrong, as a share of what its table says.
        mixing: Weights of the tables for left contexts of 0 to 3 letters.
        protect: Leave numbers, model numbers, units, sizes and single letters alone.
        max_edits: The most edits (a swap is one) in a text; None for no bound.

    Raises:
        UsageError: a chance outside 0..1, a negative weight, or an unknown edit.

    Source: the shape is that of NeuSpell's probabilistic noiser (Jayanthi et al., 2020), which arXiv 2602.17654 uses.

    Example:
        >>> channel = SpellingChannel.default("en")
        >>> channel.variants("stainless steel water bottle 500 ml", 2, seed=3)
        ['stainlesss steel wwtir bottle 500 ml', 'stainless steel water boottle 500 ml']
    """

    locale: str = "en"
    table: Table = field(default_factory=dict, repr=False)
    swaps: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    swap_share: float = 0.1
    edits: tuple[tuple[int | None, tuple[float, ...]], ...] = EDITS_BY_LENGTH
    fallback: Mapping[str, float] = field(default_factory=lambda: dict(FALLBACK))
    first_letter: float = 0.35
    mixing: tuple[float, ...] = MIXING
    protect: bool = True
    max_edits: int | None = None

    def __post_init__(self) -> None:
        fault = _fault(self)
        if fault:
            raise UsageError(f"spelling channel: {fault}")

    # ---- ways in and out -------------------------------------------------------------------------------------------

    @classmethod
    def default(cls, locale: str = "en") -> SpellingChannel:
        """The built-in channel of a locale; shared, so treat it as immutable.

        Args:
            locale: BCP-47. Tables exist for en, es, fr, de and ja; others have a keyboard, accents and safe edits.
        """
        return _default(locale.lower().replace("_", "-"))

    def to_dict(self) -> dict[str, Any]:
        """All settings, ready for JSON."""
        return {
            "format": _FORMAT, "locale": self.locale, "swap_share": self.swap_share,
            "edits": [[longest, list(chances)] for longest, chances in self.edits], "fallback": dict(self.fallback),
            "first_letter": self.first_letter, "mixing": list(self.mixing), "protect": self.protect,
            "max_edits": self.max_edits, "swaps": {word: list(wrong) for word, wrong in self.swaps.items()},
            "table": self.table,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> SpellingChannel:
        """The channel that :meth:`to_dict` described.

        Raises:
            UsageError: it is not of that form.
        """
        if not isinstance(value, Mapping) or value.get("format") != _FORMAT:
            raise UsageError(
                f"no spelling channel: its format is not {_FORMAT!r}; write one with SpellingChannel.save"
            )
        settings = {key: part for key, part in value.items() if key != "format"}
        try:
            settings["edits"] = tuple((longest, tuple(chances)) for longest, chances in settings["edits"])
            settings["mixing"] = tuple(settings["mixing"])
            settings["swaps"] = {word: tuple(wrong) for word, wrong in settings["swaps"].items()}
            return cls(**settings)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, MrStError):
                raise
            raise UsageError(f"no spelling channel: a part of it has another form ({error}); write it anew") from error

    def save(self, path: str | Path) -> None:
        """Write the channel as JSON."""
        write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> SpellingChannel:
        """Read a channel that :meth:`save` wrote.

        Raises:
            MrStError: the file is no JSON, or cannot be read.
            UsageError: the JSON is no channel.
        """
        try:
            return cls.from_dict(read_json(path))
        except OSError as error:
            raise MrStError(
                f"{path}: cannot be read ({error.strerror}); name a file of SpellingChannel.save"
            ) from error
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from error

    @cached_property
    def identity(self) -> str:
        """Content hash of all settings: the same hash, the same misspellings."""
        return settings_hash(self.to_dict())

    def in_locale(self, locale: str | None) -> SpellingChannel:
        """This channel where the locale has its language or none; else its settings with that locale's own tables."""
        language = (locale or "und").lower().replace("_", "-").split("-")[0]
        if language in ("und", "", self.locale.lower().split("-")[0]):
            return self
        if locale not in self._elsewhere:
            other = SpellingChannel.default(locale or "en")
            self._elsewhere[locale] = replace(self, locale=other.locale, table=other.table, swaps=other.swaps,
                                              first_letter=other.first_letter, mixing=other.mixing)  # fmt: skip
        return self._elsewhere[locale]

    # ---- misspelling -----------------------------------------------------------------------------------------------

    def misspell(self, text: str, rng: random.Random, locale: str | None = None, *, must_change: bool = False) -> str:
        """Pass a text through the channel once; NFC comes out.

        Args:
            text: Any text.
            rng: Where chance comes from.
            locale: Of the text; where its language is not the channel's, :meth:`in_locale` stands in.
            must_change: Draw again until the text differs; it comes back as it was only where nothing may be changed.
        """
        return self.trace(text, rng, locale, must_change=must_change)[0]

    def trace(
        self, text: str, rng: random.Random, locale: str | None = None, *, must_change: bool = False
    ) -> tuple[str, list[Slip]]:
        """As :meth:`misspell`, and what went wrong, token by token."""
        channel = self if locale is None else self.in_locale(locale)
        clean = text if text.isascii() else unicodedata.normalize("NFC", text)
        parts: list[str | Token] = []
        tokens: list[int] = []
        for chunk in _BLANKS.split(clean):
            for part in channel._plan(chunk):
                if type(part) is not str:
                    tokens.append(len(parts))
                parts.append(part)
        if not tokens:
            return clean, []
        for at_most in [None] * (_REDRAWS if must_change else 1):
            found, slips = channel._once(parts, tokens, rng, at_most)
            if found != clean or not must_change:
                return found, slips
        return channel._once(parts, tokens, rng, int(rng.random() * len(tokens)))

    def variants(self, text: str, n: int, seed: int, locale: str | None = None) -> list[str]:
        """Up to ``n`` different misspellings of a text, none of them the text; the same for the same (seed, text).

        Fewer come back where the text has not as many (a model number alone has none).
        """
        rng = text_rng(text, seed)
        clean = unicodedata.normalize("NFC", text)
        found: dict[str, None] = {}
        n_fruitless = 0
        while len(found) < n and n_fruitless < _FRUITLESS:
            variant = self.misspell(clean, rng, locale, must_change=True)
            if variant == clean:
                break
            n_fruitless = n_fruitless + 1 if variant in found else 0
            found[variant] = None
        return list(found)

    # ---- what only this class sees ---------------------------------------------------------------------------------

    @cached_property
    def _plans(self) -> dict[str, tuple[str | Token, ...]]:
        return {}

    @cached_property
    def _known(self) -> dict[tuple[str, str, str, bool], Options]:
        return {}

    @cached_property
    def _elsewhere(self) -> dict[str | None, SpellingChannel]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_plans", "_known", "_elsewhere")}

    def _once(
        self, parts: list[str | Token], tokens: list[int], rng: random.Random, forced: int | None
    ) -> tuple[str, list[Slip]]:
        """One draw over all tokens; ``forced`` names the only one to get an edit, and exactly one."""
        chance = rng.random
        planned: list[tuple[int, int]] = []  # part, number of edits; 0 stands for a swap
        if forced is not None:
            at = tokens[forced]
            planned.append((at, int(bool(cast(Token, parts[at]).bounds))))
        else:
            for at in tokens:
                token: Any = parts[at]
                if token.swaps and chance() < self.swap_share:
                    planned.append((at, 0))
                    continue
                drawn, n = chance(), 0
                for bound in token.bounds:
                    if drawn < bound:
                        break
                    n += 1
                if n:
                    planned.append((at, n))
            if self.max_edits is not None:
                planned = thinned(planned, self.max_edits, rng)
        slips: list[Slip] = []
        out: list[Any] = list(parts)
        for at, n in planned:
            token = parts[at]
            out[at] = edited(token, n, chance, slips) if n else swapped(token, chance, slips)
        text = "".join([part if type(part) is str else "".join(part.clusters) for part in out])
        return (text if text.isascii() else unicodedata.normalize("NFC", text)), slips

    def _plan(self, chunk: str) -> tuple[str | Token, ...]:
        plan = self._plans.get(chunk)
        if plan is None:
            if len(self._plans) >= _MAX_PLANS:
                self._plans.clear()
            plan = self._plans[chunk] = self._make_plan(chunk)
        return plan

    def _make_plan(self, chunk: str) -> tuple[str | Token, ...]:
        if not chunk or chunk.isspace():
            return (chunk,)
        found = pieces(chunk, self.protect)
        ends = [True, *(is_movable(piece.clusters[-1]) for piece in found)]
        starts = [*(is_movable(piece.clusters[0]) for piece in found), True]
        is_japanese = self.locale.lower().split("-")[0] == "ja" or any("kana" in p.script for p in found)
        plan: list[str | Token] = []
        for at, piece in enumerate(found):
            token = None
            if not piece.is_protected:
                follows_kanji = at > 0 and found[at - 1].script == "han"
                fallback = {} if piece.script == "han" and is_japanese else self.fallback
                token = self._make_token(piece, fallback, follows_kanji, (ends[at], starts[at + 1]))
            plan.append(token or piece.text)
        return tuple(plan)

    def _make_token(
        self, piece: Piece, fallback: Mapping[str, float], follows_kanji: bool, are_free: tuple[bool, bool]
    ) -> Token | None:
        clusters, n = piece.clusters, len(piece.clusters)
        keys = tuple(case_key(cluster) for cluster in clusters)
        is_free = [are_free[0], *map(is_movable, keys), are_free[1]]
        depth = len(self.mixing) - 1
        options = []
        for at, key in enumerate(keys):
            if not is_free[at + 1]:
                options.append(Options((), ()))
                continue
            left = "".join(["^", *keys][max(0, at + 1 - depth) : at + 1])
            is_hemmed_in = not (is_free[at] and is_free[at + 2])  # its neighbours could run together
            barred = "d" if n < 3 or is_hemmed_in else ""
            barred += "t" if at + 1 == n or keys[at + 1] == key or is_hemmed_in else ""
            options.append(self._options(left, key, "dt2i" if n < 2 else barred, fallback))
        weights = [one.bounds[-1] if one.bounds else 0.0 for one in options]
        weights[0] *= self.first_letter
        chances = next((chances for longest, chances in self.edits if longest is None or n <= longest), (1.0,))
        bounds = tuple(accumulate(chances))[:-1] if any(weights) else ()
        swaps = self._swaps_of(piece, keys, follows_kanji)
        if not bounds and not swaps:
            return None
        return Token(clusters, keys, tuple(options), tuple(accumulate(weights)), bounds, swaps)

    def _options(self, left: str, key: str, barred: str, fallback: Mapping[str, float]) -> Options:
        """What can happen to ``key`` after ``left``, kinds in ``barred`` left out; shared by all tokens."""
        place = (left, key, barred, bool(fallback))
        found = self._known.get(place)
        if found is None:
            mixed = self._mixed(left, key)
            kept = [(e, w) for e, w in (fallback if mixed is None else mixed).items() if w > 0 and e[0] not in barred]
            found = Options(tuple(edit for edit, _ in kept), tuple(accumulate(weight for _, weight in kept)))
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[place] = found
        return found

    def _mixed(self, left: str, key: str) -> dict[str, float] | None:
        """The tables of all left contexts, mixed: each edit's weight for ``key`` after ``left``; None if unknown."""
        total: dict[str, float] = {}
        known = 0.0
        for length, share in enumerate(self.mixing):
            if length > len(left):
                break
            here = self.table.get(left[len(left) - length :], {}).get(key)
            if here is not None:
                known += share
                for edit, weight in here.items():
                    total[edit] = total.get(edit, 0.0) + share * weight
        return {edit: weight / known for edit, weight in total.items() if weight > 0} if known else None

    def _swaps_of(self, piece: Piece, keys: tuple[str, ...], follows_kanji: bool) -> tuple[str, ...]:
        word, n = "".join(keys), len(keys)
        found = list(self.swaps.get(word, ()))
        if piece.script == "han" and not found:
            for start, end in ((s, e) for s in range(n) for e in range(s + 2, min(n, s + 4) + 1)):
                found += [word[:start] + wrong + word[end:] for wrong in self.swaps.get(word[start:end], ())]
        elif piece.script == "word" and piece.text != word:
            whole = piece.text.isupper()
            found = [wrong.upper() if whole else wrong[:1].upper() + wrong[1:] for wrong in found]
        elif piece.script == "hiragana" and n == 1 and follows_kanji and word in OKURIGANA:
            found = [""]
        elif "kana" in piece.script and n >= 3 and other_kana(word) != word:
            found = [*found, other_kana(word)]
        return tuple(wrong for wrong in found if wrong != piece.text)


@lru_cache(maxsize=64)
def _default(locale: str) -> SpellingChannel:
    return SpellingChannel(locale=locale, table=default_table(locale), swaps=default_swaps(locale))


def text_rng(text: str, seed: int) -> random.Random:
    """A generator for one text: the same for the same (seed, text), whatever the order, process or hash seed."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, salt=_salt(seed)).digest()
    return random.Random(int.from_bytes(digest, "little"))


def _salt(seed: int) -> bytes:
    return hashlib.blake2b(str(seed).encode(), digest_size=16).digest()


def _fault(channel: SpellingChannel) -> str:
    """What is wrong with the settings, or nothing."""
    for longest, chances in channel.edits:
        if (longest is not None and longest < 1) or min(chances, default=-1) < 0 or abs(sum(chances) - 1) > 1e-6:
            return f"edits for tokens up to {longest}: {chances}; give chances of 0 or more that sum to 1"
    if not channel.edits or channel.edits[-1][0] is not None:
        return "edits has no entry for tokens of any length; end it with (None, chances)"
    for name in ("swap_share", "first_letter"):
        if not 0 <= getattr(channel, name) <= 1:
            return f"{name} is {getattr(channel, name)}; give a number in 0..1"
    if not channel.mixing or min(channel.mixing) < 0:
        return f"mixing is {channel.mixing}; give weights of 0 or more"
    if channel.max_edits is not None and channel.max_edits < 1:
        return f"max_edits is {channel.max_edits}; give 1 or more, or None"
    for word, wrong in channel.swaps.items():
        if not wrong or not all(text.strip() for text in wrong):
            return f"swaps of {word!r} are {list(wrong)}; give words"
    entries = [edits for letters in channel.table.values() for edits in letters.values()]
    for edit, weight in (pair for edits in (channel.fallback, *entries) for pair in edits.items()):
        if not _EDIT.fullmatch(edit) or not 0 <= weight < float("inf"):
            return f"edit {edit!r} with weight {weight}; an edit is d, 2, t, s:x or i:x, a weight 0 or more"
    return ""
