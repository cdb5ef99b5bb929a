"""Which tasks there are: the files of this folder, the entry points that other packages declare, and files by path.

mteb's own ``get_task`` knows built-in tasks only. Names are found by reading source, so that listing them imports
neither mteb nor torch; a file or a package that is broken is named in a warning and hides no other.
"""

from __future__ import annotations

import ast
import importlib.util
import logging
import re
import sys
from difflib import get_close_matches
from hashlib import blake2b
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mr_st.errors import MrStError, UsageError

if TYPE_CHECKING:
    from mr_st.tasks.base import GradedRetrievalTask

__all__ = ["ENTRY_POINT_GROUP", "OWN", "get_task", "list_tasks", "task_class", "task_file", "task_home"]

ENTRY_POINT_GROUP = "mr_st.tasks"
"""The entry-point group under which a package declares tasks: ``MyRetrieval = "my_package.task:MyRetrieval"``."""

OWN = "mr-st"
"""Where a task comes from that is a file of this folder."""

_BASE = "GradedRetrievalTask"
_FILE = re.compile(r"(?P<path>.+\.py)(?::(?P<name>\w+))?")

logger = logging.getLogger(__name__)


def list_tasks() -> list[str]:
    """Names of all tasks, sorted; nothing heavy is imported.

    Example:
        >>> "MarketplaceRetrieval" in list_tasks()
        True
    """
    return sorted({*_own_tasks(), *_declared_tasks()})


def task_home(name: str) -> str:
    """Where a task of :func:`list_tasks` comes from: :data:`OWN`, or the package that declares it.

    Raises:
        UsageError: no such task.
    """
    if name in _own_tasks():
        return OWN
    point = _declared(name)
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value


def get_task(name: str, **options: Any) -> GradedRetrievalTask:
    """Make a task by name.

    Args:
        name: One of :func:`list_tasks`; the name of such a task's judged-pool twin (``...Reranking`` for
            ``...Retrieval``); or a task's file, ``path/to/my_task.py``, where it holds several
            ``path/to/my_task.py:MyRetrieval``. The file is run.
        options: What the task's class takes, e.g. ``size="tiny", seed=1``.

    Raises:
        UsageError: no such task, or an option that it does not take.
        MrStError: the package or file that declares it cannot be imported.
    """
    whole = _retrieval_of(name)
    if whole is not None:
        return get_task(whole, **options).twin()
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

    Args:
        name: One of :func:`list_tasks`, or a task's file as :func:`get_task` takes it.

    Raises:
        UsageError: no such task.
        MrStError: the package or file that declares it cannot be imported, or declares something else.
    """
    if _FILE.fullmatch(name):
        return _class_of_file(name)
    own = _own_tasks()
    if name in own:
        return getattr(import_module(f"mr_st.tasks.{own[name]}"), name)
    point = _declared(name)
    try:
        found = point.load()
    except Exception as error:
        raise MrStError(f"task {name}: {point.value} cannot be imported ({error}); mend its package") from error
    return _checked(found, f"task {name}: {point.value}")


def task_file(name: str) -> Path | None:
    """The source file of a task's class, as :func:`get_task` takes its name; None where there is none.

    Raises:
        As :func:`task_class`.
    """
    module = sys.modules.get(task_class(_retrieval_of(name) or name).__module__)
    path = getattr(module, "__file__", None)
    return None if path is None else Path(path)


def _own_tasks() -> dict[str, str]:
    """Class name to module name, of this folder's files."""
    found: dict[str, str] = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if not path.name.startswith("_"):
            try:
                found |= dict.fromkeys(_task_classes(path.read_text(encoding="utf-8")), path.stem)
            except (SyntaxError, ValueError) as error:
                logger.warning("%s cannot be read (%s) and its tasks are left out; mend the file", path.name, error)
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
        if not point.name.isidentifier():
            logger.warning("entry point %a = %a is no name of a class and is left out", point.name, point.value)
        elif point.name in own:
            logger.warning("entry point %s = %s is hidden by the task of that name here", point.name, point.value)
        elif point.name in declared and declared[point.name].value != point.value:
            kept = declared[point.name].value
            logger.warning("entry point %s = %s is hidden by %s of that name", point.name, point.value, kept)
        else:
            declared[point.name] = point
    return declared


def _declared(name: str) -> EntryPoint:
    declared = _declared_tasks()
    if name not in declared:
        near = get_close_matches(name, list_tasks(), n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(list_tasks())}"
        raise UsageError(f"no task {name!r}; {hint}")
    return declared[name]


def _retrieval_of(name: str) -> str | None:
    """The task whose twin this is, where the twin has no class of its own."""
    head, found, tail = name.rpartition("Reranking")
    if _FILE.fullmatch(name) or not found:
        return None
    names = set(list_tasks())
    whole = f"{head}Retrieval{tail}"
    return whole if name not in names and whole in names else None


def _class_of_file(name: str) -> type[GradedRetrievalTask]:
    match = _FILE.fullmatch(name)
    assert match is not None
    path, wanted = Path(match["path"]), match["name"]
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); name a task's file or its class") from error
    resolved = path.resolve()
    key = blake2b(bytes(resolved) + source, digest_size=8).hexdigest()  # a file that was changed is run again
    module_name = f"_mr_st_task_file_{key}"
    if module_name not in sys.modules:
        try:
            classes = _task_classes(source.decode("utf-8"))
            spec = importlib.util.spec_from_file_location(module_name, resolved)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[module_name] = module
            spec.loader.exec_module(module)
            module.__dict__["_task_classes"] = classes
        except Exception as error:
            sys.modules.pop(module_name, None)
            raise MrStError(f"{path}: cannot be run ({type(error).__name__}: {error}); mend the file") from error
    module = sys.modules[module_name]
    classes = module.__dict__["_task_classes"]
    if wanted is None and len(classes) > 1:  # a task and its twin: the task
        classes = [one for one in classes if not one.endswith("Reranking")] or classes
    if (wanted is not None and wanted not in classes) or (wanted is None and len(classes) != 1):
        there = ", ".join(classes) or f"no class derived from {_BASE}"
        raise UsageError(f"{path}: holds {there}; name one as {path}:Class")
    return _checked(getattr(module, wanted or classes[0]), str(path))


def _checked(found: Any, what: str) -> type[GradedRetrievalTask]:
    from mr_st.tasks.base import GradedRetrievalTask

    if not (isinstance(found, type) and issubclass(found, GradedRetrievalTask)):
        raise MrStError(f"{what} is no class derived from {_BASE}; mend the entry point")
    return found
