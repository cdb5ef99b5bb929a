"""What ``mr-st evaluate`` does with one system and one task: serve what is in the results folder, or evaluate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mr_st.errors import MrStError, UsageError

if TYPE_CHECKING:
    from mr_st.evaluation import GradedReport, System
    from mr_st.tasks import GradedRetrievalTask

__all__ = ["Done", "Job", "jobs_of", "run_job", "task_options", "write_trec"]

_DEFAULT = "default"


@dataclass(frozen=True, eq=False)
class Job:
    """One task, as it is asked for.

    Args:
        task: The task.
        split: Which split.
        subsets: Parts to report beside the whole; None for all that have a query.
        gains: The gain of each grade; None for the dataset's own.
        ks: Cut-offs.
        name: What the results are filed under: the task's name, with the gains where they are not its own.
    """

    task: GradedRetrievalTask
    split: str
    subsets: tuple[str, ...] | None
    gains: tuple[float, ...] | None
    ks: tuple[int, ...]
    name: str


@dataclass(frozen=True, eq=False)
class Done:
    """What came of a job: reports by subset, the whole first; the JSON; whether it was evaluated just now."""

    reports: dict[str, GradedReport]
    path: Path
    is_new: bool
    remark: str = ""

    @property
    def whole(self) -> GradedReport:
        """The report of all queries."""
        return self.reports[_DEFAULT]


def task_options(options: Mapping[str, Any], tasks: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Options of each task: ``size=tiny`` is for all of them, ``WANDSRetrieval.path=wands/`` for that one.

    Raises:
        UsageError: an option for a task that is not asked for.

    Example:
        >>> task_options({"size": "tiny", "B.seed": 1}, ["A", "B"])
        {'A': {'size': 'tiny'}, 'B': {'size': 'tiny', 'seed': 1}}
    """
    found: dict[str, dict[str, Any]] = {task: {} for task in tasks}
    for key, value in sorted(options.items(), key=lambda option: "." in option[0]):
        task, dot, own = key.rpartition(".")
        if dot and task not in found:
            raise UsageError(f"--option {key}: {task} is none of the tasks ({', '.join(found)})")
        for name in [task] if dot else found:
            found[name][own] = value
    return found


def jobs_of(
    tasks: Sequence[GradedRetrievalTask],
    *,
    split: str | None,
    subsets: Sequence[str],
    gains: str | None,
    ks: Sequence[int],
    twins: bool,
    catalogues: bool,
) -> list[Job]:
    """The jobs that tasks mean, in order: each over its catalogue, its judged-pool twin, or both.

    Raises:
        UsageError: no such subset, or gains that do not fit a task's grades.
    """
    from mr_st.evaluation.scoring import check_cutoffs

    found = []
    for task in tasks:
        several = [task] if catalogues or task.judged_pool else []
        several += [task.twin()] if twins and not task.judged_pool else []
        for one in several:
            for subset in subsets:
                if subset != _DEFAULT and subset not in one.subsets:
                    known = ", ".join([_DEFAULT, *one.subsets])
                    raise UsageError(f"--subset {subset}: {one.metadata.name} has no such part; it has {known}")
            own, mark = _gains(one, gains)
            found.append(
                Job(
                    task=one,
                    split=split or one.metadata.eval_splits[0],
                    subsets=tuple(subset for subset in subsets if subset != _DEFAULT) if subsets else None,
                    gains=own,
                    ks=check_cutoffs(ks),
                    name=one.metadata.name + mark,
                )
            )
    return found


def run_job(job: Job, system: System, results: Path, *, again: bool = False) -> Done:
    """The reports of a system on a task: those of the results folder where they are of this protocol, else new ones.

    Args:
        job: The task.
        system: The system.
        results: The results folder; new reports are saved there.
        again: Evaluate whatever is there.

    Raises:
        MrStError: what evaluating or saving raises.
    """
    from mr_st.evaluation import folder_name

    path = results / folder_name(system.name) / system.revision / f"{job.name}.json"
    stored, remark = (None, "") if again else _stored(job, system, path)
    if stored is not None and set(job.ks) <= set(stored.protocol["ks"]):
        return Done(_with_parts(job, stored, path, results), path, is_new=False)
    ks = job.ks if stored is None else sorted({*job.ks, *stored.protocol["ks"]})  # nothing that is there is lost
    reports = job.task.reports(system, job.split, job.subsets, gains=job.gains, ks=ks, task_name=job.name)
    for report in reports.values():
        report.save(results)
    return Done(reports, path, is_new=True, remark=remark)


