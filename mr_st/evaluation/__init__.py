"""The judgement: reports with their protocol, the evaluator for training, and comparisons."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mr_st.evaluation.bi_encoder import BiEncoder
from mr_st.evaluation.collection import Collection
from mr_st.evaluation.compare import Comparison, compare, compare_several
from mr_st.evaluation.evaluate import evaluate_model, evaluate_system, evaluation_key
from mr_st.evaluation.metric_folder import metric_folder
from mr_st.evaluation.naming import as_mteb_model, folder_name, model_identity
from mr_st.evaluation.report import GradedReport
from mr_st.evaluation.results import find_reports
from mr_st.evaluation.side_by_side import SideBySide, run_side_by_side, side_by_side
from mr_st.evaluation.slices import Slices, compare_slices
from mr_st.evaluation.system import System

if TYPE_CHECKING:
    from mr_st.evaluation.evaluator import GradedRetrievalEvaluator

__all__ = [
    "BiEncoder",
    "Collection",
    "Comparison",
    "GradedReport",
    "GradedRetrievalEvaluator",
    "SideBySide",
    "Slices",
    "System",
    "as_mteb_model",
    "compare",
    "compare_several",
    "compare_slices",
    "evaluate_model",
    "evaluate_system",
    "evaluation_key",
    "find_reports",
    "folder_name",
    "metric_folder",
    "model_identity",
    "run_side_by_side",
    "side_by_side",
]


def __getattr__(name: str) -> Any:
    # the evaluator is a sentence-transformers class: reading a report must not load torch
    if name == "GradedRetrievalEvaluator":
        return import_module("mr_st.evaluation.evaluator").GradedRetrievalEvaluator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
