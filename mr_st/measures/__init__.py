"""Pure numbers: metrics of a ranking, separability of the grades, significance, and the figures."""

from mr_st.measures.auc import auc, auc_per_query
from mr_st.measures.boundaries import Boundary, Stratum, boundaries
from mr_st.measures.densities import overlap_coefficient
from mr_st.measures.gains import GAIN_SCHEMES, gain_table, gains_of
from mr_st.measures.histograms import SimilarityHistogram, ThresholdCurve, similarity_histogram, threshold_curve
from mr_st.measures.intervals import INTERVAL_METHOD, Interval, bootstrap_interval, bootstrap_intervals
from mr_st.measures.judged import ABSENT, UNJUDGED, Judged
from mr_st.measures.margins import Margins, grade_pairs, margins
from mr_st.measures.metrics import average_precision, judged_share, ndcg, precision, recall, reciprocal_rank
from mr_st.measures.plots import plot_margins, plot_similarity_by_grade, save_figure
from mr_st.measures.separability import GradePair, Separability, separability
from mr_st.measures.significance import holm, paired_bootstrap, paired_permutation_test
from mr_st.measures.threshold_plot import plot_thresholds
from mr_st.measures.thresholds import Threshold, best_threshold, score_threshold
from mr_st.measures.trec import NamedRun, run_order, trec_order

__all__ = [
    "ABSENT",
    "GAIN_SCHEMES",
    "INTERVAL_METHOD",
    "UNJUDGED",
    "Boundary",
    "GradePair",
    "Interval",
    "Judged",
    "Margins",
    "NamedRun",
    "Separability",
    "SimilarityHistogram",
    "Stratum",
    "Threshold",
    "ThresholdCurve",
    "auc",
    "auc_per_query",
    "average_precision",
    "best_threshold",
    "bootstrap_interval",
    "bootstrap_intervals",
    "boundaries",
    "gain_table",
    "gains_of",
    "grade_pairs",
    "holm",
    "judged_share",
    "margins",
    "ndcg",
    "overlap_coefficient",
    "paired_bootstrap",
    "paired_permutation_test",
    "plot_margins",
    "plot_similarity_by_grade",
    "plot_thresholds",
    "precision",
    "recall",
    "reciprocal_rank",
    "run_order",
    "save_figure",
    "score_threshold",
    "separability",
    "similarity_histogram",
    "threshold_curve",
    "trec_order",
]
