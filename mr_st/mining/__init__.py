"""The miner: what the model retrieves, graded again, and the hard part of it kept."""

from mr_st.mining.candidates import Candidates, candidates_of, drop_judged, found_by, merge_sources
from mr_st.mining.index_stage import HnswSettings
from mr_st.mining.mine import mine
from mr_st.mining.refinement import RefinementSet, merge_rounds
from mr_st.mining.round import ShardSizes
from mr_st.mining.select import Selection, boundary_rank, cap_per_query, is_judged, select_pairs
from mr_st.mining.settings import MiningSettings

__all__ = [
    "Candidates",
    "HnswSettings",
    "MiningSettings",
    "RefinementSet",
    "Selection",
    "ShardSizes",
    "boundary_rank",
    "candidates_of",
    "cap_per_query",
    "drop_judged",
    "found_by",
    "is_judged",
    "merge_rounds",
    "merge_sources",
    "mine",
    "select_pairs",
]
