"""Pure text: tokens, what two texts share, and how texts are misspelt."""

from mr_st.text.normalise import normalise, tokens
from mr_st.text.overlap import pair_overlaps, token_overlap
from mr_st.text.spelling import SpellingChannel, edit_distance
from mr_st.text.spelling_estimate import estimate_channel

__all__ = [
    "SpellingChannel",
    "edit_distance",
    "estimate_channel",
    "normalise",
    "pair_overlaps",
    "token_overlap",
    "tokens",
]
