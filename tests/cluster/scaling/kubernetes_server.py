"""A server that speaks the part of Kubernetes' API that scaling needs: GET and PUT of one Deployment's scale, with its resourceVersion."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.http_server import in_json, serving

PATH = "/apis/apps/v1/namespaces/tv/deployments/worker/scale"


class Cluster:
    """What the server has, and what it was asked."""

    def __init__(self, replicas: int) -> None:
        self.replicas = replicas
        self.version = 7
        self.asked: list[tuple[str, str, Any]] = []
        self.refuse: int | None = None

    def document(self) -> dict[str, Any]:
        return {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": {"name": "worker", "namespace": "tv", "resourceVersion": str(self.version)},
            "spec": {"replicas": self.replicas},
            "status": {"replicas": self.replicas, "selector": "app=worker"},
        }

    def answer(self, request: BaseHTTPRequestHandler, body: Any) -> tuple[int, dict[str, Any]]:
        """As the API server answers."""
        self.asked.append((request.command, request.path, body))
        if self.refuse is not None:
            return _status(self.refuse, "no")
        if request.path != PATH:
            return _status(404, f'deployments.apps "{request.path}" not found')
        if body is not None:
            if body["metadata"]["resourceVersion"] != str(self.version):
                return _status(409, "the object has been modified; please apply your changes to the latest version and try again")
            if (body["kind"], body["apiVersion"]) != ("Scale", "autoscaling/v1"):
                return _status(400, "the object provided is unrecognized")
            self.replicas, self.version = body["spec"]["replicas"], self.version + 1
        return 200, self.document()


def _status(code: int, message: str) -> tuple[int, dict[str, Any]]:
    return code, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": code}


@contextmanager
def kubernetes(replicas: int) -> Iterator[tuple[Cluster, str]]:
    """A server that runs, and its address."""
    cluster = Cluster(replicas)
    with serving(in_json(cluster.answer)) as address:
        yield cluster, address
