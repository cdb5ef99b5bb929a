"""The recipe: one YAML file that says the whole job."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mr_st.errors import UsageError, explain_validation
from mr_st.files import read_yaml
from mr_st.training.config import StageConfig

__all__ = [
    "AnnotatorSpec",
    "AugmentSpec",
    "AverageSpec",
    "DataSpec",
    "EvaluationSpec",
    "InstancesSpec",
    "LoraSpec",
    "MiningSpec",
    "ModelSpec",
    "PublishSpec",
    "Recipe",
    "SpellingSpec",
    "SyntheticSpec",
]


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSpec(_Spec):
    """Where the judgments come from, and how an item is written as text.

    Args:
        source: ``marketplace``, ``esci``, or the path of a folder. ``--data`` takes its place.
        options: What the source takes (``size``, ``seed``, ``locale``, ``dev_share``, ...).
        item_text_levels: Taxonomy levels in the item text; None is the whole path.
        max_chars: The item text is cut at this many characters.
    """

    source: str = "marketplace"
    options: dict[str, Any] = Field(default_factory=dict)
    item_text_levels: int | None = Field(default=2, ge=0)
    max_chars: int = Field(default=400, ge=16)


class LoraSpec(_Spec):
    """LoRA adapters beside the trunk's matrices: see :func:`mr_st.models.add_lora`. Needs the extra ``llm``.

    Args:
        r: The adapters' rank.
        lora_alpha: Their scale is ``lora_alpha / r``; None takes peft's default.
        lora_dropout: Dropout before an adapter.
        target_modules: Names of matrices, ``all-linear`` for every one; None takes peft's choice for the architecture.
        use_rslora: Scale by ``lora_alpha / sqrt(r)`` instead (arXiv 2312.03732).
        use_dora: Learn the matrices' magnitudes apart (arXiv 2402.09353).
    """

    r: int = Field(default=8, ge=1)
    lora_alpha: int | None = Field(default=None, ge=1)
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    target_modules: list[str] | str | None = None
    use_rslora: bool = False
    use_dora: bool = False


class ModelSpec(_Spec):
    """The towers: see :func:`mr_st.build_two_tower`. With ``lora`` each stage trains adapters of its own, and the
    heads, and ends in a plain model with the adapters folded in."""

    base: str = "minilm"
    dim: int | None = Field(default=None, ge=8)
    architecture: Literal["siamese", "asymmetric"] = "siamese"
    heads: Literal["separate", "shared"] | None = "separate"
    max_seq_length: int | None = Field(default=None, ge=8)
    prompts: dict[str, str] | None = None
    pooling: Literal["mean", "cls", "lasttoken", "max", "weightedmean", "mean_sqrt_len_tokens"] | None = None
    matryoshka_dims: tuple[int, ...] | None = None
    lora: LoraSpec | None = None

    @model_validator(mode="after")
    def _widths_fit(self) -> ModelSpec:
        dims = self.matryoshka_dims
        if dims is not None and (not dims or min(dims) < 1 or len(set(dims)) != len(dims)):
            raise ValueError(f"matryoshka_dims is {list(dims)}; expected different positive widths, e.g. [128, 64]")
        if dims is not None and self.dim is not None and max(dims) > self.dim:
            raise ValueError(f"matryoshka_dims has {max(dims)}, and dim, the full width, is {self.dim}")
        return self


class SpellingSpec(_Spec):
    """Misspelt training queries: see :func:`mr_st.augment.add_misspelt_queries`.

    Args:
        mode: ``additive`` (beside the clean ones; the paper's winner), ``in_place``, or ``regularise`` (the queries
            stay; the loss ``spelling_consistency``, which stage 1 must have, draws misspellings to them).
        share: Of the training queries.
        seed: Of the draw.
    """

    mode: Literal["additive", "in_place", "regularise"] = "additive"
    share: float = Field(default=0.4, gt=0, le=1)
    seed: int = Field(default=0, ge=0)


class SyntheticSpec(_Spec):
    """Training queries made from items: see :func:`mr_st.augment.add_synthetic_queries`."""

    policy: Literal["selective", "low_ratio"] = "selective"
    n_per_item: int = Field(default=1, ge=1)
    share: float | None = Field(default=None, gt=0, le=1)
    max_items: int | None = Field(default=None, ge=1)
    negatives_per_query: int = Field(default=4, ge=0)
    min_confidence: float | None = Field(default=None, ge=0, le=1)
    seed: int = Field(default=0, ge=0)


class AugmentSpec(_Spec):
    """More training queries before stage 1; both are off unless named (``spelling: {}`` takes the defaults)."""

    spelling: SpellingSpec | None = None
    synthetic: SyntheticSpec | None = None

    @property
    def is_on(self) -> bool:
        """Whether anything is asked for."""
        return self.spelling is not None or self.synthetic is not None


class InstancesSpec(_Spec):
    """How queries and items become training rows (Eq. 1 of the paper).

    Args:
        caps: How many items of each grade an instance holds at most.
        fill_one_grade: Give a query that is judged with one grade only random items, graded by the annotator, as its
            contrast; else such queries are left out, and counted. A weak annotator does harm here: it has seen
            judged items only, and may take random ones for relevant.
    """

    caps: dict[int, int] = Field(default_factory=lambda: {2: 4, 1: 4, 0: 8})
    fill_one_grade: bool = True


class AnnotatorSpec(_Spec):
    """Who grades what the miner finds.

    Args:
        kind: ``policy`` (the marketplace's own, exact); ``cross_encoder`` or ``llm``, fitted on the training
            judgments; or ``saved``, one that exists.
        options: Of :func:`mr_st.training.fit_cross_encoder` or :func:`mr_st.training.fit_llm_annotator` (which needs
            a ``base``): epochs, learning_rate, batch_size, max_length, ...
        path: For ``saved``: what :func:`mr_st.annotation.loading.load_annotator` takes, a fitted annotator's folder
            or a YAML file; from the folder where the job is started.
    """

    kind: Literal["policy", "cross_encoder", "llm", "saved"] = "policy"
    options: dict[str, Any] = Field(default_factory=dict)
    path: str | None = None

    @model_validator(mode="after")
    def _says_what_its_kind_needs(self) -> AnnotatorSpec:
        if (self.kind == "saved") != (self.path is not None):
            raise ValueError("path and kind saved belong together: name the folder or YAML file of an annotator")
        if self.kind == "saved" and self.options:
            raise ValueError("kind saved takes no options; the annotator's own file says them")
        if self.kind == "llm" and "base" not in self.options:
            raise ValueError("kind llm needs options: {base: ...}, a folder or Hub id of a causal language model")
        return self


class MiningSpec(_Spec):
    """See :func:`mr_st.mine` and :class:`mr_st.mining.MiningSettings`; ``sources`` names further models, or bm25."""

    k: int = Field(default=100, ge=2)
    boundary: float = Field(default=0.5, gt=0, lt=1)
    min_confidence: float | dict[int, float] | None = None
    items: Literal["judged", "all"] = "judged"
    max_negatives: int | None = Field(default=None, ge=1)
    max_positives: int | None = Field(default=None, ge=1)
    max_by_grade: dict[int, int] | None = None
    negative_ranks: tuple[int, int | None] = (1, None)
    positive_ranks: tuple[int, int | None] = (1, None)
    near_duplicates: float | None = None
    min_judged: int = Field(default=1, ge=1)
    search: Literal["auto", "exact", "hnsw"] = "auto"
    sources: tuple[str, ...] = ()
    budget: int | None = None
    strata: dict[str, float] | None = None

    @model_validator(mode="after")
    def _the_miner_takes_it(self) -> MiningSpec:
        from mr_st.mining.settings import MiningSettings

        MiningSettings.of(self.k, self.model_dump(exclude={"k", "sources"}))
        return self


class EvaluationSpec(_Spec):
    """What is measured at the end, and with which task name it enters the results."""

    task: str = "MarketplaceRetrieval"
    split: str = "test"
    ks: tuple[int, ...] = (10, 50, 100)
    dev_items: int | None = Field(default=1000, ge=10)

    @field_validator("ks")
    @classmethod
    def _increasing(cls, ks: tuple[int, ...]) -> tuple[int, ...]:
        if not ks or min(ks) < 1 or list(ks) != sorted(set(ks)):
            raise ValueError("K values must be positive and increasing, e.g. [10, 50, 100]")
        return ks


class AverageSpec(_Spec):
    """The last step of the training: the uniform average of several stage-2 models (a model soup).

    Stage 2 is trained once more with each of these seeds (of its draws of instances, order and dropout), all from the
    same stage 1 and refinement set. The average of them and of stage 2 itself is the model that is published; each
    arm's results say what it gained. See :func:`mr_st.training.average_models`.

    Args:
        seeds: Further seeds of stage 2, e.g. ``[2, 3]`` for an average of three.
    """

    seeds: tuple[int, ...] = Field(min_length=1)

    @field_validator("seeds")
    @classmethod
    def _different(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) != len(seeds) or min(seeds) < 0:
            raise ValueError(f"seeds is {list(seeds)}; expected different numbers from 0, e.g. [2, 3]")
        return seeds


class PublishSpec(_Spec):
    """What is published.

    Args:
        repo_id: The name, ``organisation/name``.
        dim: Cut the model to its first ``dim`` values, one of ``model.matryoshka_dims``; all arms are then compared
            at this width. None: the full width.
        license: Of the model, as its card says it; the base's licence and the data's bound it.
    """

    repo_id: str = "mr-st/model"
    license: str = "apache-2.0"
    dim: int | None = Field(default=None, ge=1)

    @field_validator("repo_id")
    @classmethod
    def _two_parts(cls, repo_id: str) -> str:
        from huggingface_hub.utils import HFValidationError, validate_repo_id

        try:
            validate_repo_id(repo_id)
        except HFValidationError as error:
            raise ValueError(str(error)) from error
        if repo_id.count("/") != 1:
            raise ValueError("expected organisation/name")
        return repo_id


class Recipe(_Spec):
    """One whole job: data, model, augmentation, stage 1, mining, stage 2, average, control, evaluation, publishing.

    Args:
        name: What the model is called, and its folder.
        description: A sentence about it.
        seed: Of whatever is drawn and has no seed of its own.
        data, model, augment, instances: What is trained on and from.
        stage1, annotator, mining, stage2, average: The steps.
        control: Whether the arm that trains on without mining is run too.
        evaluation, publish: What is measured, and what is written of it.

    Example:
        >>> recipe = Recipe(name="try", data={"source": "marketplace", "options": {"size": "tiny"}})
        >>> recipe.mining.k
        100
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    description: str = ""
    seed: int = Field(default=0, ge=0)
    data: DataSpec = DataSpec()
    model: ModelSpec = ModelSpec()
    augment: AugmentSpec = AugmentSpec()
    instances: InstancesSpec = InstancesSpec()
    stage1: StageConfig = StageConfig(loss="supcon", epochs=2)
    annotator: AnnotatorSpec = AnnotatorSpec()
    mining: MiningSpec = MiningSpec()
    stage2: StageConfig = StageConfig(loss="circle", epochs=1, seed=1)
    average: AverageSpec | None = None
    control: bool = True
    evaluation: EvaluationSpec = EvaluationSpec()
    publish: PublishSpec = PublishSpec()

    @model_validator(mode="after")
    def _policy_needs_the_marketplace(self) -> Recipe:
        if self.annotator.kind == "policy" and self.data.source == "esci":
            raise ValueError(
                "annotator.kind policy: only the marketplace's policy can be called; use cross_encoder, llm or saved"
            )
        if self.annotator.kind == "policy" and self.augment.synthetic is not None:
            raise ValueError(
                "augment.synthetic: new queries must be labelled, and the policy knows the marketplace's own only; "
                "set annotator.kind: cross_encoder"
            )
        return self

    @model_validator(mode="after")
    def _regularising_needs_its_loss(self) -> Recipe:
        spelling, loss = self.augment.spelling, "spelling_consistency"
        is_asked = spelling is not None and spelling.mode == "regularise"
        if is_asked and self.stage1.loss != loss:
            raise ValueError(
                f"augment.spelling.mode regularise: stage1.loss is {self.stage1.loss}, which takes no misspelt "
                f"variants; set stage1.loss: {loss}, with loss_options: {{loss: {self.stage1.loss}}}"
            )
        for name, stage in (("stage1", self.stage1), ("stage2", self.stage2)):
            if stage.loss == loss and not is_asked:
                raise ValueError(
                    f"{name}.loss {loss}: the recipe makes no misspelt variants for it; set augment.spelling.mode: "
                    "regularise"
                )
        return self

    @model_validator(mode="after")
    def _seeds_and_widths_are_there(self) -> Recipe:
        if self.average is not None and self.stage2.seed in self.average.seeds:
            raise ValueError(f"average.seeds has {self.stage2.seed}, stage 2's own seed; give further ones")
        dim, dims = self.publish.dim, self.model.matryoshka_dims or ()
        if dim is not None and dim not in dims:
            raise ValueError(f"publish.dim is {dim}, and model.matryoshka_dims, the widths trained, is {list(dims)}")
        return self

    @property
    def final_arm(self) -> str:
        """The arm whose model is published."""
        return "stage2" if self.average is None else "average"

    @classmethod
    def from_yaml(cls, path: str | Path) -> Recipe:
        """Read and check a recipe.

        Raises:
            UsageError: no such file, no YAML mapping, an unknown key (the nearest known one is named) or a bad value.
        """
        value = read_yaml(path, "recipe")
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise UsageError(explain_validation(path, error, cls)) from error

    def to_yaml(self) -> str:
        """The recipe in full, every default written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def smoke(self) -> Recipe:
        """The same job cut down to about a minute: it proves that everything runs; its figures mean nothing."""
        from mr_st.recipes.smoke import cut_down

        return cut_down(self)
