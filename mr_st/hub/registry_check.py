"""The check of the registry: whether recipe, card and results of every model agree."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from mr_st.errors import MrStError
from mr_st.files import read_json, read_yaml
from mr_st.hub.card_metadata import check_card
from mr_st.hub.publish_files import PICKLES
from mr_st.hub.registry import NAME, result_scores
from mr_st.hub_client import one_line

__all__ = ["check_registry"]

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)[^)]*\)")
_HOURS = ("total",)


def check_registry(cards: str | Path, read_recipe: Callable[[Path], Any]) -> dict[str, list[str]]:
    """Check every folder of a registry.

    Args:
        cards: The registry.
        read_recipe: Reads and checks a recipe file (:meth:`mr_st.recipes.Recipe.from_yaml`); it raises an MrStError.

    Returns:
        By folder, the faults in it, one line each; an empty list where all agrees.
    """
    found: dict[str, list[str]] = {}
    for folder in sorted(Path(cards).iterdir()):
        if folder.name.startswith("."):
            continue
        found[folder.name] = [one_line(fault) for fault in _faults(folder, read_recipe)]
    return found


def _faults(folder: Path, read_recipe: Callable[[Path], Any]) -> Iterator[str]:
    if folder.is_symlink() or not folder.is_dir() or not NAME.fullmatch(folder.name):
        yield "not a folder with a plain name (letters, digits, '-', '_', '.')"
        return
    files = yield from _files(folder)
    if "recipe.yaml" not in files:
        yield "recipe.yaml is missing"
        return
    try:
        recipe = read_recipe(folder / "recipe.yaml")
    except MrStError as error:
        yield _told(error, folder)
        return
    if recipe.name != folder.name:
        yield f"recipe.yaml: name is {recipe.name}, and the folder is called {folder.name}"
    if recipe.publish.repo_id.split("/")[-1] != folder.name:
        yield f"recipe.yaml: publish.repo_id is {recipe.publish.repo_id}, and the folder is called {folder.name}"
    if "README.md" in files:
        yield from _faults_of_trained(folder, files, recipe)
    else:
        yield from _faults_of_recipe_only(folder, files)


def _files(folder: Path) -> Generator[str, None, set[str]]:
    """The folder's files by path, for ``yield from``; faults of links, pickles and odd names are yielded."""
    files = set()
    root = folder.resolve()
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).as_posix()
        if path.is_symlink() and (not path.exists() or root not in path.resolve().parents):
            yield f"{inside}: a link that leads nowhere or out of the folder"
        elif path.is_file():
            if path.suffix.lower() in PICKLES:
                yield f"{inside}: may hold pickled code"
            if not inside.isprintable() or "\\" in inside:
                yield f"{inside!a}: a name that cannot be published"
            files.add(inside)
    return files


def _told(error: MrStError, folder: Path) -> str:
    return str(error).replace(f"{folder}/", "")


def _faults_of_recipe_only(folder: Path, files: set[str]) -> Iterator[str]:
    claimed = sorted(f for f in files if f.startswith(("results/", "plots/")) or f in ("report.json", "shrink.json"))
    if claimed:
        yield f"{claimed[0]}: results without a card (README.md)"
    if "estimate.yaml" not in files:
        yield "neither a card (README.md) nor an estimate (estimate.yaml)"
        return
    try:
        estimate = read_yaml(folder / "estimate.yaml", "estimate")
    except MrStError as error:
        yield _told(error, folder)
        return
    if estimate.get("kind") != "estimate":
        yield "estimate.yaml: kind is not estimate; a figure that was not measured must say so"
    for key in ("hardware", "how"):
        if not estimate.get(key):
            yield f"estimate.yaml: {key} is missing"
    hours = estimate.get("hours")
    hours = hours if isinstance(hours, Mapping) else {}
    for key, value in {**{f"hours.{k}": hours.get(k) for k in {*_HOURS, *hours}},
                       "gpu_memory_gb": estimate.get("gpu_memory_gb")}.items():  # fmt: skip
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0 or math.isinf(value):
            yield f"estimate.yaml: {key} must be a positive number, found {value!r:.40}"
    parts = [v for k, v in hours.items() if k != "total" and isinstance(v, (int, float))]
    if (
        isinstance(hours.get("total"), (int, float))
        and parts
        and abs(sum(parts) - hours["total"]) > 0.051 * len(parts)
    ):
        yield f"estimate.yaml: hours.total is {hours['total']}, and its parts add up to {sum(parts):.1f}"


