"""Reranking: what the reranker sees, what it makes of a retriever's list, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mr_st.annotation import Annotations, CrossEncoderAnnotator, PairTable, SimilarityAnnotator
from mr_st.annotation.cross_encoder import write_calibration
from mr_st.errors import MrStError, UsageError
from mr_st.evaluation import Collection, evaluate_system
from mr_st.evaluation.systems import (
    AnnotatorScorer,
    Bm25System,
    CrossEncoderScorer,
    RandomSystem,
    RerankedSystem,
    load_pair_scorer,
)

PAIRS = PairTable(
    ["q1", "q1", "q2", "q3"],
    ["a", "b", "a", "a"],
    ["red shoes", "red shoes", "mug", "red shoes"],
    ["red running shoes", "coffee mug", "red running shoes", "red running shoes"],
    ["en"] * 4,
)


class WordShare:
    """An annotator that anybody can compute: the grade is twice the share of the query's words that the item has."""

    identity = "share-of-words"
    n_graded = 0

    def grade(self, pairs: PairTable) -> Annotations:
        self.n_graded += len(pairs)
        texts = zip(pairs.query_texts, pairs.item_texts, strict=True)
        return Annotations.certain([round(2 * share(query, item)) for query, item in texts], 3)


def share(query: str, item: str) -> float:
    return float(np.mean([word in item.split() for word in query.split()]))


def test_one_output_is_the_logistic_of_the_logit(cross_encoders: dict[str, Path]) -> None:
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(cross_encoders["one"]), device="cpu")
    texts = list(zip(PAIRS.query_texts, PAIRS.item_texts, strict=True))
    logits = model.predict(texts, activation_fn=torch.nn.Identity()).astype(np.float64)
    scorer = CrossEncoderScorer(cross_encoders["one"], batch_size=3)
    scores = scorer.score(PAIRS)
    assert scores == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-6)
    assert scores[0] == scores[3], "the same texts"
    assert scorer.score(PAIRS.take([])).shape == (0,)
    model.activation_fn = torch.nn.Tanh()
    assert CrossEncoderScorer(model).score(PAIRS) == pytest.approx(scores, abs=1e-6), "whatever it was saved with"


def test_a_grade_an_output_is_the_expected_gain(cross_encoders: dict[str, Path]) -> None:
    annotator = CrossEncoderAnnotator(cross_encoders["three"])
    probabilities = annotator.grade(PAIRS).probabilities.astype(np.float64)
    assert AnnotatorScorer(annotator).score(PAIRS) == pytest.approx(probabilities @ [0, 0.5, 1], abs=1e-6)
    steep = AnnotatorScorer(annotator, gains=[0, 0.1, 1])
    assert steep.score(PAIRS) == pytest.approx(probabilities @ [0, 0.1, 1], abs=1e-6)
    with pytest.raises(UsageError, match=r"2 gains, but cross-encoder-\w+ knows 3 grades"):
        AnnotatorScorer(annotator, gains=[0, 1]).score(PAIRS)


@pytest.mark.parametrize("gains", [[0, 2], [-1, 1], [1, 0], [0, float("nan")], []])
def test_gains_that_mean_nothing_are_refused(gains: list[float], cross_encoders: dict[str, Path]) -> None:
    if gains:
        with pytest.raises(UsageError, match="gains are"):
            AnnotatorScorer(CrossEncoderAnnotator(cross_encoders["three"]), gains)
    else:
        with pytest.raises(UsageError, match="0 gains"):
            AnnotatorScorer(CrossEncoderAnnotator(cross_encoders["three"]), gains).score(PAIRS)


