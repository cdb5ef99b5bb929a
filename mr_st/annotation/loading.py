"""An annotator by name: a folder that a fit wrote, a YAML file that says what it is, or a Hub id."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mr_st.annotation.protocol import Annotator
from mr_st.errors import UsageError, explain_validation
from mr_st.files import read_json, read_yaml
from mr_st.hub_client import is_hub_id

__all__ = ["keeping_labels", "load_annotator"]

_YAML = (".yaml", ".yml")
_INSIDE = ("", "model", "fit/model")  # a model, the folder of a fit, a recipe's step


def load_annotator(name: str | Path, *, budget: float | None = None) -> Annotator:
    """The annotator that a name means.

    Args:
        name: A folder that :func:`mr_st.training.fit_cross_encoder` or ``fit_llm_annotator`` wrote (the one with
            ``model`` in it, or that itself), any classifier's or causal model's folder; the Hub id of a cross-encoder;
            or a YAML file: ``kind`` (cross_encoder, llm, endpoint, similarity, ensemble) and what the class of that
            kind takes. Paths in it start at its folder; a key is never in it, but the name of the environment
            variable that holds it (``api_key_env``).
        budget: What an endpoint may spend, in the place of its own budget. An ensemble's members keep theirs.

    Raises:
        UsageError: no such file or folder, a key or value in the YAML file that means nothing (a misspelt one is
            named with the one that was meant), or a budget for an annotator that is not paid.
        MrStError: a model that cannot be loaded.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder) / "hosted.yaml"
        ...     _ = file.write_text("kind: endpoint\\nmodel: m\\nbase_url: http://127.0.0.1:8000/v1\\n")
        ...     load_annotator(file)
        EndpointAnnotator('m', base_url='http://127.0.0.1:8000/v1')
    """
    path = Path(name)
    if path.suffix.lower() in _YAML and not path.is_dir():
        return _read(path).load(path, budget)
    if budget is not None:
        raise UsageError(f"{name}: a model that runs here has no budget; leave it out (it is for kind: endpoint)")
    for inside in _INSIDE:
        if (path / inside / "config.json").is_file():
            return _load_folder(path / inside)
    if path.exists():
        raise UsageError(f"{name}: no annotator (no config.json, and no model/ folder with one); fit one first")
    if not is_hub_id(str(name)) and "/" in str(name).rstrip("/"):
        raise UsageError(f"{name}: no such folder or file; give a fitted annotator's folder, a YAML file or a Hub id")
    from mr_st.annotation.cross_encoder import CrossEncoderAnnotator

    return CrossEncoderAnnotator(str(name))


def keeping_labels(annotator: Annotator, store: Path) -> Annotator:
    """The same annotator, its labels kept as they arrive where they are slow or paid for (an LLM, an endpoint).

    Args:
        annotator: Who grades.
        store: The file; not made for a policy, a cross-encoder or a similarity.
    """
    from mr_st.annotation import EndpointAnnotator, EnsembleAnnotator, LLMAnnotator, StoredAnnotator

    if isinstance(annotator, (EndpointAnnotator, EnsembleAnnotator, LLMAnnotator)):
        return StoredAnnotator(annotator, store)
    return annotator


def _load_folder(folder: Path) -> Annotator:
    """What the model's own configuration says it is: a causal language model, or a classifier."""
    from mr_st.annotation.cross_encoder import CrossEncoderAnnotator
    from mr_st.annotation.llm import LLMAnnotator

    config = read_json(folder / "config.json")
    names = config.get("architectures") if isinstance(config, dict) else None
    is_causal = any("CausalLM" in str(name) or "LMHead" in str(name) for name in names or [])
    return (
        LLMAnnotator(folder) if is_causal or (folder / "annotator.json").is_file() else CrossEncoderAnnotator(folder)
    )


# ---- the YAML file -------------------------------------------------------------------------------------------------


class _Spec(BaseModel):
    """What a file says; only what it names is given on, so the classes' own defaults hold."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def options(self, place: Path) -> dict[str, Any]:
        """The named keys, local paths as seen from the file's folder."""
        given = {name: getattr(self, name) for name in self.model_fields_set if name != "kind"}
        for name in ("model", "guideline"):
            if isinstance(given.get(name), str) and (place.parent / given[name]).exists():
                given[name] = str(place.parent / given[name])
        return given

    def load(self, place: Path, budget: float | None) -> Annotator:
        if budget is not None:
            raise UsageError(f"{place}: an annotator that runs here has no budget; leave it out")
        return self.make(self.options(place))

    def make(self, options: dict[str, Any]) -> Annotator:
        raise NotImplementedError


