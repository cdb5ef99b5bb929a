"""The folder of a stage: what it was asked for, what it left behind, and whether the same call may go on in it."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer
from torch import nn

from mr_st.errors import MrStError, UsageError
from mr_st.files import atomic_folder, read_json, write_json
from mr_st.identity import settings_hash
from mr_st.models import load_sentence_transformer
from mr_st.training.loss_files import save_loss
from mr_st.training.stage_settings import difference

__all__ = ["CHECKPOINTS", "StageResult", "open_folder", "write_result"]

CHECKPOINTS = "checkpoints"
_SETTINGS_FILE, _RESULT_FILE, _MODEL = "settings.json", "stage.json", "model"


@dataclass(frozen=True)
class StageResult:
    """What a finished stage left behind; ``stage.json`` holds the same.

    Args:
        model_dir: The best model (the last one without an evaluator), loadable with ``SentenceTransformer``. Its
            ``loss.json`` says what it was trained with, see :func:`mr_st.training.load_loss`.
        steps: Optimizer steps.
        seconds: Seconds spent on training and dev evaluation, over all processes that worked on it.
        loss_config: The loss and its settings, with the learned values that belong to the model.
        loss_state: The learned values by name (e.g. log_tau), to give to another stage as ``loss_state``.
        best: ``{"step", "metric", "value"}`` of the model kept, or None without an evaluator.
        dev_history: One entry a dev evaluation: ``{"step", metric: value, ...}``.
        log_history: One entry a log: ``{"step", "loss", "learning_rate", "temperature", "skipped_instances", ...}``.
        settings_hash: Of everything that decides the result.
        n_ranks: How many processes shared each step; with other numbers of them the same settings give other models.
    """

    model_dir: Path
    steps: int
    seconds: float
    loss_config: dict[str, Any]
    loss_state: dict[str, Any]
    best: dict[str, Any] | None
    dev_history: list[dict[str, Any]] = field(repr=False)
    log_history: list[dict[str, Any]] = field(repr=False)
    settings_hash: str = ""
    n_ranks: int = 1

    def load_model(self) -> SentenceTransformer:
        """The model, loaded from ``model_dir``."""
        return load_sentence_transformer(self.model_dir)

    @classmethod
    def load(cls, out_dir: str | Path) -> StageResult:
        """The result of a finished stage.

        Raises:
            MrStError: the stage is not finished.
        """
        path = Path(out_dir) / _RESULT_FILE
        if not path.is_file():
            raise MrStError(f"{path} does not exist: the stage is not finished; run it again to resume")
        return cls(**{**read_json(path), "model_dir": Path(out_dir) / _MODEL})


def open_folder(out: Path, settings: dict[str, Any], identity: str, overwrite: bool) -> StageResult | None:
    """Prepare ``out`` for these settings; the result if the stage is finished there."""
    for leftover in out.glob(f".tmp-{_MODEL}-*"):  # a kill while the model was written
        shutil.rmtree(leftover, ignore_errors=True)
    path = out / _SETTINGS_FILE
    before = read_json(path) if path.is_file() else None
    strange = before is None and any((out / name).exists() for name in (_RESULT_FILE, CHECKPOINTS, _MODEL))
    if strange or (before is not None and settings_hash(before) != identity):
        if not overwrite:
            other = "unknown settings" if before is None else f"other {difference(before, settings)}"
            raise UsageError(
                f"{out}: holds a stage with {other}; give another folder, delete this one, or pass overwrite=True"
            )
        for name in (_RESULT_FILE, _SETTINGS_FILE):
            (out / name).unlink(missing_ok=True)
        for name in (CHECKPOINTS, _MODEL):
            shutil.rmtree(out / name, ignore_errors=True)
    if (out / _RESULT_FILE).is_file():
        if (out / _MODEL / "modules.json").is_file():
            shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
            return StageResult.load(out)
        (out / _RESULT_FILE).unlink()  # someone deleted the model: train it again
    write_json(path, settings)
    return None


def write_result(result: StageResult, model: SentenceTransformer, loss: nn.Module, out: Path) -> StageResult:
    """Write model and result, the result last; then the checkpoints are not needed any more."""
    with atomic_folder(out / _MODEL) as folder:
        model.save_pretrained(str(folder), create_model_card=False)
        save_loss(loss, folder)
    write_json(out / _RESULT_FILE, {**asdict(result), "model_dir": _MODEL})
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    return result
