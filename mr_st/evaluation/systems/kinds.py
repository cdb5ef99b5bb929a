"""What a system file may say, one class a kind; each loads the system it speaks of."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from mr_st.errors import UsageError
from mr_st.evaluation.systems.named import full_name, name_of_file
from mr_st.files import read_json

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from mr_st.evaluation.system import System

__all__ = [
    "BiEncoderSpec", "Bm25Spec", "HybridSpec", "Loading", "RandomSpec", "RerankSpec", "RunSpec", "SystemSpec",
]  # fmt: skip


@dataclass
class Loading:
    """How systems are loaded; share one between calls, so that a model that several of them use is loaded once.

    Args:
        store: Folder that keeps vectors, and the labels of slow or paid rerankers; None keeps nothing.
        batch_size: Texts, or pairs, in one forward pass, where a file says nothing else.
        device: Where models run; chosen by torch when None.
        show_progress: Show progress bars.
    """

    store: Path | None = None
    batch_size: int = 64
    device: str | None = None
    show_progress: bool = False
    loaded: dict[Any, Any] = field(default_factory=dict)

    def model(self, where: str, **options: Any) -> SentenceTransformer:
        """A SentenceTransformer."""
        from mr_st.models import load_sentence_transformer

        key = (where, repr(sorted(options.items())))
        if key not in self.loaded:
            self.loaded[key] = load_sentence_transformer(where, device=self.device, **options)
        return self.loaded[key]


class SystemSpec(BaseModel):
    """What a file, or a name, says of a system; only what it names is given on, so the classes' own defaults hold."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    default_name: ClassVar[str | None] = None

    name: str | None = None

    def load(self, how: Loading, name: str) -> System:
        """The system.

        Args:
            how: Store, device and so on.
            name: What it is called.
        """
        raise NotImplementedError

    def options(self, *others: str) -> dict[str, Any]:
        """The keys that were given, but for those that are no argument of the class."""
        return {key: getattr(self, key) for key in self.model_fields_set if key not in ("kind", "name", *others)}

    def check(self) -> None:
        """Refuse what can be seen to be wrong before anything is loaded."""
        if self.name is not None:
            full_name(self.name)

    def called(self) -> str | None:
        """Its name where it does not hang on a file's: the given one, or what its kind is called."""
        return self.name or self.default_name


