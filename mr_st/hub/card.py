"""The model card: Markdown with the metadata that the Hub reads, made from measured results only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mr_st.errors import MrStError, UsageError
from mr_st.grades import THREE_GRADES
from mr_st.hub.card_parts import (
    annotator_facts,
    comparison_rows,
    data_facts,
    default_limits,
    item_format,
    mining_facts,
    result_tables,
    stage_rows,
)
from mr_st.hub.model_facts import read_model_facts
from mr_st.hub_client import license_terms
from mr_st.text.markdown import Markdown, code, escape, literal

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

    from mr_st.evaluation import Comparison, GradedReport

__all__ = ["build_card", "check_card", "with_model_id"]

_TAGS = [
    "sentence-transformers",
    "sentence-similarity",
    "feature-extraction",
    "graded-relevance",
    "e-commerce",
    "product-search",
    "mr-st",
]


_LEAD = "A two-tower embedding model for e-commerce search, trained on graded relevance with Mine and Refine."


def build_card(
    model_dir: str | Path,
    *,
    model_id: str | None = None,
    reports: Mapping[str, GradedReport | Sequence[GradedReport]] | None = None,
    primary: str | None = None,
    comparisons: Mapping[tuple[str, str], Mapping[str, Comparison]] | None = None,
    stages: Mapping[str, Mapping[str, Any]] | None = None,
    data: Mapping[str, Any] | None = None,
    mining: Mapping[str, Any] | None = None,
    annotator: Mapping[str, Any] | None = None,
    recipe: Mapping[str, Any] | str | None = None,
    base_model: str | None = None,
    license: str | None = None,
    language: str | Sequence[str] | None = None,
    hardware: str | None = None,
    plots: Mapping[str, str] | None = None,
    description: str | None = None,
    limits: Sequence[str] = (),
) -> str:
    """Write a model's card. Nothing is claimed that is not in the arguments or in the model's own files.

    Args:
        model_dir: The saved model; its files give size, dimensions, prompts.
        model_id: ``org/name``; what the card tells people to load. None: the folder's name.
        reports: Results by arm, e.g. ``base``, ``stage1``, ``control``, ``stage2``; a list where tasks are several.
        primary: The arm that is this model; None is the last one. Only its results enter ``model-index``.
        comparisons: ``{(treatment, control): {metric: Comparison}}``, as :class:`mr_st.recipes.RunResult` holds them.
        stages: What each training stage reported, by name: ``loss``, ``steps``, ``seconds``, ``loss_config`` or
            ``loss_state`` (its learned parameters).
        data: ``GradedDataset.describe()``, with ``name``, ``license``, ``fingerprint``, ``source`` where known.
        mining: ``RefinementSet.report``.
        annotator: The annotator's ``identity`` and what it reported.
        recipe: The recipe (mapping or YAML); also gives the item text format.
        base_model: Hub id of the model that training started from.
        license: Licence of the model, an SPDX id such as ``apache-2.0``.
        language: ISO 639-1 codes.
        hardware: What it was trained on.
        plots: ``{caption: path}``, the path relative to the model's folder.
        description: One sentence that follows the name.
        limits: More limits than those that follow from the arguments.

    Returns:
        The card's text, metadata block first. It has passed :func:`check_card`.

    Raises:
        UsageError: ``primary`` is no arm of ``reports``, or a plot lies outside the model's folder.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from mr_st import __version__

    facts = read_model_facts(model_dir)
    model_id = model_id or Path(model_dir).resolve().name
    arms: dict[str, list[GradedReport]] = {
        arm: list(found) if isinstance(found, Sequence) else [found] for arm, found in (reports or {}).items()
    }
    primary = primary or next(reversed(arms), None)
    if primary is not None and primary not in arms:
        raise UsageError(f"primary {primary!r}: there are only results of {', '.join(arms)}; name one of them")
    settings = _recipe_mapping(recipe)
    example, format_note = item_format(settings)
    environment = Environment(
        loader=PackageLoader("mr_st.hub", ""),
        finalize=escape,
        autoescape=False,  # Markdown, not HTML: `finalize` escapes whatever is not marked as Markdown
        undefined=StrictUndefined,
        trim_blocks=False,
        keep_trailing_newline=True,
    )
    environment.filters.update(code=code, literal=literal)
    body = environment.get_template("card_template.md").render(
        name=model_id.rsplit("/", 1)[-1],
        lead=description or (_LEAD if stages else "An embedding model in the form of sentence-transformers."),
        is_trained_here=bool(stages),
        facts=_model_rows(facts, base_model, license),
        grades=_grade_names(data, arms.get(primary or "", [])),
        model_id=model_id,
        example_item=example,
        item_format=format_note,
        prompts=sorted(facts.prompts.items()),
        tables=result_tables(arms, primary),
        comparisons=comparison_rows(comparisons or {}),
        plots=_plots(model_dir, plots or {}),
        data=data_facts(data),
        stages=stage_rows(stages or {}),
        hardware=hardware,
        mining=mining_facts(mining),
        annotator=annotator_facts(annotator),
        recipe=_recipe_block(recipe),
        limits=[*default_limits(arms.get(primary or "", []), data), *limits],
        version=__version__,
    )
    body = re.sub(r"\n{3,}", "\n\n", re.sub(r"(?m)(^\|.*\|)\n\n(?=\|)", r"\1\n", body))
    metadata = _metadata(model_id, arms.get(primary or "", []), base_model, license, language)
    card = f"---\n{metadata}\n---\n{body}"
    check_card(card)
    return card


