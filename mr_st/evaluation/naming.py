"""Names and identities of models: what a result folder is called, and what MTEB is told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mr_st.errors import UsageError
from mr_st.identity import model_hash

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["as_mteb_model", "folder_name", "model_facts", "model_identity", "safe_name"]

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]*")


def safe_name(name: str, what: str) -> str:
    """The name, if it can stand in a path as one part.

    Raises:
        UsageError: it is empty, starts with a dot, or holds anything but letters, digits and ``. _ + = -``.
    """
    if not _PART.fullmatch(name):
        raise UsageError(f"{what} {name!r} cannot name a file; use letters, digits and . _ + = - (no slash)")
    return name


def folder_name(model_name: str) -> str:
    """A ``model_name`` such as ``org/name`` as MTEB's folder name.

    Raises:
        UsageError: a part of the name could leave the folder or is empty.

    Example:
        >>> folder_name("intfloat/multilingual-e5-small")
        'intfloat__multilingual-e5-small'
    """
    return "__".join(safe_name(part, f"a part of the model name {model_name!r},") for part in model_name.split("/"))


def model_identity(model: Any, name: str | None = None, revision: str | None = None) -> tuple[str, str]:
    """Name (``org/name``) and revision of a model.

    The revision is the content hash of its weights and settings unless one is given, so that two models never share
    a result. A model that was not loaded from the Hub and is given no name is called ``local/model``; a name without
    an organisation gets ``local/``.

    Args:
        model: A SentenceTransformer.
        name: Its name, or None.
        revision: Its revision, or None.

    Raises:
        UsageError: the name or the revision cannot stand in a path.
    """
    if name is None:
        parts = str(getattr(getattr(model, "model_card_data", None), "model_id", None)).split("/")
        name = "/".join(parts) if len(parts) == 2 and all(map(_PART.fullmatch, parts)) else "model"
    if "/" not in name:
        name = f"local/{name}"
    folder_name(name)
    return name, safe_name(revision if revision is not None else model_hash(model), "revision")


def model_facts(model: Any) -> dict[str, Any]:
    """What MTEB's model_meta.json says of a model and can be read off it."""
    facts: dict[str, Any] = {
        "max_tokens": getattr(model, "max_seq_length", None),
        "embed_dim": None,
        "n_parameters": None,
        "framework": ["Sentence Transformers", "PyTorch"],
    }
    if hasattr(model, "get_embedding_dimension"):
        facts["embed_dim"] = model.get_embedding_dimension()
    if hasattr(model, "parameters"):
        facts["n_parameters"] = sum(p.numel() for p in model.parameters())
    return facts


def as_mteb_model(model: SentenceTransformer, name: str | None = None, revision: str | None = None) -> Any:
    """Wrap a SentenceTransformer for ``mteb.evaluate`` under a name and a revision of its own.

    mteb calls every model loaded from a path ``no_model_name/available``, so that two of them share one cache entry
    and the second is given the first one's score. This does not touch the model.

    Args:
        model: The model.
        name: ``org/name``; see :func:`model_identity`.
        revision: None for the content hash.

    Example:
        mteb.evaluate(as_mteb_model(model, "my-shop/stage-2"), [task], cache=cache)
    """
    from mteb.models import SentenceTransformerEncoderWrapper

    name, revision = model_identity(model, name, revision)
    wrapped = SentenceTransformerEncoderWrapper(model)
    wrapped.mteb_model_meta = wrapped.mteb_model_meta.model_copy(update={"name": name, "revision": revision})
    return wrapped
