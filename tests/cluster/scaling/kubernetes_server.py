"""A server that speaks the part of Kubernetes' API that scaling needs: GET and PUT of one Deployment's scale, with its resourceVersion."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATH = "/apis/apps/v1/namespaces/tv/deployments/worker/scale"


class Cluster:
    """What the server has, and what it was asked."""

    def __init__(self, replicas: int) -> None:
        self.replicas = replicas
        self.version = 7
        self.asked: list[tuple[str, str, Any]] = []
        self.refuse: int | None = None
        self.lock = threading.Lock()

    def document(self) -> dict[str, Any]:
        return {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": {"name": "worker", "namespace": "tv", "resourceVersion": str(self.version)},
            "spec": {"replicas": self.replicas},
            "status": {"replicas": self.replicas, "selector": "app=worker"},
        }


def _handler(cluster: Cluster) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(None)

        def do_PUT(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body: Any) -> None:
            with cluster.lock:
                cluster.asked.append((self.command, self.path, body))
                code, document = self._judged(body)
            payload = json.dumps(document).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def _judged(self, body: Any) -> tuple[int, dict[str, Any]]:
            if cluster.refuse is not None:
                return _status(cluster.refuse, "no")
            if self.path != PATH:
                return _status(404, f'deployments.apps "{self.path}" not found')
            if body is not None:
                if body["metadata"]["resourceVersion"] != str(cluster.version):
                    return _status(409, "the object has been modified; please apply your changes to the latest version and try again")
                if (body["kind"], body["apiVersion"]) != ("Scale", "autoscaling/v1"):
                    return _status(400, "the object provided is unrecognized")
                cluster.replicas, cluster.version = body["spec"]["replicas"], cluster.version + 1
            return 200, cluster.document()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    return Handler


def _status(code: int, message: str) -> tuple[int, dict[str, Any]]:
    return code, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": code}


@contextmanager
def kubernetes(replicas: int) -> Iterator[tuple[Cluster, str]]:
    """A server that runs, and its address."""
    cluster = Cluster(replicas)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(cluster))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield cluster, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