class BiEncoderSpec(SystemSpec):
    """A SentenceTransformer: see :class:`mr_st.evaluation.BiEncoder`.

    Args:
        model: A folder, a Hub id, or ``minilm``.
        prompts: Text to put before queries (``query``) and items (``item``), in the place of the model's own.
        prompt_names: Which of the model's own prompts to use instead.
        max_seq_length: Tokens read of a text; the model's own when None.
        truncate_dim: Components of a vector that are kept; all when None.
        batch_size: Texts in one forward pass; no part of the identity.
    """

    kind: Literal["bi-encoder"] = "bi-encoder"
    model: str
    prompts: dict[Literal["query", "item"], str] = Field(default_factory=dict)
    prompt_names: dict[Literal["query", "item"], str] = Field(default_factory=dict)
    max_seq_length: int | None = Field(default=None, ge=1)
    truncate_dim: int | None = Field(default=None, ge=1)
    batch_size: int | None = Field(default=None, ge=1)

    def called(self) -> str | None:
        changed = self.model_fields_set & {"prompts", "prompt_names", "max_seq_length", "truncate_dim"}
        return self.name or (None if changed else name_of_model(self.model))

    def check(self) -> None:
        super().check()
        both = sorted(set(self.prompts) & set(self.prompt_names))
        if both:
            raise UsageError(f"{self.model}: prompts and prompt_names both name {both[0]}; give one of them")
        _refuse_cross_encoder(self.model)

    def load(self, how: Loading, name: str) -> System:
        from mr_st.evaluation.bi_encoder import BiEncoder

        options: dict[str, Any] = {} if self.truncate_dim is None else {"truncate_dim": self.truncate_dim}
        # settings are written into the model, so each combination has one of its own
        changes = {"prompts": self.prompts, "names": self.prompt_names, "length": self.max_seq_length}
        key = ("bi-encoder", self.model, repr(options), repr(changes))
        if key not in how.loaded:
            loading = how if not any(changes.values()) else Loading(device=how.device)
            model = loading.model(self.model, **options)
            self._change(model)
            how.loaded[key] = BiEncoder(
                model,
                name,
                store=how.store,
                batch_size=self.batch_size or how.batch_size,
                show_progress=how.show_progress,
            )
        named = copy(how.loaded[key])  # the same model and vectors under another name
        named.name = name
        return named

    def _change(self, model: SentenceTransformer) -> None:
        from mr_st.encoding import prompt_of

        dim = model.get_embedding_dimension()
        if self.truncate_dim is not None and dim is not None and self.truncate_dim > dim:
            raise UsageError(
                f"{self.model}: truncate_dim is {self.truncate_dim}, but its vectors have {dim} components"
            )
        texts = dict(self.prompts)
        own = dict(model.prompts or {})
        for side, prompt in self.prompt_names.items():
            if prompt not in own:
                known = ", ".join(sorted(own)) or "none"
                raise UsageError(f"{self.model}: no prompt is called {prompt!r}; it has {known}")
            texts[side] = own[prompt] or ""
        if texts:
            model.prompts = {
                "query": texts.get("query", prompt_of(model, "query")),
                "document": texts.get("item", prompt_of(model, "item")),
            }
            model.default_prompt_name = None
        if self.max_seq_length is not None:
            limit = _longest(model)
            if limit is not None and self.max_seq_length > limit:
                raise UsageError(
                    f"{self.model}: max_seq_length is {self.max_seq_length}, but the model takes {limit} tokens"
                )
            model.max_seq_length = self.max_seq_length


class Bm25Spec(SystemSpec):
    """BM25: see :class:`mr_st.evaluation.systems.Bm25System`."""

    default_name: ClassVar[str | None] = "mr-st/bm25"

    kind: Literal["bm25"] = "bm25"
    k1: float = Field(default=1.2, ge=0, allow_inf_nan=False)
    b: float = Field(default=0.75, ge=0, le=1)
    language: str | None = "auto"
    stop_words: list[str] | None = None
    method: Literal["lucene", "robertson", "atire"] = "lucene"

    def load(self, how: Loading, name: str) -> System:
        from mr_st.evaluation.systems.bm25 import Bm25System

        return Bm25System(name=name, show_progress=how.show_progress, **self.options())


class RandomSpec(SystemSpec):
    """A random order: see :class:`mr_st.evaluation.systems.RandomSystem`."""

    default_name: ClassVar[str | None] = "mr-st/random"

    kind: Literal["random"] = "random"
    seed: int = 0

    def load(self, how: Loading, name: str) -> System:
        from mr_st.evaluation.systems.random import RandomSystem

        return RandomSystem(self.seed, name=name)


class RunSpec(SystemSpec):
    """A TREC run: see :class:`mr_st.evaluation.systems.RunFile`."""

    kind: Literal["run"] = "run"
    path: str

    def called(self) -> str | None:
        return self.name or name_of_file(self.path)

    def check(self) -> None:
        super().check()
        if not Path(self.path).is_file():
            raise UsageError(f"{self.path}: no such run file; give the path of a file in TREC's form")

    def load(self, how: Loading, name: str) -> System:
        from mr_st.evaluation.systems.run_file import RunFile

        return RunFile(self.path, name=name)


