"""The labellers: anything that grades pairs of a query and an item."""

from mr_st.annotation.audit import Audit, FlagSettings
from mr_st.annotation.cross_encoder import CrossEncoderAnnotator
from mr_st.annotation.endpoint import EndpointAnnotator, EndpointStats
from mr_st.annotation.ensemble import EnsembleAnnotator, EnsembleOpinions
from mr_st.annotation.folded import FoldedAnnotator, cross_fit_annotators
from mr_st.annotation.guideline import Guideline
from mr_st.annotation.judgments import JudgmentAnnotator
from mr_st.annotation.llm import LLMAnnotator
from mr_st.annotation.loading import load_annotator
from mr_st.annotation.prompt import GradePrompt
from mr_st.annotation.protocol import (
    Annotations,
    Annotator,
    BudgetSpentError,
    GradedPart,
    PairTable,
    StreamingAnnotator,
    UnansweredError,
)
from mr_st.annotation.review import ReviewSheet, read_answers, write_review_sheet
from mr_st.annotation.running import AnnotationRun, annotate
from mr_st.annotation.similarity import SimilarityAnnotator
from mr_st.annotation.store import LabelStore, StoredAnnotator

__all__ = [
    "AnnotationRun",
    "Annotations",
    "Annotator",
    "Audit",
    "BudgetSpentError",
    "CrossEncoderAnnotator",
    "EndpointAnnotator",
    "EndpointStats",
    "EnsembleAnnotator",
    "EnsembleOpinions",
    "FlagSettings",
    "FoldedAnnotator",
    "GradePrompt",
    "GradedPart",
    "Guideline",
    "JudgmentAnnotator",
    "LLMAnnotator",
    "LabelStore",
    "PairTable",
    "ReviewSheet",
    "SimilarityAnnotator",
    "StoredAnnotator",
    "StreamingAnnotator",
    "UnansweredError",
    "annotate",
    "cross_fit_annotators",
    "load_annotator",
    "read_answers",
    "write_review_sheet",
]
