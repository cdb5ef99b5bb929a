"""What the loopback Hub answers on each address, as traced from huggingface_hub 2.4; see loopback_hub.py."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

LARGE = (".safetensors", ".parquet", ".png", ".onnx")

_ID = r"(?P<id>[^/]+/[^/]+)"
_API = rf"/api/(?P<kind>models|datasets)/{_ID}"
_FILES = rf"/(?:(?P<kind>datasets)/)?{_ID}"


def blob_id(content: bytes) -> str:
    """Git's name of a content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def large_id(content: bytes) -> str:
    """The name of a large file."""
    return hashlib.sha256(content).hexdigest()


class Writing:
    """What changes a repository; the handler's ``_json``, ``_send`` and ``_repository`` are used."""

    def create(self, body: bytes) -> None:
        wish = json.loads(body)
        id = f"{wish.get('organization') or 'me'}/{wish['name']}"
        repositories = self._repositories(wish.get("type"))
        known = id in repositories
        if not known:
            repository = repositories[id] = self.server.new_repository(wish.get("visibility") == "private")
            repository.commit("main", {".gitattributes": b"*.safetensors filter=lfs\n"}, "initial commit")
        self._json(409 if known else 200, {"url": f"{self.server.endpoint}/{id}", "name": id})

    def validate_yaml(self, body: bytes) -> None:
        text = json.loads(body)["content"]
        try:
            data = yaml.safe_load(text.split("---\n")[1])
            errors = [] if isinstance(data, dict) else [{"message": "metadata is no mapping"}]
        except (yaml.YAMLError, IndexError) as error:
            errors = [{"message": str(error)}]
        remarks = [{"message": remark} for remark in self.server.card_remarks]
        self._json(400 if errors else 200, {"errors": errors, "warnings": remarks})

    def branch(self, body: bytes, kind: str | None, id: str, branch: str) -> None:
        if repository := self._repository(kind, id):
            if branch in repository.branches:
                return self._json(409, {"error": "Reference already exists"})
            start = repository.find(json.loads(body or b"{}").get("startingPoint", "main"))
            if start is None:
                return self._json(404, {"error": "Invalid rev"}, {"X-Error-Code": "RevisionNotFound"})
            repository.branches[branch] = start
            self._json(200, {})

    def preupload(self, body: bytes, kind: str | None, id: str, revision: str) -> None:
        if repository := self._repository(kind, id):
            there = repository.commits.get(repository.find(revision) or "", {})
            files = []
            for wanted in json.loads(body)["files"]:
                path = wanted["path"]
                mode = "lfs" if path.endswith(LARGE) else "regular"
                entry = {"path": path, "uploadMode": mode, "shouldIgnore": False}
                if path in there:
                    entry["oid"] = large_id(there[path]) if mode == "lfs" else blob_id(there[path])
                files.append(entry)
            self._json(200, {"files": files})

    def batch(self, body: bytes, kind: str | None, id: str) -> None:
        objects = []
        for wanted in json.loads(body)["objects"]:
            answer: dict[str, Any] = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] in self.server.refused_blobs:
                answer["error"] = {"code": 422, "message": self.server.refused_blobs[wanted["oid"]]}
            elif wanted["oid"] not in self.server.large:
                there = f"{self.server.endpoint}/_large/{wanted['oid']}?X-Amz-Signature=secretSIGNATURE"
                verify = f"{self.server.endpoint}/{id}.git/info/lfs/objects/verify"
                answer["actions"] = {"upload": {"href": there, "header": {}}, "verify": {"href": verify}}
            objects.append(answer)
        self._json(200, {"transfer": "basic", "objects": objects})

    def put(self, body: bytes, oid: str) -> None:
        if large_id(body) != oid:
            return self._json(400, {"error": "the content's SHA-256 does not match the object's id"})
        self.server.large[oid] = body
        self.server.put_log.append(oid)
        self._json(200, {})

    def verify(self, body: bytes, kind: str | None, id: str) -> None:
        wanted = json.loads(body)
        there = self.server.large.get(wanted["oid"])
        is_right = there is not None and len(there) == wanted["size"]
        self._json(200 if is_right else 404, {} if is_right else {"error": "object not found"})

    def commit(self, body: bytes, kind: str | None, id: str, revision: str) -> None:
        repository = self._repository(kind, id)
        if repository is None:
            return None
        head = repository.branches.get(revision)
        if head is None:
            return self._json(404, {"error": "Invalid rev"}, {"X-Error-Code": "RevisionNotFound"})
        wants_pr = "create_pr" in parse_qs(urlsplit(self.path).query)
        branch = f"refs/pr/{len(repository.branches)}" if wants_pr else revision
        message, files = "", dict(repository.commits[head])
        for line in body.decode().splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                message = value["summary"]
                parent = value.get("parentCommit")
                if parent is not None and parent != head and not wants_pr:
                    return self._json(412, {"error": "A commit has happened since. Please refresh and try again."})
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                if value["oid"] not in self.server.large:
                    return self._json(400, {"error": f"LFS pointer of {value['path']} points to no object"})
                files[value["path"]] = self.server.large[value["oid"]]
            elif entry["key"] == "deletedFile":
                if value["path"] not in files:
                    error = {"error": "A file with this name doesn't exist"}
                    return self._json(404, error, {"X-Error-Code": "EntryNotFound"})
                del files[value["path"]]
        sha = repository.commit(branch, files, message)
        answer = {"commitUrl": f"{self.server.endpoint}/{id}/commit/{sha}", "commitOid": sha}
        if wants_pr:
            answer["pullRequestUrl"] = f"{self.server.endpoint}/{id}/discussions/1"
        return self._json(200, answer)


