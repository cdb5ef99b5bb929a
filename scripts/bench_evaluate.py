#!/usr/bin/env python3
"""`mr-st evaluate` against `mteb.evaluate`, beyond encoding: time, and whether every shared metric agrees.

    scripts/bench_evaluate.py                          100k items, 1k queries, k=1000, each arm three times
    scripts/bench_evaluate.py --items 5000 --queries 100 --repeats 1      a quick look
    scripts/bench_evaluate.py --docs                   put what was measured into docs/evaluation.json, key "speed"
    scripts/bench_evaluate.py --profile                where our arm's time goes

Both arms get the same saved dataset, the same task object and the same encoder, each in a process of its own, by turns.
The clock runs from the loaded dataset to the saved result JSON; what the encoder takes is timed inside it and taken
out. The encoder is fake: a text's vector is the sum of one random vector a word. It is given to MTEB through its
EncoderProtocol and to us through encode_query and encode_document. MTEB's own loading of texts for the encoder (its
DataLoader) is timed apart, and the ratio is given with and without it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
KS = (1, 3, 5, 10, 20, 50, 100, 1000)
SHARED = ("ndcg", "map", "recall", "precision", "mrr")
TOLERANCE = 5.001e-6  # MTEB rounds to 5 decimals
NAME, REVISION = "bench/bag-of-words", "1"


# ---- data and encoder ----------------------------------------------------------------------------------------------


def make_dataset(folder: Path, n_items: int, n_queries: int, n_judged: int, seed: int) -> None:
    """A catalogue of some thousand kinds of things; a query asks for a kind and a colour, judged by both."""
    from mr_st.data import GradedDataset

    rng = np.random.default_rng(seed)
    n_kinds, n_colours = max(2, n_items // 40), 20
    kinds, colours = rng.integers(0, n_kinds, n_items), rng.integers(0, n_colours, n_items)
    items = {
        "item_id": [f"i{row:06d}" for row in range(n_items)],
        "title": [
            f"colour{c} thing{k} brand{b} no{row}"
            for row, (k, c, b) in enumerate(zip(kinds, colours, rng.integers(0, 500, n_items), strict=True))
        ],
        "category_path": [["home", f"aisle{k % 50}"] for k in kinds],
    }
    of_kind = np.argsort(kinds, kind="stable")
    ends = np.searchsorted(kinds[of_kind], np.arange(n_kinds + 1))
    queries: dict[str, list[str]] = {"query_id": [], "text": []}
    judgments: dict[str, list[Any]] = {"query_id": [], "item_id": [], "grade": [], "split": []}
    for q in range(n_queries):
        while True:
            kind, colour = int(rng.integers(n_kinds)), int(rng.integers(n_colours))
            same = of_kind[ends[kind] : ends[kind + 1]]
            if len(same):
                break
        queries["query_id"].append(f"q{q:05d}")
        queries["text"].append(f"colour{colour} thing{kind} wish{q}")
        judged = rng.permutation(same)[: n_judged // 2]
        others = np.setdiff1d(rng.integers(0, n_items, n_judged - len(judged)), same)
        for row in [*judged.tolist(), *others.tolist()]:
            grade = 0 if kinds[row] != kind else 2 if colours[row] == colour else 1
            judgments["query_id"].append(f"q{q:05d}")
            judgments["item_id"].append(f"i{row:06d}")
            judgments["grade"].append(grade)
            judgments["split"].append("test")
    GradedDataset.from_tables(queries, items, judgments, name="bench").save(folder)


class BagOfWords:
    """Both libraries' encoder: the unit sum of one random vector a word; ``seconds`` says what it took so far."""

    def __init__(self, dim: int = 384):
        self.dim = dim
        self.seconds = 0.0  # making vectors
        self.loading = 0.0  # taking the texts out of MTEB's DataLoader
        self._rows: dict[str, int] = {}
        self._table = np.empty((0, dim), dtype=np.float32)

    def vectors(self, texts: list[str]) -> np.ndarray:
        """float32 (n, d) unit vectors."""
        start = time.perf_counter()
        words = [[self._row(word) for word in text.split()] for text in texts]
        while len(self._table) < len(self._rows):  # blocks of a fixed size and seed: order of calls does not count
            block = len(self._table) // 4096
            more = np.random.default_rng([7, block]).standard_normal((4096, self.dim), dtype=np.float32)
            self._table = np.concatenate([self._table, more])
        starts = np.concatenate([[0], np.cumsum([len(w) for w in words])[:-1]]).astype(np.int64)
        found = np.add.reduceat(self._table[np.concatenate(words)], starts, axis=0)
        found /= np.linalg.norm(found, axis=1, keepdims=True)
        self.seconds += time.perf_counter() - start
        return found

    def _row(self, word: str) -> int:
        import zlib

        return self._rows.setdefault(word, zlib.crc32(word.encode()) % 200_000) if False else self._known(word)

    def _known(self, word: str) -> int:
        return 0
