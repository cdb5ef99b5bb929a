"""The losses by name, found by looking into this folder: a new loss takes a file here and no other edit."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterable
from importlib import import_module

from mr_st.losses.base import GradedLoss

__all__ = ["find_losses"]


def find_losses(folder: Iterable[str], package: str) -> dict[str, type[GradedLoss]]:
    """The concrete losses that the modules of a package define, by their ``name``, in the order of the names.

    Args:
        folder: The package's ``__path__``.
        package: Its dotted name.

    Raises:
        TypeError: a loss has no name of its own, or two losses have one name. It is a fault of the code.
    """
    found: dict[str, type[GradedLoss]] = {}
    for module_info in sorted(pkgutil.iter_modules(folder), key=lambda module: module.name):
        module = import_module(f"{package}.{module_info.name}")
        for loss in vars(module).values():
            is_loss = inspect.isclass(loss) and issubclass(loss, GradedLoss) and not inspect.isabstract(loss)
            if not is_loss or loss.__module__ != module.__name__:
                continue
            name = vars(loss).get("name")
            if not isinstance(name, str) or not name:
                raise TypeError(f"{module.__name__}.{loss.__name__} has no name; give the class name: ClassVar[str]")
            if name in found:
                raise TypeError(
                    f"{module.__name__}.{loss.__name__} and {found[name].__module__}.{found[name].__name__} are both "
                    f"named {name!r}; rename one"
                )
            found[name] = loss
    return dict(sorted(found.items()))
