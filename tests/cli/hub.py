"""A stand-in for the Hugging Face Hub on 127.0.0.1: what its HTTP interface answers to one who sends a dataset.

Large files go to its storage first (Git LFS, batch API), then everything comes into the repository with one commit.
"""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

_LARGE = (".parquet", ".mp4")


class Hub:
    """What it holds: files of each repository by their paths, tags, large objects by their digest."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.tags: dict[str, list[str]] = {}
        self.objects: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.private: dict[str, bool] = {}
        self.refuses = 0  # a status with which the next commit is answered
        hub = self

        class Handler(_Handler):
            store = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """Return a status and what is said with it; a text is an error's code."""
        self.asked.append(f"{method} {path}")
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if path.startswith("/storage/"):
            self.objects[path.rpartition("/")[2]] = body
            return 200, {}
        if path.endswith("/info/lfs/objects/batch"):
            return 200, {"transfer": "basic", "objects": [self._place(one) for one in json.loads(body)["objects"]]}
        return self._in_repository(method, path.split("/")[3:], body)

    def _in_repository(self, method: str, path: list[str], body: bytes) -> tuple[int, Any]:
        repo, verb = "/".join(path[:2]), path[2] if len(path) > 2 else ""
        if verb == "preupload":
            return 200, {"files": [_mode(one) for one in json.loads(body)["files"]]}
        if verb == "commit":
            return self._commit(repo, [json.loads(line) for line in body.splitlines()])
        if verb == "tag" and method == "POST":
            self.tags[repo].append(json.loads(body)["tag"])
            return 200, {}
        if verb == "tag" and path[3] in self.tags[repo]:
            self.tags[repo].remove(path[3])
            return 200, {}
        return 404, "RevisionNotFound" if repo in self.files else "RepoNotFound"

    def _create(self, wanted: dict[str, Any]) -> tuple[int, Any]:
        repo = f"{wanted['organization']}/{wanted['name']}"
        if repo in self.files:
            return 409, {"url": f"{self.url}/datasets/{repo}", "error": "it is there already"}
        self.files[repo], self.tags[repo] = {}, []
        self.private[repo] = wanted.get("visibility") == "private" or bool(wanted.get("private"))
        return 200, {"url": f"{self.url}/datasets/{repo}"}

    def _place(self, wanted: dict[str, Any]) -> dict[str, Any]:
        upload = {"upload": {"href": f"{self.url}/storage/{wanted['oid']}", "header": {}}}
        return wanted | ({} if wanted["oid"] in self.objects else {"actions": upload})

    def _commit(self, repo: str, lines: list[dict[str, Any]]) -> tuple[int, Any]:
        if self.refuses:
            status, self.refuses = self.refuses, 0
            return status, "NotNow"
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                self.files[repo][value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.files[repo][value["path"]] = self.objects[value["oid"]]
        oid = f"{len(self.asked):040x}"
        return 200, {"commitUrl": f"{self.url}/datasets/{repo}/commit/{oid}", "commitOid": oid, "success": True}


def _mode(one: dict[str, Any]) -> dict[str, Any]:
    return {
        "path": one["path"],
        "uploadMode": "lfs" if one["path"].endswith(_LARGE) else "regular",
        "shouldIgnore": False,
    }


class _Handler(BaseHTTPRequestHandler):
    """Hands each request to the store."""

    store: Hub
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        status, found = self.store.answer(self.command, self.path.partition("?")[0], body)
        content = json.dumps({"error": found} if isinstance(found, str) else found).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if isinstance(found, str):
            self.send_header("X-Error-Code", found)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _serve  # noqa: N815 - the library's names

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
