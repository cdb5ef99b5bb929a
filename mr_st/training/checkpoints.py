"""Checkpoints that can be trusted after a kill: marked when whole, pruned only after that."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from mr_st.errors import MrStError
from mr_st.files import read_json, write_json
from mr_st.training.ranks import n_ranks, wait_for_ranks

__all__ = ["COMPLETE_FILE", "MarkComplete", "checkpoints_of", "is_complete", "last_complete_checkpoint"]

COMPLETE_FILE = "complete.json"
_STATE_FILE = "trainer_state.json"


class MarkComplete(TrainerCallback):
    """Writes ``complete.json`` (every file with its size, the seconds trained so far, ...) into each checkpoint, last.

    Then it deletes the checkpoints that are neither the newest nor the best. The trainer itself would do so before
    the new checkpoint is whole: leave its ``save_total_limit`` at None. Give this callback after those that write
    into the checkpoint.

    Args:
        seconds_before: Seconds trained before this process began.
        n_shares: How many processes the stage began with, each with its share of a step; None: those there are now.
    """

    def __init__(self, seconds_before: float = 0.0, n_shares: int | None = None) -> None:
        self.seconds_before = seconds_before
        self.n_shares = n_shares
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds trained so far, over all processes."""
        return self.seconds_before + time.monotonic() - self.began

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.began = time.monotonic()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        wait_for_ranks()  # each writes the state of its random numbers
        if not state.is_world_process_zero:
            return
        folder = Path(str(args.output_dir))
        newest = folder / f"checkpoint-{state.global_step}"
        files = {p.relative_to(newest).as_posix(): p.stat().st_size for p in sorted(newest.rglob("*")) if p.is_file()}
        del files[_STATE_FILE]  # read and checked as JSON instead, so that it can be corrected
        files.pop(COMPLETE_FILE, None)
        record = {
            "step": state.global_step,
            "seconds": round(self.seconds, 3),
            "n_ranks": self.n_shares or n_ranks(),
            "files": files,
        }
        write_json(newest / COMPLETE_FILE, record)
        keep = {newest.name, Path(state.best_model_checkpoint or newest).name}
        for old in checkpoints_of(folder):
            if old.name not in keep:
                shutil.rmtree(old, ignore_errors=True)


def checkpoints_of(folder: str | Path) -> list[Path]:
    """The checkpoint folders below ``folder``, whole or not, by step."""
    found = [(int(m[1]), p) for p in Path(folder).glob("checkpoint-*") if (m := re.fullmatch(r".*-(\d+)", p.name))]
    return [path for _, path in sorted(found)]


def is_complete(checkpoint: Path) -> bool:
    """Whether every file stands there with the size it had when the checkpoint was finished."""
    try:
        files = read_json(checkpoint / COMPLETE_FILE)["files"]
        read_json(checkpoint / _STATE_FILE)
        return all((checkpoint / name).stat().st_size == size for name, size in files.items())
    except (OSError, MrStError, KeyError, TypeError, AttributeError):
        return False


def last_complete_checkpoint(folder: str | Path) -> Path | None:
    """The newest whole checkpoint; those that are not whole are deleted.

    Its record of the best checkpoint is set right when the folder was moved since.
    """
    whole = []
    for checkpoint in checkpoints_of(folder):
        if is_complete(checkpoint):
            whole.append(checkpoint)
        else:
            shutil.rmtree(checkpoint)
    if not whole:
        return None
    _point_to_best(whole[-1])
    return whole[-1]


def _point_to_best(checkpoint: Path) -> None:
    state = read_json(checkpoint / _STATE_FILE)
    recorded = state.get("best_model_checkpoint")
    here = checkpoint.parent / Path(recorded).name if recorded else None
    if here is None or recorded == str(here):
        return
    state["best_model_checkpoint"] = str(here)
    write_json(checkpoint / _STATE_FILE, state)
