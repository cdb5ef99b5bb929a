from __future__ import annotations

from pathlib import Path

import pytest

from mr_st.data import GradedDataset
from mr_st.evaluation import Collection


@pytest.fixture(scope="session")
def cross_encoders(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of tiny random CrossEncoders: with one output, another such, and one output a grade."""
    import torch
    from sentence_transformers import CrossEncoder

    folder = tmp_path_factory.mktemp("cross")
    made = {}
    for seed, (name, n) in enumerate({"one": 1, "other": 1, "three": 3}.items()):
        torch.manual_seed(seed)
        encoder = CrossEncoder(str(tiny_base), num_labels=n, device="cpu")
        with torch.no_grad():
            encoder.model.classifier.weight.mul_(20)  # so that scores are apart
        encoder.save(str(folder / name))
        made[name] = folder / name
    return made


@pytest.fixture(scope="session")
def other_folder(other_model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("other_folder") / "encoder"
    other_model.save(str(folder), create_model_card=False)
    return folder


@pytest.fixture(scope="session")
def dataset(dataset: GradedDataset) -> GradedDataset:
    """The hand-made shop with titles of several lengths, and the thing more than once in some."""
    items = [
        {**item, "title": item["title"] + [" of red steel", "", f" for the {item['title'].split()[1]} home"][row % 3]}
        for row, item in enumerate(dataset.items.to_list())
    ]
    return GradedDataset.from_tables(
        dataset.queries.to_list(), items, dataset.judgments.to_list(), name="the shop in more words"
    )


@pytest.fixture(scope="session")
def twice(dataset: GradedDataset) -> GradedDataset:
    """The hand-made shop with each item a second time under another id, so that scores tie."""
    items = dataset.items.to_list()
    return GradedDataset.from_tables(
        dataset.queries.to_list(),
        [*items, *({**item, "item_id": f"{item['item_id']}-copy"} for item in items)],
        dataset.judgments.to_list(),
        name="the shop twice",
    )


@pytest.fixture(scope="session")
def catalogue(dataset: GradedDataset) -> Collection:
    return Collection.from_dataset(dataset)


@pytest.fixture(scope="session")
def pool(dataset: GradedDataset) -> Collection:
    return Collection.from_dataset(dataset, judged_pool=True)
