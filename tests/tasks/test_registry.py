from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mr_st.errors import MrStError, UsageError
from mr_st.tasks import ESCIRetrieval, MarketplaceRetrieval, get_task, list_tasks, task_class
from mr_st.tasks.registry import OWN, task_file, task_home

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


def test_the_twin_of_a_task_without_a_class_for_it(outside) -> None:
    twin = get_task("OutsideReranking", item_text_levels=0)
    assert (twin.metadata.name, twin.judged_pool) == ("OutsideReranking-levels=0", True)
    assert twin.metadata.revision == get_task("OutsideRetrieval").metadata.revision
    with pytest.raises(UsageError, match="no task 'NowhereReranking'"):
        get_task("NowhereReranking")


def test_where_a_task_comes_from(outside) -> None:
    assert task_home("MarketplaceRetrieval") == OWN
    assert task_home("OutsideRetrieval") == "outside-task 1.0"
    assert task_file("OutsideRetrieval").name == "outside_task.py"
    assert task_file("MarketplaceRetrieval").name == "marketplace.py"


def test_a_task_by_its_file(tmp_path) -> None:
    file = tmp_path / "outside.py"
    file.write_text(OUTSIDE)
    task = get_task(str(file), item_text_levels=0)
    assert task.metadata.name == "OutsideRetrieval-levels=0"
    assert task_file(str(file)) == file
    assert task_class(f"{file}:OutsideRetrieval") is task_class(str(file))  # run once
    file.write_text(OUTSIDE.replace("seed=5", "seed=6"))
    assert get_task(str(file)).metadata.revision != task.metadata.revision  # what was changed is run again


@pytest.mark.parametrize(
    ("source", "error", "match"),
    [
        ("class X(", MrStError, "cannot be run"),
        ("1 / 0", MrStError, "ZeroDivisionError"),
        ("x = 1", UsageError, "no class derived from GradedRetrievalTask"),
        (OUTSIDE + OUTSIDE.replace("Outside", "Second"), UsageError, "name one as"),
        ("GradedRetrievalTask = object\nclass X(GradedRetrievalTask): ...", MrStError, "is no class derived from"),
    ],
)
def test_a_file_that_holds_no_task(tmp_path, source, error, match) -> None:
    file = tmp_path / "broken.py"
    file.write_text(source)
    with pytest.raises(error, match=match):
        get_task(str(file))
    with pytest.raises(UsageError, match="cannot be read"):
        get_task(str(tmp_path / "missing.py"))


def test_what_is_broken_hides_no_other(tmp_path, monkeypatch, caplog) -> None:
    """A half-written file in tasks/, an entry point with a strange name, two packages that declare one task."""
    import shutil

    from mr_st.tasks import registry

    copied = tmp_path / "tasks"
    shutil.copytree(Path(registry.__file__).parent, copied, ignore=shutil.ignore_patterns("__pycache__", "baselines"))
    (copied / "half.py").write_text("class HalfRetrieval(GradedRetrievalTask:\n")
    monkeypatch.setattr(registry, "__file__", str(copied / "registry.py"))
    for package in ("one", "two"):
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[mr_st.tasks]\nSharedRetrieval = {package}:T\n<b>bold</b> = x:T\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    names = list_tasks()
    assert {"MarketplaceRetrieval", "SharedRetrieval"} <= set(names)
    assert not any("<" in name for name in names)
    for said in ("half.py cannot be read", "is hidden by", "is no name of a class"):
        assert said in caplog.text