def check_card(card: str) -> None:
    """Check a card's metadata as the Hub's client does, without the network.

    Raises:
        MrStError: there is no metadata block, or it is not what the Hub reads.
    """
    import yaml
    from huggingface_hub import ModelCard
    from huggingface_hub.repocard import REGEX_YAML_BLOCK

    if not REGEX_YAML_BLOCK.search(card):
        raise MrStError("README.md: starts with no metadata block (---); rebuild the card")
    try:
        parsed = ModelCard(card).data.to_dict()
    except (ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise MrStError(f"README.md: its metadata is not valid ({reason}); rebuild the card") from error
    for key in ("license", "library_name", "pipeline_tag"):
        if key in parsed and not isinstance(parsed[key], str):
            raise MrStError(f"README.md: metadata {key} must be text, found {parsed[key]!r:.60}; rebuild the card")


def with_model_id(card: str, model_id: str) -> str:
    """The card with the id that it tells people to load replaced, in its first ``SentenceTransformer("...")`` line."""
    return re.sub(
        r'(?m)^(model = SentenceTransformer\()"(?:[^"\\\n]|\\.)*"\)$',
        lambda m: f"{m[1]}{literal(model_id)})",
        card,
        count=1,
    )


def _metadata(
    model_id: str,
    reports: Sequence[GradedReport],
    base_model: str | None,
    license: str | None,
    language: str | Sequence[str] | None,
) -> str:
    from huggingface_hub import ModelCardData

    languages = [language] if isinstance(language, str) else list(language or [])
    results = [result for report in reports for result in _eval_results(report)]
    card_data = ModelCardData(
        language=languages or None,
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity",
        tags=_TAGS,
        base_model=base_model if re.fullmatch(r"(?!local/)[\w.-]+/[\w.-]+", base_model or "") else None,
        model_name=model_id.rsplit("/", 1)[-1] if results else None,
        eval_results=results or None,
        **license_terms(license),
    )
    return card_data.to_yaml()


def _eval_results(report: GradedReport) -> list[EvalResult]:
    from huggingface_hub import EvalResult

    protocol = report.protocol
    dataset = protocol.get("dataset")
    if not isinstance(dataset, Mapping):
        dataset = {}
    return [
        EvalResult(
            task_type="information-retrieval",
            task_name="Graded product retrieval",
            dataset_type=re.sub(r"[^a-z0-9._-]+", "-", report.task_name.lower()).strip("-") or "dataset",
            dataset_name=str(dataset.get("name") or report.task_name),
            dataset_split=str(protocol.get("split", "test")),
            dataset_revision=str(dataset["fingerprint"]) if dataset.get("fingerprint") else None,
            metric_type=name,
            metric_name=name,
            metric_value=round(interval.value, 5),
        )
        for name, interval in report.metrics.items()
        if interval.n and re.fullmatch(r"(ndcg|recall|precision)@\d+(/\d+)?", name)
    ]


def _model_rows(facts: Any, base_model: str | None, license: str | None) -> list[dict[str, Any]]:
    rows = {
        "Base model": base_model,
        "Embedding": f"{facts.dim} dimensions, compared by cosine" if facts.dim else None,
        "Parameters": _size(facts.n_parameters),
        "Longest input": f"{facts.max_seq_length} tokens" if facts.max_seq_length else None,
        "Modules": ", ".join(facts.modules) or None,
        "Licence": license,
    }
    return [{"name": name, "text": text} for name, text in rows.items() if text]


def _size(n_parameters: int | None) -> str | None:
    if not n_parameters:
        return None
    return f"{n_parameters / 1e6:.1f} million" if n_parameters >= 1e6 else f"{n_parameters:,}"


def _grade_names(data: Mapping[str, Any] | None, reports: Sequence[GradedReport]) -> str:
    scale = (data or {}).get("scale")
    names = scale.get("names") if isinstance(scale, Mapping) else None
    names = names or next((report.protocol["grades"] for report in reports if report.protocol.get("grades")), None)
    return ", ".join(map(str, names or THREE_GRADES.names))


def _plots(model_dir: str | Path, plots: Mapping[str, str]) -> list[dict[str, Any]]:
    root = Path(model_dir).resolve()
    rows = []
    for caption, path in plots.items():
        if not re.fullmatch(r"[\w./-]+", path) or root not in (root / path).resolve().parents:
            raise UsageError(
                f"plot {path!r}: give a plain path inside the model's folder, e.g. plots/separability.png"
            )
        rows.append({"caption": caption, "path": Markdown(path)})
    return rows


def _recipe_mapping(recipe: Mapping[str, Any] | str | None) -> Mapping[str, Any]:
    import yaml

    if isinstance(recipe, str):
        recipe = yaml.safe_load(recipe)
    return recipe if isinstance(recipe, Mapping) else {}


def _recipe_block(recipe: Mapping[str, Any] | str | None) -> Markdown | None:
    """The recipe as a fenced block that nothing in it can close."""
    import yaml

    if not recipe:
        return None
    text = recipe if isinstance(recipe, str) else yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True)
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text)), 3)
    return Markdown(f"{fence}yaml\n{text.rstrip()}\n{fence}")
