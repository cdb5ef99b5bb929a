from __future__ import annotations

import mteb
import pytest

from mr_st.data import GradedDataset
from mr_st.evaluation import BiEncoder, as_mteb_model
from mr_st.evaluation.mteb_search import as_mteb_search
from mr_st.evaluation.scoring import mteb_name
from mr_st.tasks import GradedRetrievalTask, MarketplaceRetrieval

SHARED = {
    f"{name}_at_{k}{grade}"
    for k in (10, 50, 100)
    for name, grades in {
        "ndcg": [""], "recall": ["", "_grade_2"], "precision": ["", "_grade_2"], "map": [""], "mrr": [""],
        "judged": [""],
    }.items()
    for grade in grades
}  # fmt: skip
"""What MTEB's result and our report both must have; the margins too in a judged pool."""


@pytest.fixture(scope="session")
def model(tiny_base):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(tiny_base), device="cpu")


@pytest.fixture(scope="session")
def tiny_shop() -> GradedDataset:
    return GradedDataset.load("marketplace", size="tiny", seed=0)


class HandMade(GradedRetrievalTask):
    """A task of a test's own data."""

    metadata = MarketplaceRetrieval.metadata.model_copy(update={"name": "HandMade"})


@pytest.fixture
def hand_made():
    """Makes a task from (query, item, grade) triples of the test split."""

    def make(triples: list[tuple[str, str, int]], **options) -> HandMade:
        queries = sorted({q for q, _, _ in triples})
        items = [*sorted({i for _, i, _ in triples}), "lonely lamp", "  padded kettle "]
        return HandMade(
            GradedDataset.from_tables(
                [{"query_id": q, "text": q} for q in queries],
                [{"item_id": i, "title": i, "category_path": ["home", "kitchen", "more"]} for i in items],
                [{"query_id": q, "item_id": i, "grade": g, "split": "test"} for q, i, g in triples],
            ),
            **options,
        )

    return make


@pytest.fixture
def agree(model):
    """Asserts that mteb.evaluate and our evaluation give the same figures in every subset; returns MTEB's scores.

    Of a model, under MTEB's own search and metrics; or of a system.
    """

    def check(task, system=None, split: str = "test", must_have: set[str] = SHARED) -> dict[str, dict]:
        ours = task.reports(system or BiEncoder(model), split)
        given = as_mteb_model(model) if system is None else as_mteb_search(system)
        task.hf_subsets = list(ours)
        (theirs,) = mteb.evaluate(given, task, cache=None, show_progress_bar=False).task_results
        scores = {found["hf_subset"]: found for found in theirs.scores[split]}
        assert set(scores) == set(ours)
        for subset, report in ours.items():
            found = scores[subset]
            assert found["main_score"] == found["ndcg_at_10"]
            shared = {name: mteb_name(name) for name in report.metrics if mteb_name(name) in found}
            undefined = {mteb_name(name) for name, interval in report.metrics.items() if not interval.n}
            assert must_have - undefined <= set(shared.values()), subset
            for name, key in shared.items():
                # MTEB rounds to 5 decimals
                assert found[key] == pytest.approx(report[name].value, abs=5.001e-6), f"{subset}: {name}"
            assert sorted(found["languages"]) == sorted(report.languages)
        return scores

    return check
