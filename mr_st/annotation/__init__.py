"""The labellers: anything that grades pairs of a query and an item."""

from mr_st.annotation.cross_encoder import CrossEncoderAnnotator
from mr_st.annotation.judgments import JudgmentAnnotator
from mr_st.annotation.protocol import Annotations, Annotator, PairTable

__all__ = ["Annotations", "Annotator", "CrossEncoderAnnotator", "JudgmentAnnotator", "PairTable"]
