"""The registry: one folder a model with its recipe, and, once it was trained, its card and its results."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mr_st.errors import MrStError, UsageError
from mr_st.files import read_json, read_yaml
from mr_st.hub_client import one_line

__all__ = ["RegisteredModel", "find_registry", "read_registered", "registered_models", "result_scores"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_ABSENT = "the registry comes with the source checkout, not with the installed package; give its folder with --cards"


@dataclass(frozen=True)
class RegisteredModel:
    """What the registry says of a model; None where nobody has measured or said it.

    Args:
        name: Its folder's name.
        status: ``card and results``, ``recipe only``, or ``unreadable``.
        description: The recipe's own line.
        repo_id: What it is published as.
        base_model: What it is fine-tuned from.
        data: The source of its judgments, with its locales.
        task: The task that its main figure is of.
        metric: The main figure's metric, e.g. ``ndcg@10``.
        value: The main figure, out of ``results/``.
        low: Lower end of its 95 % interval.
        high: Upper end.
        n_queries: How many queries it is the mean of.
        revision: Content hash of the model that was measured.
        n_parameters: Its weights; of a recipe the base's.
        dim: Length of its embeddings.
        license: Its licence; of a recipe the base's.
        estimate: What training should need: hardware, hours, memory. Only where there are no results.
    """

    name: str
    status: str
    description: str = ""
    repo_id: str | None = None
    base_model: str | None = None
    data: str | None = None
    task: str | None = None
    metric: str | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n_queries: int | None = None
    revision: str | None = None
    n_parameters: int | None = None
    dim: int | None = None
    license: str | None = None
    estimate: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """All of it, JSON-ready."""
        return asdict(self)


def find_registry(cards: str | Path | None = None) -> Path:
    """The registry's folder: the one given, ``model_cards`` here, or that of the checkout this package runs from.

    Raises:
        MrStError: there is none.
    """
    import mr_st

    checkout = Path(mr_st.__file__).resolve().parents[1] / "model_cards"
    here = Path("model_cards")
    folder = Path(cards) if cards is not None else here if here.is_dir() else checkout
    if not folder.is_dir():
        raise MrStError(f"{folder if cards is not None else here}: no such folder; {_ABSENT}")
    return folder


def registered_models(cards: str | Path) -> list[RegisteredModel]:
    """Every model of a registry, by name; one that cannot be read has the status ``unreadable`` and says why.

    Args:
        cards: The registry.
    """
    found = []
    for path in _folders(Path(cards)):
        try:
            found.append(read_registered(cards, path.name))
        except MrStError as error:
            found.append(RegisteredModel(path.name, "unreadable", description=one_line(str(error))))
    return found


def read_registered(cards: str | Path, name: str) -> RegisteredModel:
    """One model of a registry.

    Raises:
        UsageError: no model of that name.
        MrStError: its recipe, card or results cannot be read.
    """
    known = [path.name for path in _folders(Path(cards))]
    if name not in known:
        raise UsageError(f"{cards}: no model named {one_line(ascii(name))}; there are: {', '.join(known) or 'none'}")
    folder = Path(cards) / name
    recipe = read_yaml(folder / "recipe.yaml", "recipe")
    publish, model = _mapping(recipe.get("publish")), _mapping(recipe.get("model"))
    said: dict[str, Any] = {
        "description": one_line(str(recipe.get("description") or "")),
        "repo_id": _text(publish.get("repo_id")),
        "base_model": _text(model.get("base")),
        "data": _data(_mapping(recipe.get("data"))),
    }
    if not (folder / "README.md").is_file():
        return RegisteredModel(name, "recipe only", **said, **_estimated(folder, model, publish))
    return RegisteredModel(name, "card and results", **{**said, **_measured(folder, said["repo_id"] or "")})


def result_scores(path: Path) -> dict[str, Any]:
    """Of a result file with one split: the ``graded`` part of the whole split, with ``split`` and ``task``.

    Raises:
        MrStError: it is no result with figures of ours.
    """
    content = read_json(path)
    try:
        ((split, parts),) = content["scores"].items()
        whole = next(part for part in parts if part["hf_subset"] == "default")
        graded = whole["graded"]
        metrics = {name: [*map(_number, of)] for name, of in graded["metrics"].items()}
        protocol, model, main = graded["protocol"], graded["model"], graded["main_metric"]
        return {
            "task": str(content["task_name"]), "split": str(split), "metrics": metrics, "main_metric": str(main),
            "dataset": dict(protocol["dataset"]), "fingerprint": str(content["dataset_revision"]),
            "name": str(model["name"]), "revision": str(model["revision"]),
        }  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as error:
        raise MrStError(f"{path}: not a whole result ({type(error).__name__}: {error}); evaluate again") from error


def _folders(cards: Path) -> list[Path]:
    return sorted(path for path in cards.iterdir() if path.is_dir() and (path / "recipe.yaml").is_file())


def _measured(folder: Path, repo_id: str) -> dict[str, Any]:
    """What card, report and results say."""
    from huggingface_hub import ModelCard

    try:
        metadata = ModelCard((folder / "README.md").read_text(encoding="utf-8")).data.to_dict()
    except (ValueError, TypeError, AttributeError) as error:
        raise MrStError(f"{folder / 'README.md'}: metadata cannot be read ({one_line(str(error))})") from error
    report = _mapping(read_json(folder / "report.json")) if (folder / "report.json").is_file() else {}
    facts = _mapping(report.get("model"))
    found: dict[str, Any] = {
        "license": _text(metadata.get("license_name") or metadata.get("license")),
        "base_model": _text(metadata.get("base_model")),
        "n_parameters": facts.get("n_parameters"),
        "dim": facts.get("dim"),
    }
    own = sorted((folder / "results" / repo_id.replace("/", "__")).glob("*/*.json")) if repo_id.count("/") == 1 else []
    own = [path for path in own if path.name != "model_meta.json"]
    if own:
        scores = result_scores(own[0])
        metric = scores["main_metric"]
        value, low, high, n = scores["metrics"].get(metric, [math.nan] * 4)
        found |= {
            "task": scores["task"], "metric": metric, "value": value, "low": low, "high": high, "n_queries": int(n),
            "revision": scores["revision"],
        }  # fmt: skip
    return {key: value for key, value in found.items() if value is not None}


def _estimated(folder: Path, model: Mapping[str, Any], publish: Mapping[str, Any]) -> dict[str, Any]:
    path = folder / "estimate.yaml"
    estimate = read_yaml(path, "estimate") if path.is_file() else {}
    base = _mapping(estimate.get("base"))
    dims = (publish.get("dim"), model.get("dim"), base.get("dim"))
    return {
        "n_parameters": _whole(base.get("parameters")),
        "dim": next((dim for dim in map(_whole, dims) if dim is not None), None),
        "license": _text(base.get("license")),
        "estimate": estimate or None,
    }


def _data(spec: Mapping[str, Any]) -> str | None:
    """The source, with what of it."""
    source = _text(spec.get("source"))
    options = _mapping(spec.get("options"))
    parts = [str(options[key]) for key in ("locale", "size", "version") if options.get(key) not in (None, "all")]
    if options.get("locale") == "all" and source == "esci":
        parts.insert(0, "us, es, jp")
    return one_line(f"{source} ({', '.join(parts)})") if source and parts else source


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    return one_line(value) if isinstance(value, str) and value.strip() else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
