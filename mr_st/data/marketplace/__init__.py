"""A seeded synthetic shop whose relevance policy is known, so that every pair's true grade is known."""

from mr_st.data.marketplace.generate import load_marketplace
from mr_st.data.marketplace.judge import MarketplacePolicy
from mr_st.data.marketplace.policy import Intent, Listing, grade
from mr_st.data.marketplace.world import SIZES

__all__ = ["SIZES", "Intent", "Listing", "MarketplacePolicy", "grade", "load_marketplace"]
