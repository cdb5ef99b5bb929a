"""Results that somebody else made: checked against our own judgments on the way in, then added to a results folder."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mr_st.errors import MrStError, UsageError
from mr_st.evaluation.attributes import ATTRIBUTES
from mr_st.evaluation.finding import Finding, Level, by_gravity
from mr_st.evaluation.handed_in_figures import (
    MEND,
    check_intervals,
    check_protocol,
    check_queries,
    check_run,
    recompute_metrics,
    run_rows,
)
from mr_st.evaluation.handed_in_files import META, HandedFolder, handed_folders, read_strict_json, table_columns
from mr_st.evaluation.naming import folder_name, safe_name
from mr_st.evaluation.report import GradedReport
from mr_st.evaluation.scoring import mteb_name
from mr_st.files import atomic_path

if TYPE_CHECKING:
    from mr_st.evaluation.collection import Collection

__all__ = ["CheckedResult", "CollectionOf", "add_handed_in", "check_handed_in"]

CollectionOf = Callable[[str, str], "Collection"]
"""Task name and split to what OUR task of that name searches and judges; raises MrStError where there is none here."""

_MAX_ROWS, _MAX_RUN_DEPTH = 1_000_000, 1_000
_PER_QUERY = {
    "query_id": pa.string(), **dict.fromkeys(ATTRIBUTES, pa.string()), "frequency": pa.float64(),
    "n_judged": pa.int32(), "n_relevant": pa.int32(),
}  # fmt: skip
_RUN = {"query_id": pa.string(), "rank": pa.int32(), "item_id": pa.string(), "score": pa.float32(), "grade": pa.int8()}
_SIMILARITIES = {"grade": pa.int8(), "low": pa.float64(), "high": pa.float64(), "count": pa.int64()}
_BESIDE_SCORES = {"main_score", "hf_subset", "languages", "mteb_version", "graded"}
_LANGUAGE = re.compile(r"[a-z]{3}-[A-Z][a-z]{3}")


@dataclass(frozen=True)
class CheckedResult:
    """One result that was handed in, and what the check found.

    Args:
        file: Its place in the folder that was handed in.
        model, revision, task: Whose result, on what.
        recomputed: Metrics that were worked out anew from the run and our judgments, and agree or have a finding.
        believed: Metrics that could not be: deeper than the run, or made of similarities that were not handed in.
        findings: What is wrong or worth knowing, gravest first.
        state: What :func:`add_handed_in` did: ``added``, ``replaced``, ``already there``; empty after a mere check.
    """

    file: str
    model: str
    revision: str
    task: str
    recomputed: tuple[str, ...]
    believed: tuple[str, ...]
    findings: tuple[Finding, ...]
    state: str = ""

    @property
    def is_sound(self) -> bool:
        """Whether nothing must be mended."""
        return not any(finding.level == "must" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            **vars(self),
            "is_sound": self.is_sound,
            "recomputed": list(self.recomputed),
            "believed": list(self.believed),
            "findings": [finding.to_dict() for finding in self.findings],
        }


def check_handed_in(
    folder: str | Path, collection_of: CollectionOf, allow_unverified: bool = False
) -> list[CheckedResult]:
    """Check a results folder that somebody handed in, without believing its figures.

    Names, sizes and form come first; then, against our own task: the data's fingerprint, the protocol, that every
    query is there, the grades of the run, each per-query metric down to the run's depth worked out anew from the run
    and our judgments, and the means and intervals worked out anew from the per-query table. That the run is the named
    model's own cannot be told without the model.

    Args:
        folder: ``{org__name}/{revision}/{Task}.json`` and the tables beside it, as :meth:`GradedReport.save` writes.
        collection_of: Gives our own task's collection.
        allow_unverified: Take a result whose task is not here; else that must be mended.

    Returns:
        One entry a result, in the order of their files.

    Raises:
        UsageError: no such folder.
        MrStError: the folder holds what no result has (a link, a foreign file, a name that could leave the folder).
    """
    folder = Path(folder)
    return [
        _check(handed, task, folder, collection_of, allow_unverified)
        for handed in handed_folders(folder)
        for task in handed.tasks
    ]


def add_handed_in(
    folder: str | Path,
    results_dir: str | Path,
    collection_of: CollectionOf,
    *,
    replace: bool = False,
    allow_unverified: bool = False,
) -> list[CheckedResult]:
    """Check a results folder and, if all of it is sound, add it to ours; what was checked is what is written.

    Args:
        folder, collection_of, allow_unverified: As :func:`check_handed_in`.
        results_dir: Our results folder.
        replace: Overwrite results of the same model, revision and task that differ; else they are refused.

    Returns:
        One entry a result. Where any of them is not sound, nothing is written and all states are empty.

    Raises:
        UsageError: no such folder, or a result is there already and differs.
        MrStError: as :func:`check_handed_in`, or the results folder cannot be written.
    """
    results_dir = Path(results_dir)
    with tempfile.TemporaryDirectory(prefix="mr-st-handed-in-") as scratch:
        staged = Path(scratch) / "results"
        _copy(Path(folder), staged)
        found = check_handed_in(staged, collection_of, allow_unverified)
        if not all(result.is_sound for result in found):
            return found
        handed = handed_folders(staged)
        states = {(one.path, task): _state(one, task, results_dir, replace) for one in handed for task in one.tasks}
        for (path, task), state in states.items():
            if state != "already there":
                _install(path, task, results_dir / path.relative_to(staged))
        named = {str((path / f"{task}.json").relative_to(staged)): state for (path, task), state in states.items()}
        return [CheckedResult(**{**vars(result), "state": named[result.file]}) for result in found]


def _check(
    handed: HandedFolder, task: str, root: Path, collection_of: CollectionOf, allow_unverified: bool
) -> CheckedResult:
    path = handed.path / f"{task}.json"
    recomputed: dict[str, None] = {}
    believed: dict[str, None] = {}
    findings: list[Finding] = []
    model = handed.model_folder.replace("__", "/", 1)
    try:
        content = read_strict_json(path)
        findings += _check_names(content, handed, task)
        model = str(_one_report(content).get("name", model)) if not findings else model
        for split in content["scores"] if not findings else ():
            for finding in _check_split(path, content, split, collection_of, allow_unverified, recomputed, believed):
                findings.append(finding)  # one by one: what was found stays where the next step fails
        findings += _check_meta(handed, model)
        if not findings:
            _read_with_mteb(path)
    except MrStError as error:
        findings.append(_must("not readable", str(error)))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        what = f"not a whole result ({type(error).__name__}: {ascii(str(error))[:80]})"
        findings.append(_must("not readable", what, MEND))
    return CheckedResult(
        str(path.relative_to(root)), model, handed.revision, task,
        tuple(recomputed), tuple(believed), tuple(by_gravity(findings)),
    )  # fmt: skip


def _check_names(content: Mapping[str, Any], handed: HandedFolder, task: str) -> list[Finding]:
    """The JSON says what its folders and its file say, in names that can act as nothing else."""
    scores = content.get("scores")
    if content.get("task_name") != task:
        return [_must("two tasks", f"{task}.json holds the task {ascii(content.get('task_name'))[:60]}", MEND)]
    if not isinstance(scores, dict) or not scores:
        return [_must("not readable", "no MTEB result: it lacks scores", MEND)]
    for split, entries in scores.items():
        safe_name(split, "split")
        subsets = [entry.get("hf_subset") if isinstance(entry, dict) else None for entry in entries]
        if subsets.count("default") != 1 or len(set(map(str, subsets))) != len(subsets):
            return [_must("subsets", f"split {split}: one default and differing others are expected", MEND)]
        for entry, subset in zip(entries, subsets, strict=True):
            safe_name(str(subset), "subset")
            if not isinstance(entry.get("graded"), dict):
                what = f"split {split}, {subset}: a result of MTEB itself, with no value per query"
                return [_must("nothing to check", what, MEND)]
            model = entry["graded"]["model"]
            if folder_name(str(model["name"])) != handed.model_folder or model["revision"] != handed.revision:
                what = f"the result names {ascii(model['name'])[:60]}, {ascii(model['revision'])[:40]}, its folder not"
                return [_must("two models", what, MEND)]
            if _marked_up(model.get("facts")):
                return [_must("markup", "a fact of the model holds < or > or a control character", "remove it")]
    return []


def _check_split(
    path: Path,
    content: Mapping[str, Any],
    split: str,
    collection_of: CollectionOf,
    allow_unverified: bool,
    recomputed: dict[str, None],
    believed: dict[str, None],
) -> Iterator[Finding]:
    collection: Collection | None = None
    try:
        collection = collection_of(str(content["task_name"]), split)
    except MrStError as error:
        level: Level = "note" if allow_unverified else "must"
        yield Finding(level, "unverified", f"split {split} cannot be checked here: {error}",
                      "install the task or its data, or take it as it is with --allow-unverified")  # fmt: skip
    if collection is not None and content.get("dataset_revision") != collection.protocol["dataset"]["fingerprint"]:
        what = f"split {split}: data {ascii(content.get('dataset_revision'))[:40]}, the task's own here is "
        yield _must("other data", what + collection.protocol["dataset"]["fingerprint"], "evaluate on the same data")
        return
    _check_tables(path, split, content, collection)
    report = GradedReport.load(path, split)
    if report.dataset_fingerprint != content["dataset_revision"]:
        yield _must("other data", "the protocol's fingerprint is not the result's dataset_revision", MEND)
    if collection is not None:
        protocol = list(check_protocol(report, collection))
        queries = list(check_queries(report.per_query, collection))
        grid, of_query, of_item, run = run_rows(report.run, collection)
        depth = report.protocol.get("run_depth")
        run += check_run(report.run, collection, grid, of_query, of_item, depth if isinstance(depth, int) else 0)
        yield from (*protocol, *queries, *run)
        if not queries and not any(finding.rule == "broken ranks" for finding in run):
            figures = recompute_metrics(report, collection, grid)
            recomputed |= dict.fromkeys(figures.metrics)
            believed |= dict.fromkeys(figures.believed)
            yield from figures.findings
        yield from _check_histogram(report, collection)
        if protocol:
            return
    else:
        believed |= dict.fromkeys(report.metrics)
    for entry in content["scores"][split]:
        yield from _check_entry(report, entry)


def _check_tables(path: Path, split: str, content: Mapping[str, Any], collection: Collection | None) -> None:
    """The tables can be read safely; their rows are no more than the task's queries allow."""
    n = _MAX_ROWS if collection is None else collection.n_queries
    (default,) = (entry for entry in content["scores"][split] if entry["hf_subset"] == "default")
    side = {"per_query": (_PER_QUERY, pa.float64(), n), "run": (_RUN, None, n * _MAX_RUN_DEPTH)}
    if default["graded"]["has_similarities"]:
        side["similarities"] = (_SIMILARITIES, None, _MAX_ROWS)
    for name, (columns, rest, most) in side.items():
        table_columns(path.with_name(f"{path.stem}.{split}.{name}.parquet"), columns, rest, most)


