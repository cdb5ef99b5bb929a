"""What is judged: datasets, where they come from, and the training rows made of them."""

from mr_st.data.dataset import GradedDataset
from mr_st.data.instances import build_instances
from mr_st.data.item_text import format_item
from mr_st.data.pairs import JudgedPairs, PairTable

__all__ = ["GradedDataset", "JudgedPairs", "PairTable", "build_instances", "format_item"]
