"""The whole job: the stages in order, each done once, so that a killed run goes on where it stopped."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mr_st.errors import UsageError, require_extra
from mr_st.identity import folder_hash
from mr_st.recipes.annotator import policy_of, prepare_annotator
from mr_st.recipes.augment import augment_dataset, say_counts, variants_of
from mr_st.recipes.evaluation import evaluate_arm
from mr_st.recipes.final import average_stage2, cut_model
from mr_st.recipes.outcome import finish, hardware
from mr_st.recipes.result import ARMS, RunResult
from mr_st.recipes.schema import Recipe
from mr_st.recipes.steps import Step, Steps

if TYPE_CHECKING:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer

    from mr_st.annotation import Annotator
    from mr_st.data import GradedDataset
    from mr_st.mining import RefinementSet
    from mr_st.training import StageConfig

__all__ = ["run_recipe"]

_PLACES = ("path_or_hub_id", "path", "revision")


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
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            "a recipe runs in one process: under torchrun or accelerate each process would mine and publish for "
            "itself; start it plainly, or call train_stage from a script of your own for several processes"
        )
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
        self.check_k(dataset)
        annotator_step, annotator = prepare_annotator(
            self.recipe, dataset, data, self._once, self.steps.folder, self.show_progress, **self._text_format()
        )
        learned, source, annotator = self.augment(data, dataset, annotator_step, annotator)
        tower = self.build_tower()
        stage1 = self.train("stage1", self.recipe.stage1, learned, tower, (source, annotator_step, tower), annotator)
        mining = self.mine(learned, annotator, stage1, annotator_step)
        refined = self.refinement(mining, learned).to_dataset()
        stage2 = self.train("stage2", self.recipe.stage2, refined, stage1, (stage1, mining), annotator)
        models = {"stage1": stage1, "stage2": stage2}
        if self.recipe.average is not None:
            models["average"] = self.average(stage2, refined, stage1, mining, annotator)
        if self.recipe.control:
            config = self.control_config(stage2)
            models["control"] = self.train("control", config, learned, stage1, (stage1,), annotator)
        evaluated = {
            arm: self.evaluate(arm, dataset, data, models.get(arm)) for arm in ARMS if arm in {"base", *models}
        }
        final = cut_model(self.recipe, self._once, models[self.recipe.final_arm])
        return finish(self.recipe, self.steps, self.done, evaluated, dataset, final)

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
            for name in _PLACES:  # where the recipe would have found it
                options.pop(name, None)
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

    def check_k(self, dataset: GradedDataset) -> None:
        """Refuse what the miner would refuse, before anything is trained."""
        spec = self.recipe.mining
        n_items = len(dataset.items)
        if spec.items == "judged":
            n_items = len(set(dataset.judged_pairs("train").item_rows.tolist()))
        if spec.k > n_items:
            raise UsageError(
                f"recipe, mining.k: {spec.k:,} is larger than the catalogue to mine ({n_items:,} items, "
                f"mining.items: {spec.items}); choose k <= {n_items:,}"
            )

    def augment(
        self, data: Step, dataset: GradedDataset, annotator_step: Step, annotator: Annotator
    ) -> tuple[GradedDataset, Step, Annotator]:
        """What is learned from, the step that made it, and the annotator of its queries; as given where it is off."""
        spec = self.recipe.augment
        if not spec.is_on:
            return dataset, data, annotator

        def work(folder: Path) -> dict[str, Any]:
            augmented, facts = augment_dataset(dataset, spec, annotator, self.show_progress, **self._text_format())
            augmented.save(folder / "dataset")
            return {"fingerprint": augmented.fingerprint, **facts}

        settings = {**spec.model_dump(), **self._text_format()}
        step = self._once("augment", "Augmenting the training queries", settings, work, (data, annotator_step))
        for line in say_counts(step.facts):
            self.steps.announce(line)
        augmented = self.dataset(step)
        if self.recipe.annotator.kind == "policy":
            annotator = policy_of(augmented)  # one that knows the variants
        return augmented, step, annotator

    # --- models

    def build_tower(self) -> Step:
        from mr_st.identity import model_hash
        from mr_st.models import build_two_tower

        spec = self.recipe.model
        settings = {**spec.model_dump(exclude={"lora"}), "seed": self.recipe.seed}
        if spec.lora is not None:  # each stage adds adapters, and folds them in
            require_extra("peft", "llm")

        def work(folder: Path) -> dict[str, Any]:
            model = build_two_tower(**settings)
            model.save(str(folder / "model"), create_model_card=False)
            return {"model_hash": model_hash(model), "n_parameters": sum(p.numel() for p in model.parameters())}

        return self._once("tower", "Building the towers", settings, work)

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
        from mr_st.training import KnownGrades, train_stage

        recipe = self.recipe
        settings = {
            "config": config.model_dump(mode="json"),
            "instances": recipe.instances.model_dump(mode="json"),
            "dev_items": recipe.evaluation.dev_items,
            "seed": recipe.seed,
            **({} if recipe.model.lora is None else {"lora": recipe.model.lora.model_dump()}),
            **self._text_format(),
        }

        def work(folder: Path) -> dict[str, Any]:
            text_format = self._text_format()
            instances = self._instances(dataset, config, annotator)
            result = train_stage(
                self._with_lora(start.folder / "model"),
                instances,
                config,
                folder,
                evaluator=GradedRetrievalEvaluator(
                    dataset, split="dev", name="dev", max_items=recipe.evaluation.dev_items, **text_format
                ),
                loss_state=start.facts.get("loss_state") if config.loss == recipe.stage1.loss else None,
                show_progress=self.show_progress,
                n_grades=dataset.scale.n_grades,
                known=KnownGrades.from_dataset(dataset, "train", **text_format) if config.known_in_batch else None,
            )
            return {
                "steps": result.steps,
                "seconds": round(result.seconds, 1),
                "loss_config": result.loss_config,
                "loss_state": result.loss_state,
                "best": result.best,
                "dev_history": result.dev_history,
                "instances": {
                    "rows": len(instances),
                    "one_grade_queries_filled": instances.filled_queries,
                    "one_grade_queries_left_out": instances.left_out_queries,
                },
                "config": config.model_dump(mode="json"),
                "hardware": hardware(),
            }

        titles = {
            "stage1": f"Stage 1: {config.loss}",
            "stage2": f"Stage 2: {config.loss} on the refinement set",
            "control": "Control arm: stage 1 trained on, same steps, original judgments",
        }
        title = titles.get(name) or f"{titles['stage2']}, seed {config.seed}"
        return self._once(name, title, settings, work, after)

    def average(self, stage2: Step, refined: GradedDataset, stage1: Step, mining: Step, annotator: Annotator) -> Step:
        """Stage 2 once more with each further seed, and the average of all of them."""
        assert self.recipe.average is not None
        members = [stage2]
        for seed in self.recipe.average.seeds:
            config = self.recipe.stage2.model_copy(update={"seed": seed})
            members.append(self.train(f"stage2-seed-{seed}", config, refined, stage1, (stage1, mining), annotator))
        return average_stage2(self._once, members, [self.recipe.stage2.seed, *self.recipe.average.seeds])

    def _with_lora(self, folder: Path) -> SentenceTransformer | Path:
        """The model to train: the saved one, with adapters of its own where the recipe asks for them."""
        from mr_st.models import add_lora, load_sentence_transformer

        lora = self.recipe.model.lora
        if lora is None:
            return folder
        return add_lora(load_sentence_transformer(folder), lora.model_dump(), self.recipe.seed)

    def _instances(self, dataset: GradedDataset, config: StageConfig, annotator: Annotator) -> Dataset:
        """Enough epochs of instances for the stage; with ``max_steps`` one epoch is drawn to learn its length."""
        from mr_st.data import build_instances

        variants = variants_of(dataset, self.recipe.augment, config.loss)

        def draw(epochs: int) -> Dataset:
            return build_instances(
                dataset,
                "train",
                epochs,
                config.seed,
                caps=self.recipe.instances.caps,
                annotator=annotator if self.recipe.instances.fill_one_grade else None,
                variants=variants,
                **self._text_format(),
            )

        if config.epochs is not None:
            return draw(config.epochs)
        first = draw(1)
        epochs = math.ceil((config.max_steps or 1) * config.queries_per_batch / max(1, len(first)))
        return first if epochs <= 1 else draw(epochs)

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
        from mr_st.mining import mine
        from mr_st.models import load_sentence_transformer

        spec = self.recipe.mining

        def work(folder: Path) -> dict[str, Any]:
            refinement = mine(
                load_sentence_transformer(stage1.folder / "model"),
                dataset,
                annotator,
                **spec.model_dump(exclude={"sources"}),
                **self._text_format(),
                sources=[name if name == "bm25" else load_sentence_transformer(name) for name in spec.sources],  # type: ignore[misc]
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
        step = evaluate_arm(self.recipe, self.steps, arm, dataset, data, model, self.show_progress)
        self.done[f"evaluation/{arm}"] = step
        return step

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
