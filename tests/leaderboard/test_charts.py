"""The charts' specifications are valid, draw what they are given, and bring nothing from elsewhere."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from mr_st.errors import MissingExtraError
from mr_st.leaderboard import charts

vl_convert = pytest.importorskip("vl_convert")

HOSTILE = "</script><script>alert(1)</script> \"'& __proto__ \u202e"


def violin(y: float) -> dict[str, Any]:
    return {"violin": "0-0", "colour": "#123456", "y": y, "left": -0.4, "right": 0.4}


ROWS: dict[str, list[dict[str, Any]]] = {
    "shapes": [violin(0.1), violin(0.2), violin(0.4)],
    "marks": [{"y": 0.2, "left": -0.2, "right": 0.2, "colour": "#000000", "paper": "#ffffff"}],
    "labels": [{"left": 0, "text": HOSTILE, "colour": "#000000"}],
    "groups": [{"left": 0, "text": "A", "colour": "#000000"}],
    "zero": [{"y": 0, "colour": "#000000"}],
    "points": [
        {"x": 22e6, "value": 0.5, "low": 0.4, "high": 0.6, "model": HOSTILE, "letter": "A", "colour": "#abcdef"},
        {"x": 1e8, "value": 0.6, "low": None, "high": None, "model": "b", "letter": "", "colour": "#fedcba"},
    ],
}


@pytest.mark.parametrize("name", ["similarity", "margins", "size", "speed"])
def test_specification_draws_its_rows_and_names_stay_text(name: str) -> None:
    spec = charts.chart_specs()[name] | {"datasets": ROWS, "width": 400}
    svg = vl_convert.vegalite_to_svg(spec)
    assert "<script" not in svg
    assert ("#123456" in svg) == (name in ("similarity", "margins"))
    assert ("#abcdef" in svg) == (name in ("size", "speed"))


def test_a_point_without_interval_has_no_whisker() -> None:
    spec = charts.chart_specs()["size"] | {"datasets": ROWS, "width": 400}
    svg = vl_convert.vegalite_to_svg(spec)
    assert svg.count('stroke="#abcdef"') == 1
    assert svg.count('stroke="#fedcba"') == 0


def test_specifications_name_no_address_and_hold_no_rows() -> None:
    text = json.dumps(charts.chart_specs())
    assert "http" not in text
    assert '"values"' not in text
    assert "datasets" not in text


def test_without_altair_the_site_says_how_to_get_charts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str, extra: str) -> Any:
        if module == "altair":
            raise MissingExtraError(module)
        return importlib.import_module(module)

    monkeypatch.setattr(charts, "require_extra", missing)
    charts.write_charts(tmp_path)
    written = (tmp_path / "data" / "charts.js").read_text(encoding="utf-8")
    assert "pip install" in written
    assert "mr-st[leaderboard]" in written
    assert not (tmp_path / "assets" / "vega.js").exists()


def test_runtime_keeps_its_names_to_itself(tmp_path: Path) -> None:
    charts.write_charts(tmp_path)
    runtime = (tmp_path / "assets" / "vega.js").read_text(encoding="utf-8")
    assert runtime.startswith("(()=>{")
    assert runtime.rstrip().endswith("})();")
    assert "window.vegaEmbed=" in runtime
