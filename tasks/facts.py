"""What a task says of itself, read from its source: importing its class would import mteb, which takes seconds."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mr_st.errors import MrStError
from mr_st.tasks.registry import list_tasks, task_class

__all__ = ["FACTS", "task_facts"]

FACTS = ("description", "reference", "license", "main_score", "domains", "annotations_creators", "date")
"""The fields of MTEB's metadata that :func:`task_facts` gives."""


def task_facts(name: str) -> dict[str, Any]:
    """Some of a task's metadata, by its name; empty for a task that :func:`~mr_st.tasks.list_tasks` does not have.

    A name that carries options (``MarketplaceRetrieval-tiny-seed0``) is its task's. What is no literal in the source
    of one of our own tasks is left out. A task that another package declares is imported.

    Example:
        >>> task_facts("WANDSReranking")["license"], task_facts("NoSuchRetrieval")
        ('mit', {})
    """
    known = _known()
    named = name if name in known else name.partition("-")[0]
    if named not in known:
        return {}
    if named in _own_facts():
        return dict(_own_facts()[named])
    try:
        metadata = task_class(named).metadata.model_dump()
    except MrStError:
        return {}
    return {key: metadata[key] for key in FACTS if metadata.get(key) is not None}


@cache
def _known() -> frozenset[str]:
    return frozenset(list_tasks())


@cache
def _own_facts() -> Mapping[str, dict[str, Any]]:
    """Class name to facts, of this folder's files."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and (call := _metadata_of(node)) is not None:
                found[node.name] = _facts(call, found)
    return found


def _metadata_of(node: ast.ClassDef) -> ast.Call | None:
    for statement in node.body:
        if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.Call):
            continue
        if [getattr(target, "id", "") for target in statement.targets] == ["metadata"]:
            return statement.value
    return None


def _facts(call: ast.Call, found: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    made_by = getattr(call.func, "id", "")
    if made_by == "TaskMetadata":
        return {
            keyword.arg: ast.literal_eval(keyword.value)
            for keyword in call.keywords
            if keyword.arg in FACTS and _is_literal(keyword.value)
        }
    if made_by == "twin_metadata" and call.args and isinstance(call.args[0], ast.Attribute):
        return dict(found.get(getattr(call.args[0].value, "id", ""), {}))
    return {}


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    return True
