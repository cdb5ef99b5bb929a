"""check_task: everything that is asked of a task, in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mr_st.evaluation.finding import Finding, by_gravity
from mr_st.tasks.base import UNPINNED, GradedRetrievalTask
from mr_st.tasks.checking.difficulty import find_difficulty_findings, run_baselines
from mr_st.tasks.checking.labels import find_label_findings
from mr_st.tasks.checking.leakage import find_leakage
from mr_st.tasks.checking.metadata import find_metadata_findings
from mr_st.tasks.checking.source import find_source_findings, find_unpinned
from mr_st.tasks.checking.texts import find_text_findings

if TYPE_CHECKING:
    from mr_st.data import GradedDataset
    from mr_st.evaluation import GradedReport

__all__ = ["TaskCheck", "check_task"]


@dataclass(frozen=True)
class TaskCheck:
    """What the check of a task found.

    Args:
        name: The task.
        findings: Gravest first.
        statistics: Of each split.
        baselines: System to its report on the first split; empty where none was run.
    """

    name: str
    findings: tuple[Finding, ...]
    statistics: dict[str, dict[str, Any]]
    baselines: dict[str, GradedReport]

    @property
    def is_sound(self) -> bool:
        """Whether nothing must be mended."""
        return not any(finding.level == "must" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; of a baseline the main metric."""
        return {
            "task": self.name,
            "is_sound": self.is_sound,
            "findings": [finding.to_dict() for finding in self.findings],
            "statistics": self.statistics,
            "baselines": {
                name: {report.main_metric: report[report.main_metric].to_dict()}
                for name, report in self.baselines.items()
            },
        }


def check_task(
    task: GradedRetrievalTask, *, file: Path | None = None, baselines: bool = True, model: str | None = "auto"
) -> TaskCheck:
    """Ask of a task what a reviewer would ask.

    Args:
        task: The task.
        file: The file of its class; None leaves the questions about it out.
        baselines: Also run a random order, BM25 and a model, to see how hard the task is.
        model: See :func:`mr_st.tasks.checking.difficulty.run_baselines`.

    Returns:
        Findings (``must`` fails the check), statistics and baselines.
    """
    findings = list(_of_the_class(task, file))
    findings += _of_the_data(task.graded)
    statistics = {}
    for split in task.metadata.eval_splits:
        collection = task.collection(split)
        statistics[split] = task.statistics(split)
        rows = task.graded.query_rows(collection.query_ids)
        found = [*find_label_findings(collection), *find_text_findings(collection)]
        found += find_leakage(task.graded, split, rows)
        several = len(task.metadata.eval_splits) > 1
        findings += [_in_split(finding, split) if several else finding for finding in found]
    locales = {locale for split in task.metadata.eval_splits for locale in task.collection(split).attributes["locale"]}
    findings += find_metadata_findings(task.metadata, locales, task.graded.license, task.judged_pool)
    reports: dict[str, GradedReport] = {}
    if baselines:
        reports, not_run = run_baselines(task.collection(), task.metadata.name, model)
        findings += [*find_difficulty_findings(reports), *not_run]
    return TaskCheck(task.metadata.name, tuple(by_gravity(findings)), statistics, reports)


def _of_the_class(task: GradedRetrievalTask, file: Path | None) -> Iterator[Finding]:
    kind = type(task)
    source = None if file is None else file.read_text(encoding="utf-8")
    yield from find_source_findings(kind.__name__, kind.metadata.name, file, source)
    yield from find_unpinned(kind.metadata.dataset.get("revision"), UNPINNED, task.graded.source)
    if not kind.__doc__:
        yield Finding(
            "should", "no docstring", f"class {kind.__name__} says nothing of itself", "say what is searched"
        )
    is_own = file is not None and file.resolve().parent == Path(__file__).resolve().parents[1]
    if is_own and not kind.baselines():
        yield Finding("should", "no recorded baselines", "tasks/baselines has no file of this task",
                      "run scripts/task_baselines.py")  # fmt: skip


def _of_the_data(dataset: GradedDataset) -> Iterator[Finding]:
    """What ``mr-st data check`` says, by rule."""
    from mr_st.data.validation import find_notices, find_problems, group_problems

    for level, problems in (("must", find_problems(dataset)), ("note", find_notices(dataset))):
        for group in group_problems(problems):
            first = group.problems[0]
            rows = tuple(f"row {p.row:,}" for p in group.problems if p.row is not None)
            what = f"{group.where}: {group.n_faults:,} times, first: {first.what}"
            yield Finding(level, group.rule or "fault of the data", what, first.mend, rows)  # type: ignore[arg-type]


def _in_split(finding: Finding, split: str) -> Finding:
    return Finding(finding.level, finding.rule, f"split {split}: {finding.what}", finding.mend, finding.where)
