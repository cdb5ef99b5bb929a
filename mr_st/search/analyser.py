"""Texts to the terms that lexical search matches: stemmed words, or character pairs where a script has no spaces."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mr_st.errors import UsageError, require_extra
from mr_st.text.normalise import tokens

__all__ = ["Analyser", "common_language", "known_languages"]

# primary language subtag: Snowball's algorithm, bm25s' list of stop words ("" where there is none)
_LANGUAGES = {
    "ar": ("arabic", ""), "ca": ("catalan", ""), "cs": ("czech", ""), "da": ("danish", "DANISH"),
    "de": ("german", "GERMAN"), "el": ("greek", ""), "en": ("english", "EN"), "es": ("spanish", "SPANISH"),
    "et": ("estonian", ""), "eu": ("basque", ""), "fi": ("finnish", ""), "fr": ("french", "FRENCH"),
    "ga": ("irish", ""), "hi": ("hindi", ""), "hu": ("hungarian", ""), "hy": ("armenian", ""),
    "id": ("indonesian", ""), "it": ("italian", "ITALIAN"), "lt": ("lithuanian", ""), "nb": ("norwegian", "NORWEGIAN"),
    "ne": ("nepali", ""), "nl": ("dutch", "DUTCH"), "nn": ("norwegian", "NORWEGIAN"), "no": ("norwegian", "NORWEGIAN"),
    "pl": ("polish", ""), "pt": ("portuguese", "PORTUGUESE"), "ro": ("romanian", ""), "ru": ("russian", "RUSSIAN"),
    "sr": ("serbian", ""), "sv": ("swedish", "SWEDISH"), "ta": ("tamil", ""), "tr": ("turkish", "TURKISH"),
}  # fmt: skip
_TAG = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*")
# Han, kana, Thai, Lao, Myanmar, Khmer: scripts that put no space between words
_UNSPACED = (
    "\u3041-\u3096\u3099\u309a\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3400-\u4dbf\u4e00-\u9fff\u3005-\u3007\uf900-\ufaff"
    "\U00020000-\U0003ffff\u0e01-\u0e4e\u0e80-\u0eff\u1000-\u109f\u1780-\u17dd"
)
_RUNS = re.compile(f"([{_UNSPACED}]+)|[^{_UNSPACED}]+")


@dataclass(frozen=True)
class Analyser:
    """How a text becomes terms: casefolded NFKC words, less stop words, stemmed by language.

    A run of letters of a script without spaces (Han, kana, Thai, ...) becomes its pairs of neighbouring characters,
    whatever the language; items are also found by each single character of it, so that a query of one character finds
    them.

    Args:
        language: BCP-47 tag whose stemmer and stop words are used, e.g. ``"en"`` or ``"de-AT"``; None for a catalogue
            of several languages, or where neither is wanted. A language without either is taken as it is.
        stop_words: Words to pass over: None takes the language's list, an empty sequence none.

    Raises:
        UsageError: ``language`` is no BCP-47 tag, or ``stop_words`` is one string.
        MissingExtraError: the language has a stemmer and the extra ``bm25`` is not installed.

    Source: ours; stemmers of Snowball, stop words of bm25s.

    Example:
        >>> Analyser("en").terms(["The red running shoes"])
        [['red', 'run', 'shoe']]
        >>> Analyser().terms(["Nike運動靴"], side="query")
        [['nike', '運動', '動靴']]
    """

    language: str | None = None
    stop_words: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.language is not None and not _TAG.fullmatch(self.language):
            raise UsageError(f"language is {self.language!r}; give a BCP-47 tag such as 'en' or 'de-AT', or None")
        if isinstance(self.stop_words, str):
            raise UsageError("stop_words is one string; pass a list of words, [] for none")
        if self.stop_words is None:
            name = _LANGUAGES.get(self._primary, ("", ""))[1]
            listed = getattr(require_extra("bm25s", "bm25").stopwords, f"STOPWORDS_{name}") if name else ()
        else:
            listed = self.stop_words
        split = (tokens(word) for word in listed)
        object.__setattr__(self, "stop_words", tuple(sorted({words[0] for words in split if len(words) == 1})))
        if self.stemmer is not None:
            require_extra("Stemmer", "bm25")

    @property
    def stemmer(self) -> str | None:
        """Name of the Snowball stemmer, None where the language has none."""
        return _LANGUAGES.get(self._primary, (None, ""))[0]

    @property
    def settings(self) -> dict[str, Any]:
        """All that changes the terms, JSON-ready; ``Analyser.from_settings`` reads it back."""
        version = None if self.stemmer is None else require_extra("Stemmer", "bm25").version()
        return {
            "language": self.language,
            "stemmer": self.stemmer,
            "stemmer_version": version,
            "stop_words": list(self.stop_words or ()),
        }

    def terms(self, texts: Iterable[str], side: Literal["query", "item"] = "item") -> list[list[str]]:
        """The terms of each text, in order, repeats kept.

        Args:
            texts: Any texts; one without a term gives an empty list.
            side: Items get the single characters of unspaced scripts too; queries only where one stands alone.
        """
        term_of = self.reader()
        return [[term for word in split_words(text, side) if (term := term_of(word))] for text in texts]

    def reader(self) -> Callable[[str], str]:
        """A function from a word to its term, ``""`` for a stop word: it remembers words, so keep it to one thread."""
        known: dict[str, str] = dict.fromkeys(self.stop_words or (), "")
        stem = None if self.stemmer is None else require_extra("Stemmer", "bm25").Stemmer(self.stemmer, 0).stemWord

        def term_of(word: str) -> str:
            term = known.get(word)
            if term is None:
                term = known[word] = word if stem is None else stem(word)
            return term

        return term_of

    @property
    def _primary(self) -> str:
        return "" if self.language is None else re.split("[-_]", self.language)[0].lower()


def split_words(text: str, side: Literal["query", "item"]) -> list[str]:
    """The normalised words of a text, and the character pairs of what has no spaces."""
    words = tokens(text)
    if text.isascii():
        return words
    found: list[str] = []
    for word in words:
        if word.isascii():
            found.append(word)
            continue
        for match in _RUNS.finditer(word):
            run = match.group()
            if match.group(1) is None or len(run) == 1:
                found.append(run)
                continue
            found += [run[at : at + 2] for at in range(len(run) - 1)]
            if side == "item":
                found += run
    return found


def common_language(locales: Iterable[str | None]) -> str | None:
    """The language that all locales share (``en-US`` and ``en-GB``: ``en``), None where they differ or one is
    unknown (``und``).

    Example:
        >>> common_language(["en-US", "en"]), common_language(["en", "de"])
        ('en', None)
    """
    languages = {re.split("[-_]", locale)[0].lower() if locale else None for locale in set(locales)}
    only = languages.pop() if len(languages) == 1 else None
    return only if only and only != "und" and _TAG.fullmatch(only) else None


def known_languages() -> list[str]:
    """The languages with a stemmer or a list of stop words, as primary subtags, sorted."""
    return sorted(_LANGUAGES)
