"""A dataset as a folder: queries, items, judgments and engagement as Parquet beside dataset.yaml."""

from __future__ import annotations

import os
from math import isfinite
from pathlib import Path
from typing import Any

import yaml

from mr_st.data.dataset import GradedDataset
from mr_st.data.parquet import parquet_schema, read_parquet, write_parquet
from mr_st.data.schema import TABLES, arrow_schema, to_dataset, to_table
from mr_st.data.spool import table_batches
from mr_st.data.table_cache import cached_table, checked_key, is_big, is_checked, remember_checked
from mr_st.data.validation import find_problems
from mr_st.errors import DataError, Problem, UsageError
from mr_st.files import atomic_folder
from mr_st.grades import GradeScale

__all__ = ["SETTINGS_FILE", "check_target", "is_saved_folder", "load_folder", "read_parquet", "read_settings",
           "save_folder", "settings_text"]  # fmt: skip

SETTINGS_FILE = "dataset.yaml"
_FORMAT = 1
_MOST_VALUES = 100_000


def save_folder(dataset: GradedDataset, folder: str | Path) -> Path:
    """Write ``dataset`` to ``folder``, replacing a saved dataset that is there; whole or not at all.

    Raises:
        UsageError: ``folder`` holds something else, or ``dataset.source`` is not plain YAML.
        MrStError: it cannot be written.
    """
    folder = check_target(folder, SETTINGS_FILE)
    text = settings_text(dataset)
    with atomic_folder(folder) as temporary:
        for table in TABLES:
            value = getattr(dataset, table)
            if value is not None:
                write_parquet(temporary / f"{table}.parquet", table_batches(value), arrow_schema(table))
        (temporary / SETTINGS_FILE).write_text(text, encoding="utf-8")
    return folder


def load_folder(folder: str | Path, validate: bool = True, anew: bool = False) -> GradedDataset:
    """Read what :func:`save_folder` wrote.

    A table above 64 MiB or a million rows is memory-mapped: the first opening writes it as an Arrow file to the cache
    folder of ``datasets`` (see :mod:`mr_st.data.table_cache`), later ones take that. Where there is such a table, it
    is also remembered that these files, under these rules, were found without fault, and they are not checked again.

    Args:
        folder: Where it lies.
        validate: Also check what the values say, not only the columns' types.
        anew: Read the Parquet files and check them, whatever is cached and remembered of them.

    Raises:
        DataError: a file is missing or damaged, or the data has faults; ``.problems`` lists them all.
        MrStError: the cache folder cannot be written, or is full.
    """
    folder = Path(folder)
    problems: list[Problem] = []
    settings: dict[str, Any] = {}
    try:
        settings = read_settings(folder / SETTINGS_FILE)
    except DataError as error:
        problems += error.problems
    paths = {table: folder / f"{table}.parquet" for table in TABLES}
    if not paths["engagement"].exists():
        del paths["engagement"]
    big = {table for table, path in paths.items() if is_big(path)}
    tables: dict[str, Any] = {"engagement": None}
    for table, path in paths.items():
        try:
            if table in big:
                tables[table] = cached_table(table, path, anew)
                continue
            cast, faults = to_table(table, read_parquet(path), where=path.name)
            problems += faults
            tables[table] = to_dataset(cast)
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError(problems)
    dataset = GradedDataset(**tables, **settings)
    key = checked_key(paths, dataset.scale.to_dict()) if big else None
    if validate and (anew or key is None or not is_checked(key)):
        problems = find_problems(dataset, suffix=".parquet")
        if problems:
            raise DataError(problems)
        if key is not None:
            remember_checked(key)
    return dataset


def settings_text(dataset: GradedDataset, **more: Any) -> str:
    """Name, licence, scale and source as YAML that reads back as the same values.

    It is in readable Unicode wherever that holds: PyYAML writes U+0085 and its like as they are and reads them back
    as line ends.

    Args:
        dataset: The dataset.
        more: What else to write, YAML-ready.

    Raises:
        UsageError: ``dataset.source`` is not plain YAML.
    """
    settings = {
        "format": _FORMAT,
        "name": dataset.name,
        "license": dataset.license,
        "scale": dataset.scale.to_dict(),
        "source": dataset.source,
        **more,
    }
    try:
        text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
        return text if yaml.safe_load(text) == settings else yaml.safe_dump(settings, sort_keys=False)
    except yaml.YAMLError as error:
        raise UsageError(f"the dataset's source cannot be written as YAML ({error}); use plain values") from error