def _check_entry(report: GradedReport, entry: Mapping[str, Any]) -> Iterator[Finding]:
    """One subset's figures follow from the per-query table, in our part and in MTEB's flat one."""
    ours, subset = entry["graded"], entry["hf_subset"]
    part = report if subset == "default" else report.take(ours["protocol"]["subset"]["where"], subset)
    metrics = {
        name: _interval(value) for name, value in ours["metrics"].items()
    }  # as the file says; take() would work them out itself
    values = {name: part.values(name) for name in report.metrics}
    columns = set(report.per_query.column_names) - set(_PER_QUERY)
    if columns != set(report.metrics) or set(metrics) != set(report.metrics):
        odd = sorted(columns ^ set(report.metrics) | set(metrics) ^ set(report.metrics))
        yield _must("metrics differ", f"{subset}: the table and the JSON do not hold the same metrics", MEND, odd)
        return
    yield from check_intervals(metrics, values, report.protocol["interval"], subset)
    flat = {mteb_name(name): interval.value for name, interval in metrics.items()}
    for key, value in entry.items():
        if key not in _BESIDE_SCORES and not (isinstance(value, float | int) and abs(value - flat.get(key, 9)) < 1e-9):
            yield _must("means edited", f"{subset}, {ascii(key)[:60]} is {ascii(value)[:30]}, not the table's", MEND)
    missing = [key for key, value in flat.items() if key not in entry and not np.isnan(value)]
    if missing:
        yield _must("means missing", f"{subset}: MTEB's part lacks figures", MEND, missing)
    if (
        ours["main_metric"] != report.main_metric
        or abs(entry["main_score"] - metrics[report.main_metric].value) > 1e-9
    ):
        yield _must("means edited", f"{subset}: the main score is not {report.main_metric}", MEND)
    if not all(isinstance(code, str) and _LANGUAGE.fullmatch(code) for code in entry["languages"]):
        yield _must("languages", f"{subset}: {ascii(entry['languages'])[:60]} are no MTEB language codes", MEND)


