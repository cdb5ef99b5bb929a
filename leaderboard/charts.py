"""The charts of the pages: Vega-Lite specifications made by altair, and the runtime that draws them.

A specification names its data; ``assets/charts.js`` puts rows in and draws. Every row brings its own colour, a CSS
token in the field ``tone`` that the page turns into ``colour``, so that the charts follow the page's theme.

==============  ======================================================================================================
``similarity``  violins of similarity by grade: ``shapes``, ``marks``, ``labels``, ``groups``, made by ``violins.js``
``margins``     violins of the margins of queries by pair of grades; the same data
``size``        quality against the number of parameters: ``points``
``speed``       quality against texts encoded a second: ``points``
==============  ======================================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mr_st.errors import MissingExtraError, require_extra
from mr_st.files import write_text
from mr_st.leaderboard.beside import start_beside
from mr_st.leaderboard.script_files import write_script

if TYPE_CHECKING:
    import altair

__all__ = ["chart_specs", "started_charts", "write_charts"]

_HEIGHT = 300


@contextmanager
def started_charts(out: Path, apart: bool) -> Iterator[None]:
    """Write the charts while something else is done.

    Args:
        out: The site's folder.
        apart: In a process of their own; else when all else is done.
    """
    writer = None
    if apart:
        with suppress(OSError, ValueError):
            writer = start_beside("mr_st.leaderboard.charts:_write_from_text", str(out))
    try:
        yield
        if writer is None or writer.wait():
            write_charts(out)
    finally:
        if writer is not None:
            writer.kill()
            writer.wait()


def _write_from_text(out: str) -> None:
    write_charts(Path(out))


def write_charts(out: Path) -> None:
    """Write ``data/charts.js`` and ``assets/vega.js``; without altair, data that says how to get charts.

    Args:
        out: The site's folder.
    """
    try:
        specs = chart_specs()
        runtime = _runtime()
    except MissingExtraError:
        write_script(out, "charts", {"missing": 'No charts: pip install "mr-st[leaderboard]", then build again.'})
        return
    write_text(out / "assets" / "vega.js", runtime)
    write_script(out, "charts", {"specs": specs})


def chart_specs() -> dict[str, dict[str, Any]]:
    """Every chart's specification by its name, with named data and no rows.

    Raises:
        MissingExtraError: altair is not installed.
    """
    alt: Any = require_extra("altair", "leaderboard")
    return {
        "similarity": _plain(_violins(alt, "similarity of query and item")),
        "margins": _plain(_violins(alt, "average margin of a query", zero=True)),
        "size": _plain(_scatter(alt, "parameters")),
        "speed": _plain(_scatter(alt, "texts encoded a second")),
    }


@cache
def _runtime() -> str:
    """Vega, Vega-Lite and their embedding; what the bundle declares at the top level stays in its own function."""
    converter: Any = require_extra("vl_convert", "leaderboard")
    return "(()=>{\n" + converter.javascript_bundle() + "\n})();\n"


def _violins(alt: Any, title: str, zero: bool = False) -> altair.LayerChart:
    """Areas about numbered places; what stands below each is text in rows of its own."""
    colour = alt.Color("colour:N", scale=None)
    x = alt.X("left:Q", axis=None, scale=alt.Scale(zero=False, nice=False))
    y = alt.Y("y:Q", title=title, scale=alt.Scale(zero=False, nice=False), axis=alt.Axis(tickCount=6))
    shapes = (
        alt.Chart(alt.NamedData("shapes"))
        .mark_area(orient="horizontal", opacity=0.8, line=False)
        .encode(x=x, x2="right:Q", y=y, color=colour, detail="violin:N")
    )
    marks = alt.Chart(alt.NamedData("marks"))
    halo = marks.mark_rule(strokeWidth=5).encode(x=x, x2="right:Q", y=y, color=alt.Color("paper:N", scale=None))
    bar = marks.mark_rule(strokeWidth=2).encode(x=x, x2="right:Q", y=y, color=colour)
    layers = [shapes, halo, bar]
    for data, below, size, weight in (("labels", 14, 11, "normal"), ("groups", 34, 12, "bold")):
        layers.append(
            alt.Chart(alt.NamedData(data))
            .mark_text(baseline="top", lineBreak="\n", fontSize=size, fontWeight=weight, lineHeight=15)
            .encode(x=alt.X("left:Q", axis=None), y=alt.value(_HEIGHT + below), text="text:N", color=colour)
        )
    if zero:
        line = alt.Chart(alt.NamedData("zero")).mark_rule(strokeDash=[4, 3])
        layers.insert(0, line.encode(y=y, color=colour))
    return alt.layer(*layers).properties(width="container", height=_HEIGHT)


def _scatter(alt: Any, title: str) -> altair.LayerChart:
    """Points with their intervals; chosen models carry a letter."""
    points = alt.Chart(alt.NamedData("points"))
    x = alt.X(
        "x:Q",
        title=title,
        scale=alt.Scale(type="log", padding=18),
        axis=alt.Axis(format="~s", tickCount=5, grid=False),
    )
    y = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False, padding=12), axis=alt.Axis(tickCount=6))
    colour = alt.Color("colour:N", scale=None)
    tooltip = [
        alt.Tooltip("model:N", title="model"),
        alt.Tooltip("value:Q", title="value", format=".3f"),
        alt.Tooltip("low:Q", title="from", format=".3f"),
        alt.Tooltip("high:Q", title="to", format=".3f"),
        alt.Tooltip("x:Q", title=title, format=",.0f"),
    ]
    whiskers = points.transform_filter("isValid(datum.low)").mark_rule().encode(x=x, y=alt.Y("low:Q"), y2="high:Q")
    dots = points.mark_point(filled=True, opacity=1).encode(x=x, y=y, tooltip=tooltip)
    area = alt.condition("datum.letter", alt.value(260), alt.value(45))
    letters = (
        points.transform_filter("datum.letter")
        .mark_text(fontSize=11, fontWeight="bold", baseline="middle")
        .encode(x=x, y=y, text="letter:N", color=alt.Color("paper:N", scale=None))
    )
    layers = [whiskers.encode(color=colour), dots.encode(color=colour, size=area), letters]
    return alt.layer(*layers).properties(width="container", height=_HEIGHT)


def _plain(chart: altair.LayerChart) -> dict[str, Any]:
    """A specification without addresses of elsewhere and without altair's own looks; the page brings its own."""
    spec: dict[str, Any] = chart.to_dict()
    spec.pop("$schema", None)
    spec.pop("config", None)
    return spec
