"""AWS as moto serves it, and the part of Azure's management API that scaling needs, on loopback; both keep what they were asked."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any, Final

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.http_server import in_json, serving

REGION: Final = "eu-central-1"
SUBSCRIPTION: Final = "11111111-2222-3333-4444-555555555555"
_SETS: Final = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/tv/providers/Microsoft.Compute/virtualMachineScaleSets/"
_VERSION: Final = re.compile(r"\?api-version=\d{4}-\d\d-\d\d")


@contextmanager
def aws() -> Iterator[str]:
    """An AWS of nobody else's, which boto3 finds by itself; gives its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    urllib.request.urlopen(f"{address}/moto-api/reset", data=b"", timeout=30).close()  # what a server of this process had before
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(address).items():
            patch.setenv(name, value)
        try:
            yield address
        finally:
            server.stop()


def environment(address: str) -> dict[str, str]:
    """What a process is started with to find it, and nothing else of AWS."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }


def ecs_service(tasks: int) -> Any:
    """The service tv/worker with so many tasks, and a client of ECS."""
    client: Any = boto3.client("ecs")
    client.create_cluster(clusterName="tv")
    container = {"name": "worker", "image": "marquee", "memory": 512}
    client.register_task_definition(family="worker", containerDefinitions=[container])
    client.create_service(cluster="tv", serviceName="worker", taskDefinition="worker", desiredCount=tasks)
    return client


def scaling_group(machines: int, most: int) -> Any:
    """The group workers, from 1 to `most` machines, and a client of EC2 Auto Scaling."""
    client: Any = boto3.client("autoscaling")
    image = boto3.client("ec2").describe_images()["Images"][0]["ImageId"]
    client.create_launch_configuration(LaunchConfigurationName="worker", ImageId=image, InstanceType="t3.large")
    client.create_auto_scaling_group(
        AutoScalingGroupName="workers",
        LaunchConfigurationName="worker",
        MinSize=1,
        MaxSize=most,
        DesiredCapacity=machines,
        AvailabilityZones=[f"{REGION}a"],
    )
    return client


class ScaleSetServer:
    """One scale set, and what was asked of it."""

    def __init__(self, capacity: int, name: str) -> None:
        self.capacity = capacity
        self.name = name
        self.made: dict[str, Any] = {"location": "westeurope", "sku": {"name": "Standard_D4as_v5", "tier": "Standard"}}
        self.version = 7
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        self.refuse: int | None = None

    def document(self) -> dict[str, Any]:
        named = {"id": _SETS + self.name, "name": self.name, "type": "Microsoft.Compute/virtualMachineScaleSets"}
        return self.made | named | {"etag": f'"{self.version}"', "sku": self.made["sku"] | {"capacity": self.capacity}}

    def answer(self, method: str, path: str, headers: dict[str, str], body: Any) -> tuple[int, dict[str, Any]]:
        """As Azure answers: what is not asked for in its way is refused."""
        self.asked.append((method, headers, body))
        if self.refuse is not None:
            return self.refuse, _error("Refused", "no")
        address, version = path[: len(_SETS + self.name)], path[len(_SETS + self.name) :]
        if address != _SETS + self.name or not _VERSION.fullmatch(version):
            return 404, _error("ResourceNotFound", f"{path} was not found")
        if method == "PATCH":
            if headers.get("If-Match") != f'"{self.version}"':
                return 412, _error("PreconditionFailed", "the ETag does not match")
            if set(body) != {"sku"} or body["sku"].keys() != {"name", "tier", "capacity"} or headers["Content-Type"] != "application/json":
                return 400, _error("InvalidRequestContent", "the request content was invalid")
            self.capacity, self.version = body["sku"]["capacity"], self.version + 1
        if method == "PUT":
            self.made, self.capacity, self.version = body, body["sku"]["capacity"], self.version + 1
        return 200, self.document()


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


@contextmanager
def azure(capacity: int, name: str = "workers") -> Iterator[tuple[ScaleSetServer, str]]:
    """The scale set tv/`name`, and the management API's address."""
    scale_set = ScaleSetServer(capacity, name)

    def judge(request: BaseHTTPRequestHandler, body: Any) -> tuple[int, object]:
        return scale_set.answer(request.command, request.path, dict(request.headers), body)

    with serving(in_json(judge)) as address:
        yield scale_set, address
