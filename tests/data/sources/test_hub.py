"""push_to_hub and back, and others' data, with the real Hub client against the loopback Hub.

Each test runs its code in a process of its own, because HF_ENDPOINT is read when the client is imported.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from loopback_hub import TOKEN, Repository, run_client

from mr_st.data import GradedDataset

_STEPS = """
import json, sys
from mr_st.data import GradedDataset
from mr_st.errors import MrStError
for step, target, options in json.loads(sys.argv[1]):
    try:
        if step == "push":
            print("URL", GradedDataset.load(target[0]).push_to_hub(target[1], **options), flush=True)
        elif step == "columns":
            from datasets import load_dataset
            (part,) = load_dataset(*target, **options).values()
            print("COLUMNS", json.dumps([part.column_names, len(part)]), flush=True)
        else:
            dataset = GradedDataset.load(target, **options)
            facts = [dataset.fingerprint, dataset.name, dataset.license, dataset.source, dataset.scale.to_dict()]
            print("LOADED", json.dumps(facts), flush=True)
    except MrStError as error:
        print("ERROR", error.exit_code, type(error).__name__, error, flush=True)
"""


def steps(hub: Any, home: Path, *calls: Any, token: str | None = TOKEN, **environment: str) -> list[str]:
    """What each step said, one line a step; no token may be in it."""
    done = run_client(hub.endpoint, home, _STEPS, json.dumps(calls), token=token, **environment)
    assert TOKEN not in done.stdout + done.stderr
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert len(lines) == len(calls), done.stdout
    return lines


def facts_of(dataset: GradedDataset) -> str:
    facts = [dataset.fingerprint, dataset.name, dataset.license, dataset.source, dataset.scale.to_dict()]
    return f"LOADED {json.dumps(facts)}"


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def saved(full_dataset: GradedDataset, tmp_path: Path) -> str:
    return str(full_dataset.save(tmp_path / "saved"))


def test_pushed_in_one_commit_and_loaded_whole(hub, tmp_path, saved, full_dataset):
    lines = steps(
        hub, tmp_path,
        ["push", [saved, "org/mugs"], {"private": True}],
        ["load", "org/mugs", {}],
        ["load", "hub", {"repo_id": "org/mugs"}],
        ["columns", ["org/mugs", "queries"], {}],
        ["columns", ["org/mugs", "items"], {}],
        ["columns", ["org/mugs", "judgments"], {}],
        ["columns", ["org/mugs", "engagement"], {}],
    )  # fmt: skip
    repository = hub.datasets["org/mugs"]
    assert hub.repositories == {}
    assert repository.private
    assert repository.messages == ["initial commit", "Push Tassen & カップ"]
    assert lines[0] == f"URL {hub.endpoint}/org/mugs/commit/{repository.branches['main']}"
    assert lines[1] == lines[2] == facts_of(full_dataset)
    columns = [json.loads(line.removeprefix("COLUMNS ")) for line in lines[3:]]
    tables = (full_dataset.queries, full_dataset.items, full_dataset.judgments, full_dataset.engagement)
    assert columns == [[table.column_names, len(table)] for table in tables]
    assert set(repository.commits[repository.branches["main"]]) == {
        ".gitattributes", "README.md", "dataset.yaml", "engagement.parquet", "items.parquet", "judgments.parquet",
        "queries.parquet",
    }  # fmt: skip
    assert len(hub.large) == 4  # the tables went the way of large files
    card = repository.commits[repository.branches["main"]]["README.md"].decode()
    assert yaml.safe_load(card.split("---")[1])["language"] == ["en", "fr", "ja"]


def test_the_esci_sample_there_and_back(hub, tmp_path, esci_folder):
    dataset = GradedDataset.load(esci_folder)
    lines = steps(hub, tmp_path, ["push", [str(esci_folder), "org/esci-us"], {}], ["load", "org/esci-us", {}])
    assert lines[1] == facts_of(dataset)
    assert not hub.datasets["org/esci-us"].private


def test_a_revision_stays_what_it_was(hub, tmp_path, saved, full_dataset):
    smaller = full_dataset.split("test")
    smaller.engagement = None
    small = str(smaller.save(tmp_path / "small"))
    (first,) = steps(hub, tmp_path, ["push", [saved, "org/mugs"], {}])
    commit = first.split("/")[-1]
    lines = steps(
        hub, tmp_path,
        ["push", [small, "org/mugs"], {"commit_message": "Only the test split"}],
        ["push", [saved, "org/mugs"], {"revision": "all"}],
        ["load", "org/mugs", {}],
        ["load", "org/mugs", {"revision": commit}],
        ["load", "org/mugs", {"revision": "all"}],
        ["load", "org/mugs", {"revision": "nowhere"}],
    )  # fmt: skip
    assert lines[2] == facts_of(smaller)
    assert lines[3] == lines[4] == facts_of(full_dataset)
    assert "the Hub answered 404" in lines[5]
    repository = hub.datasets["org/mugs"]
    assert repository.messages[2] == "Only the test split"
    assert "engagement.parquet" not in repository.commits[repository.branches["main"]]  # no longer part of it


def test_what_was_downloaded_is_there_without_a_network(hub, tmp_path, saved, full_dataset):
    steps(hub, tmp_path, ["push", [saved, "org/mugs"], {}], ["load", "org/mugs", {}])
    offline = {"HF_HUB_OFFLINE": "1"}
    lines = steps(hub, tmp_path, ["load", "org/mugs", {}], ["load", "org/other", {}], **offline)
    assert lines[0] == facts_of(full_dataset)
    assert lines[1].startswith("ERROR 1 MrStError org/other on ")
    assert "HF_HUB_OFFLINE is set; it was not downloaded before" in lines[1]
    (line,) = steps(hub, tmp_path, ["push", [saved, "org/mugs"], {}], **offline)
    assert "HF_HUB_OFFLINE is set; unset it to push, or save to a folder" in line


def test_a_repository_that_is_something_else_is_refused(hub, tmp_path, saved):
    for name, files in {"org/code": {"train.py": b"x"}, "org/tables": {"items.parquet": b"x"}}.items():
        hub.datasets[name] = Repository()
        hub.datasets[name].commit("main", {"README.md": b"# Mine", **files}, "mine")
    hub.datasets["org/empty"] = Repository()
    hub.datasets["org/empty"].commit("main", {".gitattributes": b"", "README.md": b"# New"}, "made on the website")
    lines = steps(
        hub, tmp_path,
        ["push", [saved, "org/code"], {}],
        ["push", [saved, "org/tables"], {}],
        ["push", [saved, "org/empty"], {"private": True}],
        ["push", [saved, "org/empty"], {}],
        ["push", [saved, "no id"], {}],
    )  # fmt: skip
    assert lines[0].startswith("ERROR 2 UsageError org/code: the repository holds something else")
    assert "train.py" in lines[0]
    assert lines[1].startswith("ERROR 2 UsageError org/tables: the repository holds something else")
    assert "exists and is public, and private was asked for" in lines[2]
    assert lines[3].startswith("URL ")
    assert lines[4].startswith("ERROR 2 UsageError 'no id' is no id of a Hub dataset")
    assert hub.datasets["org/code"].messages == hub.datasets["org/tables"].messages == ["mine"]


def test_a_dataset_with_faults_is_not_pushed(hub, tmp_path, saved):
    code = """
