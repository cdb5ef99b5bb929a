"""A new task's file runs at once, looks as this project's code does, and says what is left to decide."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mr_st.data import GradedDataset
from mr_st.errors import UsageError
from mr_st.tasks import get_task
from mr_st.tasks.checking import check_task
from mr_st.tasks.new_task import checkout_tasks, new_task

REPOSITORY = Path(__file__).resolve().parents[2]

DECIDED = {
    "description": 'Find kitchenware for shoppers\' queries. Grades: 2 fits, 1 fits "partly", 0 does not fit. ' * 3,
    "reference": "https://example.org/kitchen",
    "license": "cc-by-4.0",
    "date": ("2024-01-01", "2024-06-30"),
    "annotators": None,
}


def looks_well(*paths: Path) -> None:
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--no-cache", "--config", str(REPOSITORY / "pyproject.toml"),
             *map(str, paths)],
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout


def test_a_file_runs_at_once_and_says_what_is_to_be_decided(tmp_path) -> None:
    made = new_task("KitchenRetrieval", tmp_path)
    assert made.written == (tmp_path / "kitchen.py",)
    assert len(made.undecided) == 6
    looks_well(made.file)
    task = get_task(str(made.file))
    assert task.metadata.name == "KitchenRetrieval"
    assert task.collection().n_queries == 4
    assert task.twin().metadata.name == "KitchenReranking"
    assert get_task(f"{made.file}:KitchenReranking").judged_pool
    found = check_task(task, file=made.file, baselines=False)
    musts = {finding.rule: finding.where for finding in found.findings if finding.level == "must"}
    assert set(musts) == {"metadata not filled", "metadata not decided", "licence unknown"}
    assert set(musts["metadata not filled"]) == {"reference", "date", "annotations_creators", "sample_creation"}


def test_what_is_decided_stands_in_the_file(tmp_path) -> None:
    known = {key: value for key, value in DECIDED.items() if value}
    made = new_task(
        "KitchenRetrieval", tmp_path, annotations_creators="human-annotated", sample_creation="found", **known
    )
    assert made.undecided == ()
    looks_well(made.file)
    metadata = get_task(str(made.file)).metadata
    assert metadata.is_filled()
    assert metadata.description == DECIDED["description"]
    assert metadata.date == DECIDED["date"]
    assert check_task(get_task(str(made.file)), file=made.file, baselines=False).is_sound


def test_a_package_carries_its_data_and_declares_the_task(tmp_path, tiny_shop) -> None:
    tiny_shop.save(tmp_path / "judgments")
    made = new_task("My2ndShopRetrieval", tmp_path / "out", package=True, data=tmp_path / "judgments")
    assert made.folder == tmp_path / "out" / "my2-nd-shop-task"
    looks_well(made.folder)
    project = tomllib.loads((made.folder / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["mr_st.tasks"] == {
        "My2ndShopRetrieval": "my2_nd_shop_task.my2_nd_shop:My2ndShopRetrieval",
        "My2ndShopReranking": "my2_nd_shop_task.my2_nd_shop:My2ndShopReranking",
    }
    task = get_task(str(made.file))
    assert task.metadata.revision == tiny_shop.fingerprint
    assert set(task.metadata.eval_langs) == {"eng-Latn", "deu-Latn", "fra-Latn", "jpn-Jpan", "spa-Latn"}
    assert str(tmp_path) not in made.file.read_text()  # no path of this machine
    assert not list((tmp_path / "out").rglob(".tmp*"))


def test_a_file_with_data_keeps_it_beside_itself(tmp_path, tiny_shop) -> None:
    tiny_shop.save(tmp_path / "judgments")
    made = new_task("KitchenRetrieval", tmp_path / "tasks", data=tmp_path / "judgments")
    assert (tmp_path / "tasks" / "data" / "kitchen" / "dataset.yaml").is_file()
    assert get_task(str(made.file)).metadata.revision == tiny_shop.fingerprint


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("kitchen", "write KitchenRetrieval"),
        ("kitchen tools", "write KitchenToolsRetrieval"),
        ("../../EvilRetrieval", "write EvilRetrieval"),
        ("Kitchen", "write KitchenRetrieval"),
        ("", "write MyShopRetrieval"),
        ("Küche", "CamelCase"),
        ("X" * 200 + "Retrieval", "CamelCase"),
        ("MarketplaceRetrieval", "there is a task MarketplaceRetrieval already"),
    ],
)
def test_bad_names_are_refused(tmp_path, name, mend) -> None:
    with pytest.raises(UsageError, match=mend):
        new_task(name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path, tiny_shop) -> None:
    (tmp_path / "kitchen.py").write_text("mine")
    with pytest.raises(UsageError, match=r"kitchen.py exists"):
        new_task("KitchenRetrieval", tmp_path)
    tiny_shop.save(tmp_path / "judgments")
    (tmp_path / "data" / "cellar").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"cellar exists"):
        new_task("CellarRetrieval", tmp_path, data=tmp_path / "judgments")
    assert (tmp_path / "kitchen.py").read_text() == "mine"


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"license": "my own"}, "license"),
        ({"date": ("last year", "today")}, "date"),
        ({"reference": "not an address"}, "reference"),
        ({"annotations_creators": "my cat"}, "annotations_creators"),
        ({"description": 'it says """ here'}, "one line"),
        ({"colour": "red"}, "unknown metadata colour"),
        ({"data": "org/name"}, "pinned to a commit"),
        ({"data": "org/name", "revision": "main"}, "pinned to a commit"),
        ({"revision": "0" * 40, "data": "nowhere"}, "Hub dataset"),
        ({"data": "./nowhere"}, "nowhere"),
    ],
)
def test_what_would_not_run_is_refused_and_leaves_nothing(tmp_path, wrong, match) -> None:
    with pytest.raises(UsageError, match=match) as caught:
        new_task("KitchenRetrieval", tmp_path, **wrong)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_description_is_text_and_no_code(tmp_path) -> None:
    text = "He said 'x' + __import__('os').mkdir(\"boom\") and {braces} @@NAME@@ %s stay as they are, all of them."
    made = new_task("KitchenRetrieval", tmp_path, description=text)
    assert get_task(str(made.file)).metadata.description == text
    looks_well(made.file)


