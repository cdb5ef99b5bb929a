"""The recipes that come with the package."""

from __future__ import annotations

from importlib.resources import as_file, files

from mr_st.errors import UsageError
from mr_st.recipes.schema import Recipe

__all__ = ["bundled_recipe", "bundled_recipes"]


def bundled_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(
        path.name.removesuffix(".yaml") for path in files(__package__).iterdir() if path.name.endswith(".yaml")
    )


def bundled_recipe(name: str) -> Recipe:
    """Load the recipe of that ``name`` that comes with the package.

    Raises:
        UsageError: no such recipe.
    """
    if name not in bundled_recipes():
        raise UsageError(f"no recipe {name!r} comes with the package; there are: {', '.join(bundled_recipes())}")
    with as_file(files(__package__) / f"{name}.yaml") as path:
        return Recipe.from_yaml(path)