import sys
from mr_st.data import GradedDataset
from mr_st.errors import DataError
dataset = GradedDataset.from_tables([{"query_id": 1, "text": "x"}], [{"item_id": 1, "title": "x"}],
                                    [{"query_id": 1, "item_id": 2, "grade": 7}])
try:
    dataset.push_to_hub("org/bad")
except DataError as error:
    print(len(error.problems))
"""
    assert run_client(hub.endpoint, tmp_path, code).stdout == "2\n"
    assert hub.log == []


FAULTS = {
    "org/f401": ("repos/create org/f401", 401, "hf auth login"),
    "org/f403": ("repos/create org/f403", 403, "may not write there"),
    "org/f412": ("org/f412/commit/", 412, "moved on"),
    "org/cut": ("GET /api/datasets/org/cut", "cut", "no connection"),
}


def test_faults_while_pushing_are_one_line_without_the_token(hub, tmp_path, saved):
    for pattern, status, _ in FAULTS.values():
        hub.fail(pattern, status, f"you sent {TOKEN}\nBearer {TOKEN}")
    lines = steps(hub, tmp_path, *(["push", [saved, name], {}] for name in FAULTS))
    for name, line in zip(FAULTS, lines, strict=True):
        assert line.startswith(f"ERROR 1 MrStError {name} on {hub.endpoint}, ")
        assert FAULTS[name][2] in line
    for repository in hub.datasets.values():  # whole or not at all
        assert list(repository.commits[repository.branches["main"]]) == [".gitattributes"]


def test_a_wrong_token_is_said_so_and_an_explicit_one_goes_first(hub, tmp_path, saved):
    lines = steps(
        hub, tmp_path,
        ["push", [saved, "org/mugs"], {}],
        ["push", [saved, "org/mugs"], {"token": TOKEN}],
        token="hf_wrongWRONG123",
    )  # fmt: skip
    assert lines[0].startswith("ERROR 1 MrStError org/mugs on ")
    assert "401" in lines[0]
    assert "hf_wrong" not in lines[0]
    assert lines[1].startswith("URL ")


def test_faults_while_loading(hub, tmp_path, saved, full_dataset):
    whole = files_of(Path(saved))
    broken = {
        "org/no-settings": {k: v for k, v in whole.items() if k != "dataset.yaml"},
        "org/no-items": {k: v for k, v in whole.items() if k != "items.parquet"},
        "org/damaged": {**whole, "items.parquet": whole["items.parquet"][:-20], "queries.parquet": b"<html>"},
        "org/else": {"README.md": b"# Else", "notes.txt": b"x\n"},
        "org/refused": whole,
        "org/cut": whole,
    }
    for name, files in broken.items():
        hub.datasets[name] = Repository()
        hub.datasets[name].commit("main", files, "x")
    hub.fail("GET /api/datasets/org/refused", 403, f"not for {TOKEN}")
    hub.fail("GET /datasets/org/cut/resolve/.*items", "cut")
    lines = steps(hub, tmp_path, *(["load", name, {}] for name in [*broken, "org/none"]), ["load", "org/cut/x", {}])
    no_settings, no_items, damaged, other, refused, cut, none, no_id = lines
    assert no_settings.startswith("ERROR 1 DataError org/no-settings@")
    assert "/dataset.yaml: cannot be read" in no_settings
    assert "/items.parquet: the file is missing" in no_items
    assert "/queries.parquet: not a readable Parquet file" in damaged
    assert "and 1 more" in damaged
    assert other.startswith("ERROR 2 UsageError org/else: no configuration corpus among default")
    assert "the Hub answered 403" in refused
    assert cut.startswith(f"ERROR 1 MrStError org/cut on {hub.endpoint}, downloading: ")
    assert "the Hub answered 404" in none
    assert "there is no such path here" in none
    assert no_id.startswith("ERROR 2 UsageError org/cut/x is no known dataset, no path and no Hub id")


def test_options_that_mean_nothing_for_a_pushed_dataset(hub, tmp_path, saved):
    lines = steps(
        hub, tmp_path,
        ["push", [saved, "org/mugs"], {}],
        ["load", "org/mugs", {"grade_map": {"0": 0}}],
        ["load", "org/mugs", {"size": "small"}],
        ["load", "mteb", {"path_or_hub_id": "org/mugs"}],
    )  # fmt: skip
    assert "comes back as it was; leave out grade_map" in lines[1]
    assert "unknown option size; it takes revision, token" in lines[2]
    assert lines[3].startswith("ERROR 2 UsageError org/mugs: no configuration corpus among queries, items, judgments")


def test_mtebs_form_on_the_hub_ours_and_others(hub, tmp_path, full_dataset):
    export = files_of(full_dataset.to_mteb(tmp_path / "export"))
    theirs = {k: v for k, v in export.items() if k != "mr_st.yaml"}  # now it is anyone's corpus, queries and qrels
    beir = {
        "corpus.jsonl": b'{"_id": "d1", "title": "Red mug", "text": "A mug"}\n',
        "queries.jsonl": b'{"_id": "q1", "text": "mug"}\n',
        "qrels/test.tsv": b"query-id\tcorpus-id\tscore\nq1\td1\t1\n",
        "README.md": b"---\nlicense: mit\n---\n",
    }
    shas = {}
    for name, files in {"org/ours": export, "org/theirs": theirs, "org/beir": beir}.items():
        hub.datasets[name] = Repository()
        shas[name] = hub.datasets[name].commit("main", files, "x")
    lines = steps(
        hub, tmp_path,
        ["load", "org/ours", {}],
        ["load", "mteb", {"path_or_hub_id": "org/ours"}],
        ["load", "org/theirs", {"scale": full_dataset.scale.to_dict()}],
        ["load", "org/beir", {"revision": "main", "locale": "en"}],
    )  # fmt: skip
    assert lines[0] == lines[1] == facts_of(full_dataset)
    fingerprint, name, license, source, scale = json.loads(lines[2].removeprefix("LOADED "))
    assert (name, license, scale) == ("theirs", "cc-by-4.0", full_dataset.scale.to_dict())
    assert source == {"name": "mteb", "hub_id": "org/theirs", "revision": shas["org/theirs"]}
    assert fingerprint != full_dataset.fingerprint  # it has no brands any more
    expected = GradedDataset.from_tables(
        [{"query_id": "q1", "text": "mug", "locale": "en"}],
        [{"item_id": "d1", "title": "Red mug", "description": "A mug", "locale": "en"}],
        [{"query_id": "q1", "item_id": "d1", "grade": 1, "split": "test"}],
        scale=json_scale(lines[3]), name="beir", license="mit",
        source={"name": "mteb", "hub_id": "org/beir", "revision": shas["org/beir"]},
    )  # fmt: skip
    assert lines[3] == facts_of(expected)


def json_scale(line: str) -> Any:
    from mr_st.grades import TWO_GRADES

    assert json.loads(line.removeprefix("LOADED "))[4] == TWO_GRADES.to_dict()
    return TWO_GRADES
