"""The whole job: the stages in order, each done once, so that a killed run goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mr_st.errors import UsageError
from mr_st.identity import folder_hash
from mr_st.recipes.schema import Recipe
from mr_st.recipes.steps import Step, Steps

if TYPE_CHECKING:
    from mr_st.annotation import Annotator
    from mr_st.data import GradedDataset
    from mr_st.evaluation import Comparison, GradedReport
    from mr_st.mining import RefinementSet
    from mr_st.training import StageConfig

__all__ = ["ARMS", "RunResult", "run_recipe"]

ARMS = ("base", "stage1", "control", "stage2")
"""The models that are compared: untrained base, stage 1, stage 1 trained on (the control arm), stage 2."""

PAIRS = (("stage1", "base"), ("stage2", "stage1"), ("stage2", "control"), ("stage2", "base"))
"""The comparisons that are tested: treatment, control."""


@dataclass
class RunResult:
    """What a run found and where it lies.

    Args:
        recipe: The recipe as it was run.
        reports: One report for each arm.
        comparisons: ``{(treatment, control): {metric: Comparison}}``.
        steps: The finished steps by name.
        paths: What a person opens next: model, card, results, leaderboard.
    """

    recipe: Recipe
    reports: dict[str, GradedReport]
    comparisons: dict[tuple[str, str], dict[str, Comparison]]
    steps: dict[str, Step]
    paths: dict[str, Path] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The result, JSON-ready."""
        return {
            "recipe": self.recipe.name,
            "metrics": {
                arm: {name: interval.to_dict() for name, interval in report.metrics.items()}
                for arm, report in self.reports.items()
            },
            "comparisons": {
                f"{treatment} against {control}": {name: c.to_dict() for name, c in by_metric.items()}
                for (treatment, control), by_metric in self.comparisons.items()
            },
            "seconds": {name: step.seconds for name, step in self.steps.items()},
            "paths": {name: str(path) for name, path in self.paths.items()},
        }


def run_recipe(
    recipe: Recipe,
    out: str | Path,
    *,
    data: str | Path | None = None,
    announce: Callable[[str], None] = lambda line: None,
    show_progress: bool = False,
) -> RunResult:
    """Run a recipe in a folder; run it again there to resume.

    Args:
        recipe: What to do.
        out: Folder for everything: dataset, models, refinement set, results, published model, leaderboard.
        data: A folder with judgments that takes the place of ``recipe.data.source``.
        announce: Called with one line as each step starts or is skipped.
        show_progress: Draw progress bars.

    Raises:
        UsageError: the recipe cannot be run on this data.
        DataError: the data is bad.
        MrStError: anything else that the user can mend.
    """
    steps = Steps(out, announce)
    with steps.alone():
        return _Job(recipe, steps, data, show_progress).run()


