"""An HTTP server that is ready and answers its port: python node.py FILE PORT, where the port is written; 0 for any free one."""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer is one write: half of one cannot be asked for again

    def do_GET(self) -> None:
        """A node without Kafka: it answers questions, and is not ready for all that it does."""
        said = str(self.connection.getsockname()[1]).encode()
        self.send_response(503 if self.path == "/readyz" else 200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler)
    fresh = Path(f"{sys.argv[1]}.new")
    fresh.write_text(str(server.server_port))
    fresh.replace(sys.argv[1])
    server.serve_forever()
