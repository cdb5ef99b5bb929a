"""Faults of the Hub while a dataset is pushed or loaded: one line, whole or not at all, and a rerun completes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hub_worker import Worker, hub_worker
from loopback_hub import TOKEN, LoopbackHub, loopback_hub

REPO = "org/mugs"
ECHO = f"you sent {TOKEN}\nBearer {TOKEN}"
PUSH = ("repos/create", "GET /api/datasets/org/mugs", "validate-yaml", "preupload", "objects/batch", "PUT", "/commit/")
LOAD = ("GET /api/datasets/org/mugs", "HEAD /datasets/org/mugs/resolve", "GET /_large")


@pytest.fixture(scope="module")
def server() -> Iterator[LoopbackHub]:
    with loopback_hub(TOKEN) as server:
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def worker(server: LoopbackHub, home: Path) -> Iterator[Worker]:
    with hub_worker(server.endpoint, home) as worker:
        yield worker


@pytest.fixture
def hub(server: LoopbackHub) -> LoopbackHub:
    server.reset()
    return server


@pytest.fixture
def saved(full_dataset, tmp_path: Path) -> str:
    return str(full_dataset.save(tmp_path / "saved"))


def check_line(found) -> str:
    name, code, line = found["error"]
    assert (name, code) == ("MrStError", 1)
    assert "\n" not in line
    assert line.startswith(f"{REPO} on ")
    return line


def test_pushing(hub, worker, saved):
    for step in PUSH:
        for fault in (401, 429, 500, "cut"):
            hub.reset()
            hub.fail(step, fault, ECHO)
            line = check_line(worker("push", saved, REPO))
            assert f"the Hub answered {fault}" in line or fault == "cut"
            assert all(set(repository.files()) == {".gitattributes"} for repository in hub.datasets.values())
        hub.faults.clear()
        assert "/commit/" in worker("push", saved, REPO)["result"]
    sent = len(hub.put_log)
    worker("push", saved, REPO)
    assert len(hub.put_log) == sent
    assert hub.datasets[REPO].messages[1:] == ["Push Tassen & カップ"]  # what is there already is no second commit


@pytest.mark.parametrize("fault", [403, 404, 500, "cut", "short", "wrong"])
def test_loading(hub, worker, home, saved, full_dataset, fault):
    for step in LOAD:
        if fault in ("short", "wrong") and "_large" not in step:
            continue
        hub.reset()
        shutil.rmtree(home / "hf-home" / "hub", ignore_errors=True)
        worker("push", saved, REPO)
        hub.fail(step, fault, ECHO)
        found = worker("pull", REPO, revision=hub.datasets[REPO].branches["main"])
        if fault == "wrong":
            assert "came with other bytes than the Hub announced" in check_line(found)
        elif fault in (403, 404):
            assert f"the Hub answered {fault}" in check_line(found)
        elif "error" in found:  # the client tries the others again, or goes on where it broke off
            check_line(found)
        hub.faults.clear()
        assert worker("pull", REPO)["result"] == full_dataset.fingerprint


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "a\n---\nlicense: evil", "- x: [y", "'\"}{%", "<script>alert(1)</script>", "x\x1b[31m"],
)
def test_a_datasets_name_never_breaks_its_card(hub, worker, full_dataset, tmp_path, name):
    full_dataset.name = full_dataset.license = name
    folder = full_dataset.save(tmp_path / "data")
    assert "result" in worker("push", str(folder), "org/mugs")
    files = hub.datasets["org/mugs"].files()
    assert all("/" not in path and path.isprintable() for path in files)
    text = files["README.md"].decode()
    metadata = yaml.safe_load(text.split("\n---\n")[0].removeprefix("---\n"))
    assert metadata["license"] == "other"
    assert "evil" not in str(metadata.get("license"))
    assert set(metadata) >= {"language", "configs"}
    assert "<script>" not in text.split("\n---\n", 1)[1]
    assert worker("pull", "org/mugs")["result"] == full_dataset.fingerprint
