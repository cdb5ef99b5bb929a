"""The towers: SentenceTransformers with a side for queries and one for items."""

from mr_st.models.loading import MINILM_HUB_ID, load_sentence_transformer, resolve_base
from mr_st.models.two_tower import build_two_tower

__all__ = ["MINILM_HUB_ID", "build_two_tower", "load_sentence_transformer", "resolve_base"]
