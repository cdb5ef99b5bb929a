"""Makes this folder's own annotators importable under ``--import-mode=importlib``; datasets that its tests share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mr_st.annotation import JudgmentAnnotator
from mr_st.data import GradedDataset
from mr_st.data.marketplace import MarketplacePolicy

sys.path.append(str(Path(__file__).parent))


@pytest.fixture(scope="session")
def shop() -> GradedDataset:
    """The tiny marketplace."""
    return GradedDataset.load("marketplace", size="tiny", seed=0)


@pytest.fixture(scope="session")
def shop_policy(shop: GradedDataset) -> JudgmentAnnotator:
    """Its own policy, exact for any of its queries and items."""
    return JudgmentAnnotator(MarketplacePolicy.for_dataset(shop))


@pytest.fixture(scope="session")
def esci(esci_folder: Path) -> GradedDataset:
    """The ESCI sample."""
    return GradedDataset.load(esci_folder)
