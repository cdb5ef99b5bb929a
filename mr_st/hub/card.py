"""The model card: Markdown with the metadata that the Hub reads, made from measured results only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mr_st.errors import UsageError
from mr_st.files import parse_yaml
from mr_st.grades import THREE_GRADES
from mr_st.hub.card_limits import measured_limits, not_better
from mr_st.hub.card_metadata import card_metadata, check_card
from mr_st.hub.card_provenance import (
    annotator_facts,
    data_facts,
    item_format,
    mining_facts,
    split_table,
    stage_table,
    time_line,
)
from mr_st.hub.card_results import comparison_table, headline, result_tables
from mr_st.hub.card_shrink import shrink_part
from mr_st.hub.card_thresholds import separability_tables, threshold_tables
from mr_st.hub.card_words import mapping
from mr_st.hub.model_facts import ModelFacts, read_model_facts
from mr_st.text.markdown import Markdown, code, escape, literal, table

if TYPE_CHECKING:
    from mr_st.evaluation import Comparison, GradedReport

__all__ = ["build_card", "check_card", "with_model_id"]

_LEAD = "A two-tower embedding model for e-commerce search, trained on graded relevance with Mine and Refine."
_HUB_COPIES = {"esci": "tasksource/esci"}  # a source of ours to the Hub dataset that holds the same judgments


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
    shrink: Mapping[str, Any] | None = None,
    seconds: Mapping[str, float] | None = None,
    datasets: Sequence[str] | None = None,
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
        mining: ``RefinementSet.report``, or any facts.
        annotator: The annotator's ``identity`` and what it reported.
        recipe: The recipe (mapping or YAML); also gives the item text format.
        base_model: Hub id of the model that training started from.
        license: Licence of the model, an SPDX id such as ``apache-2.0``.
        language: ISO 639-1 codes.
        hardware: What it was trained on.
        plots: ``{caption: path}``, the path relative to the model's folder.
        shrink: What ``mr-st shrink`` measured (its ``shrink.json``).
        seconds: How long each step of the job took, by its name in the recipe's run.
        datasets: Hub ids of the training data; None takes them from ``data``.
        description: One sentence that follows the name.
        limits: More limits than those that follow from the arguments.

    Returns:
        The card's text, metadata block first. It has passed :func:`check_card`.

    Raises:
        UsageError: ``primary`` is no arm of ``reports``, a plot lies outside the model's folder, or ``shrink`` is of
            another model than the reports.
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
    _check_same_model(shrink, arms.get(primary or "", []))
    own, compared, settings = arms.get(primary or "", []), comparisons or {}, _recipe_mapping(recipe)
    name = model_id.rsplit("/", 1)[-1]
    example, format_note = item_format(settings)
    environment = Environment(
        loader=PackageLoader("mr_st.hub", ""),
        finalize=escape,
        autoescape=False,  # Markdown, not HTML: `finalize` escapes whatever is not marked as Markdown
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(code=code, literal=literal)
    body = environment.get_template("card_template.md").render(
        name=name,
        lead=description or (_LEAD if stages else "An embedding model in the form of sentence-transformers."),
        is_trained_here=bool(stages),
        facts=_fact_table(facts, settings, headline(arms, primary, compared), base_model, license, data),
        grades=_grade_names(data, own),
        model_id=model_id,
        dim=facts.dim,
        matryoshka=_smaller_dims(settings),
        max_seq_length=facts.max_seq_length,
        example_item=example,
        item_format=format_note,
        prompts=sorted(facts.prompts.items()),
        thresholds=threshold_tables(own),
        tables=result_tables(arms, primary, name),
        comparisons=comparison_table(compared, primary),
        separability=separability_tables(own),
        plots=_plots(model_dir, plots or {}),
        shrink=shrink_part(model_dir, shrink),
        data=data_facts(data),
        splits=split_table(data),
        stages=stage_table(stages or {}),
        hardware=hardware,
        time=time_line(seconds),
        mining=mining_facts(mining),
        annotator=annotator_facts(annotator, settings),
        has_recipe_file=(Path(model_dir) / "recipe.yaml").is_file(),
        recipe=_recipe_block(recipe),
        not_better=not_better(arms, primary, compared),
        limits=[*measured_limits(arms, primary, data, mining, annotator), *limits],
        version=__version__,
    )
    body = re.sub(r"\n{3,}", "\n\n", body)
    metadata = card_metadata(
        model_id,
        own,
        base_model=base_model,
        license=license,
        language=language,
        datasets=_dataset_ids(data) if datasets is None else datasets,
    )
    card = f"---\n{metadata}\n---\n\n{body.strip()}\n"
    check_card(card)
    return card


def with_model_id(card: str, model_id: str) -> str:
    """The card with the id that it tells people to load replaced, in its first ``SentenceTransformer("...")`` line."""
    return re.sub(
        r'(?m)^(model = SentenceTransformer\()"(?:[^"\\\n]|\\.)*"\)$',
        lambda m: f"{m[1]}{literal(model_id)})",
        card,
        count=1,
    )


def _fact_table(
    facts: ModelFacts,
    recipe: Mapping[str, Any],
    headline: Markdown | None,
    base_model: str | None,
    license: str | None,
    data: Mapping[str, Any] | None,
) -> Markdown | None:
    smaller = _smaller_dims(recipe)
    dims = f"{facts.dim} dimensions" + (f", trained to be cut to {smaller}" if smaller else "") if facts.dim else None
    rows = {
        "Result": headline,
        "Embedding": f"{dims}, compared by cosine" if dims else None,
        "Longest input": f"{facts.max_seq_length} tokens" if facts.max_seq_length else None,
        "Parameters": _size(facts.n_parameters),
        "Base model": base_model,
        "Modules": ", ".join(facts.modules) or None,
        "Trained on": (data or {}).get("name"),
        "Licence": license,
    }
    known = [(name, text) for name, text in rows.items() if text]
    return table(known[0], known[1:]) if known else None


def _smaller_dims(recipe: Mapping[str, Any]) -> str:
    """The dimensions that a Matryoshka loss trained besides the whole, largest first."""
    dims = mapping(recipe.get("model")).get("matryoshka_dims")
    return ", ".join(str(dim) for dim in sorted(dims, reverse=True)) if isinstance(dims, list) else ""


def _dataset_ids(data: Mapping[str, Any] | None) -> list[str]:
    source = mapping((data or {}).get("source"))
    named = _HUB_COPIES.get(str(source.get("name")))
    found = [named, *(source.get(key) for key in ("repo_id", "path"))]
    return [name for name in found if isinstance(name, str)][:1]


def _size(n_parameters: int | None) -> str | None:
    if not n_parameters:
        return None
    return f"{n_parameters / 1e6:.1f} million" if n_parameters >= 1e6 else f"{n_parameters:,}"


def _grade_names(data: Mapping[str, Any] | None, reports: Sequence[GradedReport]) -> str:
    scale = (data or {}).get("scale")
    names = scale.get("names") if isinstance(scale, Mapping) else None
    names = names or next((report.protocol["grades"] for report in reports if report.protocol.get("grades")), None)
    return ", ".join(map(str, names or THREE_GRADES.names))


def _check_same_model(shrink: Mapping[str, Any] | None, reports: Sequence[GradedReport]) -> None:
    shrunk = mapping((shrink or {}).get("model")).get("revision")
    for report in reports:
        if shrunk is not None and shrunk != report.revision:
            raise UsageError(
                f"shrink: measured on revision {shrunk}, the results are of {report.revision}; run `mr-st shrink` on "
                "this model"
            )


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
    if isinstance(recipe, str):
        recipe = parse_yaml(recipe)
    return recipe if isinstance(recipe, Mapping) else {}


def _recipe_block(recipe: Mapping[str, Any] | str | None) -> Markdown | None:
    """The recipe as a fenced block that nothing in it can close."""
    import yaml

    if not recipe:
        return None
    text = recipe if isinstance(recipe, str) else yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True)
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text)), 3)
    return Markdown(f"{fence}yaml\n{text.rstrip()}\n{fence}")
