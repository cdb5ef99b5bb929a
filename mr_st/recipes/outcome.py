"""What a finished job leaves: comparisons, the published model with its card, results and plots, the leaderboard."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mr_st import __version__
from mr_st.files import read_json, write_json, write_text
from mr_st.identity import file_hash
from mr_st.recipes.result import ARM_TITLES, PAIRS, RunResult
from mr_st.recipes.schema import Recipe
from mr_st.recipes.steps import Step, Steps
from mr_st.recipes.table import results_markdown

if TYPE_CHECKING:
    from mr_st.data import GradedDataset
    from mr_st.evaluation import Comparison, GradedReport

__all__ = ["compare_arms", "finish"]


def finish(
    recipe: Recipe,
    steps: Steps,
    done: dict[str, Step],
    evaluated: Mapping[str, Step],
    dataset: GradedDataset,
    final: Step,
) -> RunResult:
    """Compare the arms, then publish the final model to a folder and build the leaderboard.

    Args:
        recipe: The recipe.
        steps: The job's step runner.
        done: The finished steps by name; those made here are added.
        evaluated: The evaluation step of each arm.
        dataset: The dataset, for the card.
        final: The training step whose model is published.
    """
    from mr_st.evaluation import GradedReport
    from mr_st.evaluation.parts import query_parts
    from mr_st.hub.model_facts import read_model_facts

    reports = {arm: GradedReport.load(step.folder / "results" / step.facts["file"]) for arm, step in evaluated.items()}
    result = RunResult(recipe, reports, compare_arms(reports, recipe.seed), done)
    after = tuple(evaluated.values())

    def report(folder: Path) -> dict[str, Any]:
        for one in reports.values():
            one.save(folder / "results")
            for part in query_parts(one).values():
                part.save(folder / "results")
        write_text(folder / "table.md", results_markdown(result))
        model = asdict(read_model_facts(final.folder / "model"))
        write_json(folder / "report.json", {**result.to_dict(), "model": model, "made_of": made_of(result, dataset)})
        return {"plots": _plots(result, dataset, folder)}

    done["report"] = gathered = steps.once("report", "Comparing the models", {"seed": recipe.seed}, report, after)

    def published(folder: Path) -> dict[str, Any]:
        return {"folder": _publish(result, dataset, final, gathered, shrunk, folder)}

    shrunk = _shrunk(steps.folder / "shrink", reports[recipe.final_arm])
    settings = {"recipe": recipe.model_dump(mode="json"), "version": __version__}
    if shrunk is not None:
        settings["shrink"] = file_hash(shrunk)
    done["published"] = step = steps.once("published", "Publishing to a folder", settings, published, (gathered,))

    def board(folder: Path) -> dict[str, Any]:
        from mr_st.leaderboard import build_leaderboard

        page = build_leaderboard(
            [gathered.folder / "results"],
            folder / "site",
            cards_dir=step.folder,
            title=f"{recipe.name}: leaderboard",
            data=[dataset],
        )
        return {"page": os.path.relpath(page, folder)}

    pages = steps.once("leaderboard", "Building the leaderboard", {"version": __version__}, board, (step,))
    done["leaderboard"] = pages
    model = step.folder / step.facts["folder"]
    result.paths.update(
        model=model,
        card=model / "README.md",
        results=gathered.folder / "results",
        leaderboard=(pages.folder / pages.facts["page"]).resolve(),
    )
    return result


def compare_arms(reports: Mapping[str, GradedReport], seed: int) -> dict[tuple[str, str], dict[str, Comparison]]:
    """Each pair of :data:`PAIRS` on every metric that both have, treatment minus control."""
    from mr_st.evaluation import compare

    found: dict[tuple[str, str], dict[str, Comparison]] = {}
    for treatment, control in PAIRS:
        if treatment in reports and control in reports:
            a, b = reports[control], reports[treatment]
            shared = [name for name in b.metrics if name in a.metrics and a[name].n > 0 and b[name].n > 0]
            found[treatment, control] = {name: compare(a, b, name, seed=seed) for name in shared}
    return found


def _publish(
    result: RunResult, dataset: GradedDataset, final: Step, gathered: Step, shrunk: Path | None, folder: Path
) -> str:
    """Publish the model with its card, results, recipe and plots to a folder below ``folder``; returns its name."""
    from mr_st.hub import build_card, publish

    recipe = result.recipe
    staged, name = folder / "staged", recipe.publish.repo_id.split("/")[1]
    shutil.rmtree(staged, ignore_errors=True)
    shutil.copytree(final.folder / "model", staged)
    shutil.copytree(gathered.folder / "plots", staged / "plots")
    write_text(staged / "recipe.yaml", recipe.to_yaml())
    if shrunk is not None and (plot := shrunk.parent / "plots" / "shrink.png").is_file():
        shutil.copyfile(plot, staged / "plots" / plot.name)
    card = build_card(
        staged,
        model_id=recipe.publish.repo_id,
        reports=result.reports,
        primary=recipe.final_arm,
        comparisons=result.comparisons,
        recipe=recipe.to_yaml(),
        base_model=result.reports["base"].model_name,
        license=recipe.publish.license,
        language=_languages(dataset),
        plots=gathered.facts["plots"],
        shrink=None if shrunk is None else read_json(shrunk),
        description=recipe.description or None,
        **made_of(result, dataset),
    )
    publish(staged, folder / name, card=card, results_dir=gathered.folder / "results")
    shutil.rmtree(staged)
    return name


def _shrunk(folder: Path, final: GradedReport) -> Path | None:
    """What ``mr-st shrink --out RUN/shrink`` measured of this very model, if it did after an earlier pass."""
    path = folder / "shrink.json"
    if not path.is_file():
        return None
    return path if read_json(path).get("model", {}).get("revision") == final.revision else None


def made_of(result: RunResult, dataset: GradedDataset) -> dict[str, Any]:
    """What the steps recorded, as :func:`mr_st.hub.build_card` takes it: data, stages, mining, annotator, time."""
    done = result.steps
    stages = {arm: done[arm].facts for arm in result.reports if arm != "base"}
    return {
        "data": {**done["data"].facts, "source": dataset.source},
        "stages": stages,
        "mining": done["mining"].facts,
        "annotator": done["annotator"].facts,
        "seconds": {name: step.seconds for name, step in done.items() if not step.resumed},
        "hardware": next((of["hardware"] for of in stages.values() if "hardware" in of), None) or hardware(),
    }


def _languages(dataset: GradedDataset) -> list[str]:
    """The languages of the queries, the commonest first."""
    found = [locale.replace("_", "-").split("-")[0].lower() for locale in dataset.queries["locale"] if locale]
    return sorted(set(found), key=lambda language: (-found.count(language), language))


def _plots(result: RunResult, dataset: GradedDataset, folder: Path) -> dict[str, str]:
    """Similarities by grade of base and stage 2, margins of every arm (the paper's figures 2, 3): caption to path."""
    from mr_st.measures.plots import plot_margins, plot_similarity_by_grade, save_figure

    titles = {arm: ARM_TITLES[arm] for arm in result.reports}
    shown = ("base", result.recipe.final_arm)
    two = {arm: r for arm, r in result.reports.items() if arm in shown and r.similarities is not None}
    histograms = {titles[arm]: r.similarities for arm, r in two.items() if r.similarities is not None}
    margins = {titles[arm]: report.margin_values() for arm, report in result.reports.items()}
    thresholds = {
        titles[arm]: [_value(boundary["threshold"]) for boundary in r.separability["boundaries"]]
        for arm, r in two.items()
        if r.separability is not None
    }
    figure = plot_similarity_by_grade(histograms, dataset.scale.names, thresholds)
    save_figure(figure, folder / "plots" / "similarity.png")
    save_figure(plot_margins(margins), folder / "plots" / "margins.png")
    return {
        "Similarity of judged pairs by grade, with the threshold of each boundary": "plots/similarity.png",
        "Margins between grades, query by query": "plots/margins.png",
    }


def _value(interval: Mapping[str, Any]) -> float:
    return float("nan") if interval["value"] is None else float(interval["value"])


def hardware() -> str:
    """What this machine computes on, in a few words."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
    return f"{os.cpu_count()} CPU cores ({platform.machine()}), no GPU"
