from __future__ import annotations

import mteb
import numpy as np
import pytest

from mr_st.errors import UsageError
from mr_st.evaluation import BiEncoder, evaluate_system
from mr_st.evaluation.mteb_search import as_mteb_search, falling
from mr_st.evaluation.systems import Bm25System, HybridSystem
from mr_st.tasks import GradedRetrievalTask, MarketplaceRetrieval

KS = (1, 3, 5, 10, 20, 50, 100, 1000)


class Shop(GradedRetrievalTask):
    """The hand-made shop as a task."""

    metadata = MarketplaceRetrieval.metadata.model_copy(update={"name": "ShopRetrieval"})


def run(system, task, cache=None) -> dict[str, float]:
    model = system if hasattr(system, "mteb_model_meta") else as_mteb_search(system)
    result = mteb.evaluate(model, task, cache=cache, show_progress_bar=False).task_results[0]
    assert result.task_name == task.metadata.name
    return result.scores["test"][0]


def hybrid(model, weight: float) -> HybridSystem:
    parts = {"lexical": Bm25System(), "dense": BiEncoder(model, "test/tiny", "1")}
    return HybridSystem(parts, fusion="weighted", weights={"lexical": weight, "dense": 1 - weight})


def agree(system, task) -> None:
    """Every metric that both give is the same, at every k; MTEB rounds to 5 decimals."""
    theirs, ours = run(system, task), evaluate_system(system, task.collection(), ks=KS)
    for name in ("ndcg", "map", "recall", "precision", "mrr"):
        for k in KS:
            expected = ours[f"{name}@{k}"].value
            assert theirs[f"{name}_at_{k}"] == pytest.approx(expected, abs=5.001e-6), f"{name}@{k}"


def test_same_numbers_as_our_own(model, dataset) -> None:
    pytest.importorskip("bm25s")
    task = Shop(dataset)
    for system in (BiEncoder(model, "test/tiny"), Bm25System(), hybrid(model, 0.3)):
        agree(system, task)


def test_a_judged_pool_is_ranked_whole_by_bm25_too(model, dataset) -> None:
    """MTEB's own BM25 cuts a list of all items to top_k first: what it leaves out of a pool scores nothing."""
    pytest.importorskip("bm25s")
    twin = Shop(dataset).twin()
    for system in (BiEncoder(model, "test/tiny"), Bm25System()):
        agree(system, twin)


def test_two_weightings_of_a_hybrid_never_share_a_cached_result(model, dataset, tmp_path) -> None:
    pytest.importorskip("bm25s")
    task, cache = Shop(dataset), mteb.ResultCache(tmp_path)
    first, second = hybrid(model, 0.9), hybrid(model, 0.1)
    assert first.name == second.name
    one, two = run(first, task, cache), run(second, task, cache)
    assert one["ndcg_at_10"] != two["ndcg_at_10"]
    found = list(tmp_path.glob("results/*/*/ShopRetrieval.json"))
    written = {path: path.stat().st_mtime_ns for path in found}
    again = run(hybrid(model, 0.9), task, cache)  # the cache does serve what is the same
    assert again["ndcg_at_10"] == pytest.approx(one["ndcg_at_10"], abs=5.001e-6)
    assert {path: path.stat().st_mtime_ns for path in found} == written
    assert len(list(tmp_path.glob("results/*/*/ShopRetrieval.json"))) == 2


def test_a_system_without_scores_for_pairs_cannot_rank_a_pool(dataset) -> None:
    class Blind:
        name, revision, settings, facts, gives_similarities = "test/blind", "1", {}, {}, False

        def search(self, collection, k):
            raise AssertionError

        def score_pairs(self, collection):
            return None

    with pytest.raises(UsageError, match="cannot rank a judged pool"):
        run(Blind(), Shop(dataset).twin())


def test_scores_fall_and_keep_their_order() -> None:
    rng = np.random.default_rng(0)
    scores = -np.sort(-rng.integers(-3, 4, (50, 40)).astype(np.float32) / 2, axis=1)
    scores[:, 35:] = -np.inf
    found = falling(scores)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert (np.diff(found, axis=1) < 0).all()
    assert np.allclose(found[:, :35], scores[:, :35], atol=1e-5)
    apart = np.array([[3, 2.5, 0, -1]], dtype=np.float32)
    np.testing.assert_array_equal(falling(apart), apart)


def test_a_task_without_texts_is_refused(dataset) -> None:
    from datasets import Dataset

    with pytest.raises(UsageError, match="a task without texts"):
        as_mteb_search(Bm25System()).index(Dataset.from_dict({"id": ["a"], "image": ["b"]}))
