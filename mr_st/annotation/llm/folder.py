"""A language model on disk or on the Hub, and what a fitted annotator's folder says of itself."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from mr_st.annotation.guideline import Guideline
from mr_st.annotation.prompt import GradePrompt
from mr_st.errors import MrStError, UsageError
from mr_st.files import read_json, write_json, write_text

__all__ = ["ANNOTATOR_FILE", "GUIDELINE_FILE", "load_causal", "load_tokenizer", "read_about", "write_about"]

logger = logging.getLogger(__name__)

ANNOTATOR_FILE, GUIDELINE_FILE = "annotator.json", "guideline.md"
_DTYPES = ("float32", "bfloat16", "float16", "auto")


def write_about(
    folder: str | Path,
    prompt: GradePrompt,
    temperature: float,
    *,
    max_length: int | None = None,
    template_options: dict[str, Any] | None = None,
    **about: Any,
) -> None:
    """Save beside a fitted model what ``LLMAnnotator`` needs to ask it as it was fitted.

    Args:
        folder: The model's folder.
        prompt: As the model was fitted with.
        temperature: Above 0.
        max_length: Most tokens of a prompt; the model's positions when None.
        template_options: Variables of the chat template.
        about: What else to tell a reader (on how many pairs the temperature was fitted); not read back.
    """
    settings: dict[str, Any] = {"kind": "llm", "temperature": float(temperature), "prompt": prompt.settings}
    if max_length is not None:
        settings["max_length"] = int(max_length)
    if template_options:
        settings["template_options"] = dict(template_options)
    write_text(Path(folder) / GUIDELINE_FILE, prompt.guideline.text)
    write_json(Path(folder) / ANNOTATOR_FILE, {**settings, **about})


def read_about(folder: Path, with_guideline: bool = True) -> dict[str, Any]:
    """What :func:`write_about` saved: temperature, defended, guideline, max_length, template_options; {} where none.

    Raises:
        MrStError: a damaged file, or a guideline that is not the one the model was fitted with.
    """
    path = folder / ANNOTATOR_FILE
    if not path.is_file():
        return {}
    value = read_json(path)
    prompt = value.get("prompt") if isinstance(value, dict) else None
    if not isinstance(prompt, dict) or value.get("kind") != "llm":
        raise MrStError(
            f'{path}: expected {{"kind": "llm", "temperature": ..., "prompt": ...}}; fit the annotator again'
        )
    temperature = value.get("temperature")
    if isinstance(temperature, bool) or not isinstance(temperature, (int, float)) or not temperature > 0:
        raise MrStError(f"{path}: temperature is {temperature!r}; expected a number above 0: fit the annotator again")
    about: dict[str, Any] = {"temperature": float(temperature), "defended": prompt.get("defended") is not False}
    length, options = value.get("max_length"), value.get("template_options")
    if length is not None and (isinstance(length, bool) or not isinstance(length, int) or length < 1):
        raise MrStError(f"{path}: max_length is {length!r}; expected a whole number above 0: fit the annotator again")
    if options is not None and not isinstance(options, dict):
        raise MrStError(f"{path}: template_options is {options!r:.40}; expected names and values: fit it again")
    about |= {"max_length": length, "template_options": options}
    if with_guideline:
        about["guideline"] = _own_guideline(folder / GUIDELINE_FILE, prompt)
    return about


def _own_guideline(path: Path, prompt: dict[str, Any]) -> Guideline:
    guideline = Guideline.load(path)
    if prompt.get("guideline") != guideline.version:
        raise MrStError(
            f"{path}: not the guideline that the model was fitted with (version {guideline.version}, fitted with "
            f"{prompt.get('guideline')}); restore the file, or pass a guideline of your own"
        )
    if prompt.get("prompt") != GradePrompt(guideline).settings["prompt"]:
        logger.warning(
            "%s: fitted with wording %s of the prompt, asked with %s; fit the annotator again",
            path.parent, prompt.get("prompt"), GradePrompt(guideline).settings["prompt"],
        )  # fmt: skip
    return guideline


def load_causal(model: Any, device: str | None, dtype: str | None) -> Any:
    """A causal language model, loaded from a name or path (safetensors only, no remote code) or as given."""
    import torch
    from transformers import AutoModelForCausalLM

    from mr_st.models.loading import no_loading_bars

    if not isinstance(model, (str, Path)):
        return model if device is None else model.to(device)
    if dtype not in (None, *_DTYPES):
        raise UsageError(f"dtype is {dtype!r}; expected one of {', '.join(_DTYPES)}")
    auto: Any = AutoModelForCausalLM
    try:
        with no_loading_bars():
            loaded, found = auto.from_pretrained(
                str(model),
                dtype=dtype or "float32",
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except (OSError, ValueError) as error:
        raise MrStError(
            f"{model}: no causal language model could be loaded from there ({_reason(error)}); give a folder with "
            "safetensors, as fit_llm_annotator writes it, or a Hub id"
        ) from error
    architectures = getattr(loaded.config, "architectures", None) or []
    if found["missing_keys"] or (architectures and not set(architectures) & _causal_architectures()):
        raise MrStError(
            f"{model}: a {', '.join(architectures) or 'model'} is no causal language model, its answers would be "
            "random; give one whose files say ...ForCausalLM"
        )
    return loaded.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def _causal_architectures() -> set[str]:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())


def load_tokenizer(tokenizer: Any, model: Any) -> Any:
    """The tokenizer given, or named, or the model's own."""
    from transformers import AutoTokenizer

    if tokenizer is None and not isinstance(model, (str, Path)):
        raise UsageError("a loaded model needs its tokenizer: pass tokenizer=")
    source = model if tokenizer is None else tokenizer
    if not isinstance(source, (str, Path)):
        return source
    try:
        return AutoTokenizer.from_pretrained(str(source), trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise MrStError(
            f"{source}: no tokenizer could be loaded from there ({_reason(error)}); give its folder"
        ) from error


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
