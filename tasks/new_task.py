"""A new task's file, or a whole package for it, that runs at once."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mr_st.errors import MrStError, UsageError
from mr_st.files import ensure_writable, write_text
from mr_st.hub_client import is_hub_id
from mr_st.tasks.checking.metadata import DECIDE
from mr_st.tasks.checking.source import snake_case
from mr_st.tasks.registry import get_task, list_tasks

if TYPE_CHECKING:
    from mr_st.data import GradedDataset

__all__ = ["NewTask", "check_name", "checkout_tasks", "new_task"]

_TEMPLATES = Path(__file__).parent / "templates"
_NAME = re.compile(r"[A-Z][A-Za-z0-9]{0,60}Retrieval")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_MAX_BYTES = 20 << 20


@dataclass(frozen=True)
class NewTask:
    """What was written for a new task.

    Args:
        name: The task.
        file: The file of its class.
        folder: The package's folder; None where only a file was written.
        written: Every file.
        undecided: Metadata that the contributor has yet to decide.
    """

    name: str
    file: Path
    folder: Path | None
    written: tuple[Path, ...]
    undecided: tuple[str, ...]


def new_task(
    name: str,
    folder: str | Path,
    *,
    package: bool = False,
    data: str | Path | None = None,
    revision: str | None = None,
    **decided: Any,
) -> NewTask:
    """Write one file with a task of that name and its judged-pool twin, or a package that declares both.

    Args:
        name: The class: ``MyShopRetrieval``; the file is then ``my_shop.py``.
        folder: Where; with ``package`` the folder that the package's own folder is made in.
        package: Write a package: pyproject.toml with the entry points, and the file in it.
        data: Judgments in any form that ``GradedDataset.load`` knows: they are written beside the file; or the id of
            a Hub dataset: it is loaded from there. None writes a few judgments into the file itself.
        revision: The commit of a Hub dataset, 40 hex digits.
        decided: Metadata that is known: description, reference, license, annotations_creators, sample_creation, and
            date, a pair of days; what is not given is marked for the contributor to decide.

    Raises:
        UsageError: a name that is taken or not of that form, a file that exists, data that is too large or, on the
            Hub, not pinned, or a value that mteb does not take.
        MrStError: the data cannot be loaded, or the folder not be written.
    """
    check_name(name)
    stem = snake_case(name)
    folder = Path(folder)
    home = folder / f"{stem.replace('_', '-')}-task" if package else folder
    inner = Path(f"{stem}_task") if package else Path()
    beside = inner / "data" if package else Path("data") / stem
    dataset = None if data is None else _load(data, revision)
    is_on_hub = data is not None and is_hub_id(str(data)) and not Path(data).exists()
    values = {**_words(name, stem, inner), **_about(dataset, decided, stem)}
    values["DATASET"], values["DATASET_PATH"], values["PATH_IMPORT"] = _how_loaded(
        data, revision, is_on_hub, beside.relative_to(inner), stem
    )
    files = {inner / f"{stem}.py": _filled("task", values)}
    if package:
        files[Path("pyproject.toml")] = _filled("pyproject.toml", values)
        files[inner / "__init__.py"] = f'"""{name}, a benchmark task for mr-st."""\n'
    for path in [*files, *([beside] if dataset is not None and not is_on_hub else [])]:
        if (home / path).exists():
            raise UsageError(f"{home / path} exists; choose another name or folder, or remove it")
    ensure_writable(folder)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".tmp-new-task-") as scratch:
        draft = Path(scratch)
        for path, text in files.items():
            write_text(draft / path, text)
        if dataset is not None and not is_on_hub:
            dataset.save(draft / beside)
            _check_size(draft / beside, data)
        _try(draft / inner / f"{stem}.py", name)
        written = sorted(path.relative_to(draft) for path in draft.rglob("*") if path.is_file())
        written = [path for path in written if "__pycache__" not in path.parts]
        for path in written:
            (home / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(draft / path, home / path)
    undecided = tuple(key for key, value in _undecided(decided).items() if value)
    return NewTask(
        name, home / inner / f"{stem}.py", home if package else None, tuple(home / path for path in written), undecided
    )


def checkout_tasks(folder: str | Path = ".") -> Path:
    """The folder ``tasks/`` of the checkout of mr-st that ``folder`` is.

    Raises:
        UsageError: it is none.
    """
    folder = Path(folder)
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
    except (OSError, KeyError, TypeError, ValueError):
        project = ""
    if project != "mr-st" or not (folder / "tasks" / "base.py").is_file():
        raise UsageError("this is no checkout of mr-st; add --package for a package of your own, or --dir DIR")
    return folder / "tasks"


def check_name(name: str) -> None:
    """Refuse what cannot name a new task.

    Raises:
        UsageError: it is not of the form MyShopRetrieval, or taken.
    """
    if not _NAME.fullmatch(name):
        words = re.findall(r"[A-Za-z0-9]+", re.sub(r"(?i)retrieval$", "", name))
        near = "".join(word[:1].upper() + word[1:] for word in words)
        mend = f"{near}Retrieval" if _NAME.fullmatch(f"{near}Retrieval") else "MyShopRetrieval"
        raise UsageError(f"{name[:80]!a} cannot name a task: CamelCase that ends in Retrieval; write {mend}")
    if name in list_tasks():
        raise UsageError(f"there is a task {name} already; choose another name")


def _load(data: str | Path, revision: str | None) -> GradedDataset:
    from mr_st.data import GradedDataset

    if is_hub_id(str(data)) and not Path(data).exists():
        if revision is None or not _COMMIT.fullmatch(revision):
            raise UsageError(f"{data}: a Hub dataset is pinned to a commit; give --revision with its 40 hex digits")
        return GradedDataset.load(str(data), revision=revision)
    if revision is not None:
        raise UsageError("--revision is for a Hub dataset")
    return GradedDataset.load(data)


def _words(name: str, stem: str, inner: Path) -> dict[str, str]:
    return {
        "NAME": name,
        "TWIN": f"{name.removesuffix('Retrieval')}Reranking",
        "STEM": stem,
        "PACKAGE": inner.name,
        "DIST": f"{stem.replace('_', '-')}-task",
    }


def _about(dataset: GradedDataset | None, decided: dict[str, Any], stem: str) -> dict[str, str]:
    from mr_st.evaluation.evaluate import language_codes

    known = set(_undecided({}))
    if unknown := set(decided) - known:
        raise UsageError(f"unknown metadata {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}")
    languages, splits = ["eng-Latn"], ["test"]
    if dataset is not None:
        languages = language_codes(dataset.queries["locale"]) or languages
        splits = ["test"] if "test" in dataset.splits else dataset.splits[-1:]
    description = decided.get("description") or f"{DECIDE}: what is searched for what, and what each grade means."
    title = description if decided.get("description") else f"{DECIDE}, in one line, what is searched"
    if "\n" in description or '"""' in description or "\\" in description:
        raise UsageError("the description must be one line without triple quotes and backslashes")
    rows = "" if dataset is not None else (_TEMPLATES / "rows.py.txt").read_text(encoding="utf-8")
    date = decided.get("date")
    values = {
        "SPLIT_LINE": "",
        "TITLE": _short(title, 40), "DOC": f"{_short(description, 100)}.", "DESCRIPTION": _wrapped(description),
        "REFERENCE": _literal(decided.get("reference")), "LICENSE": _literal(decided.get("license")),
        "DATE": "None" if date is None else f"({_literal(date[0])}, {_literal(date[1])})",
        "ANNOTATORS": _literal(decided.get("annotations_creators")),
        "CREATION": _literal(decided.get("sample_creation")),
        "SPLITS": _literal(splits), "LANGUAGES": _literal(languages),
        "DATASET_NAME": _literal(stem.replace("_", "-")),
    }  # fmt: skip
    if splits != ["test"]:  # else the base class's own
        values["SPLIT_LINE"] = f'        options.setdefault("splits", {values["SPLITS"]})\n'
    rows = rows.rstrip() + "\n" if rows else ""
    return {"ROWS": rows.replace("@@DATASET_NAME@@", values["DATASET_NAME"]), **values}


