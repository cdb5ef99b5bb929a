"""More training pairs from the ones at hand: misspelt queries, synthetic queries, and golden test sets."""

from mr_st.augment.misspelt import add_misspelt_queries, misspelt_pairs, substitute_misspelt_queries

__all__ = ["add_misspelt_queries", "misspelt_pairs", "substitute_misspelt_queries"]
