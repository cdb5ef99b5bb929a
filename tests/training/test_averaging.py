from __future__ import annotations

from pathlib import Path

import pytest
import torch
from datasets import Dataset
from pydantic import ValidationError
from sentence_transformers import SentenceTransformer
from stage_tools import AverageMargin
from torch import nn

from mr_st.models import build_two_tower
from mr_st.training import StageConfig, train_stage
from mr_st.training.averaging import average_with_start, weights_of


def test_the_average_by_hand() -> None:
    layer = nn.BatchNorm1d(2)
    start = weights_of(layer)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([3.0, -1.0]))
        layer.num_batches_tracked.fill_(7)
    average_with_start(layer, start, 0.25)
    assert layer.weight.tolist() == [2.5, -0.5]  # the start is 1, 1
    assert layer.num_batches_tracked.item() == 7  # a count is no weight
    assert start["weight"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("other", [nn.Linear(2, 3), nn.Linear(3, 2), nn.Linear(2, 2, bias=False)])
def test_another_models_weights_are_refused(other: nn.Module) -> None:
    layer = nn.Linear(2, 2)
    before = weights_of(layer)
    with pytest.raises(ValueError, match="another model's"):
        average_with_start(layer, weights_of(other), 0.5)
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())


def test_a_stage_ends_in_the_average(tiny_base: Path, rows: list[dict], tmp_path: Path) -> None:
    config = StageConfig(epochs=2, queries_per_batch=4, learning_rate=2e-3, evaluations=2)
    instances = Dataset.from_list(rows)

    def train(name: str, **changes: float) -> tuple[dict[str, torch.Tensor], AverageMargin, object]:
        evaluator = AverageMargin(rows[:8])
        tower = build_two_tower(tiny_base, 8, device="cpu")
        given = evaluator if changes else None
        changed = config.model_copy(update=changes)
        result = train_stage(tower, instances, changed, tmp_path / name, given, show_progress=False)
        return SentenceTransformer(str(result.model_dir), device="cpu").state_dict(), evaluator, result

    start = build_two_tower(tiny_base, 8, device="cpu").state_dict()
    plain, _, _ = train("plain")
    averaged, evaluator, result = train("averaged", average_with_start=0.4)
    for name in plain:
        torch.testing.assert_close(averaged[name], 0.4 * start[name] + 0.6 * plain[name])
    assert any(not torch.equal(averaged[name], plain[name]) for name in plain)
    assert evaluator.calls == 1  # the average alone is scored
    kept = SentenceTransformer(str(result.model_dir), device="cpu")
    score = AverageMargin(rows[:8])(kept)["dev_margin"]
    assert result.best == {"step": 10, "metric": "dev_margin", "value": pytest.approx(score, abs=1e-6)}
    assert result.dev_history == [{"step": 10, "dev_margin": result.best["value"]}]


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_that_keeps_nothing_or_more_is_refused(share: float) -> None:
    with pytest.raises(ValidationError, match="average_with_start"):
        StageConfig(epochs=1, average_with_start=share)
