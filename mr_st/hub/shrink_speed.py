"""How long a search takes at a setting, and how many texts a second a model encodes, here and now."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mr_st.encoding import encode
from mr_st.hub.shrink_settings import Setting
from mr_st.hub.shrink_vectors import cut, int8_codes, int8_ranges, int8_values

if TYPE_CHECKING:
    from mr_st.evaluation import BiEncoder

__all__ = ["SEARCH_ENGINE", "encode_speed", "search_ms"]

SEARCH_ENGINE = "usearch, exact scan, one thread, one query at a time; the codes of the query and rescoring included"


def search_ms(
    queries: np.ndarray, items: np.ndarray, setting: Setting, k: int, n_candidates: int, n_queries: int = 100,
    n_times: int = 3,
) -> float:  # fmt: skip
    """Milliseconds that one query takes against all items: the median over some queries, each alone; the best of runs.

    Args:
        queries: float32 (n, D), unit vectors.
        items: float32 (N, D), unit vectors.
        setting: How the items are stored and searched.
        k: Places that are sought.
        n_candidates: How many of the best are scored again, where the setting does so.
        n_queries: How many queries are timed, at most.
        n_times: How often they are: other work on the machine makes a run slower, never quicker.
    """
    search = _search(cut(items, setting.dims), setting, min(k, len(items)), min(max(k, n_candidates), len(items)))
    queries = cut(queries[:n_queries], setting.dims)
    for query in queries[:3]:
        search(query[None])
    medians = []
    for _ in range(n_times):
        times = []
        for query in queries:
            start = time.perf_counter()
            search(query[None])
            times.append(time.perf_counter() - start)
        medians.append(float(np.median(times)))
    return 1000 * min(medians)


def encode_speed(encoder: BiEncoder, texts: Sequence[str], n_texts: int = 256, n_times: int = 3) -> float:
    """Texts that a model encodes in a second: the best of some runs over the same distinct texts, as items.

    Args:
        encoder: The model and its batch size.
        texts: What they are taken from, evenly.
        n_texts: How many, at most.
        n_times: How often they are encoded.
    """
    distinct = list(dict.fromkeys(texts))
    taken = distinct[:: max(1, len(distinct) // n_texts)][:n_texts]
    times = []
    for _ in range(n_times):
        start = time.perf_counter()
        encode(encoder.model, taken, "item", batch_size=encoder.batch_size)
        times.append(time.perf_counter() - start)
    return len(taken) / min(times)


def _search(items: np.ndarray, setting: Setting, k: int, n_candidates: int) -> Callable[[np.ndarray], np.ndarray]:
    """A function from one query (1, d) to the rows that it finds."""
    from usearch.index import MetricKind, search

    ranges = int8_ranges(items)
    metric = MetricKind.Hamming if setting.dtype == "binary" else MetricKind.IP
    codes: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "float32": np.ascontiguousarray,
        "float16": lambda vectors: vectors.astype(np.float16),
        "int8": lambda vectors: int8_codes(vectors, ranges),
        "binary": lambda vectors: np.packbits(vectors > 0, axis=-1),
    }
    code = codes[setting.dtype]
    stored = code(items)

    def first(query: np.ndarray, count: int) -> np.ndarray:
        return np.asarray(search(stored, code(query), count, metric, exact=True, threads=1).keys).reshape(-1)

    if setting.rescored_with is None:
        return lambda query: first(query, k)
    kept = codes["int8"](items) if setting.rescored_with == "int8" else items
    d = items.shape[1]

    def numbers(rows: np.ndarray) -> np.ndarray:
        if setting.rescored_with == "float32":
            return kept[rows]
        if setting.rescored_with == "own codes" and setting.dtype == "binary":
            return 2 * np.unpackbits(stored[rows], axis=-1)[:, :d].astype(np.float32) - 1
        return int8_values((stored if setting.dtype == "int8" else kept)[rows], ranges)

    def both(query: np.ndarray) -> np.ndarray:
        rows = first(query, n_candidates)
        scores = numbers(rows) @ query[0]
        return rows[np.argsort(-scores, kind="stable")[:k]]

    return both
