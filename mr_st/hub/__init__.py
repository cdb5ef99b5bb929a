"""Publishing: the card, made from measured results, and the way to a folder or to the Hub."""

from mr_st.hub.card import build_card, check_card
from mr_st.hub.publish import Publication, publish

__all__ = ["Publication", "build_card", "check_card", "publish"]
