"""Pure numbers: metrics of a ranking, separability of the grades, significance, and the figures."""

from mr_st.measures.gains import GAIN_SCHEMES, gain_table, gains_of
from mr_st.measures.judged import ABSENT, UNJUDGED, Judged
from mr_st.measures.metrics import average_precision, judged_share, ndcg, precision, recall, reciprocal_rank
from mr_st.measures.plots import plot_margins, plot_similarity_by_grade, save_figure
from mr_st.measures.separability import Margins, SimilarityHistogram, grade_pairs, margins, similarity_histogram
from mr_st.measures.significance import (
    INTERVAL_METHOD,
    Interval,
    bootstrap_interval,
    paired_bootstrap,
    paired_permutation_test,
)
from mr_st.measures.trec import NamedRun, run_order, trec_order

__all__ = [
    "ABSENT",
    "GAIN_SCHEMES",
    "INTERVAL_METHOD",
    "UNJUDGED",
    "Interval",
    "Judged",
    "Margins",
    "NamedRun",
    "SimilarityHistogram",
    "average_precision",
    "bootstrap_interval",
    "gain_table",
    "gains_of",
    "grade_pairs",
    "judged_share",
    "margins",
    "ndcg",
    "paired_bootstrap",
    "paired_permutation_test",
    "plot_margins",
    "plot_similarity_by_grade",
    "precision",
    "recall",
    "reciprocal_rank",
    "run_order",
    "save_figure",
    "similarity_histogram",
    "trec_order",
]
