"""What searches: lexical, hybrid, reranked, random, and others' runs, beside the bi-encoder; each one a System."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mr_st.evaluation.systems.bm25 import Bm25System
from mr_st.evaluation.systems.hybrid import HybridSystem
from mr_st.evaluation.systems.random import RandomSystem
from mr_st.evaluation.systems.reranked import RerankedSystem
from mr_st.evaluation.systems.run_file import RunCoverage, RunFile

if TYPE_CHECKING:
    from mr_st.evaluation.systems.pair_scorers import AnnotatorScorer, CrossEncoderScorer, load_pair_scorer
    from mr_st.evaluation.systems.spec import load_system, read_spec

__all__ = [
    "AnnotatorScorer",
    "Bm25System",
    "CrossEncoderScorer",
    "HybridSystem",
    "RandomSystem",
    "RerankedSystem",
    "RunCoverage",
    "RunFile",
    "load_pair_scorer",
    "load_system",
    "read_spec",
]

_HOME = {
    "AnnotatorScorer": "pair_scorers",
    "CrossEncoderScorer": "pair_scorers",
    "load_pair_scorer": "pair_scorers",
    "load_system": "spec",
    "read_spec": "spec",
}


def __getattr__(name: str) -> Any:
    # these bring pydantic and the annotators
    if name in _HOME:
        return getattr(import_module(f"mr_st.evaluation.systems.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
