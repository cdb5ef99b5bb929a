"""``mr-st publish``: the preview, what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from loopback_hub import TOKEN

CARD = """---
library_name: sentence-transformers
license: mit
---
# Tiny

Some **bold** words, a [link](https://example.org) and a table:

| metric | value |
|---|---|
| NDCG@10 | 0.5 |

<script>alert(1)</script>
"""


@pytest.fixture
def model(model_dir: Path) -> str:
    (model_dir / "README.md").write_text(CARD)
    return str(model_dir)


def test_a_dry_run_shows_card_and_files(hub, worker, model):
    found = worker("cli", "publish", model, "org/tiny", "--dry-run")
    assert found["exit"] == 0
    words = " ".join(found["out"].split())
    assert "license: mit" in words
    assert "bold" in words
    assert "**bold**" not in words  # rendered
    assert "NDCG@10" in words
    assert "new 103.8 kB model.safetensors" in words
    assert "11 files" in words
    assert "11 new, 0 changed, 0 deleted, 0 same" in words
    assert f"Nothing was sent. It would go to {hub.endpoint}/org/tiny" in words
    assert hub.repositories == {}


def test_json_and_quiet_print_the_result_only(hub, worker, model):
    found = json.loads(worker("cli", "publish", model, "org/tiny", "--dry-run", "--json")["out"])
    assert found["dry_run"] is True
    assert found["card"].endswith(CARD.split("---")[-1])
    assert found["changes"]["README.md"] == "new"
    assert {"path": "README.md", "bytes": len(CARD.encode())} in found["files"]
    assert sum(file["bytes"] for file in found["files"]) == found["bytes"]
    assert worker("cli", "publish", model, "org/tiny", "--dry-run", "-q")["out"] == f"{hub.endpoint}/org/tiny\n"
    found = worker("cli", "publish", model, "org/tiny", "--quiet")
    assert found["out"].startswith(f"{hub.endpoint}/org/tiny/commit/")
    assert found["out"].count("\n") == 1
    again = json.loads(worker("cli", "publish", model, "org/tiny", "--json")["out"])
    assert set(again["changes"].values()) == {"same"}
    assert again["published"] == found["out"].strip()


def test_the_card_to_a_file(hub, worker, model, tmp_path):
    worker("cli", "publish", model, "org/tiny", "--dry-run", "--card-out", str(tmp_path / "card.md"))
    assert (tmp_path / "card.md").read_text() == CARD
    worker("cli", "publish", model, "org/tiny", "--dry-run", "--card-out", str(tmp_path / "card.html"))
    page = (tmp_path / "card.html").read_text()
    assert "<strong>bold</strong>" in page
    assert "<td>NDCG@10</td>" in page
    assert "<script>" not in page


def test_exit_codes(hub, worker, model, tmp_path):
    hub.fail("repos/create", 403, f"not with {TOKEN}")
    found = worker("cli", "publish", model, "org/tiny")
    assert found["exit"] == 1
    assert found["err"].splitlines()[-1].startswith("mr-st: error: org/tiny on ")
    assert worker("cli", "publish", model, "not an id")["exit"] == 2
    assert worker("cli", "publish", str(tmp_path / "none"), "org/tiny")["exit"] == 1
    assert worker("cli", "publish", model, str(tmp_path / "out"), "--overwrite")["exit"] == 2
    assert worker("cli", "publish", model, str(tmp_path / "out"))["out"] == f"{tmp_path / 'out'}\n"
    shown = worker("cli", "publish", "--help")["out"]
    assert "Example: mr-st publish" in shown
