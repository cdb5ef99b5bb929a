"""What a spelling augmentation did: how many queries have a variant, and how far the variants are from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mr_st.measures.plots import OKABE_ITO
from mr_st.text.spelling import edit_distance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MisspeltReport", "plot_edit_distances"]


@dataclass
class MisspeltReport:
    """Counts of one augmentation.

    Args:
        way: additive, in-place, pairs or regularise.
        split: Whose queries.
        share: What was asked for.
        seed: Of the draw.
        n_queries: Clean queries of the split, for each of which a misspelling was tried.
        n_variants: Those that got one.
        n_pairs: Judged pairs that have a misspelt query now.
        n_without_variant: Clean queries for which none was found: nothing may be changed, or all draws were refused.
        n_refused: Draws that some other query has as its text.
        n_already_misspelt: Queries of the split that are misspellings themselves, and were passed over.
        n_in_other_splits: Queries passed over because another split has judgments of them too (in-place only).
        edit_distances: Edit distance (code points, transpositions count one) -> variants.
        locales: Locale -> queries, variants, share and edit_distances of it.
    """

    way: str
    split: str
    share: float
    seed: int
    n_queries: int = 0
    n_variants: int = 0
    n_pairs: int = 0
    n_without_variant: int = 0
    n_refused: int = 0
    n_already_misspelt: int = 0
    n_in_other_splits: int = 0
    edit_distances: dict[int, int] = field(default_factory=dict)
    locales: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def share_with_variant(self) -> float:
        """Share of the split's clean queries that got a variant; 0 where there are none."""
        return self.n_variants / self.n_queries if self.n_queries else 0.0

    def count(self, locales: Sequence[str], variants: Sequence[tuple[str, str, str]]) -> None:
        """Fill the counts.

        Args:
            locales: Of each clean query.
            variants: (clean text, misspelt text, locale) of each variant.
        """
        self.n_queries, self.n_variants = len(locales), len(variants)
        measured = [(locale, edit_distance(clean, misspelt)) for clean, misspelt, locale in variants]
        self.edit_distances = _histogram([distance for _, distance in measured])
        for locale, n_queries in sorted(Counter(locales).items()):
            here = [distance for other, distance in measured if other == locale]
            self.locales[locale] = {
                "queries": n_queries,
                "variants": len(here),
                "share": round(len(here) / n_queries, 4),
                "edit_distances": _histogram(here),
            }

    def with_pairs(self, n_pairs: int) -> MisspeltReport:
        """The report with the number of judged pairs that have a misspelt query now."""
        return replace(self, n_pairs=n_pairs)

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON (distances as text keys)."""
        counts = {name: value for name, value in self.__dict__.items() if name not in ("edit_distances", "locales")}
        return {
            **counts,
            "share_with_variant": round(self.share_with_variant, 4),
            "edit_distances": _keyed_by_text(self.edit_distances),
            "locales": {
                locale: {**facts, "edit_distances": _keyed_by_text(facts["edit_distances"])}
                for locale, facts in self.locales.items()
            },
        }


def plot_edit_distances(report: MisspeltReport) -> Figure:
    """Bars: the share of the variants at each edit distance, one colour a locale.

    Raises:
        ValueError: the report has no variant.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = {locale: facts for locale, facts in report.locales.items() if facts["variants"]}
    if not shown:
        raise ValueError("the report has no variant to plot")
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    distances = range(1, max(report.edit_distances) + 1)
    width = 0.8 / len(shown)
    for at, (locale, facts) in enumerate(shown.items()):
        left = [distance + (at - (len(shown) - 1) / 2) * width for distance in distances]
        heights = [facts["edit_distances"].get(distance, 0) / facts["variants"] for distance in distances]
        axes.bar(
            left, heights, width, color=OKABE_ITO[at % len(OKABE_ITO)], label=f"{locale}, n={facts['variants']:,}"
        )
    axes.set_xticks(list(distances))
    axes.set_xlabel("edit distance of the variant")
    axes.set_ylabel("share of variants")
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def _histogram(distances: Sequence[int]) -> dict[int, int]:
    return dict(sorted(Counter(distances).items()))


def _keyed_by_text(histogram: dict[int, int]) -> dict[str, int]:
    return {str(distance): count for distance, count in histogram.items()}
