"""Pure numbers: metrics of a ranking, separability of the grades, significance, and the figures."""

from mr_st.measures.judged import ABSENT, UNJUDGED, Judged
from mr_st.measures.metrics import gains_of, judged_share, ndcg, precision, recall, run_order
from mr_st.measures.plots import plot_margins, plot_similarity_by_grade, save_figure
from mr_st.measures.separability import Margins, SimilarityHistogram, grade_pairs, margins, similarity_histogram
from mr_st.measures.significance import (
    INTERVAL_METHOD,
    Interval,
    bootstrap_interval,
    paired_bootstrap,
    paired_permutation_test,
)

__all__ = [
    "ABSENT",
    "INTERVAL_METHOD",
    "UNJUDGED",
    "Interval",
    "Judged",
    "Margins",
    "SimilarityHistogram",
    "bootstrap_interval",
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
    "run_order",
    "save_figure",
    "similarity_histogram",
]