def check_target(folder: str | Path, *own: str) -> Path:
    """The absolute path of ``folder`` if writing there destroys nothing but what an earlier call wrote.

    Raises:
        UsageError: it is a file, or a folder that holds other things.
    """
    folder = Path(folder).resolve()
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: a file stands here; name a folder that is new, empty or holds a saved dataset")
    if folder.is_dir() and any(folder.iterdir()) and not all((folder / name).exists() for name in own):
        raise UsageError(f"{folder}: holds other files and no {' and '.join(own)}; name a folder that is new or empty")
    return folder


def read_settings(path: Path) -> dict[str, Any]:
    """Scale, name, licence and source out of a settings file.

    Raises:
        DataError: it is missing, no YAML, or does not say what it should.
    """
    mend = "write the dataset again with GradedDataset.save"
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise DataError(Problem(path.name, f"cannot be read ({_first_line(error)})", mend)) from error
    if not _is_small(settings):
        raise DataError(Problem(path.name, f"more than {_MOST_VALUES:,} values, aliases followed", mend))
    if not isinstance(settings, dict) or not isinstance(settings.get("scale"), dict):
        raise DataError(Problem(path.name, "no mapping with name, license, scale and source", mend))
    if settings.get("format") != _FORMAT:
        what = f"format {settings.get('format')!r:.40} where {_FORMAT} is expected"
        raise DataError(Problem(path.name, what, "load it with the version of mr-st that wrote it"))
    problems = [
        Problem(path.name, f"{value!r:.40} where {expected} is expected", f"write {example}", column=key)
        for key, kind, expected, example in (
            ("name", str, "a text", "name: my-shop"),
            ("license", str, "a text", "license: MIT"),
            ("source", dict, "a mapping", "source: {}"),
        )
        if (value := settings.get(key)) is not None and not isinstance(value, kind)
    ]
    names, gains = settings["scale"].get("names"), settings["scale"].get("gains")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        what = f"the names {names!r:.60} are no list of texts"  # YAML reads an unquoted yes or no as true or false
        problems.append(Problem(path.name, what, "put each name in quotes", column="scale"))
    elif not isinstance(gains, list) or not all(isinstance(gain, (int, float)) and isfinite(gain) for gain in gains):
        what = f"the gains {gains!r:.60} are no list of numbers"
        problems.append(Problem(path.name, what, "give a number for each name", column="scale"))
    else:
        try:
            scale = GradeScale.from_dict(settings["scale"])
        except ValueError as error:
            problems.append(Problem(path.name, f"not a grade scale: {error}", mend, column="scale"))
    if problems:
        raise DataError(problems)
    return {
        "scale": scale,
        "name": "dataset" if settings.get("name") is None else settings["name"],
        "license": "unknown" if settings.get("license") is None else settings["license"],
        "source": dict(settings.get("source") or {}),
    }


def _is_small(settings: Any) -> bool:
    """Whether the values, followed through YAML's aliases, are few: ten lines of aliases can stand for billions."""
    waiting, n_values = [settings], 0
    while waiting and n_values <= _MOST_VALUES:
        value = waiting.pop()
        n_values += 1
        if isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, (list, tuple, set)):
            waiting += value
    return n_values <= _MOST_VALUES


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]


def is_saved_folder(folder: Path) -> bool:
    """Whether the folder looks like one that :func:`save_folder` wrote, whole or not.

    Without its settings it does if the judgments have exactly our columns: somebody's own Parquet tables have others.
    Settings that are a broken link are there: they are to be complained of, not passed over.
    """
    judgments = folder / "judgments.parquet"
    has_settings = os.path.lexists(folder / SETTINGS_FILE) and not (folder / SETTINGS_FILE).is_dir()
    if has_settings or not judgments.is_file():
        return has_settings
    try:
        return bool(parquet_schema(judgments).names == arrow_schema("judgments").names)
    except DataError:
        return True
