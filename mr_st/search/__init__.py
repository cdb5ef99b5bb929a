"""Top-k search behind one protocol."""

from mr_st.search.bm25 import Bm25Searcher
from mr_st.search.exact import ExactSearcher
from mr_st.search.hnsw import HnswSearcher
from mr_st.search.hybrid import HybridSearcher
from mr_st.search.protocol import QueryBatch, Searcher, TopK

__all__ = ["Bm25Searcher", "ExactSearcher", "HnswSearcher", "HybridSearcher", "QueryBatch", "Searcher", "TopK"]
