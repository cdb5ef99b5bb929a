"""A Hub on the loopback interface that follows the protocol traced from huggingface_hub 2.4, for the real client.

Model and dataset repositories are kept in memory: a branch names a commit, a commit is a mapping of path to bytes.
Faults are set by `fail`: a request whose method and path match is answered with a status, or its connection is cut.
`run_client` runs code against it in a process of its own, because HF_ENDPOINT is read when the client is imported.
"""

from __future__ import annotations

import base64
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
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

TOKEN = "hf_secretSECRET123"

_ID = r"(?P<id>[^/]+/[^/]+)"
_API = rf"/api/(?P<kind>models|datasets)/{_ID}"
_FILES = rf"/(?:(?P<kind>datasets)/)?{_ID}"


@dataclass
class Repository:
    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)  # sha -> files
    branches: dict[str, str] = field(default_factory=dict)  # name -> sha
    messages: list[str] = field(default_factory=list)

    def commit(self, branch: str, files: dict[str, bytes], message: str) -> str:
        sha = hashlib.sha1(f"{branch}{len(self.commits)}{message}".encode()).hexdigest()
        self.commits[sha] = files
        self.branches[branch] = sha
        self.messages.append(message)
        return sha

    def find(self, revision: str) -> str | None:
        return self.branches.get(revision) or (revision if revision in self.commits else None)


