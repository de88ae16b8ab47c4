"""A small server that speaks what huggingface_hub asks for, and can misbehave."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """Repositories of one commit each, as a server on this machine.

    Attributes:
        files: repository -> file -> content.
        license: that the repositories' cards state.
        commit: of all repositories.
        cut: bytes after which a transfer breaks off, once.
        requests: method and path of what was asked for.
    """

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    license: str | None = None
    commit: str = COMMIT
    cut: int | None = None
    requests: list[str] = field(default_factory=list)

    def __enter__(self) -> Hub:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                hub.answer(self, body=False)

            def do_GET(self) -> None:
                hub.answer(self, body=True)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, request: BaseHTTPRequestHandler, *, body: bool) -> None:
        """One request."""
        self.requests.append(f"{request.command} {request.path}")
        parts = request.path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self._info(request, "/".join(parts[2:4]), parts[-1])
        elif len(parts) > 4 and parts[2] == "resolve":
            self._file(request, "/".join(parts[:2]), parts[3], "/".join(parts[4:]), body=body)
        else:
            self._send(request, 404, {"X-Error-Code": "RepoNotFound"})

    def _info(self, request: BaseHTTPRequestHandler, repo: str, revision: str) -> None:
        if repo not in self.files:
            self._send(request, 404, {"X-Error-Code": "RepoNotFound"})
        elif revision not in ("main", self.commit):
            self._send(request, 404, {"X-Error-Code": "RevisionNotFound"})
        else:
            names = [{"rfilename": name} for name in self.files[repo]]
            facts: dict[str, Any] = {"id": repo, "sha": self.commit, "siblings": names}
            if self.license:
                facts["cardData"] = {"license": self.license}
            content = json.dumps(facts).encode()
            self._send(request, 200, {"Content-Type": "application/json"}, content)

    def _file(
        self, request: BaseHTTPRequestHandler, repo: str, revision: str, name: str, *, body: bool
    ) -> None:
        content = self.files.get(repo, {}).get(name)
        if revision not in ("main", self.commit):
            self._send(request, 404, {"X-Error-Code": "RevisionNotFound"})
            return
        if content is None:
            self._send(request, 404, {"X-Error-Code": "EntryNotFound"})
            return
        headers = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Repo-Commit": self.commit,
            "Accept-Ranges": "bytes",
        }
        start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._send(request, 206 if start else 200, headers, content[start:], body=body)

    def _send(
        self,
        request: BaseHTTPRequestHandler,
        status: int,
        headers: dict[str, str],
        content: bytes = b"",
        *,
        body: bool = True,
    ) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if not body:
            return
        if self.cut is not None and len(content) > self.cut:
            content, self.cut = content[: self.cut], None
            request.close_connection = True
        request.wfile.write(content)
