"""The towers: SentenceTransformers with a side for queries and one for items."""

from mr_st.models.loading import MINILM_HUB_ID, load_sentence_transformer, resolve_base
from mr_st.models.lora import add_lora, has_lora, merge_lora, save_lora_base
from mr_st.models.matryoshka import matryoshka_dims, truncate_tower
from mr_st.models.two_tower import build_two_tower

__all__ = [
    "MINILM_HUB_ID",
    "add_lora",
    "build_two_tower",
    "has_lora",
    "load_sentence_transformer",
    "matryoshka_dims",
    "merge_lora",
    "resolve_base",
    "save_lora_base",
    "truncate_tower",
]
