"""Hostile input: names, links and what a Hub answers never escape a folder, break the card or show the token."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml
from hub_worker import hub_worker
from loopback_hub import TOKEN, Repository

from mr_st.errors import MrStError, UsageError
from mr_st.hub import check_card, publish

REPO = "org/tiny"
NAMES = [
    "a\n---\nlicense: evil",
    "- x: [y",
    "'\"}{%",
    "<script>alert(1)</script>",
    "![x](http://evil)",
    "$(touch x)",
    "…\x1b[31m",
]


def refused(model_dir: Path, tmp_path: Path) -> str:
    with pytest.raises(MrStError) as caught:
        publish(model_dir, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_links_out_of_the_folder_are_refused_by_name(model_dir, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text(TOKEN)
    (model_dir / "notes.txt").symlink_to(secret)
    assert "notes.txt is a link out of the folder" in refused(model_dir, tmp_path)
    (model_dir / "notes.txt").unlink()
    (model_dir / "notes.txt").symlink_to("/proc/self/environ")
    assert "notes.txt is a link out of the folder" in refused(model_dir, tmp_path)
    (model_dir / "notes.txt").unlink()
    (model_dir / "more").symlink_to(tmp_path)
    assert "more is a link to a folder" in refused(model_dir, tmp_path)


def test_what_is_no_plain_file_is_refused(model_dir, tmp_path):
    (model_dir / "gone").symlink_to(model_dir / "nowhere")
    assert "gone is no plain file" in refused(model_dir, tmp_path)
    (model_dir / "gone").unlink()
    os.mkfifo(model_dir / "pipe")  # reading it would wait for ever
    assert "pipe is no plain file" in refused(model_dir, tmp_path)


def test_a_link_within_the_folder_is_a_file(model_dir, tmp_path):
    (model_dir / "same.json").symlink_to(model_dir / "config.json")
    publish(model_dir, tmp_path / "out")
    assert not (tmp_path / "out" / "same.json").is_symlink()
    assert (tmp_path / "out" / "same.json").read_bytes() == (model_dir / "config.json").read_bytes()


@pytest.mark.parametrize("name", ["a\nb.txt", "a\\..\\b.txt", "\x1b[31m.txt", " a.txt", "\u202etxt.a"])
def test_file_names_that_read_as_something_else_are_refused(model_dir, tmp_path, name):
    (model_dir / name).write_text("x")
    assert "cannot be published; rename the file" in refused(model_dir, tmp_path)


@pytest.mark.parametrize("path", ["../other", "/etc", "1_Pooling/../../x"])
def test_modules_that_lie_elsewhere_are_refused(model_dir, tmp_path, path):
    modules = json.loads((model_dir / "modules.json").read_text())
    modules[1]["path"] = path
    (model_dir / "modules.json").write_text(json.dumps(modules))
    assert "leads out of the model's folder" in refused(model_dir, tmp_path)


@pytest.mark.parametrize("name", ["adapter_config.json", "lora/adapter_model.safetensors"])
def test_adapters_that_are_not_merged_are_refused_with_the_mend(model_dir, tmp_path, name):
    (model_dir / name).parent.mkdir(exist_ok=True)
    (model_dir / name).write_text("{}")
    line = refused(model_dir, tmp_path)
    assert f"{name} is an adapter that is not merged" in line
    assert "merge_and_unload" in line


@pytest.mark.parametrize("name", NAMES)
def test_a_models_name_never_breaks_its_card(model_dir, tmp_path, name):
    named = tmp_path / name.replace("/", "∕")
    model_dir.rename(named)
    card = publish(named, tmp_path / "out").card
    check_card(card)
    metadata = yaml.safe_load(card.split("\n---\n")[0].removeprefix("---\n"))
    assert "license" not in metadata
    assert metadata["library_name"] == "sentence-transformers"
    assert "<script>" not in card.replace("```", "").split("SentenceTransformer(")[0]
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "destination",
    ["org/../x", "org/x\n---", "org/x?y=1", "org/x#main", "org/x@main", "https://me:pw@host/org/x", "org/{x}"],
)
def test_what_is_no_id_is_refused_before_anything_is_sent(model_dir, tmp_path, monkeypatch, destination):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        publish(model_dir, destination)
    assert "\n" not in str(caught.value)
    assert "pw" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} <= {"model", "tiny_base"}


@pytest.mark.parametrize("revision", ["a b", "../x", "-x", "a\nb", "a..b", "", "x" * 300, f"https://{TOKEN}@h"])
def test_what_is_no_branch_is_refused(model_dir, revision):
    with pytest.raises(UsageError) as caught:
        publish(model_dir, REPO, revision=revision)
    assert "\n" not in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_what_a_hub_lists_is_only_text(hub, worker, model_dir):
    hub.repositories[REPO] = Repository()
    names = ["../../etc/passwd", "a\n\x1b[31mb", f"{TOKEN}.txt"]
    mark = {"made_by": "mr_st", "content": "x", "replaces": None, "files": [*names, "/etc/shadow"]}
    hub.repositories[REPO].commit("main", {"mr_st.json": json.dumps(mark).encode(), **dict.fromkeys(names, b"x")}, "x")
    (model_dir / "README.md").write_text("---\nlibrary_name: sentence-transformers\n---\n# Tiny\n")
    _, code, line = worker("publish", str(model_dir), REPO)["error"]
    assert code == 2
    assert "\n" not in line
    assert "\x1b" not in line
    _, code, line = worker("publish", str(model_dir), REPO, overwrite=True)["error"]
    assert code == 1
    assert "Invalid `path_in_repo`" in line  # the client commits no such path, not even to delete it


def test_a_token_in_the_hubs_address_is_refused_before_it_can_be_logged(server, tmp_path, model_dir):
    address = server.endpoint.replace("http://", f"http://me:{TOKEN}@")
    with hub_worker(address, tmp_path, token=None) as worker:
        for call in (("publish", str(model_dir), REPO), ("pull", "org/mugs")):
            _, code, line = worker(*call)["error"]
            assert code == 2
            assert "HF_ENDPOINT holds more than an address" in line
