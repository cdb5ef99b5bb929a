"""How well an annotator agrees with people: figures, their intervals and calibration, and two annotators compared."""

from mr_st.annotation.agreement.calibration import (
    calibrated_apart,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
)
from mr_st.annotation.agreement.compared import compare_annotators
from mr_st.annotation.agreement.confusion import cohen_kappa
from mr_st.annotation.agreement.figures import agreement
from mr_st.annotation.agreement.plot import plot_agreement

__all__ = [
    "agreement",
    "calibrated_apart",
    "cohen_kappa",
    "compare_annotators",
    "expected_calibration_error",
    "fit_temperature",
    "negative_log_likelihood",
    "plot_agreement",
]
