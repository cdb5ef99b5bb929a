"""Every fault in every step of a publication: one clear line, nothing half-published, and the same call completes it.

The Hub says the token back in each of its messages; the worker looks for it in whatever was printed, logged or raised.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loopback_hub import TOKEN, LoopbackHub

REPO = "org/tiny"
STEPS = {
    "look": "GET /api/models/org/tiny/revision",
    "create": "repos/create org/tiny",
    "info": "GET /api/models/org/tiny$",
    "validate-yaml": "validate-yaml",
    "preupload": "preupload",
    "lfs batch": "objects/batch",
    "put": "PUT /_large",
    "verify": "objects/verify",
    "commit": "org/tiny/commit/",
}
WORDS = {
    401: "hf auth login",
    403: "may not write",
    404: "check the id",
    409: "changed by someone else",
    412: "moved on",
    429: "too many requests",
    500: "try again later",
    "cut": "no connection",
    "half": "no whole JSON",
    "odd": "not as expected",
}
TRIED_AGAIN = ("preupload", "lfs batch", "put", "verify")  # by the client itself
UNSURE = ("validate-yaml", "preupload", "lfs batch", "commit")  # what may have been the commit itself
ECHO = f"you sent {TOKEN}\nBearer {TOKEN}"


@pytest.fixture(scope="module")
def model(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a card that costs no time to build."""
    folder = Path(shutil.copytree(tiny_base, tmp_path_factory.mktemp("model") / "model"))
    (folder / "README.md").write_text("---\nlibrary_name: sentence-transformers\n---\n# Tiny\n")
    return folder


@pytest.fixture(autouse=True)
def forget(model: Path) -> Iterator[None]:
    yield
    (model / ".mr_st-published.json").unlink(missing_ok=True)


def main_of(hub: LoopbackHub) -> list[str]:
    """The files on main; none where there is no repository."""
    repository = hub.repositories.get(REPO)
    return sorted(repository.files()) if repository else []


def check_line(found: dict[str, Any], kind: str = "MrStError") -> str:
    name, code, line = found["error"]
    assert name in (kind, "HubUnreachableError")
    assert code == 1
    assert "\n" not in line
    return line


CASES = [
    (step, fault)
    for step in STEPS
    for fault in WORDS
    if not (step == "look" and fault in (404, "half"))  # so a new repository looks
    and not (step in ("put", "verify") and fault in ("half", "odd"))  # answers that the client does not read
]


@pytest.mark.parametrize(("step", "fault"), CASES)
def test_a_fault_is_one_line_and_the_same_call_completes(hub, worker, model, step, fault):
    hub.fail(STEPS[step], fault, ECHO)
    found = worker("publish", str(model), REPO)
    line = check_line(found)
    assert line.startswith(f"{REPO} on {hub.endpoint}, ")
    if (step, fault) == ("create", 409):  # the client takes it for "it exists", and reads on
        assert "not as expected" in line
    else:
        assert WORDS[fault] in line
        assert not isinstance(fault, int) or f"the Hub answered {fault}" in line
    if step == "commit" and fault in ("half", "odd"):  # it was done, only the answer was not
        assert "model.safetensors" in main_of(hub)
    else:
        assert main_of(hub) in ([], [".gitattributes"])
    if step not in ("look", "create"):
        note = ("the new repository stands empty, the same", "whether the commit arrived is not known, the same")
        assert f"{note[step in UNSURE and fault in (500, 'cut', 'half', 'odd')]} command" in line
    retried = step in TRIED_AGAIN and (fault in (429, 500, "cut"))
    assert found["waits"] == ([1, 2, 4, 8, 8] if retried else [])

    hub.faults.clear()
    sent_before = len(hub.put_log)
    again = worker("publish", str(model), REPO)
    assert again["result"]["where"].startswith(f"{hub.endpoint}/{REPO}/commit/")
    assert "model.safetensors" in main_of(hub)
    assert hub.repositories[REPO].messages == ["initial commit", f"Publish {REPO}"]
    assert len(hub.put_log) == 1  # what had arrived was not sent again
    assert sent_before == (1 if step in ("verify", "commit") else 0)