def _check_histogram(report: GradedReport, collection: Collection) -> Iterator[Finding]:
    if report.similarities is not None:
        ours = np.bincount(collection.judged.grades, minlength=collection.scale.n_grades)
        if not np.array_equal(report.similarities.counts.sum(axis=1), ours):
            yield _must("another histogram", "similarities do not count our judged pairs by grade", MEND)


def _check_meta(handed: HandedFolder, model: str) -> Iterator[Finding]:
    from mteb.models import ModelMeta

    meta = read_strict_json(handed.path / META)
    unknown = set(meta) - set(ModelMeta.model_fields) - {"is_cross_encoder"}
    if unknown:
        yield _must("foreign model_meta", f"{META} holds keys that MTEB does not know", MEND, sorted(unknown))
    if meta.get("name") != model or meta.get("revision") != handed.revision:
        yield _must("two models", f"{META} names {ascii(meta.get('name'))[:60]}, the results {model}", MEND)
    address = meta.get("reference")
    if _marked_up(meta) or (address and not str(address).startswith(("https://", "http://"))):
        yield _must("markup", f"{META} holds < or > or a control character, or a reference that is no address", MEND)


def _read_with_mteb(path: Path) -> None:
    from mteb.results import TaskResult

    try:
        TaskResult.from_disk(path, load_historic_data=False)
    except ValueError as error:
        raise MrStError(f"{path.name}: mteb cannot read it ({' '.join(str(error).split())[:200]}); {MEND}") from error