class HybridSpec(SystemSpec):
    """Several systems fused: see :class:`mr_st.evaluation.systems.HybridSystem`.

    Args:
        parts: Name to system: what :func:`load_system` takes, or a mapping like the file itself.
        fusion, weights, depth, constant, normalise: As in the class.
    """

    kind: Literal["hybrid"] = "hybrid"
    parts: dict[str, SystemSpec] = Field(min_length=1)
    fusion: Literal["rrf", "weighted"] = "rrf"
    weights: dict[str, float] | None = None
    depth: int = Field(default=100, ge=1)
    constant: float = Field(default=60.0, ge=0, allow_inf_nan=False)
    normalise: Literal["minmax", "zscore", "none"] = "minmax"

    def check(self) -> None:
        super().check()
        other = {"rrf": "normalise", "weighted": "constant"}[self.fusion]
        if other in self.model_fields_set:
            raise UsageError(f"{other} means nothing with fusion: {self.fusion}; leave it out")
        if self.weights is not None and set(self.weights) != set(self.parts):
            raise UsageError(
                f"weights are for {', '.join(self.weights) or 'nothing'}, but the parts are {', '.join(self.parts)}"
            )
        for part in self.parts.values():
            part.check()

    def load(self, how: Loading, name: str) -> System:
        from mr_st.evaluation.systems.hybrid import HybridSystem

        parts = {part: spec.load(how, spec.called() or full_name(part)) for part, spec in self.parts.items()}
        return HybridSystem(parts, name=name, **self.options("parts"))


class RerankSpec(SystemSpec):
    """A retriever's best items reranked: see :class:`mr_st.evaluation.systems.RerankedSystem`.

    Args:
        retriever: What :func:`load_system` takes, or a mapping like the file itself.
        reranker: A cross-encoder's folder or Hub id, with one output or one a grade; or any annotator's folder or
            YAML file.
        depth: Items reranked.
        gains: What each grade is worth, for a reranker that knows grades.
        max_length: Tokens of a pair, for a cross-encoder with one output.
        batch_size: Pairs in one forward pass; no part of the identity.
    """

    kind: Literal["rerank"] = "rerank"
    retriever: SystemSpec
    reranker: str
    depth: int = Field(default=100, ge=1)
    gains: list[float] | None = None
    max_length: int | None = Field(default=None, ge=1)
    batch_size: int | None = Field(default=None, ge=1)

    def check(self) -> None:
        super().check()
        self.retriever.check()

    def load(self, how: Loading, name: str) -> System:
        from mr_st.evaluation.systems.pair_scorers import load_pair_scorer
        from mr_st.evaluation.systems.reranked import RerankedSystem

        scorer = load_pair_scorer(
            self.reranker,
            gains=self.gains,
            batch_size=self.batch_size or how.batch_size,
            max_length=self.max_length,
            device=how.device,
            labels=None if how.store is None else how.store / "labels.sqlite",
        )
        retriever = self.retriever.load(how, self.retriever.called() or "local/retriever")
        return RerankedSystem(retriever, scorer, depth=self.depth, name=name, show_progress=how.show_progress)


def name_of_model(model: str) -> str:
    """What results of a bi-encoder are filed under: its Hub id, or ``local/`` and the folder that tells it apart.

    Raises:
        MrStError: a folder without a model, or a name that is neither a folder nor a Hub id.
    """
    from mr_st.models import resolve_base

    where, hub_id = resolve_base(model)
    if hub_id is not None:
        return hub_id if "/" in hub_id else f"sentence-transformers/{hub_id}"
    folder = Path(where).resolve()
    return name_of_file(folder.parent.name if folder.name == "model" else folder.name)


def _refuse_cross_encoder(model: str) -> None:
    """A classifier would be loaded as a bi-encoder, whose vectors mean nothing."""
    config = Path(model).expanduser() / "config.json"
    found = read_json(config) if config.is_file() else {}
    names = found.get("architectures") if isinstance(found, dict) else None
    if any("SequenceClassification" in str(name) for name in names or []):
        raise UsageError(
            f"{model}: a cross-encoder reranks what another system finds; give a YAML file with kind: rerank, "
            "retriever and reranker"
        )


def _longest(model: SentenceTransformer) -> int | None:
    """Positions that the transformer has, None where that is not known."""
    for module in model.modules():
        config = getattr(module, "config", None)
        if getattr(config, "max_position_embeddings", None):
            return int(config.max_position_embeddings)  # type: ignore[union-attr]
    return None
