from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mr_st.errors import MrStError, UsageError
from mr_st.tasks import ESCIRetrieval, MarketplaceRetrieval, get_task, list_tasks, task_class

OUTSIDE = """
from mr_st.data import GradedDataset
from mr_st.tasks import GradedRetrievalTask, MarketplaceRetrieval


class OutsideRetrieval(GradedRetrievalTask):
    metadata = MarketplaceRetrieval.metadata.model_copy(update={"name": "OutsideRetrieval"})

    def __init__(self, **options):
        super().__init__(GradedDataset.load("marketplace", size="tiny", seed=5), **options)
"""


@pytest.fixture
def outside(tmp_path: Path, monkeypatch):
    """A package of somebody else, installed as pip leaves it: a module and a dist-info with entry points."""
    (tmp_path / "outside_task.py").write_text(OUTSIDE)
    info = tmp_path / "outside_task-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside-task\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[mr_st.tasks]\n"
        "OutsideRetrieval = outside_task:OutsideRetrieval\n"
        "BrokenRetrieval = outside_task_gone:BrokenRetrieval\n"
        "ESCIRetrieval = outside_task:OutsideRetrieval\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("outside_task", None)


def test_own_tasks() -> None:
    assert {"ESCIRetrieval", "MarketplaceRetrieval"} <= set(list_tasks())
    assert "GradedRetrievalTask" not in list_tasks()
    assert task_class("MarketplaceRetrieval") is MarketplaceRetrieval


def test_each_own_task_is_named_as_its_class_and_complete() -> None:
    for name in list_tasks():
        metadata = task_class(name).metadata
        assert metadata.name == name
        assert metadata.is_filled()


def test_a_task_of_another_package(outside) -> None:
    assert "OutsideRetrieval" in list_tasks()
    task = get_task("OutsideRetrieval", item_text_levels=0)
    assert task.metadata.name == "OutsideRetrieval-levels=0"  # another item text is another task
    assert task.item_text_levels == 0


def test_another_package_cannot_replace_a_task(outside, caplog) -> None:
    assert task_class("ESCIRetrieval") is ESCIRetrieval
    list_tasks()
    assert "is hidden by the task of that name here" in caplog.text


def test_faults_are_named(outside) -> None:
    with pytest.raises(UsageError, match="did you mean MarketplaceRetrieval"):
        get_task("MarketplaceRetreival")
    with pytest.raises(UsageError, match=r"there are .*ESCIRetrieval"):
        get_task("xyz")
    with pytest.raises(MrStError, match="BrokenRetrieval: outside_task_gone:BrokenRetrieval cannot be imported"):
        get_task("BrokenRetrieval")
    with pytest.raises(UsageError, match="marketplace"):
        get_task("MarketplaceRetrieval", size="gigantic")


def test_listing_loads_nothing_heavy() -> None:
    script = (
        "import sys, mr_st.tasks as t; assert t.list_tasks();"
        "assert not {'mteb', 'torch', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
