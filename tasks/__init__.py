"""Benchmark tasks: one file a task, found by the registry."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mr_st.tasks.registry import get_task, list_tasks, task_class

if TYPE_CHECKING:
    from mr_st.tasks.base import GradedRetrievalTask
    from mr_st.tasks.esci import ESCIGradedReranking, ESCIRetrieval
    from mr_st.tasks.golden import GoldenReranking, GoldenRetrieval
    from mr_st.tasks.marketplace import MarketplaceReranking, MarketplaceRetrieval
    from mr_st.tasks.running import run_mteb
    from mr_st.tasks.wands import WANDSReranking, WANDSRetrieval

__all__ = [
    "ESCIGradedReranking",
    "ESCIRetrieval",
    "GoldenReranking",
    "GoldenRetrieval",
    "GradedRetrievalTask",
    "MarketplaceReranking",
    "MarketplaceRetrieval",
    "WANDSReranking",
    "WANDSRetrieval",
    "get_task",
    "list_tasks",
    "run_mteb",
    "task_class",
]

_HOME = {
    "ESCIGradedReranking": "esci",
    "ESCIRetrieval": "esci",
    "GoldenReranking": "golden",
    "GoldenRetrieval": "golden",
    "GradedRetrievalTask": "base",
    "MarketplaceReranking": "marketplace",
    "MarketplaceRetrieval": "marketplace",
    "WANDSReranking": "wands",
    "WANDSRetrieval": "wands",
    "run_mteb": "running",
}


def __getattr__(name: str) -> Any:
    # mteb takes seconds to import: listing tasks must not wait for it
    if name in _HOME:
        return getattr(import_module(f"mr_st.tasks.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