class _CrossEncoderSpec(_Spec):
    kind: Literal["cross_encoder"]
    model: str
    batch_size: int = 64
    max_length: int | None = None
    temperature: float | None = None
    device: str | None = None
    shift: list[float] | None = None

    def make(self, options: dict[str, Any]) -> Annotator:
        from mr_st.annotation.cross_encoder import CrossEncoderAnnotator

        return CrossEncoderAnnotator(**options)


class _LLMSpec(_Spec):
    kind: Literal["llm"]
    model: str
    tokenizer: str | None = None
    guideline: str | None = None
    defended: bool | None = None
    batch_size: int = 32
    max_length: int | None = None
    temperature: float | None = None
    share_prefix: bool = True
    device: str | None = None
    dtype: str | None = None
    n_grades: int | None = None
    template_options: dict[str, Any] | None = None

    def make(self, options: dict[str, Any]) -> Annotator:
        from mr_st.annotation.llm import LLMAnnotator

        return LLMAnnotator(**options)


class _EndpointSpec(_Spec):
    kind: Literal["endpoint"]
    model: str
    base_url: str
    api_key_env: str | None = None
    guideline: str = "three_grades"
    defended: bool = True
    use_logprobs: bool | None = None
    pairs_per_request: int = 1
    concurrency: int = 8
    timeout: float = 30.0
    max_attempts: int = 8
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    price_per_million_input: float = 0.0
    price_per_million_output: float = 0.0
    budget: float | None = None
    max_requests: int | None = None
    temperature: float | None = None
    reliability: float = 1.0
    max_answer_tokens: int | None = None
    first_backoff: float = 0.5
    longest_wait: float = 60.0
    seed: int = 0
    extra_body: dict[str, Any] | None = None
    on_unanswered: Literal["error", "unsure"] = "error"

    def load(self, place: Path, budget: float | None) -> Annotator:
        return self.make({**self.options(place), **({} if budget is None else {"budget": budget})})

    def make(self, options: dict[str, Any]) -> Annotator:
        from mr_st.annotation.endpoint import EndpointAnnotator

        return EndpointAnnotator(**options)


class _SimilaritySpec(_Spec):
    kind: Literal["similarity"]
    model: str
    thresholds: list[float]
    slope: float = 20.0
    batch_size: int = 64
    device: str | None = None

    def make(self, options: dict[str, Any]) -> Annotator:
        from mr_st.annotation.similarity import SimilarityAnnotator

        return SimilarityAnnotator(**options)


class _EnsembleSpec(_Spec):
    """``members`` are names (folders, YAML files) or mappings like the file itself."""

    kind: Literal["ensemble"]
    members: list[str | dict[str, Any]] = Field(min_length=2)
    how: Literal["mean", "vote"] = "mean"
    weights: list[float] | None = None

    def load(self, place: Path, budget: float | None) -> Annotator:
        from mr_st.annotation.ensemble import EnsembleAnnotator

        members = [self._member(member, place, number) for number, member in enumerate(self.members)]
        options = {name: value for name, value in self.options(place).items() if name != "members"}
        return EnsembleAnnotator(members, **options)

    @staticmethod
    def _member(member: str | dict[str, Any], place: Path, number: int) -> Annotator:
        if isinstance(member, dict):
            return _checked(member, f"{place}: members.{number}").load(place, None)
        beside = place.parent / member
        return load_annotator(beside if beside.exists() else member)


_KINDS: dict[str, type[_Spec]] = {
    "cross_encoder": _CrossEncoderSpec,
    "llm": _LLMSpec,
    "endpoint": _EndpointSpec,
    "similarity": _SimilaritySpec,
    "ensemble": _EnsembleSpec,
}


def _read(path: Path) -> _Spec:
    return _checked(read_yaml(path, "annotator file"), str(path))


def _checked(value: dict[str, Any], where: str) -> _Spec:
    """The specification that a mapping is; ``where`` stands before what is wrong with it."""
    kind = value.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        near = difflib.get_close_matches(str(kind), _KINDS, n=1)
        mend = f"did you mean {near[0]}?" if near else f"it is one of {', '.join(_KINDS)}"
        found = "missing" if "kind" not in value else f"found {kind!r:.40}"
        raise UsageError(f"{where}: kind: {found}; {mend}")
    try:
        return _KINDS[kind].model_validate(value)
    except ValidationError as error:
        raise UsageError(explain_validation(where, error, _KINDS[kind])) from error
