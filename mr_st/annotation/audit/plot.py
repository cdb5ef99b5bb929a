"""The audit's figure: clicks against what the query would have given an item of that grade, flagged pairs marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["engagement_figures"]

_WIDTH, _HEIGHT = 320, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 44
_MOST = 1_500  # unmarked pairs drawn in one panel
_UP, _DOWN = "M0 -4.6L4.4 3.2H-4.4Z", "M0 4.6L4.4 -3.2H-4.4Z"


def engagement_figures(
    flagged: pl.DataFrame, others: pl.DataFrame | None, grade_names: Sequence[str], *, much: str
) -> list[tuple[str, Markup]]:
    """One panel for each label that a pair has: a heading and an inline SVG that follows the page's colours.

    Both axes are logarithmic in clicks + 1. Of many unmarked pairs every k-th is drawn, which the heading says.

    Args:
        flagged: grade, reason, clicks, expected (clicks at the label's grade).
        others: The same but for the reason: pairs that were looked at and not flagged; None where they are not known.
        grade_names: What to call grade 0, 1, ...
        much: The reason of pairs with more engagement than expected.
    """
    from markupsafe import Markup, escape

    others = flagged.clear() if others is None else others
    both = pl.concat([flagged.select("clicks", "expected"), others.select("clicks", "expected")])
    if both.is_empty():
        return []
    limits = [float(np.log1p(max(1.0, float(np.asarray(both[name].max()))))) for name in ("expected", "clicks")]
    panels = []
    for grade, name in enumerate(grade_names):
        marked, plain = (table.filter(pl.col("grade") == grade) for table in (flagged, others))
        if marked.is_empty() and plain.is_empty():
            continue
        step = -(-len(plain) // _MOST)
        shown = plain.sort("clicks", "expected").gather_every(step) if step > 1 else plain
        body = [_axes(limits)]
        body += [f'<circle class="plain" r="2.2" cx="{x}" cy="{y}"/>' for x, y in _places(shown, limits)]
        for (x, y), reason in zip(_places(marked, limits), marked["reason"], strict=True):
            kind, path = ("much", _UP) if reason == much else ("little", _DOWN)
            body.append(f'<path class="{kind}" d="{path}" transform="translate({x} {y})"/>')
        of = f"1 in {step} of {len(plain):,}" if step > 1 else f"{len(plain):,}"
        about = f"{len(marked):,} flagged, {of} others" if len(others) else f"{len(marked):,} flagged"
        label = escape(f"Label {grade}, {name}: clicks against expected clicks; {about}")
        svg = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">{"".join(body)}</svg>'
        panels.append((f"Label {grade}, {name}: {about}", Markup(svg)))
    return panels


def _places(table: pl.DataFrame, limits: list[float]) -> list[tuple[float, float]]:
    x = _LEFT + np.log1p(table["expected"].to_numpy()) / limits[0] * (_WIDTH - _LEFT - _RIGHT)
    y = _HEIGHT - _BOTTOM - np.log1p(table["clicks"].to_numpy()) / limits[1] * (_HEIGHT - _TOP - _BOTTOM)
    return list(zip(np.round(x, 1).tolist(), np.round(y, 1).tolist(), strict=True))


def _axes(limits: list[float]) -> str:
    """Grid, tick labels, names, and the line on which pairs are clicked as often as expected."""
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = []
    for value in _ticks(limits[0]):
        x = round(_LEFT + np.log1p(value) / limits[0] * (right - _LEFT), 1)
        parts.append(f'<path class="grid" d="M{x} {_TOP}V{bottom}"/>')
        parts.append(f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{value:,}</text>')
    for value in _ticks(limits[1]):
        y = round(bottom - np.log1p(value) / limits[1] * (bottom - _TOP), 1)
        parts.append(f'<path class="grid" d="M{_LEFT} {y}H{right}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{value:,}</text>')
    end = min(limits)
    x, y = _LEFT + end / limits[0] * (right - _LEFT), bottom - end / limits[1] * (bottom - _TOP)
    parts.append(f'<path class="even" d="M{_LEFT} {bottom}L{x:.1f} {y:.1f}"/>')
    parts.append(f'<text x="{(_LEFT + right) / 2}" y="{_HEIGHT - 8}" text-anchor="middle">clicks expected</text>')
    parts.append(
        f'<text transform="translate(12 {(_TOP + bottom) / 2}) rotate(-90)" text-anchor="middle">clicks</text>'
    )
    return "".join(parts)


def _ticks(limit: float) -> list[int]:
    steps = [0, 1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 1_000_000]
    ticks = [value for value in steps if np.log1p(value) <= limit + 1e-9]
    return ticks if len(ticks) <= 6 else [value for value in ticks if str(value)[0] != "3"]
