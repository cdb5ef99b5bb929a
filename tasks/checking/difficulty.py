"""How hard a task is: what a random order, shared words and a small model reach, each really run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mr_st.errors import MrStError
from mr_st.evaluation import evaluate_system
from mr_st.evaluation.finding import Finding
from mr_st.evaluation.systems import Bm25System, RandomSystem
from mr_st.measures import paired_bootstrap

if TYPE_CHECKING:
    from mr_st.evaluation import Collection, GradedReport, System

__all__ = ["find_difficulty_findings", "run_baselines"]

MAX_TEXTS = 3_000
"""How many texts the small model is given without being asked for."""

MAX_ITEMS = 300_000
"""Above this no baseline runs without being asked for."""

_TRIVIAL = 0.95
_EASY_BY_CHANCE = 0.85
_ENOUGH = 30


def run_baselines(
    collection: Collection, task_name: str, model: str | None = "auto", store: Any = None
) -> tuple[dict[str, GradedReport], list[Finding]]:
    """Evaluate random order, BM25 and a small model.

    Args:
        collection: What is searched.
        task_name: What the task is called.
        model: A model's folder, Hub id or ``minilm``; ``auto`` takes MiniLM where it is installed and the texts are
            few; None takes none.
        store: Folder that keeps vectors, or None.

    Returns:
        Reports by ``random``, ``bm25`` and the model's name; and what could not be run.
    """
    if len(collection.item_ids) > MAX_ITEMS and model == "auto":
        what = f"{len(collection.item_ids):,} items, more than {MAX_ITEMS:,}"
        return {}, [Finding("note", "baselines not run", what, "run scripts/task_baselines.py")]
    reports, findings = {}, []
    systems: dict[str, Any] = {"random": RandomSystem, "bm25": Bm25System}
    if model not in (None, "auto"):
        systems[str(model)] = lambda: _bi_encoder(str(model), store)
    elif model == "auto" and len(collection.item_ids) + collection.n_queries <= MAX_TEXTS:
        systems["minilm"] = lambda: _bi_encoder("minilm", store)
    for name, make in systems.items():
        try:
            reports[name] = evaluate_system(make(), collection, task_name=task_name, ks=(10,))
        except MrStError as error:
            findings.append(Finding("note", "baseline not run", f"{name}: {error}"))
    if model == "auto" and "minilm" not in systems:
        findings.append(
            Finding("note", "baseline not run", f"minilm: more than {MAX_TEXTS:,} texts", "give --model minilm")
        )
    return reports, findings


def find_difficulty_findings(reports: Mapping[str, GradedReport]) -> Iterator[Finding]:
    """Whether words alone, or chance, solve the task, and whether anything does better than chance.

    Args:
        reports: Of one collection, ``random`` among them; the names of the others are shown.
    """
    if "random" not in reports or len(reports) < 2:
        return
    chance = reports["random"]
    metric = chance.main_metric
    others = {name: report for name, report in reports.items() if name != "random"}
    figures = ", ".join(f"{name} {report[metric]}" for name, report in reports.items())
    yield Finding("note", "difficulty", f"{metric}: {figures}")
    if "bm25" in reports and reports["bm25"][metric].value >= _TRIVIAL:
        yield Finding("should", "trivial", f"shared words alone reach {metric} {reports['bm25'][metric].value:.3f}",
                      "add queries whose words their items do not have")  # fmt: skip
    if chance[metric].value >= _EASY_BY_CHANCE:
        yield Finding("should", "easy by chance", f"a random order reaches {metric} {chance[metric].value:.3f}",
                      "judge more irrelevant items")  # fmt: skip
    gains = {name: paired_bootstrap(chance.values(metric), report.values(metric)) for name, report in others.items()}
    if not any(gain.low > 0 for gain in gains.values() if not np.isnan(gain.low)):
        best = max(gains, key=lambda name: gains[name].value)
        yield Finding(
            "must" if chance[metric].n >= _ENOUGH else "should",
            "random",
            f"no system beats a random order beyond the interval: {best} by {gains[best]}",
            "look whether ids of judgments and items belong together, and whether items have their texts",
        )


def _bi_encoder(model: str, store: Any) -> System:
    from mr_st.evaluation import BiEncoder
    from mr_st.models import load_sentence_transformer

    return BiEncoder(load_sentence_transformer(model), store=store)
