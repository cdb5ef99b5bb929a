"""Every block of docs/serving.md runs, one after the other; its server is started, asked and stopped."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "serving.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
PORT = "8000"


@contextmanager
def served(folder: Path, model: Path, port: int) -> Iterator[None]:
    """The page's server, started by the page's command."""
    (command,) = re.findall(r"^```bash\npython (embedding_server\.py) \S+ 8000\n```", PAGE, flags=re.MULTILINE)
    log = folder / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, command, str(model), str(port)],
            cwd=folder, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        for _ in range(600):
            assert server.poll() is None, log.read_text()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                    break
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        else:
            pytest.fail(log.read_text())
        yield
    finally:
        server.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            server.wait(20)
        with suppress(ProcessLookupError):  # its workers, had they been left
            os.killpg(server.pid, signal.SIGKILL)


@pytest.mark.slow
def test_every_block_runs(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("bm25s", "faiss", "litserve", "openai"):
        pytest.importorskip(package, reason=f"docs/serving.md uses {package}, of the extra dev")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "model_cards").symlink_to(REPOSITORY / "model_cards")
    monkeypatch.chdir(tmp_path)
    known: dict[str, Any] = {}
    said = []
    for block in BLOCKS:
        name = re.match(r"# (\w+\.py)\n", block)
        if name:
            (tmp_path / name[1]).write_text(block, encoding="utf-8")
            continue
        code = compile(block.replace('"minilm"', repr(str(tiny_base))), "docs/serving.md", "exec")
        if PORT not in block:
            exec(code, known)
        else:
            before = known["vector"]
            with served(tmp_path, tiny_base, port):
                exec(compile(block.replace(PORT, str(port)), "docs/serving.md", "exec"), known)
            np.testing.assert_allclose(known["vector"], before, atol=1e-5)
        said.append(capsys.readouterr().out)
    assert len(said) == len(BLOCKS) - 1
    setup, searcher, plain, faiss, blend, client = said
    assert setup == ""
    vectors, vector, ids = known["vectors"], known["vector"], known["item_ids"]
    best = int(np.argmax(vectors @ vector[0]))
    assert searcher.split()[1] == ids[best]
    assert len(searcher.splitlines()) == 5
    assert ids[best] in plain
    assert ids[best] in faiss
    assert str(best) in client
    precisions, *shown = blend.splitlines()
    assert precisions.startswith("{1: 'precision 0.")
    assert shown
    for line in shown:
        assert float(line.split()[0]) >= known["threshold"][1] - 5e-4
