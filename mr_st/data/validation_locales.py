"""Locales: whether a tag has the form of BCP-47, and whether its language exists."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["find_locale_fault", "language_of"]

# Source: RFC 5646, section 2.1. Left out: the grandfathered tags, each of which has a regular successor.
_TAG = re.compile(
    r"""
    (?: (?P<language> [a-z]{2,3} (?: -[a-z]{3} ){0,3} | [a-z]{4,8} )
        (?: -[a-z]{4} )?                                   # script
        (?: -(?: [a-z]{2} | [0-9]{3} ) )?                  # region
        (?: -(?: [a-z0-9]{5,8} | [0-9][a-z0-9]{3} ) )*     # variants
        (?: -[0-9a-wy-z] (?: -[a-z0-9]{2,8} )+ )*          # extensions
        (?: -x (?: -[a-z0-9]{1,8} )+ )?
      | x (?: -[a-z0-9]{1,8} )+ )                          # private use
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)

# Source: ISO 639-1. Codes of three letters (ISO 639-3 has some 7,900) are taken as they come.
_LANGUAGES = frozenset(
    """
    aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en eo
    es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka
    kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng
    nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st
    su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
    """.split()
)

# Countries that people write where a language is wanted; the codes that are languages as well are not among them.
_COUNTRIES = {"us": "en-US", "gb": "en-GB", "au": "en-AU", "jp": "ja-JP", "cn": "zh-CN", "mx": "es-MX", "dk": "da-DK",
              "at": "de-AT", "cz": "cs-CZ"}  # fmt: skip
_UNKNOWN = "und"


@lru_cache(maxsize=4096)
def find_locale_fault(tag: str) -> tuple[str, str, str] | None:
    """What is wrong with a locale.

    Args:
        tag: The locale; ``und`` where it is unknown.

    Returns:
        Name of the broken rule, what was found, and the mend; None where nothing is wrong.

    Source:
        RFC 5646 (BCP-47), section 2.1, and ISO 639-1.

    Example:
        >>> find_locale_fault("zh-Hant-TW"), find_locale_fault("en_US")[2]
        (None, 'write en-US')
    """
    match = _TAG.fullmatch(tag)
    if match is None:
        repaired = tag.strip().replace("_", "-")
        is_near = _TAG.fullmatch(repaired) and not find_locale_fault(repaired)
        mend = f"write {repaired}" if is_near else "write a BCP-47 tag such as en-US, or und where it is unknown"
        return "ill-formed locale", f"{tag[:40]!r} is no BCP-47 tag", mend
    language = (match["language"] or "").lower().split("-")[0]
    if not language or len(language) == 3 or language in _LANGUAGES:
        return None
    if language in _COUNTRIES:
        what = f"{tag!r} names a country where a language is expected"
        return "unknown locale", what, f"write {_COUNTRIES[language]}"
    mend = "write a code of ISO 639 such as en-US, or und where it is unknown"
    return "unknown locale", f"{language!r} is no language of ISO 639", mend


def language_of(tag: str) -> str | None:
    """The language of a locale, in lower case; None where it is unknown (``und``) or private.

    Example:
        >>> language_of("en-GB"), language_of("und")
        ('en', None)
    """
    language = tag.lower().split("-")[0]
    return None if language in ("", "x", _UNKNOWN) else language
