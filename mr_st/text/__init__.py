"""Pure text: tokens and what two texts share."""

from mr_st.text.normalise import normalise, tokens
from mr_st.text.overlap import pair_overlaps, token_overlap

__all__ = ["normalise", "pair_overlaps", "token_overlap", "tokens"]