class Reading:
    """What only looks at a repository."""

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
                    entries[path] = self._entry(path, content)
            if prefix and not entries:
                return self._json(404, {"error": "no such folder"}, {"X-Error-Code": "EntryNotFound"})
            self._json(200, list(entries.values()))

    def _entry(self, path: str, content: bytes) -> dict[str, Any]:
        entry = {"type": "file", "oid": blob_id(content), "size": len(content), "path": path}
        if large_id(content) in self.server.large:
            pointer = f"oid sha256:{large_id(content)}\n".encode()
            entry["oid"] = blob_id(pointer)
            entry["lfs"] = {"oid": large_id(content), "size": len(content), "pointerSize": len(pointer)}
        return entry

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
                    found.append(self._entry(path, files[path]))
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
            oid = large_id(content)
            if oid in self.server.large:  # what was uploaded as a large file lies on another host
                elsewhere = f"http://localhost:{self.server.server_port}"
                moved = {"Location": f"{elsewhere}/_large/{oid}", "X-Linked-Size": str(len(content))}
                return self._send(302, b"", {**moved, "X-Linked-Etag": f'"{oid}"', "X-Repo-Commit": str(sha)})
            headers = {"ETag": f'"{blob_id(content)}"', "X-Repo-Commit": str(sha), "Accept-Ranges": "bytes"}
            self._send(200, content, headers)

    def large(self, body: bytes, oid: str) -> None:
        content = self.server.large.get(oid)
        if content is None:
            return self._send(404, b"", {})
        self._send(200, content, {"ETag": f'"{oid}"', "Accept-Ranges": "bytes"})


ROUTES = [
    ("POST", "/api/repos/create", Writing.create),
    ("POST", "/api/validate-yaml", Writing.validate_yaml),
    ("POST", rf"{_API}/branch/(?P<branch>[^/]+)", Writing.branch),
    ("POST", rf"{_API}/preupload/(?P<revision>[^/]+)", Writing.preupload),
    ("POST", rf"{_FILES}\.git/info/lfs/objects/batch", Writing.batch),
    ("POST", rf"{_FILES}\.git/info/lfs/objects/verify", Writing.verify),
    ("PUT", "/_large/(?P<oid>[0-9a-f]+)", Writing.put),
    ("GET", "/_large/(?P<oid>[0-9a-f]+)", Reading.large),
    ("HEAD", "/_large/(?P<oid>[0-9a-f]+)", Reading.large),
    ("POST", rf"{_API}/commit/(?P<revision>[^/]+)", Writing.commit),
    ("POST", rf"{_API}/paths-info/(?P<revision>[^/]+)", Reading.paths_info),
    ("GET", _API, Reading.info),
    ("GET", rf"{_API}/revision/(?P<revision>[^/]+)", Reading.info),
    ("GET", rf"{_API}/tree/(?P<revision>[^/]+)(?P<folder>/.*)?", Reading.tree),
    ("GET", rf"{_FILES}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", Reading.resolve),
    ("HEAD", rf"{_FILES}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", Reading.resolve),
]
