"""Which tasks there are: the files of this folder, and the entry points that other packages declare.

mteb's own ``get_task`` knows built-in tasks only. Names are found by reading source, so that listing them imports
neither mteb nor torch.
"""

from __future__ import annotations

import ast
import logging
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mr_st.errors import MrStError, UsageError

if TYPE_CHECKING:
    from mr_st.tasks.base import GradedRetrievalTask

__all__ = ["ENTRY_POINT_GROUP", "get_task", "list_tasks", "task_class"]

ENTRY_POINT_GROUP = "mr_st.tasks"
"""The entry-point group under which a package declares tasks: ``MyRetrieval = "my_package.task:MyRetrieval"``."""

_BASE = "GradedRetrievalTask"

logger = logging.getLogger(__name__)


def list_tasks() -> list[str]:
    """Names of all tasks, sorted; nothing heavy is imported.

    Example:
        >>> "MarketplaceRetrieval" in list_tasks()
        True
    """
    return sorted({*_own_tasks(), *_declared_tasks()})


def get_task(name: str, **options: Any) -> GradedRetrievalTask:
    """Make a task by name.

    Args:
        name: One of :func:`list_tasks`.
        options: What the task's class takes, e.g. ``size="tiny", seed=1``.

    Raises:
        UsageError: no such task, or an option that it does not take.
        MrStError: the package that declares it cannot be imported.
    """
    found = task_class(name)
    parameters = signature(found).parameters
    known = [p.name for p in parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    unknown = [] if takes_any else [option for option in options if option not in known]
    if unknown:
        raise UsageError(f"task {name}: unknown option {', '.join(unknown)}; it takes {', '.join(known)}")
    return found(**options)


def task_class(name: str) -> type[GradedRetrievalTask]:
    """The class of a task.

    Raises:
        UsageError: no such task.
        MrStError: the package that declares it cannot be imported.
    """
    own = _own_tasks()
    if name in own:
        return getattr(import_module(f"mr_st.tasks.{own[name]}"), name)
    declared = _declared_tasks()
    if name not in declared:
        near = get_close_matches(name, list_tasks(), n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(list_tasks())}"
        raise UsageError(f"no task {name!r}; {hint}")
    try:
        return declared[name].load()
    except Exception as error:
        raise MrStError(
            f"task {name}: {declared[name].value} cannot be imported ({error}); mend its package"
        ) from error


def _own_tasks() -> dict[str, str]:
    """Class name to module name, of this folder's files."""
    found: dict[str, str] = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if not path.name.startswith("_"):
            found |= dict.fromkeys(_task_classes(path.read_text(encoding="utf-8")), path.stem)
    return found


def _task_classes(source: str) -> list[str]:
    """Names of the public classes of a file that derive from GradedRetrievalTask."""
    found: list[str] = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            bases = {base.id if isinstance(base, ast.Name) else getattr(base, "attr", "") for base in node.bases}
            if bases & {_BASE, *found}:
                found.append(node.name)
    return found


def _declared_tasks() -> dict[str, EntryPoint]:
    own = _own_tasks()
    declared: dict[str, EntryPoint] = {}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name in own:
            logger.warning("entry point %s = %s is hidden by the task of that name here", point.name, point.value)
        else:
            declared[point.name] = point
    return declared
