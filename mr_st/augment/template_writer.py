"""Queries from an item's attributes, by templates of its language."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import numpy as np

from mr_st.augment.noun_phrase import noun_phrases, short_attribute
from mr_st.augment.query_templates import FALLBACK, LANGUAGES, Language
from mr_st.augment.query_writer import ItemFeatures, parse_query
from mr_st.identity import settings_hash

__all__ = ["TemplateQueryWriter"]

_VERSION = 1  # of the rules that find a noun; part of the identity


class TemplateQueryWriter:
    """Write queries such as "red coffee mug" or "taza de café Acme" from title, leaf category, brand and colour.

    English, Spanish, French, German and Japanese have templates of their own; another language gets its words side by
    side. Never the whole title.

    Args:
        languages: Templates by language code; ours when None.
        fallback: For a language that is not among them.

    Example:
        >>> mug = ItemFeatures("a", "Acme Large Coffee Mug, 12 oz", ("Home", "Mugs"), "Acme", "Red", "en-US")
        >>> TemplateQueryWriter().write([mug], n=3, seed=0)
        [['mug in red', 'coffee mug in red', 'acme red large coffee mug']]
    """

    def __init__(self, languages: dict[str, Language] | None = None, fallback: Language = FALLBACK):
        self.languages = LANGUAGES if languages is None else languages
        self.fallback = fallback

    @property
    def identity(self) -> str:
        """``templates-`` and a hash of the templates."""
        known = {code: [*entry.templates] for code, entry in self.languages.items()}
        return f"templates-{settings_hash([_VERSION, known, [*self.fallback.templates]])}"

    def write(self, items: Sequence[ItemFeatures], n: int, seed: int) -> list[list[str]]:
        """Up to ``n`` different queries for each item; fewer where its features give no more.

        An item's queries depend on the item and the seed, not on the other items.
        """
        return [self._write_one(item, n, seed) for item in items]

    def _write_one(self, item: ItemFeatures, n: int, seed: int) -> list[str]:
        language = self.languages.get(item.language, self.fallback)
        brand, color = short_attribute(item.brand), short_attribute(item.color, max_words=2)
        found: dict[str, None] = {}
        for noun in noun_phrases(item):
            for template in language.templates:
                if ("{brand}" in template and brand is None) or ("{color}" in template and color is None):
                    continue
                # plain replacement: braces in an attribute are no slots
                text = template.replace("{noun}", noun).replace("{brand}", brand or "").replace("{color}", color or "")
                query, _ = parse_query(text, item.title)
                if query:
                    found.setdefault(query)
        every = list(found)
        rng = np.random.default_rng([seed, int(sha256(item.item_id.encode()).hexdigest()[:12], 16)])
        return [every[i] for i in rng.permutation(len(every))[:n].tolist()]
