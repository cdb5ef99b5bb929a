"""How much the similarity distributions of two grades overlap, by kernel densities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mr_st.measures.margins import checked_similarities

__all__ = ["GradeDensities", "overlap_coefficient", "overlap_of", "silverman_bandwidth"]

_N_POINTS = 256
_REACH = 4.0  # how many bandwidths the grid goes beyond the outermost similarity


def silverman_bandwidth(values: np.ndarray) -> float:
    """Bandwidth of a Gaussian kernel density; 0 where all values are equal.

    Source: Silverman, 1986, equation 3.31: 0.9 times the lesser of the deviation and the quartile range / 1.34, times
    n to the power -1/5.
    """
    deviation = float(np.std(values))
    upper, lower = np.quantile(values, [0.75, 0.25])
    return 0.9 * min(deviation, (upper - lower) / 1.34 or deviation) * len(values) ** -0.2


@dataclass(frozen=True)
class GradeDensities:
    """A common grid for the similarity distributions of all grades, and how each is smoothed.

    Args:
        bins: int64 (m,), the grid point nearest to each pair.
        kernels: Grade to its smoothing matrix, float32 (P, P); a grade without pairs has none.
        bandwidths: Grade to the deviation of its kernel.
    """

    bins: np.ndarray
    kernels: dict[int, np.ndarray]
    bandwidths: dict[int, float]

    @property
    def n_points(self) -> int:
        """Points of the grid."""
        return _N_POINTS

    @classmethod
    def over(cls, similarities: np.ndarray, grades: np.ndarray) -> GradeDensities:
        """The grid over the similarities' range and a little beyond; each grade's bandwidth is Silverman's, at least
        one step of the grid.

        Args:
            similarities: float (m,), finite.
            grades: integers (m,).
        """
        present = [int(grade) for grade in np.unique(grades)]
        widths = {grade: silverman_bandwidth(similarities[grades == grade]) for grade in present}
        least, greatest = (similarities.min(), similarities.max()) if len(similarities) else (0.0, 0.0)
        span = max(greatest - least, 1e-9)
        reach = max(_REACH * max(widths.values(), default=0.0), 0.05 * span)
        points, step = np.linspace(least - reach, greatest + reach, _N_POINTS, retstep=True)
        bins = np.rint((similarities - points[0]) / step).astype(np.int64)
        widths = {grade: max(width, float(step)) for grade, width in widths.items()}
        apart = points[:, None] - points
        kernels = {grade: np.exp(-0.5 * (apart / width) ** 2).astype(np.float32) for grade, width in widths.items()}
        return cls(bins, kernels, widths)

    def shares(self, counts: np.ndarray) -> dict[int, np.ndarray]:
        """Each grade's density at the grid's points, with sum 1, from counts there.

        Args:
            counts: float (G, P, R), R samples at once.

        Returns:
            Grade to float32 (P, R), NaN in a sample without a pair of the grade; grades that are present only.
        """
        densities = {grade: kernel @ counts[grade].astype(np.float32) for grade, kernel in self.kernels.items()}
        with np.errstate(invalid="ignore", divide="ignore"):
            return {grade: density / density.sum(axis=0) for grade, density in densities.items()}


def overlap_of(shares: Mapping[int, np.ndarray], high: int, low: int, n_samples: int) -> np.ndarray:
    """Overlap coefficient of two grades; float64 (R,), NaN where a grade has no pair in a sample.

    Args:
        shares: Of the R samples, as :meth:`GradeDensities.shares` gives them.
        high, low: The two grades.
        n_samples: R.
    """
    if high not in shares or low not in shares:
        return np.full(n_samples, np.nan)
    return np.minimum(shares[high], shares[low]).sum(axis=0, dtype=np.float64)


def overlap_coefficient(similarities: np.ndarray, grades: np.ndarray, high: int, low: int) -> float:
    """The overlap coefficient: the area below both of the grades' similarity densities.

    0: no similarity is likely under both; 1: the two are alike. Estimated with Gaussian kernel densities (Silverman's
    bandwidth for each grade) on a grid of 256 points; few pairs of a grade (below some 30) make it a rough guess.

    Args:
        similarities: float (m,).
        grades: integers (m,).
        high, low: The two grades; other pairs do not count.

    Returns:
        0 to 1; NaN where one of them has no pair.

    Raises:
        ValueError: a similarity is not finite.

    Source: Weitzman, 1970 (the coefficient); Schmid and Schmidt, 2006 (estimation by kernel densities).

    Example:
        >>> round(overlap_coefficient(np.array([0.1, 0.12, 0.8, 0.82]), np.array([0, 0, 1, 1]), 1, 0), 6)
        0.0
    """
    grades = np.asarray(grades, dtype=np.int64)
    similarities = checked_similarities(similarities, len(grades))
    counted = (grades == high) | (grades == low)
    similarities, grades = similarities[counted], grades[counted]
    grid = GradeDensities.over(similarities, grades)
    n_columns = (max(high, low) + 1) * grid.n_points
    counts = np.bincount(grades * grid.n_points + grid.bins, minlength=n_columns)
    return float(overlap_of(grid.shares(counts.reshape(-1, grid.n_points, 1)), high, low, 1)[0])
