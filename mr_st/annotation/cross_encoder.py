"""The annotator for data whose policy nobody can call: a cross-encoder with one output for each grade."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from mr_st.annotation.protocol import Annotations, PairTable
from mr_st.errors import MrStError, UsageError
from mr_st.files import read_json, write_json
from mr_st.identity import model_hash, settings_hash
from mr_st.text.normalise import well_formed

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

__all__ = ["CALIBRATION_FILE", "CrossEncoderAnnotator", "load_cross_encoder", "softmax", "write_calibration"]

CALIBRATION_FILE = "calibration.json"


class CrossEncoderAnnotator:
    """Grade pairs with a sentence-transformers CrossEncoder, calibrated: ``softmax((logits + shift) / temperature)``.

    The grade is the most probable one, the lower of two that are equal. Temperature and shift are read from
    ``calibration.json`` beside the model, as :func:`mr_st.training.fit_cross_encoder` writes it, and are 1 and 0
    without it.

    Args:
        model: A folder, a Hub id, or a loaded CrossEncoder, with G >= 2 outputs.
        batch_size: Pairs in one forward pass; no part of the identity.
        max_length: Tokens of a pair; the model's own when None.
        temperature: Overrides the saved one.
        shift: Added to the outputs, one number for each grade; overrides the saved one. It takes the weights back out
            that the grades had in the loss, so that probabilities are those of the data.
        device: Where to load a model from a folder or the Hub; chosen by torch when None.

    Raises:
        MrStError: no such model, or one that is no classifier (its output layer would be random).
        UsageError: a model with one output, a temperature that is not above 0, or a shift that does not fit.
    """

    def __init__(
        self,
        model: str | Path | CrossEncoder,
        batch_size: int = 64,
        max_length: int | None = None,
        temperature: float | None = None,
        device: str | None = None,
        shift: Sequence[float] | None = None,
    ):
        if isinstance(model, (str, Path)):
            saved = _saved_calibration(Path(model))
            temperature = saved.get("temperature") if temperature is None else temperature
            shift = saved.get("shift") if shift is None else shift
            model = load_cross_encoder(str(model), device)
        self.model: CrossEncoder = model
        self.n_grades = int(self.model.num_labels)
        if self.n_grades < 2:
            raise UsageError(
                f"the cross-encoder has {self.n_grades} output; an annotator needs one for each grade: "
                "fit one with fit_cross_encoder"
            )
        self.batch_size = batch_size
        self.temperature = 1.0 if temperature is None else float(temperature)
        if not (np.isfinite(self.temperature) and self.temperature > 0):
            raise UsageError(f"temperature is {self.temperature}; it must be above 0")
        self.shift = np.zeros(self.n_grades) if shift is None else np.asarray(shift, dtype=np.float64)
        if self.shift.shape != (self.n_grades,) or not np.isfinite(self.shift).all():
            raise UsageError(f"shift is {shift}; expected a finite number for each of {self.n_grades} grades")
        if max_length is not None:
            self.model.max_seq_length = max_length
        self._identity: str | None = None

    @property
    def identity(self) -> str:
        """``cross-encoder-`` and a hash of weights, tokenizer, length, temperature and shift (taken once)."""
        if self._identity is None:
            settings = {"model": model_hash(self.model), "temperature": self.temperature}
            if self.shift.any():
                settings["shift"] = self.shift.tolist()
            self._identity = f"cross-encoder-{settings_hash(settings)}"
        return self._identity

    def grade(self, pairs: PairTable, show_progress: bool = False) -> Annotations:
        """Grade every pair; equal texts are read once, and batches hold texts of similar length.

        Raises:
            MrStError: an output that is not finite; the pair is named.
        """
        logits = self.logits(pairs, show_progress)
        probabilities = softmax(logits / self.temperature)
        return Annotations(logits.argmax(axis=1).astype(np.int8), probabilities.astype(np.float32))

    def logits(self, pairs: PairTable, show_progress: bool = False) -> np.ndarray:
        """The model's outputs, shifted, before temperature and softmax: float64 (n, G)."""
        import torch

        texts = list(zip(map(well_formed, pairs.query_texts), map(well_formed, pairs.item_texts), strict=True))
        distinct = sorted(set(texts), key=lambda pair: (-len(pair[0]) - len(pair[1]), pair))
        if not distinct:
            return np.empty((0, self.n_grades))
        row_of = {pair: row for row, pair in enumerate(distinct)}
        given: Any = self.model.predict(
            distinct, batch_size=self.batch_size, activation_fn=torch.nn.Identity(), show_progress_bar=show_progress
        )
        logits = np.asarray(given, dtype=np.float64)[[row_of[pair] for pair in texts]] + self.shift
        bad = np.flatnonzero(~np.isfinite(logits).all(axis=1))
        if len(bad):
            raise MrStError(
                f"pair {bad[0] + 1:,} (query {pairs.query_ids[bad[0]]!r}, item {pairs.item_ids[bad[0]]!r}): the "
                "cross-encoder's output is not finite; its training diverged: fit it again with a lower learning rate"
            )
        return logits


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, float64, same shape."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def write_calibration(folder: str | Path, temperature: float, shift: Sequence[float] = (), **about: Any) -> None:
    """Save temperature and shift beside a model, where :class:`CrossEncoderAnnotator` finds them.

    Args:
        folder: The model's folder.
        temperature: Above 0.
        shift: A number for each grade; none for no shift.
        about: What else to tell a reader (on how many pairs it was fitted); not read back.
    """
    shifted = {"shift": [float(value) for value in shift]} if len(shift) else {}
    write_json(Path(folder) / CALIBRATION_FILE, {"temperature": float(temperature), **shifted, **about})


def _saved_calibration(folder: Path) -> dict[str, Any]:
    path = folder / CALIBRATION_FILE
    if not path.is_file():
        return {}
    value = read_json(path)
    saved = value if isinstance(value, dict) else {}
    temperature, shift = saved.get("temperature"), saved.get("shift")
    if not _is_number(temperature) or not temperature > 0:
        raise MrStError(f"{path}: temperature is {temperature!r}; expected a number above 0: fit the annotator again")
    if shift is not None and not (isinstance(shift, list) and all(map(_is_number, shift))):
        raise MrStError(f"{path}: shift is {shift!r}; expected a list of numbers: fit the annotator again")
    return {"temperature": float(temperature), "shift": shift}


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def load_cross_encoder(name: str, device: str | None = None) -> CrossEncoder:
    """``CrossEncoder(name)`` with its classifier; remote code is never run.

    Raises:
        MrStError: no such model, or one that is no classifier (its output layer would be random).
    """
    from sentence_transformers import CrossEncoder

    from mr_st.models.loading import no_loading_bars

    try:
        with no_loading_bars():
            model = CrossEncoder(name, device=device)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise MrStError(
            f"{name}: no cross-encoder could be loaded from there ({reason}); give the folder that fit_cross_encoder "
            "wrote, or a Hub id"
        ) from error
    architectures = getattr(model.config, "architectures", None) or []
    if not any("SequenceClassification" in architecture for architecture in architectures):
        raise MrStError(
            f"{name}: a {', '.join(architectures) or 'model'} is no classifier, its grades would be random; fit one "
            "with fit_cross_encoder"
        )
    return model
