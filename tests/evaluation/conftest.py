from __future__ import annotations

import numpy as np
import pytest

from mr_st.data import GradedDataset

COLOURS = "red blue black white green".split()
THINGS = "shoes shirt mouse keyboard mug kettle chair desk lamp hose".split()


def shop(n_queries: int = 12, seed: int = 0) -> GradedDataset:
    """A hand-made shop: 50 items "colour thing", queries for one of them; the same thing is grade 1 in other colours.

    Half of the queries are test, a third dev, the rest train. The last test query has no item above grade 0.
    """
    rng = np.random.default_rng(seed)
    items = [
        {
            "item_id": f"i{c}{t}",
            "title": f"{colour} {thing} no {c}{t}",
            "category_path": ["home", thing],
            "locale": "en-US",
        }
        for t, thing in enumerate(THINGS)
        for c, colour in enumerate(COLOURS)
    ]
    queries, judgments = [], []
    for q in range(n_queries):
        t, c = int(rng.integers(len(THINGS))), int(rng.integers(len(COLOURS)))
        split = ("test", "dev", "test", "train", "test", "dev")[q % 6]
        queries.append({"query_id": f"q{q:02d}", "text": f"{COLOURS[c]} {THINGS[t]} {q}", "locale": "en-US"})
        grades = {f"i{c}{t}": 2}
        grades |= {f"i{other}{t}": 1 for other in range(len(COLOURS)) if other != c and rng.random() < 0.8}
        grades |= {f"i{int(rng.integers(5))}{other}": 0 for other in range(len(THINGS)) if other != t}
        if q == n_queries - 2:
            grades = dict.fromkeys(grades, 0)
        judgments += [{"query_id": f"q{q:02d}", "item_id": i, "grade": g, "split": split} for i, g in grades.items()]
    return GradedDataset.from_tables(queries, items, judgments, name="hand-made shop")


@pytest.fixture(scope="session")
def dataset() -> GradedDataset:
    return shop()


@pytest.fixture(scope="session")
def model(tiny_base):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(tiny_base), device="cpu")


@pytest.fixture(scope="session")
def other_model(tmp_path_factory, tiny_base):
    """The same architecture with other weights, saved and loaded from another path."""
    import torch
    from sentence_transformers import SentenceTransformer

    made = SentenceTransformer(str(tiny_base), device="cpu")
    with torch.no_grad():
        torch.manual_seed(1)
        for parameter in made.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    folder = tmp_path_factory.mktemp("other") / "model"
    made.save(str(folder), create_model_card=False)
    return SentenceTransformer(str(folder), device="cpu")


@pytest.fixture(scope="session")
def report(model, dataset):
    from mr_st.evaluation import evaluate_model

    return evaluate_model(model, dataset, task_name="Shop", ks=(1, 5, 10), model_name="test/tiny")