def test_a_name_is_read_as_what_the_model_is(cross_encoders: dict[str, Path], tiny_base: Path, tmp_path: Path) -> None:
    assert isinstance(load_pair_scorer(cross_encoders["one"]), CrossEncoderScorer)
    three = load_pair_scorer(str(cross_encoders["three"]))
    assert isinstance(three, AnnotatorScorer)
    assert three.facts["n_parameters"] > 1000
    (tmp_path / "cosine.yaml").write_text(f"kind: similarity\nmodel: {tiny_base}\nthresholds: [0.2, 0.6]\n")
    assert isinstance(load_pair_scorer(tmp_path / "cosine.yaml").annotator, SimilarityAnnotator)
    with pytest.raises(UsageError, match="leave gains out"):
        load_pair_scorer(cross_encoders["one"], gains=[0, 1])
    with pytest.raises(UsageError, match="max_length is for"):
        load_pair_scorer(cross_encoders["three"], max_length=8)
    with pytest.raises(UsageError, match=r"several|outputs; expected 1"):
        CrossEncoderScorer(cross_encoders["three"])
    with pytest.raises(MrStError, match="is no classifier"):
        load_pair_scorer(tiny_base)
    with pytest.raises(UsageError, match="no such folder"):
        load_pair_scorer("no/such/folder")
    with pytest.raises(UsageError, match="no annotator"):
        load_pair_scorer(tmp_path)


def test_a_calibration_beside_the_model_counts(cross_encoders: dict[str, Path], tmp_path: Path) -> None:
    from sentence_transformers import CrossEncoder

    CrossEncoder(str(cross_encoders["three"]), device="cpu").save(str(tmp_path / "m"))
    plain = load_pair_scorer(tmp_path / "m")
    write_calibration(tmp_path / "m", temperature=3.0)
    hotter = load_pair_scorer(tmp_path / "m")
    assert hotter.identity != plain.identity
    assert not np.allclose(hotter.score(PAIRS), plain.score(PAIRS), atol=1e-3)


def test_the_retrievers_best_are_reordered_and_nothing_is_added(catalogue: Collection) -> None:
    retriever = RandomSystem()
    system = RerankedSystem(retriever, AnnotatorScorer(WordShare()), depth=20)
    top, before = system.search(catalogue, 30), retriever.search(catalogue, 20)
    for query, (ids, given) in enumerate(zip(top.ids, before.ids, strict=True)):
        assert sorted(ids[:20].tolist()) == sorted(given.tolist())
        assert (ids[20:] == -1).all()
        worth = [round(2 * share(catalogue.query_texts[query], catalogue.item_texts[row])) for row in ids[:20]]
        by_hand = sorted(zip([-w for w in worth], ids[:20].tolist(), strict=True))
        assert [row for _, row in by_hand] == ids[:20].tolist()


def test_a_judged_pool_needs_no_retriever(catalogue: Collection, pool: Collection) -> None:
    """Both rerankers see every judged pair, whatever the retriever finds."""
    scorer = AnnotatorScorer(WordShare())
    reports = [
        evaluate_system(RerankedSystem(retriever, scorer, depth=1), pool, ks=(10,), n_resamples=50)
        for retriever in (RandomSystem(), Bm25System())
    ]
    assert reports[0].values("ndcg@10").tolist() == reports[1].values("ndcg@10").tolist()
    assert reports[0].values("recall@10").max() > 0.5


def test_a_pair_is_scored_once(catalogue: Collection, pool: Collection) -> None:
    annotator = WordShare()
    system = RerankedSystem(RandomSystem(), AnnotatorScorer(annotator), depth=50)
    system.search(catalogue, 10)
    assert annotator.n_graded == 50 * catalogue.n_queries
    system.search(catalogue, 50)
    system.score_pairs(catalogue)
    system.score_pairs(pool)
    assert annotator.n_graded == 50 * catalogue.n_queries


def test_an_output_that_is_not_finite_is_refused(cross_encoders: dict[str, Path], catalogue: Collection) -> None:
    scorer = CrossEncoderScorer(cross_encoders["other"])
    with torch.no_grad():
        scorer.model.model.classifier.bias.fill_(float("nan"))
    with pytest.raises(MrStError, match=r"query 'q\d+', item 'i\d+': the cross-encoder's output is not finite"):
        RerankedSystem(Bm25System(), scorer).search(catalogue, 5)


def test_a_depth_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="depth is 0"):
        RerankedSystem(RandomSystem(), AnnotatorScorer(WordShare()), depth=0)
