"""Bm25System: the lexical baseline."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from mr_st.evaluation.systems.named import full_name
from mr_st.identity import settings_hash, texts_hash
from mr_st.search import Bm25Searcher, QueryBatch
from mr_st.search.analyser import Analyser, common_language, known_languages

if TYPE_CHECKING:
    import numpy as np

    from mr_st.evaluation.collection import Collection
    from mr_st.search import TopK

__all__ = ["Bm25System"]


class Bm25System:
    """Search by the words that query and item share (:class:`mr_st.search.Bm25Searcher`).

    How rare a term is, and how long texts are, is counted over the items that are searched: in a judged pool over the
    items of all pools.

    Args:
        k1, b, stop_words, method: As in :class:`mr_st.search.Bm25Searcher`.
        language: BCP-47 tag for stemmer and stop words; None for neither; ``"auto"``: what the queries' locales have
            in common.
        name: ``org/name``.
        show_progress: Show a progress bar over the items.

    Raises:
        UsageError: an argument out of range.
        MissingExtraError: the extra ``bm25`` is not installed.

    Example:
        >>> Bm25System(k1=0.3, b=0.6).revision == Bm25System(k1=0.3, b=0.6).revision != Bm25System().revision
        True
    """

    gives_similarities = False

    def __init__(
        self,
        *,
        k1: float = 1.2,
        b: float = 0.75,
        language: str | None = "auto",
        stop_words: Sequence[str] | None = None,
        method: Literal["lucene", "robertson", "atire"] = "lucene",
        name: str = "mr-st/bm25",
        show_progress: bool = False,
    ):
        self.name, self.show_progress = full_name(name), show_progress
        self._options: dict[str, Any] = {"k1": k1, "b": b, "method": method, "stop_words": stop_words}
        self._language = language
        shown = Bm25Searcher(["a"], language=None if language == "auto" else language, **self._options).settings
        if language == "auto":
            own = None if stop_words is None else shown["analyser"]["stop_words"]
            shown["analyser"] = {"language": "auto", "stop_words": own, "languages": _languages_hash()}
        self.settings: dict[str, Any] = shown
        self.revision = settings_hash(shown)
        self.facts: dict[str, Any] = {"framework": []}
        self._made: tuple[Any, Bm25Searcher] | None = None

    def search(self, collection: Collection, k: int) -> TopK:
        """The best ``k`` items of each query; an item that shares no term with it is not found."""
        return self._searcher(collection).search(QueryBatch(texts=collection.query_texts), k)

    def score_pairs(self, collection: Collection) -> np.ndarray:
        """The score of each judged pair, float64 (m,); 0 without a shared term."""
        judged = collection.judged
        searcher = self._searcher(collection)
        return searcher.score_pairs(collection.query_texts, judged.query_of_pair, judged.items)

    def _searcher(self, collection: Collection) -> Bm25Searcher:
        language = self._language
        if language == "auto":
            language = common_language(collection.attributes.get("locale") or [None])
        key = (language, texts_hash(collection.item_texts))
        if self._made is None or self._made[0] != key:
            made = Bm25Searcher(
                collection.item_texts, language=language, show_progress=self.show_progress, **self._options
            )
            self._made = key, made
        return self._made[1]


@cache
def _languages_hash() -> str:
    """Changes with the stemmers and the lists of stop words that are installed."""
    return settings_hash([Analyser(language).settings for language in known_languages()])
