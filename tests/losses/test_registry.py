from __future__ import annotations

import sys
from pathlib import Path

import pytest

import mr_st.losses
from mr_st.losses import LOSSES, GradedSupConLoss
from mr_st.losses.registry import find_losses

LOSS = """
from typing import ClassVar
from mr_st.losses import GradedLoss, GradedSupConLoss


class Half(GradedLoss):
    name: ClassVar[str] = "half"


class {class_name}(GradedSupConLoss):
    {body}
"""


def package(folder: Path, monkeypatch: pytest.MonkeyPatch, **modules: str) -> str:
    name = f"losses_of_{folder.name}".replace("-", "_").replace("[", "_").replace("]", "_")
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text("")
    for module, text in modules.items():
        (folder / name / f"{module}.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    return name


def find(name: str) -> dict:
    __import__(name)
    return find_losses(sys.modules[name].__path__, name)


def test_a_file_is_all_that_a_new_loss_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Abstract classes and classes that a module imports are left out."""
    one = LOSS.format(class_name="One", body='name: ClassVar[str] = "zeta"')
    two = LOSS.format(class_name="Two", body='name: ClassVar[str] = "alpha"')
    found = find(package(tmp_path, monkeypatch, a=one, b=two))
    assert [(name, loss.__name__) for name, loss in found.items()] == [("alpha", "Two"), ("zeta", "One")]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("pass", r"\.b\.Two has no name; give the class name: ClassVar\[str\]"),
        ('name: ClassVar[str] = "one"', r"\.b\.Two and .*\.a\.One are both named 'one'; rename one"),
    ],
)
def test_a_name_is_needed_and_must_be_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, message: str
) -> None:
    one = LOSS.format(class_name="One", body='name: ClassVar[str] = "one"')
    two = LOSS.format(class_name="Two", body=body)
    with pytest.raises(TypeError, match=message):
        find(package(tmp_path, monkeypatch, a=one, b=two))


def test_every_loss_can_be_imported_by_its_class_name() -> None:
    assert LOSSES["supcon"] is GradedSupConLoss
    for loss in LOSSES.values():
        assert getattr(mr_st.losses, loss.__name__) is loss
        assert loss.__name__ in dir(mr_st.losses)
    with pytest.raises(AttributeError, match="has no attribute 'NoSuchLoss'"):
        mr_st.losses.NoSuchLoss  # noqa: B018
