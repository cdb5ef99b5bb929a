"""A Hub on the loopback interface that follows the protocol traced from huggingface_hub 2.4, for the real client.

Model and dataset repositories are kept in memory: a branch names a commit, a commit is a mapping of path to bytes.
Faults are set by `fail`: a request whose method and path match is answered with a status, cut, stalled, halved.
`run_client` runs code against it in a process of its own, because HF_ENDPOINT is read when the client is imported.
loopback_routes.py holds what each address answers.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from loopback_routes import ROUTES, Reading, Writing

TOKEN = "hf_secretSECRET123"


@dataclass
class Repository:
    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)  # sha -> files
    branches: dict[str, str] = field(default_factory=dict)  # name -> sha
    messages: list[str] = field(default_factory=list)

    def commit(self, branch: str, files: dict[str, bytes], message: str) -> str:
        content = "".join(f"{path}{hashlib.sha1(files[path]).hexdigest()}" for path in sorted(files))
        sha = hashlib.sha1(f"{branch}{len(self.commits)}{message}{content}".encode()).hexdigest()
        self.commits[sha] = files
        self.branches[branch] = sha
        self.messages.append(message)
        return sha

    def find(self, revision: str) -> str | None:
        return self.branches.get(revision) or (revision if revision in self.commits else None)

    def files(self, branch: str = "main") -> dict[str, bytes]:
        return self.commits[self.branches[branch]]


@dataclass
class Fault:
    """A status, or what happens to the connection: see `LoopbackHub.fail`."""

    pattern: str
    kind: int | str
    message: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    times: int | None = None


class LoopbackHub(ThreadingHTTPServer):
    """The server; `endpoint` is what HF_ENDPOINT is set to, `log` every request as "METHOD path"."""

    daemon_threads = True

    def __init__(self, token: str | None = None):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.token = token
        self.released = threading.Event()
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.released.set()  # let go of stalled requests
        self.released = threading.Event()
        self.repositories: dict[str, Repository] = {}
        self.datasets: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}
        self.put_log: list[str] = []  # large files that were received
        self.refused_blobs: dict[str, str] = {}  # SHA-256 -> what the batch answer says of it
        self.card_remarks: list[str] = []
        self.log: list[str] = []
        self.seen_tokens: list[str | None] = []
        self.faults: list[Fault] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def new_repository(self, private: bool) -> Repository:
        return Repository(private)

    def fail(
        self,
        pattern: str,
        kind: int | str,
        message: str = "",
        headers: dict[str, str] | None = None,
        times: int | None = None,
    ) -> None:
        """Answer every request that matches ``pattern`` with a fault.

        A status; or "cut": the connection ends before anything is done; "lost": it ends after it was done, "stall":
        no answer comes; "slow": the answer comes byte by byte, whole; "half": half of the answer comes as if it were
        all; "short": half of it comes, then the connection ends; "wrong": as many other bytes; "odd": other JSON.

        Args:
            pattern: A regular expression for "METHOD path".
            kind: The fault.
            message: What a status says.
            headers: Further headers of a status.
            times: How often; None for always.
        """
        self.faults.append(Fault(pattern, kind, message, headers or {}, times))

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a cut connection is part of the tests


def client_environment(endpoint: str, home: Path, token: str | None = TOKEN) -> dict[str, str]:
    """The environment of a process whose Hub is ``endpoint``, with caches of its own under ``home``."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING_FACE"))}
    variables |= {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home / "hf-home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "OMP_NUM_THREADS": "1",
    }
    if token is not None:
        variables["HF_TOKEN"] = token
    return variables


def run_client(
    endpoint: str, home: Path, code: str, *arguments: str, token: str | None = TOKEN, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run Python code whose Hub is ``endpoint``, with caches of its own under ``home``.

    Args:
        endpoint: The Hub's address.
        home: An empty folder, or that of an earlier call.
        code: The program.
        arguments: Its ``sys.argv[1:]``.
        token: What HF_TOKEN holds; None for none.
        environment: Further variables.
    """
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=client_environment(endpoint, home, token) | environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@contextmanager
def loopback_hub(token: str | None = None):
    server = LoopbackHub(token)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(Writing, Reading, BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LoopbackHub
    fault: Fault | None = None

    def log_message(self, *args: Any) -> None:
        pass

    def _route(self) -> None:
        path = urlsplit(self.path).path
        length = self.headers.get("Content-Length")
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        else:
            body = self.rfile.read(int(length)) if length else b""
        line = f"{self.command} {path}"
        if path == "/api/repos/create":
            wish = json.loads(body)
            line += f" {wish.get('organization')}/{wish['name']}"
        self.server.log.append(line)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        self.server.seen_tokens.append(token)
        self.fault = self._next_fault(line)
        if self.fault is not None and self._is_answered_by(self.fault):
            return None
        writes = self.command == "POST" and not path.endswith("validate-yaml")
        if writes and self.server.token is not None and token != self.server.token:
            return self._json(401, {"error": "Invalid username or password."})
        for method, pattern, action in ROUTES:
            match = re.fullmatch(pattern, path)
            if method == self.command and match:
                parts = {k: v and unquote(v) for k, v in match.groupdict().items()}
                return action(self, body, **parts)
        return self._json(404, {"error": f"no route for {line}"})

    do_GET = do_HEAD = do_POST = do_PUT = _route

    def _next_fault(self, line: str) -> Fault | None:
        for fault in self.server.faults:
            if re.search(fault.pattern, line) and fault.times != 0:
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None

    def _is_answered_by(self, fault: Fault) -> bool:
        """Whether a fault comes instead of what was asked for."""
        if isinstance(fault.kind, int):
            said = {"X-Error-Message": " ".join(fault.message.split())} if fault.message else {}
            self.fault = None
            self._json(fault.kind, {"error": fault.message}, {**said, **fault.headers})
        elif fault.kind == "cut":
            self._hang_up()
        elif fault.kind == "stall":
            self.server.released.wait(60)
            self._hang_up()
        else:
            return False
        return True

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.close()

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        kind = self.fault.kind if self.fault else None
        if kind == "lost":
            return self._hang_up()
        if kind == "half":
            body = body[: len(body) // 2]
        elif kind == "wrong":
            body = bytes(byte ^ 1 for byte in body)
        elif kind == "odd":
            body = b'[{"surprise": true}]'
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return None
        if kind == "short":
            self.wfile.write(body[: len(body) // 2])
            return self._hang_up()
        if kind == "slow":
            for start in range(0, len(body), max(1, len(body) // 20)):
                self.wfile.write(body[start : start + max(1, len(body) // 20)])
                self.wfile.flush()
                self.server.released.wait(0.01)
            return None
        self.wfile.write(body)
        return None

    def _repositories(self, kind: str | None) -> dict[str, Repository]:
        return self.server.datasets if kind in ("dataset", "datasets") else self.server.repositories

    def _repository(self, kind: str | None, id: str) -> Repository | None:
        repository = self._repositories(kind).get(id)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        if repository is None or (repository.private and self.server.token and token != self.server.token):
            status = 404 if token else 401  # as the Hub: who is not known is not told what there is
            self._json(status, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return None
        return repository
