"""Reading the configurations corpus, queries and qrels of a folder or Hub dataset through ``datasets``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from datasets import Dataset, DatasetDict

from mr_st.data.schema import arrow_table
from mr_st.data.sources.hub_files import OFFLINE_MEND
from mr_st.data.sources.parts import Part
from mr_st.data.sources.problem_list import ProblemList, shown
from mr_st.data.sources.text_files import RawTable
from mr_st.errors import MrStError, Problem, UsageError
from mr_st.hub_client import one_line, raise_hub_error

__all__ = ["ConfigParts", "card_metadata", "config_names", "has_mteb_configs", "read_configs"]

_NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "corpus": {"item_id": ("_id", "id"), "title": ("title",), "text": ("text",)},
    "queries": {"query_id": ("_id", "id"), "text": ("text", "query")},
    "qrels": {
        "query_id": ("query-id", "query_id"),
        "item_id": ("corpus-id", "corpus_id"),
        "grade": ("score",),
    },
}
_OPTIONAL = {"title"}


@dataclass(frozen=True)
class ConfigParts:
    """What the configurations hold.

    Args:
        items: Parts with item_id, text and, where there is one, title.
        queries: Parts with query_id, text.
        qrels: The judgments of each split as they stand, and the split's name.
        subset: The subset read, or None.
    """

    items: list[Part]
    queries: list[Part]
    qrels: list[tuple[RawTable, str]]
    subset: str | None


def card_metadata(folder: Path) -> dict[str, Any]:
    """The metadata at the head of a folder's README.md; empty where there is none that can be read."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8")
        value = yaml.safe_load(text.split("---", 2)[1]) if text.startswith("---") else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, IndexError):
        return {}
    return value if isinstance(value, dict) else {}


def has_mteb_configs(folder: Path) -> bool:
    """Whether the README.md of a folder names a corpus among its configurations."""
    configs = card_metadata(folder).get("configs")
    names = [str(c.get("config_name")) for c in configs if isinstance(c, dict)] if isinstance(configs, list) else []
    return any(name == "corpus" or name.endswith("-corpus") for name in names)


def config_names(names: Sequence[str], subset: str | None, where: str) -> tuple[dict[str, str], str | None]:
    """Which configuration is the corpus, which the queries and which the qrels; and the subset.

    Raises:
        UsageError: there is no corpus, no such subset, several to choose from, or queries or qrels are missing.
    """
    subsets = sorted(name.removesuffix("-corpus") for name in names if name.endswith("-corpus"))
    if subset is None and "corpus" not in names:
        if not subsets:
            found = ", ".join(names)[:200] or "none"
            raise UsageError(f"{where}: no configuration corpus among {found}; give data in MTEB's or BEIR's form")
        if len(subsets) > 1:
            raise UsageError(f"{where}: several subsets ({', '.join(subsets)[:200]}); choose one with subset")
        subset = subsets[0]
    if subset is not None and subset not in subsets:
        raise UsageError(f"{where}: no subset {subset!r}; it has {', '.join(subsets)[:200] or 'none'}")
    before = "" if subset is None else f"{subset}-"
    wanted = {
        "corpus": [f"{before}corpus"],
        "queries": [f"{before}queries", *(["query"] if subset is None else [])],
        "qrels": [f"{before}qrels", *(["default"] if subset is None else [subset])],
    }
    chosen = {kind: next((name for name in options if name in names), "") for kind, options in wanted.items()}
    missing = [" or ".join(wanted[kind]) for kind, name in chosen.items() if not name]
    if missing:
        raise UsageError(f"{where}: no configuration {' and none called '.join(missing)}; found {', '.join(names)}")
    return chosen, subset


def read_configs(
    where: str,
    subset: str | None,
    revision: str | None,
    token: str | None,
    found: ProblemList,
) -> ConfigParts:
    """Read the three configurations, each with all its splits.

    Args:
        where: A folder, or the id of a Hub dataset.
        subset: Which subset, where there are several.
        revision: Commit of the Hub dataset.
        token: A Hub token.
        found: Takes missing columns.

    Raises:
        UsageError: the configurations are not MTEB's.
        MrStError: a file cannot be read, the Hub refused, or cannot be reached.
    """
    chosen, subset = config_names(_names(where, revision, token), subset, where)
    loaded = {kind: _load(where, name, revision, token) for kind, name in chosen.items()}

    items = _once_each(_parts(loaded["corpus"], chosen, "corpus", found))
    queries = _once_each(_parts(loaded["queries"], chosen, "queries", found))
    qrels = [
        (
            RawTable(
                part.where, dict(zip(part.values.column_names, part.values.columns, strict=True)), len(part.values)
            ),
            split,
        )
        for split, part in zip(loaded["qrels"], _parts(loaded["qrels"], chosen, "qrels", found), strict=True)
    ]
    return ConfigParts(items, queries, qrels, subset)


def _names(where: str, commit: str | None, token: str | None) -> list[str]:
    from datasets import get_dataset_config_names

    try:
        return [str(name) for name in get_dataset_config_names(where, revision=commit, token=token)]
    except Exception as error:
        _unreadable(error, where, "its configurations", token)
        raise


def _load(where: str, name: str, commit: str | None, token: str | None) -> dict[str, Dataset]:
    from datasets import load_dataset

    try:
        loaded = load_dataset(where, name, revision=commit, token=token)
    except Exception as error:
        _unreadable(error, where, f"the configuration {name}", token)
        raise
    assert isinstance(loaded, DatasetDict)
    parts: dict[str, Dataset] = dict(loaded)
    return parts


def _unreadable(error: Exception, where: str, what: str, token: str | None) -> None:
    """One line for what ``datasets`` raises at data that it cannot read; anything else is left to the caller."""
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled

    if isinstance(error, (HfHubHTTPError, HTTPError, OfflineModeIsEnabled, ConnectionError)):
        raise_hub_error(error, where, f"reading {what}", token, OFFLINE_MEND)
    if isinstance(error, (DatasetsError, OSError, ValueError, KeyError, pa.ArrowException, UnicodeDecodeError)):
        cause = error.__cause__ or error
        reason = one_line(str(cause) or type(cause).__name__, token)
        raise MrStError(f"{where}: {what} cannot be read ({reason}); mend the files or README.md") from error


def _parts(loaded: Mapping[str, Dataset], chosen: Mapping[str, str], kind: str, found: ProblemList) -> list[Part]:
    """One part a split, its columns under our names."""
    parts = []
    for split, rows in loaded.items():
        table, where = arrow_table(rows), f"{chosen[kind]}, split {split}"
        columns: dict[str, pa.ChunkedArray] = {}
        for column, options in _NAMES[kind].items():
            theirs = next((name for name in options if name in table.column_names), None)
            if theirs is not None:
                columns[column] = table[theirs]
            elif column not in _OPTIONAL:
                have = ", ".join(shown(name, 40) for name in table.column_names[:20])
                problem = Problem(where, f"missing; found {have}", "add or rename it", column=options[0])
                found.add("missing columns", problem)
                columns[column] = pa.chunked_array([pa.nulls(len(table), pa.string())])
        parts.append(Part(where, pa.table(columns)))
    return parts


def _once_each(parts: list[Part]) -> list[Part]:
    """Where every split repeats the same rows, as some datasets do for corpus and queries: each row once."""
    kept: list[Part] = []
    for part in parts:
        if any(part.values.equals(other.values) for other in kept):
            continue
        kept.append(part)
    return kept