def write_trec(job: Job, system: System, done: Done, folder: Path) -> Path:
    """Write the run of a job, as deep as its cut-offs and at least 100, and its qrels; returns the run's path."""
    from mr_st.evaluation import folder_name
    from mr_st.evaluation.report import RUN_DEPTH
    from mr_st.evaluation.scoring import rank_judged
    from mr_st.evaluation.trec import write_trec_qrels, write_trec_run

    collection = job.task.collection(job.split, job.gains)
    tag = folder_name(system.name)
    path = folder / f"{job.name}.{job.split}.{tag}.{system.revision}.run"
    write_trec_qrels(collection, folder / f"{job.name}.{job.split}.qrels")
    scores = system.score_pairs(collection) if job.task.judged_pool else None
    if scores is not None:
        write_trec_run(rank_judged(collection.judged, scores), path, collection=collection, tag=tag)
    elif max(job.ks) <= RUN_DEPTH:
        write_trec_run(done.whole, path, tag=tag)
    else:
        write_trec_run(system.search(collection, max(job.ks)), path, collection=collection, tag=tag)
    return path


def _stored(job: Job, system: System, path: Path) -> tuple[GradedReport | None, str]:
    """The saved report where it is of this protocol; else None, and why there is none to serve."""
    from mr_st.evaluation import GradedReport, evaluation_key

    if not path.is_file():
        return None, ""
    try:
        report = GradedReport.load(path, job.split)
        ks = report.protocol["ks"]
        key = evaluation_key(system, job.task.collection(job.split, job.gains), ks=ks)
    except UsageError:  # another split of the task
        return None, ""
    except (MrStError, KeyError):
        return None, "what stood there could not be read"
    if report.protocol.get("key") != key:
        return None, f"what stood there was of another protocol ({_difference(report, job)})"
    return report, ""


def _difference(report: GradedReport, job: Job) -> str:
    now = job.task.collection(job.split, job.gains).protocol
    changed = [name for name, value in now.items() if report.protocol.get(name) != value]
    return ", ".join(changed) or f"mr-st {report.protocol.get('mr_st', '?')}"


def _with_parts(job: Job, whole: GradedReport, path: Path, results: Path) -> dict[str, GradedReport]:
    """The whole and its parts; a part that the folder lacks is cut out of the whole, and saved."""
    from mr_st.evaluation import GradedReport

    reports = {_DEFAULT: whole}
    for name in job.task.subsets if job.subsets is None else job.subsets:
        try:
            reports[name] = GradedReport.load(path, job.split, name)
            continue
        except UsageError:
            pass
        try:
            part = whole.take(job.task.subsets[name], name)
        except UsageError:
            if job.subsets is not None:
                raise
            continue  # no query of it here
        reports[name] = replace(part, languages=list(job.task.metadata.hf_subsets_to_langscripts[name]))
        reports[name].save(results)
    return reports


def _gains(task: GradedRetrievalTask, scheme: str | None) -> tuple[tuple[float, ...] | None, str]:
    """Gains and their mark in the task's name; None and no mark where NDCG is the same as with the dataset's own."""
    from mr_st.measures.gains import gain_table

    if scheme is None:
        return None, ""
    scale = task.graded.scale
    try:
        gains = gain_table(scheme, scale.n_grades)
    except UsageError as error:
        raise UsageError(f"--gains {scheme}: {error} ({task.metadata.name} has {scale})") from error
    if not gains[-1] > 0:
        raise UsageError(f"--gains {scheme}: the best grade gains nothing, so no ranking can be judged")
    if np.allclose(np.array(gains) / gains[-1], np.array(scale.gains) / scale.gains[-1], rtol=1e-9, atol=0):
        return None, ""
    mark = scheme if scheme.isalpha() else "+".join(f"{gain:g}" for gain in gains)
    return gains, f"-gains={mark}"
