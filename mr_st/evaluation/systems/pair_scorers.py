"""What reranks: one number for a pair, out of a cross-encoder with one output or out of any annotator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mr_st.annotation.cross_encoder import load_cross_encoder
from mr_st.errors import MrStError, UsageError
from mr_st.identity import model_hash, settings_hash

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

    from mr_st.annotation.protocol import Annotator, PairTable

__all__ = ["AnnotatorScorer", "CrossEncoderScorer", "PairScorer", "load_pair_scorer"]


class PairScorer(Protocol):
    """Anything that tells how relevant an item is to a query."""

    @property
    def identity(self) -> str:
        """Changes whenever a score may change."""
        ...

    @property
    def facts(self) -> dict[str, Any]:
        """As a system's."""
        ...

    def score(self, pairs: PairTable) -> np.ndarray:
        """float64 (n,), in 0..1, comparable between queries."""
        ...


class CrossEncoderScorer:
    """A sentence-transformers CrossEncoder with one output: its logistic, whatever activation it was saved with.

    Args:
        model: A folder, a Hub id, or a loaded CrossEncoder.
        batch_size: Pairs in one forward pass; no part of the identity.
        max_length: Tokens of a pair; the model's own when None.
        device: Where to load a model from a folder or the Hub; chosen by torch when None.

    Raises:
        MrStError: no such model, or one that is no classifier.
        UsageError: a model with several outputs.
    """

    def __init__(
        self,
        model: str | Path | CrossEncoder,
        *,
        batch_size: int = 64,
        max_length: int | None = None,
        device: str | None = None,
    ):
        self.model = load_cross_encoder(str(model), device) if isinstance(model, (str, Path)) else model
        if self.model.num_labels != 1:
            raise UsageError(
                f"the cross-encoder has {self.model.num_labels} outputs; expected 1 (one for each grade: give it as a "
                "CrossEncoderAnnotator)"
            )
        if max_length is not None:
            self.model.max_seq_length = max_length
        self.batch_size = batch_size
        self._identity: str | None = None

    @property
    def identity(self) -> str:
        """``cross-encoder-1-`` and a hash of weights, tokenizer and length (taken once)."""
        if self._identity is None:
            self._identity = f"cross-encoder-1-{model_hash(self.model)}"
        return self._identity

    @property
    def facts(self) -> dict[str, Any]:
        """Its size."""
        return cross_encoder_facts(self.model)

    def score(self, pairs: PairTable) -> np.ndarray:
        """float64 (n,); equal texts are read once, and batches hold texts of similar length.

        Raises:
            MrStError: an output that is not finite; the pair is named.
        """
        import torch

        texts = list(zip(pairs.query_texts, pairs.item_texts, strict=True))
        distinct = sorted(set(texts), key=lambda pair: (-len(pair[0]) - len(pair[1]), pair))
        if not distinct:
            return np.empty(0)
        row_of = {pair: row for row, pair in enumerate(distinct)}
        given: Any = self.model.predict(
            distinct, batch_size=self.batch_size, activation_fn=torch.nn.Identity(), show_progress_bar=False
        )
        logits = np.asarray(given, dtype=np.float64).reshape(-1)[[row_of[pair] for pair in texts]]
        bad = np.flatnonzero(~np.isfinite(logits))
        if len(bad):
            raise MrStError(
                f"query {pairs.query_ids[bad[0]]!r}, item {pairs.item_ids[bad[0]]!r}: the cross-encoder's output is "
                "not finite; its training diverged: take another one"
            )
        return 0.5 * (1 + np.tanh(logits / 2))


class AnnotatorScorer:
    """Any annotator: what its grade probabilities make the pair worth, the expected gain.

    Args:
        annotator: Who grades.
        gains: What each grade is worth, lowest first, in 0..1, never falling; None for equal steps from 0 to 1.

    Raises:
        UsageError: gains that are no such numbers.
    """

    def __init__(self, annotator: Annotator, gains: Sequence[float] | None = None):
        if gains is not None:
            values = np.asarray(gains, dtype=np.float64)
            if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all() or (np.diff(values) < 0).any():
                raise UsageError(
                    f"gains are {list(gains)}; expected numbers in 0..1, lowest grade first, never falling"
                )
        self.annotator = annotator
        self.gains = None if gains is None else tuple(float(gain) for gain in gains)

    @property
    def identity(self) -> str:
        """The annotator's, with the gains where they were given."""
        own = self.annotator.identity
        return own if self.gains is None else f"{own}-gains-{settings_hash(self.gains)}"

    @property
    def facts(self) -> dict[str, Any]:
        """The size of its model, where it has one."""
        return cross_encoder_facts(getattr(self.annotator, "model", None))

    def score(self, pairs: PairTable) -> np.ndarray:
        """float64 (n,): the expected gain.

        Raises:
            UsageError: another number of grades than of gains.
        """
        given = self.annotator.grade(pairs)
        gains = np.linspace(0, 1, given.n_grades) if self.gains is None else np.asarray(self.gains)
        if len(gains) != given.n_grades:
            raise UsageError(f"{len(gains)} gains, but {self.annotator.identity} knows {given.n_grades} grades")
        probabilities = given.probabilities.astype(np.float64)
        return (probabilities / probabilities.sum(axis=1, keepdims=True)) @ gains


def cross_encoder_facts(model: Any) -> dict[str, Any]:
    """What MTEB's model_meta.json says of a reranker and can be read off it."""
    if not hasattr(model, "parameters"):
        return {}
    return {
        "n_parameters": sum(p.numel() for p in model.parameters()),
        "max_tokens": getattr(model, "max_seq_length", None),
        "framework": ["Sentence Transformers", "PyTorch"],
    }


def load_pair_scorer(
    name: str | Path,
    *,
    gains: Sequence[float] | None = None,
    batch_size: int = 64,
    max_length: int | None = None,
    device: str | None = None,
    labels: str | Path | None = None,
) -> PairScorer:
    """What a name means: a cross-encoder with one output, or what :func:`load_annotator` takes.

    Args:
        name: A folder, a Hub id, or the YAML file of an annotator.
        gains: As in :class:`AnnotatorScorer`; for annotators only.
        batch_size, max_length, device: As in :class:`CrossEncoderScorer`; an annotator's YAML file has its own.
        labels: File that keeps the labels of slow or paid annotators; None keeps nothing.

    Raises:
        UsageError: no such thing, or an option that it does not take.
        MrStError: a model that cannot be loaded.
    """
    from mr_st.annotation.loading import keeping_labels, load_annotator

    path = Path(name)
    if path.suffix.lower() not in (".yaml", ".yml") and _is_one_output(path):
        if gains is not None:
            raise UsageError(f"{name}: a cross-encoder with one output has no grades; leave gains out")
        return CrossEncoderScorer(path, batch_size=batch_size, max_length=max_length, device=device)
    if max_length is not None:
        raise UsageError(f"{name}: max_length is for a cross-encoder with one output; give it in the annotator's YAML")
    annotator = load_annotator(name)
    return AnnotatorScorer(annotator if labels is None else keeping_labels(annotator, Path(labels)), gains)


def _is_one_output(path: Path) -> bool:
    """Whether a folder, or a model of the Hub, is a classifier with one output."""
    if path.exists() and not (path / "config.json").is_file():
        return False
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(str(path), trust_remote_code=False)
    except (OSError, ValueError):
        return False  # what is wrong with it is said when it is loaded
    is_classifier = any("SequenceClassification" in name for name in getattr(config, "architectures", None) or [])
    return is_classifier and int(config.num_labels) == 1
