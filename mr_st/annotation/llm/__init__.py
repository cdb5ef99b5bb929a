"""The annotator that is a causal language model on this machine."""

from mr_st.annotation.llm.annotator import LLMAnnotator
from mr_st.annotation.llm.chat import ChatPrompts

__all__ = ["ChatPrompts", "LLMAnnotator"]