def _how_loaded(
    data: str | Path | None, revision: str | None, is_on_hub: bool, beside: Path, stem: str
) -> tuple[str, str, str]:
    """The expression that loads the data, what the metadata calls its place, and what must be imported."""
    if data is None:
        return "_dataset()", _literal(stem), ""
    if is_on_hub:
        return f"GradedDataset.load({_literal(str(data))}, revision={_literal(revision)})", _literal(str(data)), ""
    place = " / ".join(_literal(part) for part in beside.parts)
    return f"GradedDataset.load(Path(__file__).parent / {place})", _literal(stem), "\nfrom pathlib import Path"


def _filled(template: str, values: dict[str, str]) -> str:
    name = template if "." in template else f"{template}.py"
    text = (_TEMPLATES / f"{name}.txt").read_text(encoding="utf-8")
    return re.sub(r"@@([A-Z_]+)@@", lambda match: values[match[1]], text)


def _try(file: Path, name: str) -> None:
    """Run the draft: what mteb would refuse later is refused now."""
    try:
        get_task(f"{file}:{name}").collection()
    except MrStError as error:
        reason = re.sub(r"^.*?cannot be run \(\w+: ", "", " ".join(str(error).split()))
        raise UsageError(f"{name} would not run: {reason:.300}") from error


def _check_size(folder: Path, data: Any) -> None:
    size = sum(path.stat().st_size for path in folder.iterdir())
    if size > _MAX_BYTES:
        raise UsageError(
            f"{data}: {size / 2**20:.0f} MiB, more than the {_MAX_BYTES >> 20} that belong beside code; push it with "
            "`mr-st data convert DATA --push org/name` and give --data org/name --revision COMMIT"
        )


def _undecided(decided: dict[str, Any]) -> dict[str, bool]:
    keys = ("description", "reference", "date", "license", "annotations_creators", "sample_creation")
    return {key: not decided.get(key) for key in keys}


def _literal(value: Any) -> str:
    """Any plain value as Python writes it; texts in the quotes that need fewer escapes."""
    if isinstance(value, str) and value.count('"') > value.count("'") and "\\" not in value:
        inside = json.dumps(value, ensure_ascii=False)[1:-1].replace('\\"', '"').replace("'", "\\'")
        return f"'{inside}'"
    return "None" if value is None else json.dumps(value, ensure_ascii=False)


def _wrapped(text: str) -> str:
    """A text as a Python literal of lines that fit."""
    if len(text) <= 96:
        return _literal(text)
    lines, line = [], ""
    for word in re.findall(r"\S+\s*", text):
        if len(line) + len(word) > 102:
            lines.append(line)
            line = ""
        line += word
    body = "\n".join(f"            {_literal(part)}" for part in [*lines, line])
    return f"(\n{body}\n        )"


def _short(text: str, most: int) -> str:
    """A text's first sentence, without its full stop, if it is short enough, else its beginning."""
    first = re.split(r"[.!?](?:\s|$)", text.strip(), maxsplit=1)[0]
    return first if len(first) <= most else first[: most - 3].rstrip() + "..."
