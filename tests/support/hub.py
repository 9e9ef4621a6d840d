"""A small local hub for the real huggingface_hub client: set HF_ENDPOINT to its `url`.

It answers what the client asks of a model file: HEAD for its name and size, GET with ranges for its bytes. `behave` makes it a bad hub.
It takes uploads, too: a new repository, and commits of files.
"""

import base64
import hashlib
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Serves `files`, a dict from "owner/name/filename" to a path.

    Attributes:
        behave: "well"; "silent" accepts and never answers; "break" closes the connection after `break_after` bytes of each answer;
            "slow" and "trickle" send a little at a time; "lie" sends other bytes than it promised; "gated" gives nobody anything.
        requests: (method, path, Range header) of every request so far.
        sent: bytes of file content sent so far.
        received: "owner/name/filename" → the bytes that were uploaded.
        tokens: the Authorization headers of all uploads.
    """

    def __init__(self, files: dict[str, Path]):
        self.files = files
        self.behave = "well"
        self.break_after = 1 << 20
        self.requests: list[tuple[str, str, str | None]] = []
        self.sent = 0
        self.received: dict[str, bytes] = {}
        self.tokens: set[str | None] = set()
        self._closing = threading.Event()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self):
                hub._answer(self, body=False)

            def do_GET(self):
                hub._answer(self, body=True)

            def do_POST(self):
                hub._take(self)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler, body: bool) -> None:
        self.requests.append((request.command, request.path, request.headers.get("Range")))
        if self.behave == "silent":
            self._closing.wait(60)
            request.close_connection = True
            return
        asked = re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", request.path)
        path = self.files.get(f"{asked[1]}/{asked[2]}") if asked else None
        if self.behave == "gated":
            request.send_response(403)
            request.send_header("X-Error-Code", "GatedRepo")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        if path is None:
            known = asked and any(key.startswith(asked[1] + "/") for key in self.files)
            request.send_response(404)
            request.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        data = path.read_bytes()
        start = int(match[1]) if (match := re.match(r"bytes=(\d+)-", request.headers.get("Range") or "")) else 0
        request.send_response(206 if start else 200)
        request.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("Content-Length", str(len(data) - start))
        request.send_header("Accept-Ranges", "bytes")
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        request.end_headers()
        if body:
            self._send(request, data if self.behave != "lie" else bytes(len(data)), start)

    def _take(self, request: BaseHTTPRequestHandler) -> None:
        """A request of an upload: make a repository, say how files are to be sent, or take a commit's lines, of which each is a file."""
        body = request.rfile.read(int(request.headers["Content-Length"]))
        self.requests.append((request.command, request.path, None))
        self.tokens.add(request.headers.get("Authorization"))
        asked = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/main", request.path)
        answer: dict = {"errors": [], "warnings": []}  # of the card, which the client has checked first
        if request.path == "/api/repos/create":
            answer = {"url": f"{self.url}/{json.loads(body).get('organization') or 'me'}/{json.loads(body)['name']}"}
        if asked and asked[2] == "preupload":
            files = [file["path"] for file in json.loads(body)["files"]]
            answer = {"files": [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in files]}
        elif asked:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.received[f"{asked[1]}/{line['value']['path']}"] = base64.b64decode(line["value"]["content"])
            answer = {"commitUrl": f"{self.url}/{asked[1]}/commit/{COMMIT}", "commitOid": COMMIT}
        data = json.dumps(answer).encode()
        request.send_response(403 if self.behave == "gated" else 200)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    def _send(self, request: BaseHTTPRequestHandler, data: bytes, start: int) -> None:
        end = min(len(data), start + self.break_after) if self.behave == "break" else len(data)
        piece = 1 << 16
        try:
            for begin in range(start, end, piece):
                if self.behave in ("slow", "trickle"):
                    time.sleep(0.02 if self.behave == "slow" else 0.2)  # a slow hub is what is tested
                request.wfile.write(data[begin : min(end, begin + piece)])
                self.sent += min(end, begin + piece) - begin
        except (BrokenPipeError, ConnectionResetError):
            pass
        request.close_connection = end < len(data)