class _Job:
    """The steps of one recipe; each method is one step."""

    def __init__(self, recipe: Recipe, steps: Steps, data: str | Path | None, show_progress: bool):
        self.recipe, self.steps, self.data, self.show_progress = recipe, steps, data, show_progress
        self.done: dict[str, Step] = {}

    def run(self) -> RunResult:
        data = self.prepare_data()
        dataset = self.dataset(data)
        annotator_step, annotator = self.prepare_annotator(data, dataset)
        tower = self.build_tower()
        stage1 = self.train("stage1", self.recipe.stage1, dataset, tower, (data, annotator_step, tower), annotator)
        mining = self.mine(dataset, annotator, stage1, annotator_step)
        refined = self.refinement(mining, dataset).to_dataset()
        stage2 = self.train("stage2", self.recipe.stage2, refined, stage1, (stage1, mining), annotator)
        models = {"stage1": stage1, "stage2": stage2}
        if self.recipe.control:
            config = self.control_config(stage2)
            models["control"] = self.train("control", config, dataset, stage1, (stage1, stage2), annotator)
        evaluated = {arm: self.evaluate(arm, dataset, data, models.get(arm)) for arm in ARMS if arm in {"base", *models}}
        from mr_st.recipes.outcome import finish

        return finish(self.recipe, self.steps, self.done, evaluated, dataset, stage2)

    # --- data and labels

    def prepare_data(self) -> Step:
        from mr_st.data import GradedDataset

        spec = self.recipe.data
        source = str(self.data if self.data is not None else spec.source)
        options = dict(spec.options)
        settings: dict[str, Any] = {"source": source, "options": options}
        if self.data is not None:
            settings["source"] = "folder"
        if self.data is not None or Path(source).is_dir():
            if not Path(source).is_dir():
                raise UsageError(f"{source}: no such folder; --data takes a folder with the judgments")
            settings["content"] = folder_hash(source)
            if spec.source == "marketplace":
                settings["options"] = options = {}

        def work(folder: Path) -> dict[str, Any]:
            dataset = GradedDataset.load(source, **options)
            dataset.validate()
            for split in ("train", "dev", self.recipe.evaluation.split):
                dataset.split(split)
            dataset.save(folder / "dataset")
            return {"fingerprint": dataset.fingerprint, **dataset.describe()}

        return self._once("data", "Preparing the data", settings, work)

    def dataset(self, step: Step) -> GradedDataset:
        from mr_st.data import GradedDataset

        return GradedDataset.load(step.folder / "dataset")

    def prepare_annotator(self, data: Step, dataset: GradedDataset) -> tuple[Step, Annotator]:
        from mr_st.annotation import CrossEncoderAnnotator, JudgmentAnnotator

        spec = self.recipe.annotator
        if spec.kind == "policy":
            from mr_st.data.marketplace import MarketplacePolicy

            if dataset.source.get("name") != "marketplace":
                raise UsageError(
                    "recipe, annotator.kind: policy works on the marketplace only, whose policy can be called; "
                    "set annotator.kind: cross_encoder for your own data"
                )
            annotator: Annotator = JudgmentAnnotator(MarketplacePolicy.for_dataset(dataset))
            step = self._once(
                "annotator",
                "Annotator: the marketplace's policy",
                {"identity": annotator.identity},
                lambda folder: {"identity": annotator.identity},
                (data,),
            )
            return step, annotator
        from mr_st.training import fit_cross_encoder

        def work(folder: Path) -> dict[str, Any]:
            fitted = fit_cross_encoder(
                dataset,
                out_dir=folder / "fit",
                **{"seed": self.recipe.seed, **self._text_format(), **spec.options},
                show_progress=self.show_progress,
            )
            return {"identity": fitted.identity, **fitted.report}

        step = self._once("annotator", "Annotator: fitting a cross-encoder", spec.model_dump(), work, (data,))
        return step, CrossEncoderAnnotator(step.folder / "fit" / "model")

    # --- models

    def build_tower(self) -> Step:
        from mr_st.identity import model_hash
        from mr_st.models import build_two_tower

        spec = self.recipe.model

        def work(folder: Path) -> dict[str, Any]:
            model = build_two_tower(**spec.model_dump(), seed=self.recipe.seed)
            model.save(str(folder / "model"), create_model_card=False)
            return {"model_hash": model_hash(model), "n_parameters": sum(p.numel() for p in model.parameters())}

        return self._once("tower", "Building the towers", {**spec.model_dump(), "seed": self.recipe.seed}, work)

    def train(
        self,
        name: str,
        config: StageConfig,
        dataset: GradedDataset,
        start: Step,
        after: tuple[Step, ...],
        annotator: Annotator,
    ) -> Step:
        from mr_st.evaluation import GradedRetrievalEvaluator
        from mr_st.training import train_stage

        recipe = self.recipe
        settings = {
            "config": config.model_dump(mode="json"),
            "instances": recipe.instances.model_dump(mode="json"),
            "dev_items": recipe.evaluation.dev_items,
            "seed": recipe.seed,
            **self._text_format(),
        }

        def work(folder: Path) -> dict[str, Any]:
            evaluator = GradedRetrievalEvaluator(
                dataset, split="dev", name="dev", max_items=recipe.evaluation.dev_items, **self._text_format()
            )
            result = train_stage(
                start.folder / "model",
                dataset,
                config,
                folder,
                evaluator=evaluator,
                caps=recipe.instances.caps,
                annotator=annotator,
                loss_state=start.facts.get("loss_state") if config.loss == "supcon" else None,
                show_progress=self.show_progress,
                **self._text_format(),
            )
            return result.to_dict()

        titles = {
            "stage1": "Stage 1: graded SupCon",
            "stage2": "Stage 2: circle loss on the refinement set",
            "control": "Control arm: stage 1 trained on, same steps, original judgments",
        }
        return self._once(name, titles[name], settings, work, after)

    def control_config(self, stage2: Step) -> StageConfig:
        """Stage 2's schedule with stage 1's loss: only the loss and the judgments differ."""
        return self.recipe.stage2.model_copy(
            update={
                "loss": self.recipe.stage1.loss,
                "loss_options": self.recipe.stage1.loss_options,
                "epochs": None,
                "max_steps": stage2.facts["steps"],
            }
        )

    # --- mining

    def mine(self, dataset: GradedDataset, annotator: Annotator, stage1: Step, annotator_step: Step) -> Step:
        import shutil

        from mr_st.mining import mine
        from mr_st.models import load_model

        spec = self.recipe.mining

        def work(folder: Path) -> dict[str, Any]:
            refinement = mine(
                load_model(stage1.folder / "model"),
                dataset,
                annotator,
                **spec.model_dump(),
                **self._text_format(),
                work_dir=folder / "work",
                show_progress=self.show_progress,
            )
            refinement.save(folder / "refinement")
            shutil.rmtree(folder / "work", ignore_errors=True)
            return refinement.report

        settings = {**spec.model_dump(), **self._text_format()}
        return self._once("mining", "Mining: search, annotate, select", settings, work, (stage1, annotator_step))

    def refinement(self, mining: Step, dataset: GradedDataset) -> RefinementSet:
        from mr_st.mining import RefinementSet

        return RefinementSet.load(mining.folder / "refinement", dataset)

    # --- evaluation

    def evaluate(self, arm: str, dataset: GradedDataset, data: Step, model: Step | None) -> Step:
        from mr_st.evaluation import evaluate_model
        from mr_st.models import load_model

        spec = self.recipe.evaluation
        settings = {
            "arm": arm,
            "base": self.recipe.model.base if model is None else None,
            "name": self.recipe.publish.repo_id,
            **spec.model_dump(),
            **self._text_format(),
        }

        def work(folder: Path) -> dict[str, Any]:
            encoder = load_model(self.recipe.model.base if model is None else model.folder / "model")
            report = evaluate_model(
                encoder,
                dataset,
                task_name=spec.task,
                split=spec.split,
                ks=spec.ks,
                model_name=arm_name(self.recipe, arm),
                store=folder / "vectors",
                show_progress=self.show_progress,
                **self._text_format(),
            )
            report.save(folder / "results")
            import shutil

            shutil.rmtree(folder / "vectors", ignore_errors=True)
            return {"model_name": report.model_name, "revision": report.revision}

        titles = {"base": "the base", "stage1": "stage 1", "control": "the control arm", "stage2": "stage 2"}
        after = (data,) if model is None else (data, model)
        return self._once(f"evaluation/{arm}", f"Evaluating {titles[arm]}", settings, work, after)

    # --- helpers

    def _once(
        self,
        name: str,
        title: str,
        settings: Any,
        work: Callable[[Path], dict[str, Any]],
        after: tuple[Step, ...] = (),
    ) -> Step:
        self.done[name] = self.steps.once(name, title, settings, work, after)
        return self.done[name]

    def _text_format(self) -> dict[str, Any]:
        return {"item_text_levels": self.recipe.data.item_text_levels, "max_chars": self.recipe.data.max_chars}


def arm_name(recipe: Recipe, arm: str) -> str:
    """The model name under which an arm's results are filed: ``organisation/name``."""
    if arm == "base":
        base = "sentence-transformers/all-MiniLM-L6-v2" if recipe.model.base == "minilm" else recipe.model.base
        return base if base.count("/") == 1 and not Path(base).exists() else f"local/{Path(base).name}"
    return recipe.publish.repo_id + {"stage1": "-stage1", "control": "-control", "stage2": ""}[arm]
