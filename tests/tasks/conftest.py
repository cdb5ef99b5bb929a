from __future__ import annotations

import pytest

from mr_st.data import GradedDataset
from mr_st.tasks import GradedRetrievalTask, MarketplaceRetrieval


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
