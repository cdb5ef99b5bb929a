"""Whose repository it is: what is ours is replaced, somebody else's and newer revisions are not, unless told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from loopback_hub import TOKEN, LoopbackHub, Repository

REPO = "org/tiny"
CARD = "---\nlibrary_name: sentence-transformers\n---\n# Tiny\n"


@pytest.fixture
def model(model_dir: Path) -> Path:
    (model_dir / "README.md").write_text(CARD)
    return model_dir


def refusal(found) -> str:
    name, code, line = found["error"]
    assert (name, code) == ("UsageError", 2)
    assert "\n" not in line
    return line


def theirs(hub: LoopbackHub, files: dict[str, bytes]) -> Repository:
    hub.repositories[REPO] = Repository()
    hub.repositories[REPO].commit("main", {".gitattributes": b"", **files}, "theirs")
    return hub.repositories[REPO]


def test_somebody_elses_repository_is_refused_with_what_would_be_lost(hub, worker, model):
    files = {"README.md": b"---\nlicense: mit\n---\nMy model.\n", "train.py": b"x", "config.json": b"{}"}
    repository = theirs(hub, files)
    for options in ({}, {"dry_run": True}, {"revision": "new"}):
        line = refusal(worker("publish", str(model), REPO, **options))
        assert "holds something that mr-st did not publish" in line
        assert "replaces or deletes 3 files there (README.md, config.json, train.py)" in line
        assert "--overwrite" in line
    assert repository.messages == ["theirs"]
    assert not hub.put_log
    assert repository.branches.keys() == {"main"}

    done = worker("publish", str(model), REPO, create_pr=True)["result"]  # a proposal loses nothing
    assert done["where"].endswith("/discussions/1")
    assert "train.py" in repository.files("refs/pr/1")
    assert repository.files()["config.json"] == b"{}"

    done = worker("publish", str(model), REPO, overwrite=True)["result"]
    assert done["changes"]["train.py"] == "deleted"
    assert (done["changes"]["config.json"], done["changes"]["modules.json"]) == ("changed", "new")
    assert set(repository.files()) == {".gitattributes"} | {p for p, c in done["changes"].items() if c != "deleted"}


@pytest.mark.parametrize("readme", [None, b"---\nlicense: mit\n---\n", b"# tiny\n"])
def test_an_empty_repository_made_on_the_website_is_filled(hub, worker, model, readme):
    repository = theirs(hub, {} if readme is None else {"README.md": readme})
    assert "result" in worker("publish", str(model), REPO)
    assert repository.files()["README.md"].decode() == CARD


def test_a_newer_revision_is_refused(hub, worker, model, tmp_path):
    worker("publish", str(model), REPO)
    repository = hub.repositories[REPO]
    other = tmp_path / "other"
    shutil.copytree(model, other)  # the note goes along, as with a checkout on another machine
    (other / "more.txt").write_text("x")
    worker("publish", str(other), REPO)
    head = repository.branches["main"]

    line = refusal(worker("publish", str(model), REPO))
    assert f"the branch has moved on since this folder was published there (now {head[:8]})" in line
    assert "replaces or deletes 1 file there (more.txt)" in line
    assert repository.branches["main"] == head
    assert worker("publish", str(model), REPO, overwrite=True)["result"]["changes"]["more.txt"] == "deleted"
    assert "the branch has moved on" in refusal(worker("publish", str(other), REPO))


def test_an_edit_on_the_website_is_not_overwritten(hub, worker, model):
    worker("publish", str(model), REPO)
    repository = hub.repositories[REPO]
    repository.commit("main", {**repository.files(), "README.md": b"better"}, "Update README.md")
    assert "(README.md)" in refusal(worker("publish", str(model), REPO))
    assert repository.files()["README.md"] == b"better"


def test_another_folder_is_another_model_but_the_same_files_are_the_same(hub, worker, model, tmp_path):
    worker("publish", str(model), REPO)
    repository = hub.repositories[REPO]
    other = Path(shutil.copytree(model, tmp_path / "other"))
    (other / ".mr_st-published.json").unlink()
    done = worker("publish", str(other), REPO)["result"]
    assert set(done["changes"].values()) == {"same"}
    assert done["where"].endswith(repository.branches["main"])
    assert len(repository.messages) == 2
    third = Path(shutil.copytree(model, tmp_path / "third"))
    (third / ".mr_st-published.json").unlink()
    (third / "README.md").write_text(CARD + "More.\n")
    assert "a model stands there that was not published from this folder" in refusal(
        worker("publish", str(third), REPO)
    )
    (other / "README.md").write_text(CARD + "More.\n")  # this one is known to stand there
    assert worker("publish", str(other), REPO)["result"]["changes"]["README.md"] == "changed"


def test_what_an_earlier_publication_left_is_deleted_what_others_added_stays(hub, worker, model):
    (model / "plots").mkdir()
    (model / "plots" / "old.png").write_bytes(b"png")
    worker("publish", str(model), REPO)
    repository = hub.repositories[REPO]
    mark = json.loads(repository.files()["mr_st.json"])
    assert mark["files"] == sorted(set(repository.files()) - {".gitattributes", "mr_st.json"})
    sha = repository.commit("main", {**repository.files(), "LICENSE": b"theirs"}, "Create LICENSE")
    note = json.loads((model / ".mr_st-published.json").read_text())
    place = f"{hub.endpoint}/{REPO}@main"
    assert note[place]["commit"] != sha
    note[place]["commit"] = sha  # as if it had been pulled
    (model / ".mr_st-published.json").write_text(json.dumps(note))
    shutil.rmtree(model / "plots")
    done = worker("publish", str(model), REPO)["result"]
    assert {path for path, change in done["changes"].items() if change == "deleted"} == {"plots/old.png"}
    assert "LICENSE" in repository.files()
    assert "plots/old.png" not in repository.files()
    assert len(repository.messages) == 4


def test_a_mark_of_another_form_is_no_mark(hub, worker, model):
    for text in (b"", b"[]", b'{"made_by": "mr_st"}', b'{"made_by": "mr_st", "content": 1, "files": []}', b"\xff"):
        theirs(hub, {"mr_st.json": text, "model.bin": b"x"})
        assert "did not publish" in refusal(worker("publish", str(model), REPO))


def test_branches_are_told_apart_and_private_is_kept(hub, worker, model):
    worker("publish", str(model), REPO, revision="try-1", private=True)
    (model / "more.txt").write_text("x")
    worker("publish", str(model), REPO, revision="try-1")
    repository = hub.repositories[REPO]
    assert repository.private
    assert set(repository.files()) == {".gitattributes"}
    worker("publish", str(model), REPO)
    worker("publish", str(model), REPO, revision="try-2")
    assert "more.txt" in repository.files("try-2")
    repository.private = False
    assert "exists and is public, and private was asked for" in refusal(
        worker("publish", str(model), REPO, private=True)
    )


def test_a_dry_run_says_what_would_change_and_sends_nothing(hub, worker, model):
    done = worker("publish", str(model), REPO, dry_run=True)["result"]
    assert set(done["changes"].values()) == {"new"}
    worker("publish", str(model), REPO)
    hub.log.clear()
    (model / "README.md").write_text(CARD + "More.\n")
    (model / "more.txt").write_text("x")
    (model / "special_tokens_map.json").unlink(missing_ok=True)
    done = worker("publish", str(model), REPO, dry_run=True)["result"]
    assert (done["changes"]["README.md"], done["changes"]["more.txt"]) == ("changed", "new")
    assert done["changes"]["model.safetensors"] == "same"
    assert all(line.startswith("GET ") for line in hub.log)
    hub.fail("", "cut")
    done = worker("publish", str(model), REPO, dry_run=True)["result"]
    assert done["changes"] is None
    assert "what would change there is not known" in done["said"][0]
    hub.faults.clear()
    hub.fail("", 403, "no")
    assert worker("publish", str(model), REPO, dry_run=True)["error"][1] == 1


def test_what_the_hub_remarks_on_a_card_is_announced(hub, worker, model):
    hub.card_remarks.append(f"no license, {TOKEN}")
    said = worker("publish", str(model), REPO)["result"]["said"]
    assert any("no license, [token]" in line for line in said)


def test_a_folder_that_cannot_be_written_is_published_all_the_same(hub, worker, model):
    (model / ".mr_st-published.json").mkdir()
    assert "result" in worker("publish", str(model), REPO)
