"""docs/mining.md is written from docs/mining.json, section by section; a section without figures is left out."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))

import mining_tables
from cost_model import model
from cost_plan import Scale, Unit
from cost_units import NEEDED

from mr_st.search.unit_costs import DEFAULT_COSTS

PAGE = "\n".join(
    ["# Mining", *(f"<!-- table: {key} -->\nold\n<!-- end: {key} -->" for key in mining_tables.SECTIONS), "The end.\n"]
)


@pytest.fixture
def docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mining.md").write_text(PAGE, encoding="utf-8")
    monkeypatch.setattr(mining_tables, "JSON", tmp_path / "mining.json")
    monkeypatch.setattr(mining_tables, "PAGE", tmp_path / "mining.md")
    return tmp_path


def figures(**gpu: float) -> dict[str, object]:
    units = {name: Unit(1e-3, "here", of) for name, of in NEEDED.items()}
    return {"machine": "two cores", "command": "cost", **model(Scale(), units, DEFAULT_COSTS, 0.98, 0.05, gpu)}


def test_a_key_is_merged_beside_the_others_and_its_section_alone_is_written(docs: Path) -> None:
    (docs / "mining.json").write_text(json.dumps({"another": {"kept": 1}}), encoding="utf-8")
    mining_tables.merge_into_docs("cost_model", figures())
    assert json.loads((docs / "mining.json").read_text(encoding="utf-8"))["another"] == {"kept": 1}
    page = (docs / "mining.md").read_text(encoding="utf-8")
    assert "## What 200M items and 10M queries cost" in page
    assert "old" not in page
    assert "What re-annotation saves" not in page
    assert page.startswith("# Mining")
    assert page.endswith("The end.\n")
    mining_tables.write_sections()
    assert (docs / "mining.md").read_text(encoding="utf-8") == page


def test_every_row_of_the_cost_tables_has_the_columns_of_its_head() -> None:
    for section in (mining_tables.cost_section(figures()), mining_tables.cost_section(figures(encode=1000.0))):
        tables: list[list[str]] = [[]]
        for line in section.splitlines():
            if line.startswith("|"):
                tables[-1].append(line)
            elif tables[-1]:
                tables.append([])
        assert len([table for table in tables if table]) == 4
        for table in tables:
            assert len({row.count("|") for row in table}) <= 1
    assert "GPU-hours" in section


def test_gpu_hours_are_counts_over_the_given_rate() -> None:
    stages = figures(encode=2000.0)["plans"]["HNSW"]["stages"]  # type: ignore[index]
    assert stages[0]["gpu_hours"] == pytest.approx(200_000_000 / 2000 / 3600)
    assert "gpu_hours" not in stages[2]


def test_sizes_are_read_easily() -> None:
    assert mining_tables.size(153_600_000_000) == "154 GB"
    assert mining_tables.size(1_440_000_000_000) == "1.44 TB"
    assert mining_tables.size(0) == ""


def test_the_marks_against_the_stock_miner_are_said_as_they_fall() -> None:
    def arm(name: str, seconds: float, peak: float) -> dict[str, object]:
        return {
            "arm": name, "seconds": seconds, "peak_bytes": peak, "peak_above_inputs_bytes": peak / 2,
            "seconds_over_ours": seconds / 10, "peak_over_ours": peak / 1e9,
        }  # fmt: skip

    protocol = dict.fromkeys(("queries", "items", "dim", "k", "threads"), 1000)
    protocol |= dict.fromkeys(("machine", "vectors", "time", "peak", "command"), "x")
    arms = [arm("ours", 10, 1e9), arm("bare", 9, 1e9), arm("theirs-default", 14, 4e9), arm("theirs-64", 90, 2e9)]
    section = mining_tables.hard_negatives_section({"protocol": protocol, "arms": arms})
    said = section.splitlines()[-1]
    assert "default: 1.40 (at least 1.5), **missed**" in said
    assert "default's: 0.25 (at most 0.2), **missed**" in said
    assert "tuned for memory: 0.50 (at most 1), met" in said
    assert "limit's: 1.11 (at most 1.2), met" in said
    assert "`faiss_batch_size=64`" in section
