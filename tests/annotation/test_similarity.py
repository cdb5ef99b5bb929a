"""SimilarityAnnotator: the cosine decides, the thresholds say how, and the probabilities agree."""

from __future__ import annotations

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from mr_st.annotation import PairTable
from mr_st.annotation.similarity import SimilarityAnnotator
from mr_st.errors import MrStError, UsageError

WORDS = ["red shirt", "mug", "wireless mouse", "blue cotton shirt women", "desk lamp", "garden hose"]
PAIRS = PairTable(
    [f"q{n}" for n in range(6) for _ in range(6)], [f"i{n}" for _ in range(6) for n in range(6)],
    [word for word in WORDS for _ in range(6)], [f"{word} small" for _ in range(6) for word in WORDS], ["en-US"] * 36,
)  # fmt: skip


@pytest.fixture(scope="module")
def encoder(tiny_base) -> SentenceTransformer:
    return SentenceTransformer(str(tiny_base), device="cpu")


def cosines(encoder: SentenceTransformer) -> np.ndarray:
    queries, items = encoder.encode_query(PAIRS.query_texts), encoder.encode_document(PAIRS.item_texts)
    return (queries * items).sum(axis=1) / np.linalg.norm(queries, axis=1) / np.linalg.norm(items, axis=1)


def between(values: np.ndarray, *ranks: int) -> np.ndarray:
    """Midway between the value of each rank and the next."""
    ordered = np.sort(values)
    return np.array([(ordered[rank] + ordered[rank + 1]) / 2 for rank in ranks])


def test_the_grade_counts_the_thresholds_below_the_cosine(encoder):
    expected = cosines(encoder)
    for slope in (0.5, 20.0, 400.0):
        for cuts in (between(expected, 7, 25), between(expected, 17, 18, 32)):
            annotations = SimilarityAnnotator(encoder, cuts, slope).grade(PAIRS)
            np.testing.assert_array_equal(annotations.grades, (expected[:, None] > cuts).sum(axis=1))
            np.testing.assert_array_equal(annotations.probabilities.argmax(axis=1), annotations.grades)


def test_neighbouring_grades_are_as_likely_as_the_distance_says(encoder):
    expected = cosines(encoder)
    cuts = between(expected, 10, 21)
    p = SimilarityAnnotator(encoder, cuts, slope=5.0).grade(PAIRS).probabilities.astype(float)
    np.testing.assert_allclose(np.log(p[:, 1] / p[:, 0]), 5 * (expected - cuts[0]), atol=1e-4)
    np.testing.assert_allclose(np.log(p[:, 2] / p[:, 1]), 5 * (expected - cuts[1]), atol=1e-4)


def test_fit_finds_the_cuts_that_made_the_labels(encoder):
    made_by = between(cosines(encoder), 14, 28)
    grades = (cosines(encoder)[:, None] > made_by).sum(axis=1)
    for metric in ("accuracy", "macro_f1"):
        fitted = SimilarityAnnotator.fit(encoder, PAIRS, grades, metric=metric)
        np.testing.assert_array_equal(fitted.grade(PAIRS).grades, grades)
        assert fitted.slope > 50  # the cosine explains all, so it may be sure


def test_a_cosine_that_explains_nothing_is_never_sure(encoder):
    grades = np.random.default_rng(0).integers(0, 3, len(PAIRS))
    fitted = SimilarityAnnotator.fit(encoder, PAIRS, grades)
    assert fitted.grade(PAIRS).confidence.max() < 0.5


def test_identity_covers_weights_thresholds_and_slope_but_not_batch_size(tiny_base):
    encoder = SentenceTransformer(str(tiny_base), device="cpu")
    one = SimilarityAnnotator(encoder, [0.2, 0.5]).identity
    assert one == SimilarityAnnotator(tiny_base, [0.2, 0.5], batch_size=2, device="cpu").identity
    assert one != SimilarityAnnotator(encoder, [0.2, 0.6]).identity
    assert one != SimilarityAnnotator(encoder, [0.2, 0.5], slope=21).identity
    next(encoder.parameters()).data[0] += 1
    assert one != SimilarityAnnotator(encoder, [0.2, 0.5]).identity


def test_vectors_without_a_direction_are_refused(tiny_base, monkeypatch):
    encoder = SentenceTransformer(str(tiny_base), device="cpu")
    monkeypatch.setattr(encoder, "encode_query", lambda texts, **_: np.zeros((len(texts), 32)))
    with pytest.raises(MrStError, match=r"pair 1 \(query 'q0', item 'i0'\)"):
        SimilarityAnnotator(encoder, [0.2, 0.5]).grade(PAIRS)


@pytest.mark.parametrize("thresholds", [[], [0.5, 0.2], [0.5, 1.5], [float("nan"), 0.5]])
def test_thresholds_out_of_order_or_range(encoder, thresholds):
    with pytest.raises(UsageError, match="ascending"):
        SimilarityAnnotator(encoder, thresholds)


@pytest.mark.parametrize("slope", [0.0, -1.0, float("inf")])
def test_slope_must_be_above_zero(encoder, slope):
    with pytest.raises(UsageError, match="slope"):
        SimilarityAnnotator(encoder, [0.2, 0.5], slope)


def test_no_such_model(tmp_path):
    with pytest.raises(MrStError, match="nothing"):
        SimilarityAnnotator(tmp_path / "nothing", [0.2, 0.5])
