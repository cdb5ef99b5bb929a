"""More training pairs from the ones at hand: misspelt queries, synthetic queries, and golden test sets."""
