"""What the fits of all annotators share: their folder, their settings, and the report on held-out queries."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mr_st.annotation import Annotations
from mr_st.annotation.agreement import agreement, calibrated_apart, fit_temperature, plot_agreement
from mr_st.annotation.cross_encoder import softmax
from mr_st.data.dataset import GradedDataset
from mr_st.data.label_noise import LabelNoise
from mr_st.errors import UsageError
from mr_st.files import atomic_folder, ensure_writable, read_json, write_json
from mr_st.identity import folder_hash, settings_hash
from mr_st.measures.plots import save_figure
from mr_st.training.holdout import LabelledPairs, draw

__all__ = ["FitFolder", "check_counts", "fit_settings", "held_out_report", "learned_from", "open_fit_folder"]

logger = logging.getLogger(__name__)

_SETTINGS, _REPORT, _PLOT = "settings.json", "report.json", "report.png"
_MODEL, _CHECKPOINTS = "model", "checkpoints"


@dataclass(frozen=True)
class FitFolder:
    """Where a fit is kept: its settings, ``checkpoints/`` while it runs, then ``model/`` and the report with its plot.

    Args:
        path: The folder.
    """

    path: Path

    @property
    def model(self) -> Path:
        """The fitted annotator's own folder."""
        return self.path / _MODEL

    @property
    def checkpoints(self) -> Path:
        """What the trainer writes, gone once the fit is finished."""
        return self.path / _CHECKPOINTS

    @property
    def is_finished(self) -> bool:
        """Whether model and report are there."""
        return (self.path / _REPORT).is_file()

    def finish(
        self, save_model: Callable[[Path], object], report: dict[str, Any], grade_names: Sequence[str] | None = None
    ) -> None:
        """Keep model, plot, then the report (with which the fit counts as finished), and drop the checkpoints.

        Args:
            save_model: Writes the annotator's files into the empty folder that it is given.
            report: JSON-ready, with what :func:`held_out_report` gives.
            grade_names: What the plot calls grade 0, 1, ...; their numbers when None.
        """
        with atomic_folder(self.model) as temporary:
            save_model(temporary)
        save_figure(plot_agreement(report["held_out"], grade_names), self.path / _PLOT)
        write_json(self.path / _REPORT, report)
        shutil.rmtree(self.checkpoints, ignore_errors=True)


def open_fit_folder(out_dir: str | Path, settings: dict[str, Any]) -> FitFolder:
    """The folder of a fit, emptied of an earlier one whose settings or data were others (which is logged).

    Args:
        out_dir: New, empty, or of an earlier fit.
        settings: All that decides what is fitted, as :func:`fit_settings` gives it.

    Raises:
        UsageError: the folder holds other files.
        MrStError: it cannot be written.
    """
    folder = Path(out_dir)
    ours = {_SETTINGS, _REPORT, _PLOT, _MODEL, _CHECKPOINTS}
    if folder.is_dir():
        others = [
            path.name for path in folder.iterdir() if path.name not in ours and not path.name.startswith(".tmp-")
        ]
        if others:
            raise UsageError(f"{folder}: holds other files ({', '.join(others[:3])}); choose another folder")
    ensure_writable(folder)
    key = {"settings": settings, "hash": settings_hash(settings)}
    known = read_json(folder / _SETTINGS).get("hash") if (folder / _SETTINGS).is_file() else None
    if known != key["hash"]:
        if known is not None:
            logger.warning("%s: an earlier fit had other settings or data; it is replaced", folder)
        for name in (_REPORT, _PLOT):
            (folder / name).unlink(missing_ok=True)
        for name in (_MODEL, _CHECKPOINTS):
            shutil.rmtree(folder / name, ignore_errors=True)
        write_json(folder / _SETTINGS, key)
    return FitFolder(folder)


def fit_settings(source: str, dataset: GradedDataset, split: str, hyperparameters: dict[str, Any]) -> dict[str, Any]:
    """All that decides what a fit gives: base weights (their hash where they lie on disk), data, split, options."""
    base = folder_hash(source) if Path(source).is_dir() else source
    return {"base": base, "dataset": dataset.fingerprint, "split": split, **hyperparameters}


def check_counts(max_length: int, **counts: int) -> None:
    """Refuse counts below 1 and a ``max_length`` below 8.

    Raises:
        UsageError: the arguments are named with what they were.
    """
    if max_length < 8 or any(count < 1 for count in counts.values()):
        *several, last = (f"{name} {count}" for name, count in counts.items())
        raise UsageError(f"{', '.join(several)} and {last} must be 1 or more, max_length {max_length} 8 or more")


def learned_from(learn: LabelledPairs, weights: Sequence[float], n_grades: int) -> dict[str, Any]:
    """What a fit's report says of the pairs it learned from; JSON-ready.

    Args:
        learn: The pairs that were not held out.
        weights: Of the G grades in the loss.
        n_grades: G.
    """
    return {
        "n_pairs": len(learn.grades),
        "n_queries": len(set(learn.pairs.query_ids)),
        "by_grade": np.bincount(learn.grades, minlength=n_grades).tolist(),
        "class_weights": list(weights),
    }


def held_out_report(
    logits: np.ndarray, held: LabelledPairs, seed: int, noise: LabelNoise | None = None
) -> dict[str, Any]:
    """Temperature and figures of an annotator on the held-out queries; JSON-ready.

    Args:
        logits: float64 (n, G), the annotator's outputs on the held-out pairs, before any temperature.
        held: The n held-out pairs.
        seed: Decides which half of their queries calibrates the other.
        noise: How the judge of the held-out pairs is believed to err; temperatures are those of the truth then.

    Returns:
        held_out (the figures of :func:`mr_st.annotation.agreement.agreement` with intervals, a variant drawn together
        with its original; temperatures fitted on the other half of the queries), protocol,
        calibration_error_at_temperature_1, temperature (fitted on all) and calibrated_on (n_pairs, n_queries).
    """
    draws = {root: int(draw(seed + 1, root), 16) % 2 == 0 for root in set(held.roots.tolist())}
    in_first_half = np.array([draws[root] for root in held.roots])
    counts = {"n_pairs": len(held.grades), "n_queries": len(set(held.pairs.query_ids))}

    def given(probabilities: np.ndarray) -> Annotations:
        return Annotations(logits.argmax(axis=1).astype(np.int8), probabilities)

    confusion = None if noise is None else np.array(noise.confusion)
    apart = given(calibrated_apart(logits, held.grades, in_first_half, confusion))
    raw = agreement(held.grades, given(softmax(logits)))
    return {
        "held_out": {**agreement(held.grades, apart, held.roots.tolist(), seed), **counts},
        "protocol": (
            "Held-out queries of the split, never pairs. Their loss chose the checkpoint. Calibration is measured "
            "with a temperature fitted on the other half of them; the saved temperature is fitted on all."
            + ("" if noise is None else " Temperatures suit the truth that is believed behind the labels.")
        ),
        "calibration_error_at_temperature_1": raw["expected_calibration_error"],
        "temperature": fit_temperature(logits, held.grades, confusion),
        "calibrated_on": counts,
    }