def _one_report(content: Mapping[str, Any]) -> Mapping[str, Any]:
    (entries, *_) = content["scores"].values()
    model: Mapping[str, Any] = entries[0]["graded"]["model"]
    return model


def _interval(value: Any) -> Any:
    from mr_st.measures import Interval

    mean, low, high, n = value
    value, low, high = (np.nan if x is None else float(x) for x in (mean, low, high))
    return Interval(value, low, high, int(n))


def _marked_up(value: Any) -> bool:
    """Whether a text in it could act as markup, or moves a terminal's cursor."""
    if isinstance(value, str):
        return "<" in value or ">" in value or not value.isprintable()
    if isinstance(value, Mapping):
        return any(_marked_up(key) or _marked_up(inner) for key, inner in value.items())
    return isinstance(value, list) and any(map(_marked_up, value))


def _must(rule: str, what: str, mend: str = "", where: list[str] | None = None) -> Finding:
    return Finding("must", rule, what, mend, tuple(where or ()))


def _copy(folder: Path, staged: Path) -> None:
    """Copy what is to be checked, so that nobody can change it between the check and the writing."""
    for handed in handed_folders(folder):
        target = staged / handed.model_folder / handed.revision
        target.mkdir(parents=True)
        for name in handed.files:
            source = os.open(handed.path / name, os.O_RDONLY | os.O_NOFOLLOW)
            with open(source, "rb") as reader, open(target / name, "xb") as writer:
                while block := reader.read(1 << 20):
                    writer.write(block)


def _files_of(folder: Path, task: str) -> list[str]:
    """Names of a result's JSON and tables in a revision's folder; other tasks' may begin with the same letters."""
    names = sorted(path.name for path in folder.glob("*") if path.name.startswith(f"{task}."))
    longer = [n.removesuffix(".json") for n in names if n.endswith(".json") and n != f"{task}.json"]
    return [name for name in names if not any(name.startswith(f"{other}.") for other in longer)]


def _state(handed: HandedFolder, task: str, results_dir: Path, replace: bool) -> str:
    target = results_dir / handed.model_folder / handed.revision
    if not (target / f"{task}.json").exists():
        return "added"
    names = _files_of(handed.path, task)
    if _files_of(target, task) == names and all(_same(handed.path / name, target / name) for name in names):
        return "already there"
    if not replace:
        raise UsageError(
            f"{target / task}.json: another result of this model, revision and task is there; look at both, then "
            "overwrite it with --replace"
        )
    return "replaced"


def _same(a: Path, b: Path) -> bool:
    return a.stat().st_size == b.stat().st_size and a.read_bytes() == b.read_bytes()


def _install(source: Path, task: str, target: Path) -> None:
    """The JSON goes first and comes last: a killed run leaves no figures without their tables."""
    (target / f"{task}.json").unlink(missing_ok=True)
    names = [name for name in _files_of(source, task) if not name.endswith(".json")]
    for old in _files_of(target, task) if target.is_dir() else ():
        (target / old).unlink()
    wanted = names if (target / META).exists() else [*names, META]
    for name in [*wanted, f"{task}.json"]:
        with atomic_path(target / name) as temporary:
            temporary.write_bytes((source / name).read_bytes())
