"""A hub on loopback: the three endpoints that a download needs, with the faults that downloads meet."""

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What the server serves and how it misbehaves."""

    files: dict[str, bytes] = field(default_factory=dict)
    """By `owner/name/file`."""
    claims: dict[str, bytes] = field(default_factory=dict)
    """What the headers describe, where that is not what is sent."""
    gated: set[str] = field(default_factory=set)
    """Repositories that want a licence accepted."""
    drop_after: list[int] = field(default_factory=list)
    """For each download in turn: break the connection after so many bytes."""
    stall_after: list[int] = field(default_factory=list)
    """For each download in turn: send so many bytes, then nothing until `go_on` is set."""
    go_on: threading.Event = field(default_factory=threading.Event)
    etags: dict[str, str] = field(default_factory=dict)
    """The ETag of a file, where that is not its hash."""
    commit: str = COMMIT
    """What the headers call the commit."""
    ignores_ranges: bool = False
    """Sends the whole file, whatever was asked for."""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path, Range header."""
    logins: list[str] = field(default_factory=list)
    """The Authorization header of each of them."""
    url: str = ""

    def downloads(self) -> list[str]:
        """The Range headers of the requests for content."""
        return [span for method, path, span in self.requests if method == "GET"]


def serve(hub: Hub) -> ThreadingHTTPServer:
    """Start a server for `hub` on a free port; the caller shuts it down."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def log_message(self, *_arguments: object) -> None:
            pass

        def _answer(self, *, with_body: bool) -> None:
            hub.requests.append((self.command, self.path, self.headers.get("Range", "")))
            hub.logins.append(self.headers.get("Authorization", ""))
            if self.path.startswith("/storage/"):
                self._send(self.path.removeprefix("/storage/"), with_body=with_body)
                return
            if self.path.startswith("/api/models/"):
                self._describe(*self.path.removeprefix("/api/models/").split("/revision/"))
                return
            repo, _, rest = self.path.lstrip("/").partition("/resolve/")
            revision, _, name = rest.partition("/")
            if repo in hub.gated:
                self._refuse(403, "GatedRepo")
            elif not any(key.startswith(f"{repo}/") for key in hub.files):
                self._refuse(404, "RepoNotFound")
            elif revision not in {"main", COMMIT}:
                self._refuse(404, "RevisionNotFound")
            elif f"{repo}/{name}" not in hub.files:
                self._refuse(404, "EntryNotFound")
            else:
                self._redirect(f"{repo}/{name}")

        def _describe(self, repo: str, revision: str = "main") -> None:
            files = [key.removeprefix(f"{repo}/") for key in hub.files if key.startswith(f"{repo}/")]
            if not files:
                self._refuse(404, "RepoNotFound")
                return
            if revision not in {"main", COMMIT}:
                self._refuse(404, "RevisionNotFound")
                return
            siblings = [{"rfilename": file} for file in files]
            body = json.dumps({"id": repo, "sha": COMMIT, "siblings": siblings}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _redirect(self, key: str) -> None:
            content = hub.claims.get(key, hub.files[key])
            self.send_response(302)
            # Another host name, as the real storage has: the library follows only redirects within one host.
            storage = hub.url.replace("127.0.0.1", "localhost")
            self.send_header("Location", f"{storage}/storage/{key}")
            self.send_header("X-Repo-Commit", hub.commit)
            etag = hub.etags.get(key) or hashlib.sha256(content).hexdigest()
            self.send_header("X-Linked-ETag", f'"{etag}"')
            self.send_header("X-Linked-Size", str(len(content)))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _send(self, key: str, *, with_body: bool) -> None:
            content = hub.files[key]
            span = None if hub.ignores_ranges else self.headers.get("Range")
            start = int(span.removeprefix("bytes=").split("-")[0]) if span else 0
            if start > len(content):
                self._refuse(416, "RangeNotSatisfiable")
                return
            self.send_response(206 if span else 200)
            self.send_header("Content-Length", str(len(content) - start))
            if span:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            if not with_body:
                return
            body = content[start:]
            if hub.drop_after:
                self.wfile.write(body[: hub.drop_after.pop(0)])
                self.wfile.flush()
                self.close_connection = True
                return
            if hub.stall_after:
                sent = hub.stall_after.pop(0)
                self.wfile.write(body[:sent])
                self.wfile.flush()
                hub.go_on.wait(20)
                body = body[sent:]
            with contextlib.suppress(ConnectionError):  # whoever asked may be gone
                self.wfile.write(body)

        def _refuse(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", "refused by the test")
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


@contextmanager
def reached(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """While the block runs, the hub of this program is this one."""
    server = serve(hub)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    yield hub
    hub.go_on.set()
    server.shutdown()
    server.server_close()
