"""HTTP servers of a test, on loopback ports of their own."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, bytes, str]
"""Status, body, and its type."""
Judge = Callable[[BaseHTTPRequestHandler, bytes], Answer]
"""What is answered to a request with that body; asked by one thread at a time."""


@contextmanager
def serving(judge: Judge) -> Iterator[str]:
    """Within, each GET, POST, PUT and PATCH is answered so; gives the server's address, http://host:port."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def do_PUT(self) -> None:
            self._answer()

        def do_PATCH(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with lock:
                status, payload, kind = judge(self, body)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def in_json(judge: Callable[[BaseHTTPRequestHandler, Any], tuple[int, object]]) -> Judge:
    """The same of documents: None is no body."""

    def judged(request: BaseHTTPRequestHandler, body: bytes) -> Answer:
        status, document = judge(request, json.loads(body) if body else None)
        return status, json.dumps(document).encode(), "application/json"

    return judged
