"""A model saved at a setting, and what to write to search at it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

from mr_st.errors import UsageError
from mr_st.files import atomic_folder
from mr_st.hub.shrink_settings import Setting

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["how_to_use", "save_at"]


def save_at(model: SentenceTransformer, setting: Setting, folder: str | Path) -> Path:
    """Save a model so that plain ``SentenceTransformer(folder)`` gives the vectors of a setting.

    What is a property of the model is saved: fewer dimensions, weights in float16. For ``onnx`` and ``onnx-int8`` the
    graph lies beside the weights, where ``SentenceTransformer(folder, backend="onnx")`` looks for it. float16, int8
    and binary are ways to keep vectors: :func:`how_to_use` says how.

    Args:
        model: The model; it stays as it is.
        setting: What to save.
        folder: A new folder, or one that holds a model, which is replaced.

    Returns:
        The folder.

    Raises:
        UsageError: a setting that leaves the model as it is, or a folder with other files than a model's.
        MrStError: the folder cannot be written.
    """
    from mr_st.models.matryoshka import truncate_tower

    folder = Path(folder)
    width = int(model.get_embedding_dimension() or 0)
    if setting.dims == width and setting.encoder == "float32":
        raise UsageError(
            f"{setting.name} is a way to keep the vectors and leaves the model as it is: nothing to save; search as "
            "docs/shrink.md shows, or name fewer dimensions (e.g. float32-128), float16-weights or onnx"
        )
    if folder.exists() and (
        not folder.is_dir() or (any(folder.iterdir()) and not (folder / "modules.json").is_file())
    ):
        raise UsageError(f"{folder}: holds other files than a model; choose a new or empty folder")
    changed = copy.deepcopy(model)
    if setting.dims < width:
        truncate_tower(changed, setting.dims)
    if setting.encoder == "float16-weights":
        changed.half()
    with atomic_folder(folder.resolve()) as temporary:
        changed.save_pretrained(str(temporary), create_model_card=False, safe_serialization=True)
        if setting.encoder in ("onnx", "onnx-int8"):
            from mr_st.hub.shrink_encoders import write_onnx

            write_onnx(model, temporary, quantised=setting.encoder == "onnx-int8")
    return folder


def how_to_use(setting: Setting, model: str) -> str:
    """A few lines of Python that encode and search at a setting.

    Args:
        setting: The setting.
        model: What to load; at fewer dimensions, a model that :func:`save_at` saved is meant.
    """
    lines = ["from sentence_transformers import SentenceTransformer"]
    if setting.encoder in ("onnx", "onnx-int8"):
        file = "model.onnx" if setting.encoder == "onnx" else "model_qint8.onnx"
        options = f', backend="onnx", model_kwargs={{"file_name": "onnx/{file}"}}'
        return "\n".join([*lines, "", f"model = SentenceTransformer({model!r}{options})  # needs optimum-onnx"])
    quantised = setting.dtype in ("int8", "binary")
    if quantised:
        lines.append(
            "from sentence_transformers.util.quantization import quantize_embeddings, semantic_search_usearch"
        )
    cut = f", truncate_dim={setting.dims}" if "-" in setting.name and setting.encoder == "float32" else ""
    again = ", normalize_embeddings=True" if cut else ""
    lines += [
        "",
        f"model = SentenceTransformer({model!r}{cut})",
        f"items = model.encode_document(item_texts{again})",
        f"queries = model.encode_query(query_texts{again})",
    ]
    if setting.dtype == "float16":
        lines.append("items = items.astype('float16')  # keep these")
    if not quantised:
        return "\n".join([*lines, "scores = model.similarity(queries, items)"])
    precision = "int8" if setting.dtype == "int8" else "ubinary"
    calibration = ""
    if precision == "int8":
        lines.append("ranges = numpy.vstack([items.min(axis=0), items.max(axis=0)])  # of the catalogue; keep them")
        lines.insert(0, "import numpy")
        calibration = ", ranges=ranges"
    rescore = setting.rescored_with == "own codes"
    given = "queries" if rescore else f'quantize_embeddings(queries, precision="{precision}"{calibration})'
    k = "10" if setting.rescored_with in (None, "own codes") else "200"
    lines += [
        f'codes = quantize_embeddings(items, precision="{precision}"{calibration})  # keep these',
        "hits, seconds = semantic_search_usearch(",
        f'    {given}, corpus_embeddings=codes, corpus_precision="{precision}", top_k={k}, exact=True,',
        f"    rescore={rescore}{', rescore_multiplier=20' if rescore else ''}{calibration if rescore else ''},",
        ")",
    ]
    if k == "200":
        kept = "items" if setting.rescored_with == "float32" else "the int8 codes read back as numbers"
        lines.append(f"# then sort each query's 200 hits anew by queries @ {kept}, and keep the first 10")
    return "\n".join(lines)