def test_large_data_does_not_belong_beside_code(tmp_path, tiny_shop, monkeypatch) -> None:
    monkeypatch.setattr("mr_st.tasks.new_task._MAX_BYTES", 1000)
    tiny_shop.save(tmp_path / "judgments")
    with pytest.raises(UsageError, match=r"--revision COMMIT"):
        new_task("KitchenRetrieval", tmp_path / "out", data=tmp_path / "judgments")


def test_only_a_checkout_has_tasks(tmp_path) -> None:
    assert checkout_tasks(REPOSITORY) == REPOSITORY / "tasks"
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "other"\n')
    with pytest.raises(UsageError, match="--package"):
        checkout_tasks(tmp_path)


def test_data_in_one_split_only(tmp_path) -> None:
    dataset = GradedDataset.from_tables(
        [{"query_id": "q", "text": "mug", "locale": "de"}],
        [{"item_id": "a", "title": "Becher"}, {"item_id": "b", "title": "Lampe"}],
        [{"query_id": "q", "item_id": "a", "grade": 2, "split": "dev"},
         {"query_id": "q", "item_id": "b", "grade": 0, "split": "dev"}],
    )  # fmt: skip
    dataset.save(tmp_path / "j")
    metadata = get_task(str(new_task("DeRetrieval", tmp_path / "out", data=tmp_path / "j").file)).metadata
    assert metadata.eval_splits == ["dev"]
    assert metadata.eval_langs == ["deu-Latn"]
