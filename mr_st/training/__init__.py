"""The stages: graded instances into the stock sentence-transformers trainer. Imported name by name, on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME = {
    "ChatExport": "chat_export",
    "EpochBatchSampler": "sampler",
    "EvaluateEvenly": "callbacks",
    "GradedCollator": "collator",
    "KnownGrades": "known",
    "MarkComplete": "checkpoints",
    "SaveLossParameters": "callbacks",
    "StageConfig": "config",
    "StageResult": "stage",
    "TrainingProgress": "callbacks",
    "average_models": "averaging",
    "fit_cross_encoder": "annotator",
    "fit_llm_annotator": "llm_annotator",
    "load_loss": "loss_files",
    "save_loss": "loss_files",
    "train_stage": "stage",
    "write_chat_jsonl": "chat_export",
}

__all__ = sorted(_HOME)

if TYPE_CHECKING:
    from mr_st.training.annotator import fit_cross_encoder
    from mr_st.training.averaging import average_models
    from mr_st.training.callbacks import EvaluateEvenly, SaveLossParameters, TrainingProgress
    from mr_st.training.chat_export import ChatExport, write_chat_jsonl
    from mr_st.training.checkpoints import MarkComplete
    from mr_st.training.collator import GradedCollator
    from mr_st.training.config import StageConfig
    from mr_st.training.known import KnownGrades
    from mr_st.training.llm_annotator import fit_llm_annotator
    from mr_st.training.loss_files import load_loss, save_loss
    from mr_st.training.sampler import EpochBatchSampler
    from mr_st.training.stage import StageResult, train_stage


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mr_st.training' has no attribute {name!r}")
    value = getattr(import_module(f"mr_st.training.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(_HOME)
