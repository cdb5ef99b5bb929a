"""Pulling from the loopback Hub with the real client: what arrives, what is refused, faults as one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from loopback_hub import TOKEN, run_client

PULL = """
import contextlib, io, json, sys
from mr_st.cli.main import main
for words in json.loads(sys.argv[1]):
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(["models", "pull", *words])
        except SystemExit as end:
            code = int(end.code or 0)
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
"""


def put(hub: Any, tiny_base: Path, id: str = "org/shop", **extra: bytes) -> dict[str, bytes]:
    """A published model on the Hub; ``extra`` by path, with ``__`` for a dot."""
    files = {p.relative_to(tiny_base).as_posix(): p.read_bytes() for p in tiny_base.rglob("*") if p.is_file()}
    files |= {"README.md": b"# shop\n", "recipe.yaml": b"name: shop\n", "results/org__shop/r/T.json": b"{}"}
    files |= {path.replace("__dot__", "."): content for path, content in extra.items()}
    repository = hub.repositories.setdefault(id, hub.new_repository(False))
    repository.commit("main", files, "publish")
    return files


def pull(hub: Any, tmp_path: Path, *calls: tuple[str, ...]) -> list[tuple[int, str, str]]:
    """Exit code, standard output, standard error of each call, all in one process."""
    done = run_client(hub.endpoint, tmp_path / "home", PULL, json.dumps(calls))
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stdout + done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]  # type: ignore[misc]


def test_a_model_with_its_results_and_recipe_arrives(hub: Any, tiny_base: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    files = put(hub, tiny_base, **{"weights__dot__bin": b"\x80", "onnx/model__dot__onnx": b"x"})
    out = tmp_path / "shop"
    call = ("org/shop", "--out", str(out), "--json")
    (code, said, err), again = pull(hub, tmp_path, call, call)
    assert (code, err) == (0, "")
    there = {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    assert there == {p: c for p, c in files.items() if p not in ("weights.bin", "onnx/model.onnx")}
    told = json.loads(said)
    assert told["revision"] == hub.repositories["org/shop"].branches["main"]
    assert set(told["files"]) == set(there)
    vectors = SentenceTransformer(str(out), device="cpu").encode(["red shoes"])
    assert (vectors == SentenceTransformer(str(tiny_base), device="cpu").encode(["red shoes"])).all()
    assert again[0] == 2
    assert "holds files already" in again[2]


def test_a_name_of_the_registry_and_a_revision(hub: Any, tiny_base: Path, tmp_path: Path) -> None:
    cards = tmp_path / "cards" / "shop"
    cards.mkdir(parents=True)
    (cards / "recipe.yaml").write_text("name: shop\npublish: {repo_id: org/shop}\n")
    put(hub, tiny_base)
    first = hub.repositories["org/shop"].branches["main"]
    put(hub, tiny_base, README__dot__md=b"# newer\n")
    out = tmp_path / "out"
    call = ("shop", "--cards", str(cards.parent), "--revision", first, "--out", str(out))
    assert pull(hub, tmp_path, call)[0][::2] == (0, "")
    assert (out / "README.md").read_bytes() == b"# shop\n"


def test_what_is_no_plain_model_is_refused(hub: Any, tiny_base: Path, tmp_path: Path) -> None:
    bad = [
        ({"../evil__dot__json": b"{}"}, "no plain path"),
        ({"a\\b__dot__json": b"{}"}, "no plain path"),
        ({"modules__dot__json": b'[{"type": "my_code.Module", "path": ""}]'}, "remote code"),
        ({"adapter_config__dot__json": b"{}"}, "adapter that is not merged"),
    ]
    out = tmp_path / "in" / "out"
    for number, (extra, _) in enumerate(bad):
        put(hub, tiny_base, f"org/bad{number}", **extra)
    calls = [(f"org/bad{number}", "--out", str(out)) for number in range(len(bad))]
    for (code, _, err), (_, message) in zip(pull(hub, tmp_path, *calls), bad, strict=True):
        assert code == 1
        assert message in err
        assert err.count("\n") == 1
        assert str(tmp_path) not in err
    assert not out.exists()
    assert not list(tmp_path.rglob("evil.json"))


def test_faults_are_one_line_and_a_rerun_completes(hub: Any, tiny_base: Path, tmp_path: Path) -> None:
    put(hub, tiny_base)
    out = tmp_path / "out"
    faults: list[tuple[str, int | str, str]] = [
        (r"GET /api/models/org/shop", 401, "the token is missing or not valid"),
        (r"GET /api/models/org/shop", 403, "may not"),
        (r"GET /api/models/org/shop", "odd", "not as expected"),
        (r"GET .*/model\.safetensors", "wrong", "came with other bytes"),
    ]
    for pattern, kind, _ in faults:
        hub.fail(pattern, kind, times=1)
    call = ("org/shop", "--out", str(out))
    *broken, absent, last = pull(hub, tmp_path, *[call] * len(faults), ("org/absent", *call[1:]), call)
    for (code, _, err), (_, _, message) in zip(broken, faults, strict=True):
        assert code == 1
        assert message in err
        assert err.count("\n") == 1
    assert absent[0] == 1
    assert "no such repository" in absent[2]
    assert last[0] == 0
    assert (out / "model.safetensors").read_bytes() == (tiny_base / "model.safetensors").read_bytes()
