"""The miner: what the model retrieves, graded again, and the hard part of it kept."""

from mr_st.mining.mine import mine
from mr_st.mining.refinement import RefinementSet
from mr_st.mining.select import Selection, boundary_rank, cap_per_query, is_judged, select_pairs

__all__ = ["RefinementSet", "Selection", "boundary_rank", "cap_per_query", "is_judged", "mine", "select_pairs"]
