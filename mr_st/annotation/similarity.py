"""The simplest annotator of all: the cosine of a bi-encoder, cut at thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from mr_st.annotation.agreement import fit_temperature
from mr_st.annotation.cross_encoder import softmax
from mr_st.annotation.protocol import Annotations, PairTable
from mr_st.annotation.thresholds import ThresholdMetric, fit_thresholds
from mr_st.errors import MrStError, UsageError
from mr_st.identity import model_hash, settings_hash
from mr_st.text.normalise import well_formed

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["SimilarityAnnotator"]

_STEEPEST = 20.0  # logits of this slope over a temperature in 0.05..20 have a slope in 1..400


class SimilarityAnnotator:
    """Grade a pair by how many thresholds its cosine exceeds.

    It is the baseline that a fitted annotator has to pass: what an encoder as it comes knows of relevance, with no
    more learned from the labels than G - 1 numbers. It is no independent judge of its own encoder's neighbours (what
    the encoder finds near, it calls relevant), so do not mine with a model and its own cosine.

    Probabilities are of the adjacent-categories form ``log(p_g / p_(g-1)) = slope * (cosine - threshold_g)``: the most
    probable grade is the one that the thresholds give, the lower one on a threshold.

    Args:
        model: A folder, a Hub id, ``"minilm"``, or a loaded SentenceTransformer.
        thresholds: G - 1 numbers in -1..1, ascending.
        slope: How fast the probabilities turn at a threshold; above 0.
        batch_size: Texts in one forward pass; no part of the identity.
        device: Where to load a model from a folder or the Hub; chosen by torch when None.

    Raises:
        UsageError: thresholds or a slope out of range.
        MrStError: no such model.

    Source: proportional thresholds are common practice; probabilities as in Agresti, 2010 (adjacent categories).
    """

    def __init__(
        self,
        model: str | Path | SentenceTransformer,
        thresholds: Sequence[float],
        slope: float = 20.0,
        batch_size: int = 64,
        device: str | None = None,
    ):
        self.thresholds = tuple(float(threshold) for threshold in thresholds)
        cuts = np.array(self.thresholds)
        if not len(cuts) or not (np.abs(cuts) <= 1).all() or (np.diff(cuts) < 0).any():
            raise UsageError(
                f"thresholds {list(self.thresholds)}: expected one less than there are grades, ascending, in -1..1"
            )
        if not (np.isfinite(slope) and slope > 0):
            raise UsageError(f"slope is {slope}; it must be above 0")
        self.model = _load(model, device)
        self.slope = float(slope)
        self.batch_size = batch_size
        self.n_grades = len(cuts) + 1
        self._identity: str | None = None

    @classmethod
    def fit(
        cls,
        model: str | Path | SentenceTransformer,
        pairs: PairTable,
        grades: np.ndarray,
        n_grades: int = 3,
        metric: ThresholdMetric = "accuracy",
        batch_size: int = 64,
        device: str | None = None,
        show_progress: bool = False,
    ) -> SimilarityAnnotator:
        """Choose thresholds and slope on labelled pairs.

        Args:
            model: As for the class.
            pairs: n pairs with their texts.
            grades: int (n,), in ``0 .. n_grades - 1``.
            n_grades: G.
            metric: What the thresholds make largest, as :func:`mr_st.annotation.thresholds.fit_thresholds` does; the
                slope, 1..400, makes the grades most likely.
            batch_size: Texts in one forward pass.
            device: As for the class.
            show_progress: Show a bar over the texts.

        Raises:
            UsageError: no pairs, lengths that differ, a grade out of range, or an unknown metric.
        """
        encoder = _load(model, device)
        cosines = _cosines(encoder, pairs, batch_size, show_progress)
        thresholds = fit_thresholds(cosines, grades, n_grades, metric)
        steep = _logits(cosines, thresholds, _STEEPEST)
        slope = _STEEPEST / fit_temperature(steep, np.asarray(grades, dtype=np.int64))
        return cls(encoder, thresholds.tolist(), slope, batch_size)

    @property
    def identity(self) -> str:
        """``similarity-`` and a hash of weights, prompts, thresholds and slope (taken once)."""
        if self._identity is None:
            settings = {"model": model_hash(self.model), "thresholds": list(self.thresholds), "slope": self.slope}
            self._identity = f"similarity-{settings_hash(settings)}"
        return self._identity

    def grade(self, pairs: PairTable, show_progress: bool = False) -> Annotations:
        """Grade every pair; equal texts are encoded once.

        Raises:
            MrStError: a vector that is zero or not finite; the pair is named.
        """
        cosines = self.cosines(pairs, show_progress)
        logits = _logits(cosines, np.array(self.thresholds), self.slope)
        probabilities = softmax(logits).astype(np.float32) if len(pairs) else np.empty((0, self.n_grades))
        # of the rounded probabilities, so that both agree where a cosine all but touches a threshold
        return Annotations(probabilities.argmax(axis=1).astype(np.int8), probabilities)

    def cosines(self, pairs: PairTable, show_progress: bool = False) -> np.ndarray:
        """The similarity of query and item: float64 (n,), in -1..1."""
        return _cosines(self.model, pairs, self.batch_size, show_progress)


def _load(model: str | Path | SentenceTransformer, device: str | None) -> SentenceTransformer:
    from mr_st.models import load_sentence_transformer

    return load_sentence_transformer(model, device=device) if isinstance(model, (str, Path)) else model


def _logits(cosines: np.ndarray, thresholds: np.ndarray, slope: float) -> np.ndarray:
    """float64 (n, G): each grade's is the one's below it and ``slope * (cosine - threshold)``."""
    steps = slope * (cosines[:, None] - thresholds)
    return np.concatenate([np.zeros((len(cosines), 1)), np.cumsum(steps, axis=1)], axis=1)


def _cosines(model: SentenceTransformer, pairs: PairTable, batch_size: int, show_progress: bool) -> np.ndarray:
    queries, query_rows = _vectors(model, pairs.query_texts, "query", batch_size, show_progress)
    items, item_rows = _vectors(model, pairs.item_texts, "item", batch_size, show_progress)
    found = np.empty(len(pairs))
    for start in range(0, len(pairs), 65_536):
        part = slice(start, start + 65_536)
        found[part] = np.einsum("nd,nd->n", queries[query_rows[part]], items[item_rows[part]])
    bad = np.flatnonzero(~np.isfinite(found))
    if len(bad):
        raise MrStError(
            f"pair {bad[0] + 1:,} (query {pairs.query_ids[bad[0]]!r}, item {pairs.item_ids[bad[0]]!r}): a vector is "
            "zero or not finite; the model's weights are damaged or its training diverged: use another one"
        )
    return np.clip(found, -1.0, 1.0)


def _vectors(
    model: SentenceTransformer, texts: list[str], side: Literal["query", "item"], batch_size: int, show_progress: bool
) -> tuple[np.ndarray, np.ndarray]:
    """float64 (u, d), of length 1, of the distinct texts (NaN where there is no direction), and each text's row."""
    texts = [well_formed(text) for text in texts]
    distinct = sorted(set(texts))
    row_of = {text: row for row, text in enumerate(distinct)}
    if not distinct:
        return np.empty((0, 1)), np.empty(0, dtype=np.int64)
    run = model.encode_query if side == "query" else model.encode_document
    vectors = np.asarray(run(distinct, batch_size=batch_size, show_progress_bar=show_progress), dtype=np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths = np.where(np.isfinite(norms) & (norms > 0), norms, np.nan)
    return vectors / lengths, np.array([row_of[text] for text in texts], dtype=np.int64)
