"""Top-k search behind one protocol."""

from mr_st.search.exact import ExactSearcher
from mr_st.search.protocol import QueryBatch, Searcher, TopK

__all__ = ["ExactSearcher", "QueryBatch", "Searcher", "TopK"]
