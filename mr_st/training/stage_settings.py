"""What decides the result of a stage, as settings that can be hashed, compared and shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.evaluation import BaseEvaluator

from mr_st.errors import UsageError
from mr_st.identity import folder_hash, model_hash, settings_hash
from mr_st.training.config import StageConfig
from mr_st.training.known import KnownGrades

__all__ = ["difference", "has_adapter_file", "metric_key", "stage_settings"]


def stage_settings(
    model: SentenceTransformer | str | Path,
    instances: Dataset,
    config: StageConfig,
    evaluator: BaseEvaluator | None,
    loss_state: Mapping[str, Any] | None,
    n_grades: int | None,
    known: KnownGrades | None,
) -> dict[str, Any]:
    """The settings, JSON-ready: contents as hashes. Arguments and faults of :func:`mr_st.training.train_stage`."""
    settings: dict[str, Any] = {
        "config": config.model_dump(mode="json"),
        "model": folder_hash(model) if isinstance(model, (str, Path)) else model_hash(model),
        "instances": _instances_hash(instances),
        "evaluator": _evaluator_settings(evaluator),
        "loss_state": {name: torch.as_tensor(value).tolist() for name, value in (loss_state or {}).items()},
        "n_grades": _n_grades(instances, n_grades),
    }
    if config.known_in_batch != (known is not None):
        raise UsageError(
            f"config.known_in_batch is {config.known_in_batch} and known is {'not ' * (known is not None)}None; give "
            "both, known=KnownGrades.from_dataset(dataset, split), or neither"
        )
    if known is not None:
        settings["known"] = known.identity
    return settings


def difference(before: Any, now: Any, name: str = "") -> str:
    """What changed between two settings, by dotted name."""
    if isinstance(before, dict) and isinstance(now, dict):
        parts = [
            difference(before.get(key), now.get(key), f"{name}.{key}".lstrip("."))
            for key in sorted({*before, *now})
            if before.get(key) != now.get(key)
        ]
        return ", ".join(parts)
    return f"{name} ({before} there, {now} asked for)"


def metric_key(evaluator: BaseEvaluator) -> str:
    """What the trainer will call the primary metric; evaluators put their name before it when first called."""
    metric = evaluator.primary_metric or "evaluator"
    name = getattr(evaluator, "name", "")
    return metric if not name or metric.startswith(f"{name}_") else f"{name}_{metric}"


def has_adapter_file(folder: str | Path) -> bool:
    """Whether a saved model has adapters: its files then do not say all, its weights do."""
    return any(Path(folder).rglob("adapter_config.json"))


def _instances_hash(instances: Dataset) -> str:
    """Of all that is trained on: texts, labels, and which epoch a row belongs to."""
    rows = [settings_hash(instances[start : start + 1000]) for start in range(0, len(instances), 1000)]
    if "epoch" in instances.column_names:
        column: Any = instances.with_format("numpy", columns=["epoch"])["epoch"]
        rows.append(settings_hash(np.asarray(column[:])))
    return settings_hash(rows)


def _evaluator_settings(evaluator: BaseEvaluator | None) -> dict[str, Any] | None:
    if evaluator is None:
        return None
    simple = (str, int, float, bool, list, tuple)
    plain = {k: v for k, v in evaluator.get_config_dict().items() if isinstance(v, simple)}
    return {"class": type(evaluator).__name__, "metric": metric_key(evaluator), **plain}


def _n_grades(instances: Dataset, given: int | None) -> int:
    column: Any = instances.with_format("arrow", columns=["labels"])[:]["labels"]
    there = int(pc.max(pc.list_flatten(column)).as_py() or 0) + 1
    if given is not None and given < there:
        raise UsageError(f"n_grades is {given}, and a training row has grade {there - 1}; grades run from 0")
    return given or there
