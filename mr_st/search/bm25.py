"""Lexical top-k: BM25 over sparse postings, in blocks of bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from mr_st.errors import MrStError, UsageError, require_extra
from mr_st.files import atomic_folder, read_json, write_json
from mr_st.identity import array_hash, texts_hash
from mr_st.search.analyser import Analyser, split_words
from mr_st.search.protocol import QueryBatch, TopK

__all__ = ["Bm25Searcher"]

Method = Literal["lucene", "robertson", "atire"]

_FORMAT = 1
_ARRAYS = {"data": np.float32, "indices": np.int32, "indptr": np.int64}
_BLOCK_POSTINGS = 4_000_000  # (item, weight) pairs looked at together: some 100 MB


class Bm25Searcher:
    """Search item texts by the terms that they share with the query.

    An item's score is the sum, over the query's terms (a repeated one counts again), of the term's weight in the
    item, added up in float64. An item that shares no term of any weight with the query is not found. Equal scores
    stand lower item row first.

    Args:
        texts: N item texts.
        k1: How slowly a term's repetition saturates, 0 or more; one public ESCI study used .3 for titles.
        b: How much long texts are held back, 0 to 1; the same study used .6.
        language: BCP-47 tag of the texts, for stemmer and stop words; None for several languages. Scripts without
            spaces are cut into character pairs whatever it says (:class:`~mr_st.search.analyser.Analyser`).
        stop_words: Words to pass over: None takes the language's list, ``[]`` none.
        method: How bm25s weighs a term: ``"lucene"`` (always above 0), ``"robertson"`` (0 for a term that more than
            half of the items have) or ``"atire"``.
        show_progress: Show a progress bar over the items.

    Raises:
        UsageError: no texts, one that is no string, or an argument out of range.
        MissingExtraError: the extra ``bm25`` is not installed.

    Source: Robertson and Walker 1994; variants as in Kamphuis et al. 2020; bm25s computes the weights.

    Example:
        >>> searcher = Bm25Searcher(["red running shoes", "blue shoe", "coffee mug"], language="en")
        >>> searcher.search(QueryBatch(texts=["Shoes, blue"]), k=3).ids.tolist()
        [[1, 0, -1]]
    """

    def __init__(
        self,
        texts: Sequence[str],
        *,
        k1: float = 1.2,
        b: float = 0.75,
        language: str | None = None,
        stop_words: Sequence[str] | None = None,
        method: Method = "lucene",
        show_progress: bool = False,
    ):
        if not (np.isfinite(k1) and k1 >= 0):
            raise UsageError(f"k1 is {k1}; it must be 0 or more")
        if not 0 <= b <= 1:
            raise UsageError(f"b is {b}; it must be in 0..1")
        if method not in get_args(Method):
            raise UsageError(f"method is {method!r}; expected one of {', '.join(get_args(Method))}")
        _check_texts(texts, "item")
        if not len(texts):
            raise UsageError("no item texts; at least one is needed")
        self.k1, self.b, self.method = float(k1), float(b), method
        self.analyser = Analyser(language, stop_words)
        self._n_items = len(texts)
        self._rows, self._postings = _build(texts, self.analyser, self.k1, self.b, method, show_progress)

    @property
    def settings(self) -> dict[str, Any]:
        """The weighting and the analyser."""
        return {
            "kind": "bm25",
            "k1": self.k1,
            "b": self.b,
            "method": self.method,
            "analyser": self.analyser.settings,
        }

    def __len__(self) -> int:
        return self._n_items

    def search(self, queries: QueryBatch, k: int) -> TopK:
        """The best ``k`` items of each query.

        Args:
            queries: A batch with texts; one without a known term finds nothing.
            k: 1 or more; places that are left are filled with id -1 and score -inf.

        Raises:
            UsageError: no texts, or k below 1.
        """
        if k < 1:
            raise UsageError(f"k must be 1 or more, got {k}")
        if queries.texts is None:
            raise UsageError("Bm25Searcher searches by text: give QueryBatch(texts=...)")
        _check_texts(queries.texts, "query")
        n = len(queries)
        ids = np.full((n, k), -1, dtype=np.int64)
        scores = np.full((n, k), -np.inf, dtype=np.float32)
        for start, found in self._blocks(self._known_terms(queries.texts)):
            for row in range(found.shape[0]):
                part = slice(found.indptr[row], found.indptr[row + 1])
                values = found.data[part].astype(np.float32)
                _keep_best(found.indices[part], values, ids[start + row], scores[start + row])
        return TopK(ids, scores)

    def score_pairs(self, texts: Sequence[str], query_rows: np.ndarray, item_rows: np.ndarray) -> np.ndarray:
        """The score of named pairs, whatever their rank: what :meth:`search` gives them; 0 without a shared term.

        Args:
            texts: n query texts.
            query_rows: integers (m,), places in ``texts``, never falling.
            item_rows: integers (m,), the items.

        Returns:
            float64 (m,), rounded to float32 as in a search.

        Example:
            >>> searcher = Bm25Searcher(["red running shoes", "blue shoe", "coffee mug"], language="en")
            >>> (searcher.score_pairs(["blue shoes"], np.array([0, 0, 0]), np.array([0, 1, 2])) > 0).tolist()
            [True, True, False]
        """
        _check_texts(texts, "query")
        query_rows, item_rows = np.asarray(query_rows, dtype=np.int64), np.asarray(item_rows, dtype=np.int64)
        scores = np.zeros(len(query_rows))
        for start, found in self._blocks(self._known_terms(texts)):
            first, last = np.searchsorted(query_rows, [start, start + found.shape[0]])
            if first < last:
                given = found[query_rows[first:last] - start, item_rows[first:last]]
                scores[first:last] = np.asarray(given, dtype=np.float32)
        return scores

    def save(self, folder: str | Path) -> None:
        """Write the index: arrays as ``.npy``, the vocabulary and the settings as JSON; whole or not at all.

        Raises:
            MrStError: the folder cannot be written.
        """
        about = {
            "format": _FORMAT,
            "settings": self.settings,
            "n_items": self._n_items,
            "vocabulary": texts_hash(self._rows),
            "arrays": {name: array_hash(self._postings[name]) for name in _ARRAYS},
        }
        with atomic_folder(folder) as temporary:
            for name in _ARRAYS:
                np.save(temporary / f"{name}.npy", self._postings[name], allow_pickle=False)
            write_json(temporary / "vocabulary.json", list(self._rows))
            write_json(temporary / "bm25.json", about)

    @classmethod
    def load(cls, folder: str | Path, mmap: bool = True, check: bool = True) -> Bm25Searcher:
        """Read what :meth:`save` wrote.

        Args:
            folder: Where.
            mmap: Map the postings instead of reading them into memory.
            check: Compare the content with its hashes (reads everything once); without, only shapes are looked at.

        Raises:
            MrStError: a file is missing or damaged, or the installed stemmer is not the one the index was made with.
        """
        folder = Path(folder)
        try:
            about = read_json(folder / "bm25.json")
            if about["format"] != _FORMAT:
                raise MrStError(
                    f"{folder}: a BM25 index of format {about['format']}, expected {_FORMAT}; build it again"
                )
            settings, stored = about["settings"], about["settings"]["analyser"]
            searcher = cls.__new__(cls)
            searcher.k1, searcher.b, searcher.method = settings["k1"], settings["b"], settings["method"]
            searcher.analyser = Analyser(stored["language"], stored["stop_words"])
            searcher._n_items = int(about["n_items"])
            searcher._rows = {term: row for row, term in enumerate(read_json(folder / "vocabulary.json"))}
            mode: Literal["r"] | None = "r" if mmap else None
            searcher._postings = {
                name: np.load(folder / f"{name}.npy", mmap_mode=mode, allow_pickle=False) for name in _ARRAYS
            }
            is_whole = searcher._is_whole(about if check else None)
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            if isinstance(error, MrStError):
                raise
            raise MrStError(f"{folder}: the BM25 index is damaged ({error}); build it again") from error
        if not is_whole:
            raise MrStError(f"{folder}: the BM25 index is damaged (its content is not what was saved); build it again")
        if searcher.analyser.settings != stored:
            version = searcher.analyser.settings["stemmer_version"]
            raise MrStError(
                f"{folder}: the index was made with stemmer {stored['stemmer']} {stored['stemmer_version']}, but "
                f"{version} is installed; build it again"
            )
        return searcher

    # ---- the parts of a search -------------------------------------------------------------------------------------

    def _known_terms(self, texts: Sequence[str]) -> list[dict[int, int]]:
        """For each text, the rows of its known terms, ascending, with how often each occurs."""
        counted = []
        for terms in self.analyser.terms(texts, side="query"):
            rows = Counter(row for term in terms if (row := self._rows.get(term)) is not None)
            counted.append(dict(sorted(rows.items())))
        return counted

    def _blocks(self, terms: Sequence[dict[int, int]]) -> Iterator[tuple[int, Any]]:
        """The scores of blocks of queries with all items that share a term: the first query's place, and a sparse
        float64 array (queries of the block, items). Queries of no known term may be left out."""
        lengths = np.diff(self._postings["indptr"])
        n, start, n_postings = len(terms), 0, 0
        for stop in range(1, n + 1):
            n_postings += int(lengths[list(terms[stop - 1])].sum()) if terms[stop - 1] else 0
            more = int(lengths[list(terms[stop])].sum()) if stop < n and terms[stop] else 0
            if stop == n or n_postings + more > _BLOCK_POSTINGS:
                if any(terms[start:stop]):
                    yield start, self._block_scores(terms[start:stop])
                start, n_postings = stop, 0

    def _block_scores(self, terms: Sequence[dict[int, int]]) -> Any:
        from scipy.sparse import csr_array

        used = sorted({row for query in terms for row in query})
        postings = self._postings
        spans = [slice(int(postings["indptr"][row]), int(postings["indptr"][row + 1])) for row in used]
        starts = np.cumsum([0, *(span.stop - span.start for span in spans)])
        weights = csr_array(
            (
                np.concatenate([postings["data"][span] for span in spans]).astype(np.float64),
                np.concatenate([postings["indices"][span] for span in spans]),
                starts,
            ),
            shape=(len(used), self._n_items),
        )
        at = {row: place for place, row in enumerate(used)}
        counts = csr_array(
            (
                np.array([count for query in terms for count in query.values()], dtype=np.float64),
                np.array([at[row] for query in terms for row in query], dtype=np.int64),
                np.cumsum([0, *map(len, terms)]),
            ),
            shape=(len(terms), len(used)),
        )
        return counts @ weights

    def _is_whole(self, about: dict[str, Any] | None) -> bool:
        indptr = self._postings["indptr"]
        shapes = (
            all(array.ndim == 1 and array.dtype == _ARRAYS[name] for name, array in self._postings.items())
            and len(indptr) == len(self._rows) + 1
            and indptr[0] == 0
            and indptr[-1] == len(self._postings["data"]) == len(self._postings["indices"])
        )
        if not shapes or about is None:
            return bool(shapes)
        hashes = {name: array_hash(array) for name, array in self._postings.items()}
        return hashes == about["arrays"] and texts_hash(self._rows) == about["vocabulary"]


def _build(
    texts: Sequence[str], analyser: Analyser, k1: float, b: float, method: str, show_progress: bool
) -> tuple[dict[str, int], dict[str, np.ndarray]]:
    """The vocabulary (term -> row, in order of first occurrence) and the items and weights of each term."""
    from tqdm.auto import tqdm

    bm25s = require_extra("bm25s", "bm25")
    rows: dict[str, int] = {}
    term_of = analyser.reader()
    items = [
        [rows.setdefault(term, len(rows)) for word in split_words(text, "item") if (term := term_of(word))]
        for text in tqdm(texts, desc="BM25 terms", unit="item", disable=not show_progress)
    ]
    if not rows:  # nothing to weigh
        return rows, {name: np.zeros(int(name == "indptr"), dtype=dtype) for name, dtype in _ARRAYS.items()}
    index = bm25s.BM25(k1=k1, b=b, method=method, backend="numpy", csc_backend="numpy")
    index.index((items, rows), create_empty_token=False, show_progress=show_progress)
    return rows, {name: np.ascontiguousarray(index.scores[name], dtype=dtype) for name, dtype in _ARRAYS.items()}


def _keep_best(items: np.ndarray, values: np.ndarray, ids: np.ndarray, scores: np.ndarray) -> None:
    """Write the highest values above 0 and their items into a row, equal ones lower item first."""
    k = len(ids)
    floor = np.partition(values, len(values) - k)[len(values) - k] if len(values) > k else np.float32(0)
    kept = np.flatnonzero((values >= floor) & (values > 0))
    order = kept[np.lexsort((items[kept], -values[kept]))][:k]
    ids[: len(order)], scores[: len(order)] = items[order], values[order]


def _check_texts(texts: Sequence[str], what: str) -> None:
    if isinstance(texts, str):
        raise UsageError(f"the {what} texts are one string; pass a list of strings")
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise UsageError(f"{what} texts[{row}] is {type(text).__name__}; every text must be a string")
