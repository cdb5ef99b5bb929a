"""The errors that users see: one line that says what was found, where, what was expected and how to mend it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, get_args

if TYPE_CHECKING:
    from pydantic import ValidationError

__all__ = [
    "DataError",
    "MissingExtraError",
    "MrStError",
    "Problem",
    "UsageError",
    "explain_validation",
    "require_extra",
]


class MrStError(Exception):
    """Something failed for a reason that the user can understand; the command line exits with 1."""

    exit_code = 1


class UsageError(MrStError, ValueError):
    """A call or a command that cannot mean anything (wrong option, misspelt key); the command line exits with 2."""

    exit_code = 2


@dataclass(frozen=True)
class Problem:
    """One fault in a table.

    Args:
        where: The file or table, e.g. ``judgments.parquet``.
        what: What was found and what was expected.
        mend: What to do about it.
        row: Row number, counted from 1 as a person would, or None for the whole file.
        column: Column name, or None.
        rule: Name of the broken rule, by which problems are grouped; empty where none has a name.
        n_faults: How many faults this line stands for: more than 1 where the rest of a long list is only counted.
    """

    where: str
    what: str
    mend: str
    row: int | None = None
    column: str | None = None
    rule: str = ""
    n_faults: int = 1

    def __str__(self) -> str:
        place = self.where
        if self.row is not None:
            place += f", row {self.row:,}"
        if self.column is not None:
            place += f", column {self.column}"
        return f"{place}: {self.what}; {self.mend}"


class DataError(MrStError, ValueError):
    """Bad input data. ``problems`` lists every fault found; the message is the first, with a count of the rest."""

    def __init__(self, problems: Problem | Sequence[Problem]):
        self.problems: list[Problem] = [problems] if isinstance(problems, Problem) else list(problems)
        rest = len(self.problems) - 1
        more = f" (and {rest:,} more: `mr-st data check` lists them)" if rest > 0 else ""
        super().__init__(f"{self.problems[0]}{more}")


class MissingExtraError(MrStError, ImportError):
    """A feature needs a package that comes with one of the project's extras."""


def require_extra(module: str, extra: str) -> ModuleType:
    """Import ``module`` or say which extra brings it.

    Raises:
        MissingExtraError: the module is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(f"{module} is not installed; run: pip install 'mr-st[{extra}]'") from error


def explain_validation(path: str | Path, error: ValidationError, model: Any) -> str:
    """One line for what pydantic found in a file: where, what, and for a misspelt key the one that was meant.

    Args:
        path: The file.
        error: What was raised.
        model: The pydantic model of the whole file.
    """
    errors = error.errors()
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    place = ".".join(str(part) for part in first["loc"]) or Path(path).stem
    rest = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    if first["type"] == "extra_forbidden":
        key, known = str(first["loc"][-1]), _known_keys(model, first["loc"][:-1])
        near = difflib.get_close_matches(key, known, n=1)
        mend = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
        return f"{path}: {place}: unknown key; {mend}{rest}"
    found = "" if first["type"] == "missing" else f"; found {first['input']!r:.80}"
    return f"{path}: {place}: {first['msg']}{found}{rest}"


def _known_keys(model: Any, location: tuple[Any, ...]) -> list[str]:
    for part in location:
        field = getattr(model, "model_fields", {}).get(part)
        if field is None:
            return []
        named = (part for part in get_args(field.annotation) if hasattr(part, "model_fields"))  # of "X | None"
        model = next(named, field.annotation)
    return list(getattr(model, "model_fields", {}))
