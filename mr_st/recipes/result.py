"""What a run of a recipe found, and where it lies."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mr_st.recipes.schema import Recipe
from mr_st.recipes.steps import Step

if TYPE_CHECKING:
    from mr_st.evaluation import Comparison, GradedReport

__all__ = ["ARMS", "ARM_TITLES", "PAIRS", "RunResult"]

ARM_TITLES = {"base": "base", "stage1": "stage 1", "control": "control", "stage2": "stage 2", "average": "average"}
ARMS = tuple(ARM_TITLES)
"""The models that are compared: untrained base, stage 1, stage 1 trained on (the control arm), stage 2, and the
average of several stage-2 models where the recipe asks for it."""

PAIRS = (
    ("stage1", "base"), ("stage2", "stage1"), ("stage2", "control"), ("stage2", "base"),
    ("average", "stage2"), ("average", "control"), ("average", "base"),
)  # fmt: skip
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