def _faults_of_trained(folder: Path, files: set[str], recipe: Any) -> Iterator[str]:
    if "estimate.yaml" in files:
        yield "estimate.yaml: there is a card, which says what was measured; delete the estimate"
    card = (folder / "README.md").read_text(encoding="utf-8", errors="replace")
    try:
        check_card(card)
    except MrStError as error:
        yield str(error)
        return
    yield from _faults_of_links(folder, card, files)
    scores: dict[str, dict[str, Any]] = {}
    for path in sorted(f for f in files if f.startswith("results/") and f.endswith(".json")):
        if path.endswith("/model_meta.json"):
            continue
        try:
            scores[path] = result_scores(folder / path)
        except MrStError as error:
            yield _told(error, folder)
            continue
        yield from _faults_of_result(folder, path, scores[path], recipe)
    own = {path: of for path, of in scores.items() if of["name"] == recipe.publish.repo_id}
    if len(own) != 1:
        yield f"results/: {len(own)} results of {recipe.publish.repo_id}, expected one"
        return
    (main,) = own.values()
    yield from _faults_of_metadata(card, main, recipe)
    yield from _faults_of_report(folder, files, scores, main, recipe)
    yield from _faults_of_shrink(folder, files, card, main)


def _faults_of_links(folder: Path, card: str, files: set[str]) -> Iterator[str]:
    for target in dict.fromkeys(_LINK.findall(card)):
        if re.match(r"[a-z][a-z+.-]*:|#", target, re.IGNORECASE):
            continue
        path = target.partition("#")[0]
        if path.startswith("/") or ".." in Path(path).parts:
            yield f"README.md: {target} leads out of the folder"
        elif path not in files and not (folder / path).is_dir():
            yield f"README.md: {target} does not exist"


