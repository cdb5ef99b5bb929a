"""The grade scale: names, gains, and the mappings from other datasets' labels. The one place that knows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "ESCI_FOUR_GRADES", "ESCI_FOUR_LABELS", "ESCI_LABELS", "THREE_GRADES", "TWO_GRADES", "WANDS_LABELS", "GradeScale",
]  # fmt: skip


@dataclass(frozen=True)
class GradeScale:
    """Ordered integer grades ``0 .. n_grades - 1``, 0 the lowest.

    Args:
        names: What a person calls each grade, lowest first.
        gains: The gain of each grade in NDCG, lowest first, never decreasing; grade 0 has gain 0.

    Raises:
        ValueError: fewer than two grades, names and gains of different length, or gains that fall.

    Example:
        >>> scale = GradeScale()
        >>> scale.n_grades, scale.names[2]
        (3, 'relevant')
        >>> scale.gain_of([2, 0, 1]).tolist()
        [1.0, 0.0, 0.5]
    """

    names: tuple[str, ...] = ("irrelevant", "partial", "relevant")
    gains: tuple[float, ...] = (0.0, 0.5, 1.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "gains", tuple(float(g) for g in self.gains))
        if len(self.names) < 2 or len(self.names) != len(self.gains):
            raise ValueError(f"a scale needs two or more grades, each named and with a gain; got {self}")
        if self.gains[0] != 0.0 or any(b < a for a, b in zip(self.gains, self.gains[1:], strict=False)):
            raise ValueError(f"gains must start at 0 and never fall; got {self.gains}")

    @property
    def n_grades(self) -> int:
        """How many grades there are."""
        return len(self.names)

    def __str__(self) -> str:
        return f"0..{self.n_grades - 1} ({', '.join(self.names)})"

    def gain_of(self, grades: Iterable[int]) -> np.ndarray:
        """Gains (float64, same shape) of an array of grades."""
        import numpy as np

        return np.asarray(self.gains)[np.asarray(grades, dtype=np.int64)]

    def to_dict(self) -> dict[str, Any]:
        """The scale as YAML-ready lists."""
        return {"names": list(self.names), "gains": list(self.gains)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> GradeScale:
        """The inverse of :meth:`to_dict`."""
        return cls(tuple(value["names"]), tuple(value["gains"]))


THREE_GRADES = GradeScale()
"""The default. Partial means substitute or complement. Source of the gains: arXiv 2602.17654, section 5.2."""

TWO_GRADES = GradeScale(("irrelevant", "relevant"), (0.0, 1.0))
"""Binary judgments, as most of BEIR has them."""

ESCI_FOUR_GRADES = GradeScale(("irrelevant", "complement", "substitute", "exact"), (0.0, 0.01, 0.1, 1.0))
"""ESCI's own four labels and gains. Source: arXiv 2206.06588."""

ESCI_LABELS = {"E": 2, "S": 1, "C": 1, "I": 0}
ESCI_FOUR_LABELS = {"E": 3, "S": 2, "C": 1, "I": 0}
WANDS_LABELS = {"Exact": 2, "Partial": 1, "Irrelevant": 0}
