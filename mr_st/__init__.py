"""mr_st: graded-relevance embedding models for e-commerce search.

The public names below are imported on first use, so that ``import mr_st`` loads neither torch nor datasets.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "GradedDataset": "mr_st.data",
    "build_instances": "mr_st.data",
    "GradedCollator": "mr_st.training",
    "GradedSupConLoss": "mr_st.losses",
    "MultiClassCircleLoss": "mr_st.losses",
    "build_two_tower": "mr_st.models",
    "mine": "mr_st.mining",
    "GradedRetrievalEvaluator": "mr_st.evaluation",
    "publish": "mr_st.hub",
    "Recipe": "mr_st.recipes",
    "run_recipe": "mr_st.recipes",
}

__all__ = [
    "GradedCollator",
    "GradedDataset",
    "GradedRetrievalEvaluator",
    "GradedSupConLoss",
    "MultiClassCircleLoss",
    "Recipe",
    "__version__",
    "build_instances",
    "build_two_tower",
    "mine",
    "publish",
    "run_recipe",
]

if TYPE_CHECKING:
    from mr_st.data import GradedDataset, build_instances
    from mr_st.evaluation import GradedRetrievalEvaluator
    from mr_st.hub.publish import publish
    from mr_st.losses import GradedSupConLoss, MultiClassCircleLoss
    from mr_st.mining.mine import mine
    from mr_st.models import build_two_tower
    from mr_st.recipes import Recipe, run_recipe
    from mr_st.training import GradedCollator


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mr_st' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