def _differences(shown: Any, own: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(shown, Mapping) and isinstance(own, Mapping):
        for key, value in shown.items():
            name = f"{path}.{key}" if path else str(key)
            there = own.get(key, own.get(str(key)))
            if there is None and isinstance(key, str) and key.isdigit():
                there = own.get(int(key))
            yield from _differences(value, there, name)
    elif shown != own:
        yield path, shown, own


def _faults_of_result(folder: Path, path: str, scores: Mapping[str, Any], recipe: Any) -> Iterator[str]:
    from mr_st.evaluation import GradedReport

    _, model, revision, file = path.split("/") if path.count("/") == 3 else ("", "", "", "")
    if scores["name"].replace("/", "__") != model or scores["revision"] != revision:
        yield f"{path}: holds results of {scores['name']} at {scores['revision']}"
    if f"{scores['task']}.json" != file or scores["task"] != recipe.evaluation.task:
        yield f"{path}: is of {scores['task']}, and the recipe's evaluation of {recipe.evaluation.task}"
    if scores["split"] != recipe.evaluation.split:
        yield f"{path}: is of the split {scores['split']}, and the recipe's evaluation of {recipe.evaluation.split}"
    if scores["dataset"].get("fingerprint") != scores["fingerprint"]:
        yield f"{path}: dataset_revision is {scores['fingerprint']}, its protocol's {scores['dataset']}"
    try:
        report = GradedReport.load(folder / path)
    except MrStError as error:
        yield _told(error, folder)
        return
    for name in sorted(set(report.per_query.column_names) & report.metrics.keys()):
        values = [value for value in report.values(name).tolist() if not math.isnan(value)]
        mean, said = sum(values) / max(1, len(values)), report.metrics[name].value
        if values and not _close(mean, said, 1e-6):
            yield f"{path}: {name} is {said:.5f}, and the mean of its queries {mean:.5f}"


def _faults_of_metadata(card: str, main: Mapping[str, Any], recipe: Any) -> Iterator[str]:
    from huggingface_hub import ModelCard

    data = ModelCard(card).data
    name = recipe.publish.repo_id.split("/")[-1]
    if (found := getattr(data, "model_name", None)) not in (None, name):
        yield f"README.md: model-index is of {found}, and the recipe publishes {name}"
    if f"# {name}\n" not in card:
        yield f"README.md: no heading '# {name}'"
    base, said = str(recipe.model.base), getattr(data, "base_model", None)
    if isinstance(said, str) and base.count("/") == 1 and not base.startswith(("/", ".", "~")) and said != base:
        yield f"README.md: base_model is {said}, and the recipe's base {base}"
    results = getattr(data, "eval_results", None) or []
    if not results:
        yield "README.md: no model-index with results"
    for result in results:
        if (result.dataset_revision, result.dataset_split) != (main["fingerprint"], main["split"]):
            yield (
                f"README.md: {result.metric_type} is of {result.dataset_split} of dataset {result.dataset_revision}, "
                f"the results of {main['split']} of {main['fingerprint']}"
            )
        value = main["metrics"].get(result.metric_type, [math.nan])[0]
        if not _close(result.metric_value, value, 5.1e-6):
            yield f"README.md: {result.metric_type} is {result.metric_value}, and results/ say {value:.5f}"


def _faults_of_report(
    folder: Path, files: set[str], scores: Mapping[str, Mapping[str, Any]], main: Mapping[str, Any], recipe: Any
) -> Iterator[str]:
    """report.json: each arm's figures are those of a result, data and settings those of results and recipe."""
    if "report.json" not in files:
        return
    try:
        report = read_json(folder / "report.json")
        arms = {str(arm): dict(metrics) for arm, metrics in report["metrics"].items()}
        made_of = dict(report.get("made_of") or {})
        data = made_of.get("data") or {}
        facts = dict(report.get("model") or {})
        configs = {arm: dict(stage).get("config") for arm, stage in (made_of.get("stages") or {}).items()}
        mined = (made_of.get("mining") or {}).get("settings")
        values = {arm: {name: m["value"] for name, m in metrics.items()} for arm, metrics in arms.items()}
    except (MrStError, KeyError, TypeError, AttributeError, ValueError) as error:
        yield f"report.json: cannot be read ({type(error).__name__}: {error})"
        return
    if data.get("fingerprint", main["fingerprint"]) != main["fingerprint"]:
        yield f"report.json: its data is {data['fingerprint']}, the results are of {main['fingerprint']}"
    own = recipe.model_dump(mode="json")
    said: dict[str, tuple[Any, Any]] = {
        "stage1": (configs.get("stage1"), own["stage1"]),
        "stage2": (configs.get("stage2"), own["stage2"]),
        "mining": ({k: v for k, v in (mined or {}).items() if k in own["mining"]}, own["mining"]),
        "model.max_seq_length": (facts.get("max_seq_length"), recipe.model.max_seq_length),
        "model.dim": (facts.get("dim"), recipe.publish.dim or recipe.model.dim),
    }
    for key, (was, now) in said.items():
        if was is not None and now is not None:
            for name, value, there in _differences(was, now, key):
                yield f"report.json: the model was made with {name} {value!r:.40}, and recipe.yaml has {there!r:.40}"
    for arm, metrics in values.items():
        if not any(_agree(metrics, of["metrics"]) for of in scores.values()):
            yield f"report.json: the figures of {arm} are in none of results/"


def _agree(metrics: Mapping[str, Any], scores: Mapping[str, list[float]]) -> bool:
    return all(name in scores and _close(value, scores[name][0], 1e-9) for name, value in metrics.items())


def _faults_of_shrink(folder: Path, files: set[str], card: str, main: Mapping[str, Any]) -> Iterator[str]:
    if "shrink.json" not in files:
        if "plots/shrink.png" in card:
            yield "README.md: shows plots/shrink.png, and there is no shrink.json"
        return
    try:
        shrink = read_json(folder / "shrink.json")
        model, settings = shrink["model"], shrink["settings"]
        fingerprint = shrink["protocol"]["dataset"]["fingerprint"]
        full = settings[0]["metrics"][shrink["metric"]]["value"]
    except (MrStError, KeyError, TypeError, IndexError) as error:
        yield f"shrink.json: cannot be read ({type(error).__name__}: {error})"
        return
    if (model.get("name"), model.get("revision")) != (main["name"], main["revision"]):
        yield (
            f"shrink.json: of {model.get('name')} at {model.get('revision')}, the results of {main['name']} at "
            f"{main['revision']}"
        )
    if fingerprint != main["fingerprint"]:
        yield f"shrink.json: measured on dataset {fingerprint}, the results on {main['fingerprint']}"
    value = main["metrics"].get(shrink["metric"], [math.nan])[0]
    if not _close(full, value, 5e-4):
        yield f"shrink.json: {shrink['metric']} of the full model is {full:.5f}, and results/ say {value:.5f}"


def _close(a: Any, b: Any, tolerance: float) -> bool:
    if a is None or b is None:
        return a is b or (isinstance(a or b, float) and math.isnan(a or b))
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    return abs(a - b) <= tolerance
