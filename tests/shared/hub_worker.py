"""A process that uses the Hub's real client, kept for many calls: HF_ENDPOINT is read once, when it is imported.

Everything that it prints, logs (at DEBUG, with HF_DEBUG) and raises comes back; the waits between the client's own
tries are written down instead of waited for. Run by `hub_worker`, which talks to it in lines of JSON.
"""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from loopback_hub import TOKEN, client_environment


class Worker:
    """The process, as tests see it."""

    def __init__(self, process: subprocess.Popen[str]):
        self.process = process

    def __call__(self, action: str, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Do one thing; what came of it: ``result`` or ``error`` (class, exit code, text), and all that was said."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([action, arguments, options]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the worker died"
        assert TOKEN not in answer
        found: dict[str, Any] = json.loads(answer)
        assert "unexpected" not in found, found["unexpected"]
        return found


@contextmanager
def hub_worker(endpoint: str, home: Path, token: str | None = TOKEN) -> Iterator[Worker]:
    """A worker whose Hub is ``endpoint``."""
    variables = client_environment(endpoint, home, token) | {"HF_DEBUG": "1", "PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.Popen(
        [sys.executable, __file__], env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield Worker(process)
    finally:
        process.stdin.close()
        process.wait(30)


def _publish(model_dir: str, destination: str, **options: Any) -> Any:
    from mr_st.hub import publish

    said: list[str] = []
    done = publish(model_dir, destination, announce=said.append, **options)
    return {"where": str(done), "changes": done.changes, "said": said, "card": done.card}


def _push(folder: str, repo_id: str, **options: Any) -> Any:
    from mr_st.data import GradedDataset

    return GradedDataset.load(folder).push_to_hub(repo_id, **options)


def _pull(repo_id: str, **options: Any) -> Any:
    from mr_st.data import GradedDataset

    return GradedDataset.load(repo_id, **options).fingerprint


def _cli(*words: str) -> Any:
    from mr_st.cli.main import main

    main(list(words))


def _serve() -> None:
    import huggingface_hub.utils._http as client
    from huggingface_hub import file_download

    from mr_st.errors import MrStError

    waits: list[float] = []

    class Time:
        sleep = staticmethod(waits.append)

    client.time = file_download.time = Time  # type: ignore[attr-defined]
    logs = io.StringIO()
    logging.basicConfig(stream=logs, level=logging.DEBUG)
    logging.getLogger("huggingface_hub").propagate = True
    actions = {"publish": _publish, "push": _push, "pull": _pull, "cli": _cli}
    answers = sys.stdout
    for line in sys.stdin:
        action, arguments, options = json.loads(line)
        out, err, found = io.StringIO(), io.StringIO(), {}
        with redirect_stdout(out), redirect_stderr(err):
            try:
                found["result"] = actions[action](*arguments, **options)
            except MrStError as error:
                found["error"] = [type(error).__name__, error.exit_code, str(error)]
                found["trace"] = traceback.format_exc()
            except SystemExit as error:
                found["exit"] = error.code
            except Exception:
                found["unexpected"] = traceback.format_exc()
        found |= {"out": out.getvalue(), "err": err.getvalue(), "log": logs.getvalue(), "waits": list(waits)}
        logs.seek(0)
        logs.truncate()
        waits.clear()
        answers.write(json.dumps(found) + "\n")
        answers.flush()


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    _serve()
