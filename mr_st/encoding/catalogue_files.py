"""What a saved catalogue index holds on disk, and the proof that it is whole and belongs to these items and model."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mr_st.data.dataset import GradedDataset
from mr_st.data.item_text import format_item
from mr_st.data.schema import arrow_table, to_table
from mr_st.errors import DataError, MrStError, Problem, UsageError
from mr_st.files import read_json, write_json
from mr_st.identity import file_hash, settings_hash, texts_hash
from mr_st.search.analyser import common_language

__all__ = [
    "FORMAT",
    "INDEX_FILE",
    "WORK",
    "CatalogueItems",
    "StaleIndexError",
    "files_of",
    "find_changes",
    "lies_whole",
    "read_index_file",
    "refuse_damage",
    "refuse_foreign",
    "remove_leftovers",
    "remove_unfinished",
    "write_index_file",
]

INDEX_FILE = "index.json"
FORMAT = 1
WORK = ".work"

_KEY = re.compile(r"[0-9a-f]{16}")


class StaleIndexError(MrStError):
    """The index in ``folder`` was made from another model, other items or settings; ``changes`` says what differs."""

    def __init__(self, folder: Path, changes: list[str]):
        self.changes = changes
        super().__init__(f"{folder}: the index is stale ({'; '.join(changes)}); build it again")


@dataclass(frozen=True)
class CatalogueItems:
    """The items of an index: ids, titles and the texts that are searched, all in row order.

    Args:
        ids: N distinct item ids.
        titles: N titles.
        texts: N texts, as :func:`~mr_st.data.item_text.format_item` makes them.
        language: The language that all items share, or None.
        source: Name and fingerprint of the dataset, for people; empty for a plain table.
    """

    ids: pa.ChunkedArray
    titles: pa.ChunkedArray
    texts: list[str]
    language: str | None
    source: dict[str, str]

    @classmethod
    def read(cls, given: Any, levels: int | None, max_chars: int | None) -> CatalogueItems:
        """Take them from a :class:`GradedDataset` or any table of items (item_id, title, category_path, locale).

        Raises:
            DataError: a missing column, value or id, or an id that stands twice.
            UsageError: no items, or no table.
        """
        problems: list[Problem] = []
        if isinstance(given, GradedDataset):
            table, source = arrow_table(given.items), {"name": given.name, "fingerprint": given.fingerprint}
        else:
            (table, problems), source = to_table("items", given), {}
        if not problems:
            problems = _item_problems(table)
        if problems:
            raise DataError(problems)
        if not len(table):
            raise UsageError("the catalogue has no items; an index needs at least one")
        texts: list[str] = []
        for batch in table.select(["title", "category_path"]).to_batches():
            pairs = zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True)
            texts += [format_item(title, path, levels, max_chars) for title, path in pairs]
        language = common_language(pc.unique(table["locale"]).to_pylist())
        return cls(table["item_id"], table["title"], texts, language, source)

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def ids_list(self) -> list[str]:
        """The ids as a list."""
        return self.ids.to_pylist()

    @property
    def identity(self) -> dict[str, Any]:
        """How many there are, and content hashes of ids, titles and texts."""
        return {
            "n": len(self),
            "ids": texts_hash(self.ids.to_pylist()),
            "titles": texts_hash(self.titles.to_pylist()),
            "texts": texts_hash(self.texts),
        }


def _item_problems(table: pa.Table) -> list[Problem]:
    problems = []
    for column in ("item_id", "title"):
        is_missing = pc.is_null(table[column])
        if column == "item_id":
            is_missing = pc.fill_null(pc.equal(table[column], ""), True)
        first = pc.index(is_missing, True).as_py()
        if first >= 0:
            problems.append(Problem("items", "no value", "give every item one", first + 1, column))
    if not problems and pc.count_distinct(table["item_id"]).as_py() < len(table):
        seen: set[str] = set()
        for row, item_id in enumerate(table["item_id"].to_pylist(), 1):
            if item_id in seen:
                problems.append(Problem("items", f"the id {item_id!r} stands twice", "keep one", row, "item_id"))
                break
            seen.add(item_id)
    return problems


# ---- index.json ----------------------------------------------------------------------------------------------------


def read_index_file(folder: Path) -> dict[str, Any]:
    """Read and check the file that says what an index is.

    Raises:
        MrStError: it is missing, damaged or of another format.
    """
    path = folder / INDEX_FILE
    if not path.is_file():
        begun = folder.is_dir() and any(_is_content(entry) or entry.name == WORK for entry in folder.iterdir())
        what = "an index was begun here and not finished" if begun else "no catalogue index lies here"
        raise MrStError(f"{folder}: {what} (no {INDEX_FILE}); build it with CatalogueIndex.build")
    about = read_json(path)
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        found = about.get("format") if isinstance(about, dict) else None
        raise MrStError(f"{path}: format {found!r:.40}, expected {FORMAT}; build the index again")
    if about.pop("hash", None) != settings_hash(about) or not _KEY.fullmatch(about["key"]):
        raise MrStError(f"{path}: damaged or edited by hand; copy the index again, or build it again")
    return about


def write_index_file(folder: Path, about: Mapping[str, Any]) -> None:
    """Write what an index is, with a hash that proves it whole: from then on the index is there.

    Raises:
        MrStError: the folder cannot be written.
    """
    write_json(folder / INDEX_FILE, {**about, "hash": settings_hash(about)})


def files_of(content: Path) -> dict[str, dict[str, Any]]:
    """Size and content hash of every file below a folder."""
    return {
        path.relative_to(content).as_posix(): {"bytes": path.stat().st_size, "hash": file_hash(path)}
        for path in sorted(content.rglob("*"))
        if path.is_file()
    }


def refuse_damage(folder: Path, about: Mapping[str, Any], check: bool) -> None:
    """Compare the files of an index with what ``index.json`` says of them.

    Args:
        folder: The index.
        about: What ``index.json`` says.
        check: Compare the content's hashes too, which reads every file once; else sizes only.

    Raises:
        MrStError: a file is missing, or has another size or content.
    """
    content = folder / about["key"]
    for name, facts in about["files"].items():
        path = content / name
        if not path.is_file():
            raise MrStError(f"{path}: the file is missing; copy the index again, or build it again")
        if path.stat().st_size != facts["bytes"]:
            what = f"{path.stat().st_size:,} bytes where {facts['bytes']:,} were written"
            raise MrStError(f"{path}: damaged ({what}); copy the index again, or build it again")
        if check and file_hash(path) != facts["hash"]:
            raise MrStError(f"{path}: damaged (its content changed); copy the index again, or build it again")


def find_changes(
    about: Mapping[str, Any], *, model: str | None = None, items: CatalogueItems | None = None
) -> list[str]:
    """What differs between an index and what is given now, a phrase each; None is not compared.

    Args:
        about: What ``index.json`` says.
        model: Content hash of the model given now.
        items: The items given now, their texts made as ``about["item_text"]`` says.
    """
    changes = []
    made_with = about["model"]
    if model is not None and made_with is not None and made_with["hash"] != model:
        changes.append(f"made with model {made_with['name']} (content {made_with['hash']}), given is {model}")
    if items is not None:
        kept, now = about["items"], items.identity
        if kept["ids"] != now["ids"]:
            same = kept["n"] == now["n"]
            what = "the same number of items with other ids" if same else f"{now['n']:,} items"
            changes.append(f"it holds {kept['n']:,} items, given are {what}")
        elif kept["texts"] != now["texts"]:
            changes.append("the items' texts changed")
        elif kept["titles"] != now["titles"]:
            changes.append("the items' titles changed")
    return changes


# ---- the folder ----------------------------------------------------------------------------------------------------


def refuse_foreign(folder: Path) -> None:
    """Refuse to build where something else lies.

    Raises:
        UsageError: the folder is a file, or holds files that no index has.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: a file stands here; name a folder that is new, empty or holds an index")
    for entry in folder.iterdir() if folder.is_dir() else ():
        own = entry.name in (INDEX_FILE, WORK, ".lock") or entry.name.startswith(".tmp-") or _is_content(entry)
        if not own:
            raise UsageError(f"{folder}: holds {entry.name}, which is no part of an index; name a new or empty folder")


def lies_whole(folder: Path, key: str) -> bool:
    """Whether a finished index of this content lies in the folder, undamaged."""
    try:
        about = read_index_file(folder)
        refuse_damage(folder, about, check=True)
    except MrStError:
        return False
    return bool(about["key"] == key)


def remove_leftovers(folder: Path, key: str) -> None:
    """Remove work files and the content of earlier indexes."""
    for entry in folder.iterdir():
        if entry.name == WORK or (_is_content(entry) and entry.name != key):
            shutil.rmtree(entry, ignore_errors=True)
    remove_unfinished(folder)


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed process was about to write, anywhere below a folder that nobody else writes in."""
    for entry in list(folder.rglob(".tmp-*")):
        shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink(missing_ok=True)


def _is_content(entry: Path) -> bool:
    return entry.is_dir() and _KEY.fullmatch(entry.name) is not None