@pytest.mark.parametrize("fault", WORDS)
def test_a_fault_while_looking_at_what_stands_there(hub, worker, model, fault):
    worker("publish", str(model), REPO)
    before = hub.repositories[REPO].files()
    for step in (
        "GET /api/models/org/tiny/revision",
        "GET /api/models/org/tiny/tree",
        "GET /org/tiny/resolve/.*/mr_st",
    ):
        if "resolve" in step and fault in ("half", "odd"):
            continue  # then it is no mark of ours: see below
        hub.fail(step, fault, ECHO)
        assert WORDS[fault] in check_line(worker("publish", str(model), REPO))
        hub.faults.clear()
    assert hub.repositories[REPO].files() == before
    done = worker("publish", str(model), REPO)["result"]
    assert set(done["changes"].values()) == {"same"}


def test_an_answer_that_is_lost_after_the_commit_is_no_second_commit(hub, worker, model):
    hub.fail("org/tiny/commit/", "lost", times=1)
    assert "no connection" in check_line(worker("publish", str(model), REPO))
    assert "model.safetensors" in main_of(hub)
    (model / "more.txt").write_text("x")
    try:  # and what was changed since still counts as a publication from here
        again = worker("publish", str(model), REPO)
        assert again["result"]["changes"]["more.txt"] == "new"
    finally:
        (model / "more.txt").unlink()
    assert worker("publish", str(model), REPO)["result"]["changes"]["more.txt"] == "deleted"
    messages = len(hub.repositories[REPO].messages)
    done = worker("publish", str(model), REPO)["result"]
    assert set(done["changes"].values()) == {"same"}
    assert len(hub.repositories[REPO].messages) == messages


@pytest.mark.parametrize("step", ["look", "create", "validate-yaml", "commit"])
def test_too_many_requests_says_how_long_to_wait(hub, worker, model, step):
    hub.fail(STEPS[step], 429, ECHO, {"Retry-After": "17"})
    assert "wait 17 s and run again" in check_line(worker("publish", str(model), REPO))


def test_where_the_client_waits_it_is_announced(hub, worker, model):
    hub.fail("PUT /_large", 429, ECHO, {"Retry-After": "17"}, times=1)
    found = worker("publish", str(model), REPO)
    assert found["waits"] == [18]
    assert any("Rate limited. Waiting 18.0s before retry" in line for line in found["result"]["said"])
    assert "secretSIGNATURE" not in str(found)  # of the signed address


@pytest.mark.parametrize("step", ["look", "create", "validate-yaml", "put", "commit"])
def test_a_hub_that_says_nothing_is_given_up(hub, worker, model, step):
    hub.fail(STEPS[step], "stall")
    line = check_line(worker("publish", str(model), REPO, timeout=0.1))
    assert "no answer in time (ReadTimeout)" in line
    assert main_of(hub) in ([], [".gitattributes"])


def test_slow_answers_are_waited_for(hub, worker, model):
    hub.fail("", "slow")
    assert worker("publish", str(model), REPO)["result"]["changes"]["model.safetensors"] == "new"


@pytest.mark.parametrize("step", ["look", "create", "validate-yaml", "commit"])
def test_an_answer_that_breaks_off(hub, worker, model, step):
    hub.fail(STEPS[step], "short")
    assert "no connection (RemoteProtocolError)" in check_line(worker("publish", str(model), REPO))


def test_a_large_file_whose_hash_the_hub_does_not_accept(hub, worker, model):
    hub.fail("PUT /_large", 400, f"SHA-256 does not match {TOKEN}")
    line = check_line(worker("publish", str(model), REPO))
    assert "Error while uploading 'model.safetensors' to the Hub: the Hub answered 400" in line
    assert "SHA-256 does not match" in line
    from loopback_routes import large_id

    hub.reset()
    hub.refused_blobs[large_id((model / "model.safetensors").read_bytes())] = f"quota of {TOKEN} used up"
    (model / ".mr_st-published.json").unlink()
    assert "used up" in check_line(worker("publish", str(model), REPO))


def test_a_race_for_the_branch_is_lost_with_one_line(hub, worker, model):
    worker("publish", str(model), REPO)
    (model / "more.txt").write_text("x")
    repository = hub.repositories[REPO]
    try:
        repository.commits = _OthersCommit(repository)
        line = check_line(worker("publish", str(model), REPO))
    finally:
        (model / "more.txt").unlink()
    assert "the Hub answered 412" in line
    assert "more.txt" not in repository.files()
    assert repository.messages[-1] == "theirs"


class _OthersCommit(dict):
    """A repository's commits; somebody commits in the moment that a preupload has looked at them."""

    def __init__(self, repository: Any):
        super().__init__(repository.commits)
        self.repository, self.done = repository, False

    def get(self, key, default=None):
        if not self.done:
            self.done = True
            self.repository.commit("main", {**self[key], "theirs.txt": b"x"}, "theirs")
        return super().get(key, default)
