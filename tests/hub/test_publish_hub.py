"""The real Hub client against the loopback Hub, each in a process of its own because HF_ENDPOINT is read at import."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from loopback_hub import TOKEN, client_environment, run_client
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_PUBLISH = """
import json, sys
from mr_st.errors import MrStError
from mr_st.hub import publish
for destination, options in json.loads(sys.argv[2]):
    try:
        print("WHERE", publish(sys.argv[1], destination, **options), flush=True)
    except MrStError as error:
        print("ERROR", error.exit_code, error, flush=True)
"""

_LOAD = """
import importlib.util, sys
sys.path.append(sys.argv[1])
assert not any(importlib.util.find_spec(name) for name in ("mr_st", "mteb", "polars", "usearch", "pytest"))
import numpy as np
from sentence_transformers import SentenceTransformer
for number, revision in enumerate(sys.argv[4:]):
    model = SentenceTransformer(sys.argv[2], revision=revision)
    queries, items = model.encode_query(["red shoes", "usb cable"]), model.encode_document(["mug. Category: home"])
    np.save(f"{sys.argv[3]}/{number}.npy", np.concatenate([queries, items]))
"""


def only(distribution: str, folder: Path) -> Path:
    """A folder to import from that holds a distribution and what it requires, and nothing else that is installed."""
    folder.mkdir()
    waiting, seen = [distribution], set()
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in seen:
            continue
        seen.add(name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # for another platform
        for path in {file.parts[0] for file in found.files or []} - {"..", "__pycache__"}:
            link = folder / path
            if not link.exists():
                link.symlink_to(Path(str(found.locate_file(path))))
        for line in found.requires or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return folder


def publish(hub, tmp_path: Path, model_dir: Path, *calls, token: str | None = TOKEN) -> list[str]:
    """Publish in one fresh process: each call a (repo id, options); what each of them said, one line a call."""
    done = run_client(hub.endpoint, tmp_path, _PUBLISH, str(model_dir), json.dumps(calls), token=token)
    assert TOKEN not in done.stdout + done.stderr
    assert done.returncode == 0, done.stderr
    assert "data file" not in done.stderr  # the client's warning of Parquet files in a model repository
    lines = done.stdout.splitlines()
    assert len(lines) == len(calls), done.stdout
    return lines


def test_published_in_one_commit_and_loaded_by_id_without_mr_st(hub, tmp_path, model_dir, samples):
    from sentence_transformers import SentenceTransformer

    samples.make_report("stage2").save(model_dir / "results")
    (model_dir / "recipe.yaml").write_text("name: tiny\n")
    (line,) = publish(hub, tmp_path, model_dir, ("org/tiny", {}))
    repository = hub.repositories["org/tiny"]
    assert repository.messages == ["initial commit", "Publish org/tiny"]
    assert line == f"WHERE {hub.endpoint}/org/tiny/commit/{repository.branches['main']}"
    files = repository.commits[repository.branches["main"]]
    assert {"README.md", "recipe.yaml", "model.safetensors", "modules.json"} <= set(files)
    assert any(f.startswith("results/") and f.endswith("per_query.parquet") for f in files)
    assert b'SentenceTransformer("org/tiny")' in files["README.md"]

    model = SentenceTransformer(str(model_dir))
    expected = vectors_of(model)
    first = repository.branches["main"]
    model[0].auto_model.embeddings.word_embeddings.weight.data += 0.1
    model.save(str(model_dir), create_model_card=False)
    publish(hub, tmp_path, model_dir, ("org/tiny", {}))
    assert vectors_of(model).max() != expected.max()

    place = only("sentence-transformers", tmp_path / "site")
    loaded = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _LOAD, place, "org/tiny", tmp_path, "main", first],
        env=client_environment(hub.endpoint, tmp_path), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert loaded.returncode == 0, loaded.stderr
    np.testing.assert_allclose(np.load(tmp_path / "0.npy"), vectors_of(model), atol=1e-6)
    np.testing.assert_allclose(np.load(tmp_path / "1.npy"), expected, atol=1e-6)


def vectors_of(model) -> np.ndarray:
    queries = model.encode_query(["red shoes", "usb cable"])
    return np.concatenate([queries, model.encode_document(["mug. Category: home"])])


def test_dry_run_again_private_branch_and_pull_request(hub, tmp_path, model_dir):
    repo = "org/tiny"
    lines = publish(hub, tmp_path, model_dir, (repo, {"dry_run": True}))
    assert lines == [f"WHERE {hub.endpoint}/org/tiny"]
    assert hub.log == ["GET /api/models/org/tiny/revision/main"]  # it looks, and sends nothing
    lines = publish(
        hub,
        tmp_path,
        model_dir,
        (repo, {"revision": "try-1", "private": True}),
        (repo, {"revision": "try-1"}),
        (repo, {"create_pr": True}),
        (repo, {"create_pr": True, "revision": "try-1"}),
    )
    assert lines[1].startswith("WHERE ")
    assert lines[2] == f"WHERE {hub.endpoint}/org/tiny/discussions/1"
    assert lines[3].startswith("ERROR 2 ")
    assert list(hub.repositories) == ["org/tiny"]
    repository = hub.repositories["org/tiny"]
    assert repository.private
    assert list(repository.commits[repository.branches["main"]]) == [".gitattributes"]
    assert "model.safetensors" in repository.commits[repository.branches["try-1"]]
    assert "model.safetensors" in repository.commits[repository.branches["refs/pr/2"]]


def test_a_card_that_the_hub_refuses_is_said_so(hub, tmp_path, model_dir):
    hub.fail("validate-yaml", 400, "bad")
    (line,) = publish(hub, tmp_path, model_dir, ("org/tiny", {}))
    assert line.startswith("ERROR 1 ")
    assert "README.md" in line


@pytest.mark.parametrize("token", ["hf_wrongWRONG123", None])
def test_a_wrong_or_missing_token_is_said_so_and_an_explicit_one_goes_first(hub, tmp_path, model_dir, token):
    lines = publish(hub, tmp_path, model_dir, ("org/tiny", {}), ("org/tiny", {"token": TOKEN}), token=token)
    assert lines[0].startswith("ERROR 1 ")
    assert "401" in lines[0]
    assert "hf auth login" in lines[0]
    assert "hf_wrong" not in lines[0]
    assert lines[1].startswith("WHERE ")


def test_a_hub_that_is_not_there_is_said_so(tmp_path, model_dir):
    class Gone:
        endpoint = "http://127.0.0.1:9"

    (line,) = publish(Gone, tmp_path, model_dir, ("org/tiny", {}))
    assert line.startswith("ERROR 1 ")
    assert "no connection" in line
