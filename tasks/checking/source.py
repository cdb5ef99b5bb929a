"""Whether a task's file is as files of tasks are, and whether it pins what it loads from the Hub."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mr_st.evaluation.finding import Finding
from mr_st.hub_client import is_hub_id

__all__ = ["find_source_findings", "find_unpinned", "snake_case"]

_COMMIT = re.compile(r"[0-9a-f]{40}")
_LOADERS = {"load", "load_source", "load_hub", "load_mteb", "load_esci", "load_wands", "load_original", "load_dataset",
            "snapshot_download", "hf_hub_download"}  # fmt: skip
_MEND = 'pin a commit: revision="<40 hex digits>" (a branch moves, and its figures with it)'


def find_source_findings(class_name: str, name: str, file: Path | None, source: str | None) -> Iterator[Finding]:
    """Names of the class, the task and the file, and what the file loads from the Hub.

    Args:
        class_name: Of the task's class.
        name: The class's ``metadata.name``.
        file: Where the class stands, or None.
        source: The file's text, or None.
    """
    if name != class_name:
        yield Finding("must", "two names", f"class {class_name} calls itself {name!r}",
                      "give metadata.name and the class one name: results are filed under it")  # fmt: skip
    if not re.fullmatch(r"[A-Z][A-Za-z0-9]*(Retrieval|Reranking)", class_name):
        yield Finding("should", "name of the class", f"{class_name} is not like MyShopRetrieval",
                      "name it in CamelCase, and end it in Retrieval, or Reranking for a judged pool")  # fmt: skip
    if file is None or source is None:
        return
    if not re.fullmatch(r"[a-z][a-z0-9_]*", file.stem) and file.stem != "__init__":
        yield Finding("should", "name of the file", f"{file.name} is not like {snake_case(class_name)}.py",
                      "name it in lower case, with _ between words")  # fmt: skip
    yield from _unpinned_calls(ast.parse(source), file.name)


def find_unpinned(revision: Any, unpinned: str, dataset_source: Mapping[str, Any]) -> Iterator[Finding]:
    """A revision that moves: in the class's metadata, or in what the data says of where it came from.

    Args:
        revision: The class's ``metadata.dataset["revision"]``.
        unpinned: The value that says that the data's fingerprint is the revision.
        dataset_source: How the dataset was made.
    """
    if revision != unpinned and not _COMMIT.fullmatch(str(revision)):
        yield Finding("must", "revision not pinned", f"metadata names the revision {revision!r}",
                      f"{_MEND}, or UNPINNED, which takes the data's fingerprint")  # fmt: skip
    hub_id = dataset_source.get("hub_id")
    if hub_id and not _COMMIT.fullmatch(str(dataset_source.get("revision"))):
        yield Finding("must", "revision not pinned", f"the data came from {hub_id} on the Hub, revision "
                      f"{dataset_source.get('revision')!r}", _MEND)  # fmt: skip


def snake_case(class_name: str) -> str:
    """What the file of a class is called: its name without Retrieval or Reranking.

    Example:
        >>> snake_case("MyShopRetrieval"), snake_case("ESCIRetrieval"), snake_case("Wands2Retrieval")
        ('my_shop', 'esci', 'wands2')
    """
    stem = re.sub(r"(Retrieval|Reranking)$", "", class_name) or class_name
    parts = re.findall(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*|\d+", stem)
    return "_".join(parts).lower() or stem.lower()


def _unpinned_calls(tree: ast.AST, file: str) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        first = node.args[0]
        if called not in _LOADERS or not isinstance(first, ast.Constant) or not isinstance(first.value, str):
            continue
        if not is_hub_id(first.value):
            continue
        given = next((keyword.value for keyword in node.keywords if keyword.arg == "revision"), None)
        written = given.value if isinstance(given, ast.Constant) else None
        if given is None or (isinstance(given, ast.Constant) and not _COMMIT.fullmatch(str(written))):
            at = str(written) if written else "its main branch"
            yield Finding("must", "revision not pinned", f"{first.value} is loaded at {at}",
                          _MEND, (f"{file}, line {node.lineno}",))  # fmt: skip
