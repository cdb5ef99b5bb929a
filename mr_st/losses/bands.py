"""Where the similarities of each grade should lie: the boundaries and optima of the multi-class circle loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mr_st.errors import UsageError

__all__ = ["Bands"]


@dataclass(frozen=True)
class Bands:
    """The table of boundaries and optima, one row a grade. Source: arXiv 2602.17654, section 4.2.

    As the higher grade of a pair, a grade's similarities should lie above ``lower[g]`` and are pulled towards
    ``optimum_up[g]``; as the lower grade, below ``upper[g]`` and towards ``optimum_down[g]``. Grade 0 is never the
    higher one and the top grade never the lower one: those entries are None.

    Args:
        lower: D_gp, for grades ``0 .. G-1``; None for grade 0.
        upper: D_gn; None for the top grade.
        optimum_up: O_gp; None for grade 0.
        optimum_down: O_gn; None for the top grade.

    Raises:
        UsageError: tables of different length, a missing entry, or a grade that overlaps the one below it.
    """

    lower: tuple[float | None, ...]
    upper: tuple[float | None, ...]
    optimum_up: tuple[float | None, ...]
    optimum_down: tuple[float | None, ...]

    def __post_init__(self) -> None:
        for name in ("lower", "upper", "optimum_up", "optimum_down"):
            values = getattr(self, name)
            object.__setattr__(self, name, tuple(None if v is None else float(v) for v in values))
        n = len(self.lower)
        if n < 2 or any(len(t) != n for t in (self.upper, self.optimum_up, self.optimum_down)):
            raise UsageError(f"bands need two or more grades and tables of one length; got {self}")
        for table, free in ((self.lower, 0), (self.optimum_up, 0), (self.upper, n - 1), (self.optimum_down, n - 1)):
            missing = [g for g in range(n) if g != free and table[g] is None]
            if missing:
                raise UsageError(f"bands: grade {missing[0]} has no entry in {table}; only grade {free} may be None")
        for grade in range(1, n):
            below, above = self.upper[grade - 1], self.lower[grade]
            assert below is not None
            assert above is not None
            if below >= above:
                raise UsageError(
                    f"bands: grade {grade} begins at {above}, not above the end {below} of grade {grade - 1}"
                )

    @property
    def n_grades(self) -> int:
        """How many grades the table has."""
        return len(self.lower)

    @classmethod
    def paper(cls, optimum_down_1: float = 0.3) -> Bands:
        """The paper's values for three grades.

        Args:
            optimum_down_1: O_1n. The paper prints .3, which is not the reflection of its boundary .6 about the
                middle .5 of the band (that is .4, as :meth:`evenly_spaced` gives).
        """
        return cls(
            lower=(None, 0.4, 0.75),
            upper=(0.25, 0.6, None),
            optimum_up=(None, 0.6, 1.25),
            optimum_down=(-0.25, optimum_down_1, None),
        )

    @classmethod
    def evenly_spaced(cls, n_grades: int, low: float = 0.25, high: float = 0.75, gap_to_width: float = 0.75) -> Bands:
        """Bands of one width with one gap between them, for any number of grades (ours).

        The lowest grade ends at ``low``, the top one begins at ``high``; between them lie ``n_grades - 2`` bands. The
        optima are the boundaries reflected about the grade's target: 0 for the lowest, 1 for the top one, the middle
        of its band for the others. Three grades give the paper's table but for O_1n (.4, the paper's is .3); two
        grades give the circle loss with the margin ``low`` when ``high = 1 - low``.

        Args:
            n_grades: How many grades, at least 2.
            low: Where the lowest grade ends.
            high: Where the top grade begins.
            gap_to_width: The gap between two bands over the width of a band.

        Example:
            >>> Bands.evenly_spaced(3) == Bands.paper(optimum_down_1=0.4)
            True
            >>> Bands.evenly_spaced(2)
            Bands(lower=(None, 0.75), upper=(0.25, None), optimum_up=(None, 1.25), optimum_down=(-0.25, None))
        """
        if n_grades < 2 or not low < high or gap_to_width <= 0:
            raise UsageError(
                f"bands need n_grades >= 2, low < high and gap_to_width > 0; got {n_grades}, {low}, {high}, "
                f"{gap_to_width}"
            )
        width = (high - low) / ((n_grades - 1) * gap_to_width + n_grades - 2)
        step = width * (1 + gap_to_width)
        lower = [None, *(round(low + g * step - width, 12) for g in range(1, n_grades))]
        upper = [*(round(low + g * step, 12) for g in range(n_grades - 1)), None]
        inner = range(1, n_grades - 1)
        return cls(
            lower=tuple(lower),
            upper=tuple(upper),
            optimum_up=(None, *(upper[g] for g in inner), round(2 - high, 12)),
            optimum_down=(round(-low, 12), *(lower[g] for g in inner), None),
        )

    def to_dict(self) -> dict[str, list[float | None]]:
        """The four tables as JSON- and YAML-ready lists."""
        return {name: list(getattr(self, name)) for name in ("lower", "upper", "optimum_up", "optimum_down")}

    @classmethod
    def of(cls, value: Bands | str | int | Mapping[str, Any]) -> Bands:
        """Bands from what a recipe may say: "paper", a number of grades, or the tables of :meth:`to_dict`."""
        if isinstance(value, Bands):
            return value
        if value == "paper":
            return cls.paper()
        if isinstance(value, int):
            return cls.evenly_spaced(value)
        if isinstance(value, Mapping):
            try:
                return cls(**{name: tuple(table) for name, table in value.items()})
            except TypeError as error:
                raise UsageError(f"bands: {error}; expected lower, upper, optimum_up and optimum_down") from error
        raise UsageError(f"bands is {value!r}; expected 'paper', a number of grades, or the four tables")