class LoopbackHub(ThreadingHTTPServer):
    """The server; `endpoint` is what HF_ENDPOINT is set to, `log` every request as "METHOD path"."""

    daemon_threads = True

    def __init__(self, token: str | None = None):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.token = token
        self.repositories: dict[str, Repository] = {}
        self.datasets: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}
        self.log: list[str] = []
        self.seen_tokens: list[str | None] = []
        self.faults: list[tuple[str, int | str, str]] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def fail(self, pattern: str, status: int | str, message: str = "") -> None:
        """Answer every request that matches ``pattern`` with ``status``; "cut" closes the connection."""
        self.faults.append((pattern, status, message))

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a cut connection is part of the tests


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
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=variables | environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@contextmanager
def loopback_hub(token: str | None = None):
    server = LoopbackHub(token)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LoopbackHub

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
        for pattern, status, message in self.server.faults:
            if re.search(pattern, line):
                if isinstance(status, str):
                    self.close_connection = True
                    self.connection.close()
                    return
                return self._json(
                    status, {"error": message}, {"X-Error-Message": " ".join(message.split())} if message else {}
                )
        writes = self.command == "POST" and not path.endswith("validate-yaml")
        if writes and self.server.token is not None and token != self.server.token:
            return self._json(401, {"error": "Invalid username or password."})
        for method, pattern, action in _ROUTES:
            match = re.fullmatch(pattern, path)
            if method == self.command and match:
                parts = {k: v and unquote(v) for k, v in match.groupdict().items()}
                return action(self, body, **parts)
        self._json(404, {"error": f"no route for {line}"})

    do_GET = do_HEAD = do_POST = do_PUT = _route

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
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _repositories(self, kind: str | None) -> dict[str, Repository]:
        return self.server.datasets if kind in ("dataset", "datasets") else self.server.repositories

    def _repository(self, kind: str | None, id: str) -> Repository | None:
        repository = self._repositories(kind).get(id)
        if repository is None:
            self._json(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        return repository

    # --- writing

    def create(self, body: bytes) -> None:
        wish = json.loads(body)
        id = f"{wish.get('organization') or 'me'}/{wish['name']}"
        repositories = self._repositories(wish.get("type"))
        known = id in repositories
        if not known:
            repository = repositories[id] = Repository(private=wish.get("visibility") == "private")
            repository.commit("main", {".gitattributes": b"*.safetensors filter=lfs\n"}, "initial commit")
        self._json(409 if known else 200, {"url": f"{self.server.endpoint}/{id}", "name": id})

    def validate_yaml(self, body: bytes) -> None:
        text = json.loads(body)["content"]
        try:
            data = yaml.safe_load(text.split("---\n")[1])
            errors = [] if isinstance(data, dict) else [{"message": "metadata is no mapping"}]
        except (yaml.YAMLError, IndexError) as error:
            errors = [{"message": str(error)}]
        self._json(400 if errors else 200, {"errors": errors, "warnings": []})

    def branch(self, body: bytes, kind: str | None, id: str, branch: str) -> None:
        if repository := self._repository(kind, id):
            if branch in repository.branches:
                return self._json(409, {"error": "Reference already exists"})
            repository.branches[branch] = repository.branches["main"]
            self._json(200, {})

    def preupload(self, body: bytes, kind: str | None, id: str, revision: str) -> None:
        if self._repository(kind, id):
            files = [
                {
                    "path": f["path"],
                    "uploadMode": "lfs" if f["path"].endswith((".safetensors", ".parquet", ".png")) else "regular",
                    "shouldIgnore": False,
                }
                for f in json.loads(body)["files"]
            ]
            self._json(200, {"files": files})

    def batch(self, body: bytes, kind: str | None, id: str) -> None:
        objects = []
        for wanted in json.loads(body)["objects"]:
            answer = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.server.large:
                answer["actions"] = {"upload": {"href": f"{self.server.endpoint}/_large/{wanted['oid']}"}}
            objects.append(answer)
        self._json(200, {"transfer": "basic", "objects": objects})

    def put(self, body: bytes, oid: str) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            return self._json(400, {"error": "wrong hash"})
        self.server.large[oid] = body
        self._json(200, {})

    def commit(self, body: bytes, kind: str | None, id: str, revision: str) -> None:
        repository = self._repository(kind, id)
        if repository is None:
            return
        wants_pr = "create_pr" in parse_qs(urlsplit(self.path).query)
        branch = f"refs/pr/{len(repository.branches)}" if wants_pr else revision
        files = dict(repository.commits[repository.branches[revision]])
        message = ""
        for line in body.decode().splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                message = value["summary"]
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.server.large[value["oid"]]
            elif entry["key"] == "deletedFile":
                del files[value["path"]]
        sha = repository.commit(branch, files, message)
        answer = {"commitUrl": f"{self.server.endpoint}/{id}/commit/{sha}", "commitOid": sha}
        if wants_pr:
            answer["pullRequestUrl"] = f"{self.server.endpoint}/{id}/discussions/1"
        self._json(200, answer)

    # --- reading

    def info(self, body: bytes, kind: str | None, id: str, revision: str = "main") -> None:
        if repository := self._repository(kind, id):
            sha = repository.find(revision)
            if sha is None:
                return self._json(404, {"error": "Invalid rev"}, {"X-Error-Code": "RevisionNotFound"})
            siblings = [{"rfilename": path} for path in repository.commits[sha]]
            self._json(200, {"_id": id, "id": id, "modelId": id, "sha": sha, "private": repository.private,
                             "tags": [], "downloads": 0, "likes": 0, "siblings": siblings})  # fmt: skip

    def tree(self, body: bytes, kind: str | None, id: str, revision: str, folder: str | None = None) -> None:
        if repository := self._repository(kind, id):
            sha = repository.find(revision)
            if sha is None:
                return self._json(404, {"error": "Invalid rev"}, {"X-Error-Code": "RevisionNotFound"})
            recursive = "True" in str(parse_qs(urlsplit(self.path).query).get("recursive", "")).title()
            prefix = f"{folder.strip('/')}/" if folder and folder.strip("/") else ""
            entries: dict[str, dict[str, Any]] = {}
            for path, content in repository.commits[sha].items():
                if not path.startswith(prefix):
                    continue
                rest = path[len(prefix) :]
                if "/" in rest and not recursive:
                    name = prefix + rest.split("/")[0]
                    entries[name] = {"type": "directory", "oid": "0" * 40, "size": 0, "path": name}
                else:
                    oid = hashlib.sha1(content).hexdigest()
                    entries[path] = {"type": "file", "oid": oid, "size": len(content), "path": path}
            if prefix and not entries:
                return self._json(404, {"error": "no such folder"}, {"X-Error-Code": "EntryNotFound"})
            self._json(200, list(entries.values()))

    def paths_info(self, body: bytes, kind: str | None, id: str, revision: str) -> None:
        if repository := self._repository(kind, id):
            sha = repository.find(revision)
            if sha is None:
                return self._json(404, {"error": "Invalid rev"}, {"X-Error-Code": "RevisionNotFound"})
            files = repository.commits[sha]
            wanted = parse_qs(body.decode())["paths"] if b"paths=" in body else json.loads(body)["paths"]
            found: list[dict[str, Any]] = []
            for path in wanted:
                if path in files:
                    oid = hashlib.sha1(files[path]).hexdigest()
                    found.append({"type": "file", "oid": oid, "size": len(files[path]), "path": path})
                elif any(name.startswith(f"{path}/") for name in files):
                    found.append({"type": "directory", "oid": "0" * 40, "size": 0, "path": path})
            self._json(200, found)

    def resolve(self, body: bytes, kind: str | None, id: str, revision: str, path: str) -> None:
        if repository := self._repository(kind, id):
            sha = repository.find(revision)
            content = repository.commits[sha].get(path) if sha else None
            if content is None:
                code = "EntryNotFound" if sha else "RevisionNotFound"
                headers = {"X-Error-Code": code, **({"X-Repo-Commit": sha} if sha else {})}
                return self._send(404, b"", headers)
            oid = hashlib.sha256(content).hexdigest()
            if oid in self.server.large:  # what was uploaded as a large file lies on another host
                elsewhere = f"http://localhost:{self.server.server_port}"
                moved = {"Location": f"{elsewhere}/_large/{oid}", "X-Linked-Size": str(len(content))}
                return self._send(302, b"", {**moved, "X-Linked-Etag": f'"{oid}"', "X-Repo-Commit": str(sha)})
            self._send(200, content, {"ETag": f'"{oid}"', "X-Repo-Commit": str(sha), "Accept-Ranges": "bytes"})

    def large(self, body: bytes, oid: str) -> None:
        content = self.server.large.get(oid)
        if content is None:
            return self._send(404, b"", {})
        self._send(200, content, {"ETag": f'"{oid}"', "Accept-Ranges": "bytes"})


_ROUTES = [
    ("POST", "/api/repos/create", _Handler.create),
    ("POST", "/api/validate-yaml", _Handler.validate_yaml),
    ("POST", rf"{_API}/branch/(?P<branch>[^/]+)", _Handler.branch),
    ("POST", rf"{_API}/preupload/(?P<revision>[^/]+)", _Handler.preupload),
    ("POST", rf"{_FILES}\.git/info/lfs/objects/batch", _Handler.batch),
    ("PUT", "/_large/(?P<oid>[0-9a-f]+)", _Handler.put),
    ("GET", "/_large/(?P<oid>[0-9a-f]+)", _Handler.large),
    ("HEAD", "/_large/(?P<oid>[0-9a-f]+)", _Handler.large),
    ("POST", rf"{_API}/commit/(?P<revision>[^/]+)", _Handler.commit),
    ("POST", rf"{_API}/paths-info/(?P<revision>[^/]+)", _Handler.paths_info),
    ("GET", _API, _Handler.info),
    ("GET", rf"{_API}/revision/(?P<revision>[^/]+)", _Handler.info),
    ("GET", rf"{_API}/tree/(?P<revision>[^/]+)(?P<folder>/.*)?", _Handler.tree),
    ("GET", rf"{_FILES}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", _Handler.resolve),
    ("HEAD", rf"{_FILES}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", _Handler.resolve),
]
