"""A file imports from its own folder and from lower floors only (DESIGN.md, section 3)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

FLOORS = {
    "grades": 0, "identity": 0, "errors": 0, "files": 0, "hub_client": 0,
    "text": 0.5,  # search reads it
    "losses": 1, "models": 1, "search": 1, "measures": 1,
    "data": 2,
    "encoding": 3, "annotation": 3,
    "mining": 4, "augment": 4, "evaluation": 4,
    "training": 5, "tasks": 5,
    "hub": 6, "leaderboard": 6,
    "recipes": 7,
    "cli": 8,
}  # fmt: skip
# arrays only: these may use neither torch nor sentence-transformers when they are imported
ARRAYS_ONLY = {"measures", "search", "text", "grades", "identity", "errors", "files", "hub_client"}


def sources() -> list[Path]:
    folders = [REPOSITORY / name for name in ("mr_st", "tasks", "leaderboard")]
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def part_of(path: Path) -> str:
    relative = path.relative_to(REPOSITORY)
    if relative.parts[0] != "mr_st":
        return relative.parts[0]
    return relative.parts[1].removesuffix(".py")


def imports_of(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
            if node.module == "mr_st":
                found.update(f"mr_st.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return found


def breaches(part: str, imported: set[str]) -> list[str]:
    """The imports that reach sideways or up from ``part``."""
    wrong = []
    for name in sorted(imported):
        parts = name.split(".")
        if parts[0] != "mr_st" or len(parts) < 2:
            continue
        target = parts[1]
        if target not in FLOORS or target == part or FLOORS[target] == FLOORS[part] == 0:
            continue  # the files of floor 0 share one folder
        if FLOORS[target] >= FLOORS[part]:
            wrong.append(name)
    return wrong


def test_no_file_imports_sideways_or_up() -> None:
    wrong = []
    for path in sources():
        part = part_of(path)
        if part == "__init__":
            continue
        assert part in FLOORS, f"{path}: give this part a floor in FLOORS and in DESIGN.md"
        for name in breaches(part, imports_of(ast.parse(path.read_text()))):
            wrong.append(f"{path.relative_to(REPOSITORY)} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_a_breach_is_seen() -> None:
    tree = ast.parse("from mr_st.cli.main import app\nfrom mr_st.losses import base\nimport mr_st.errors")
    assert breaches("data", imports_of(tree)) == ["mr_st.cli.main"]
    assert breaches("losses", imports_of(ast.parse("from mr_st.models import build_two_tower"))) == ["mr_st.models"]


@pytest.mark.parametrize("part", sorted(ARRAYS_ONLY))
def test_array_parts_import_no_torch_at_the_top(part: str) -> None:
    for path in sources():
        if part_of(path) != part:
            continue
        top = ast.Module([n for n in ast.parse(path.read_text()).body if not isinstance(n, ast.If)], [])
        direct = {
            name
            for node in top.body
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for name in imports_of(ast.Module([node], []))
        }
        heavy = {n for n in direct if n.split(".")[0] in {"torch", "sentence_transformers", "transformers"}}
        assert not heavy, f"{path}: {heavy}"


def test_each_package_is_in_the_wheel() -> None:
    import tomllib

    listed = set(tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = set()
    for path in sources():
        if path.name == "__init__.py":
            relative = path.parent.relative_to(REPOSITORY).as_posix().replace("/", ".")
            found.add(relative if relative.startswith("mr_st") else f"mr_st.{relative}")
    assert listed == found
