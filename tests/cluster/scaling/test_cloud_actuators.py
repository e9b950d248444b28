"""What is asked of AWS and Azure to have more or fewer workers, and what is said when they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from cluster.scaling.aws import EcsService, ScalingGroup
from cluster.scaling.azure import ScaleSet
from tests.clouds import SUBSCRIPTION, aws, azure, ecs_service, scaling_group
from tests.http_server import serving
from topologies.errors import Conflict, ServerAway, StoreError, UsageError


@pytest.fixture
def in_aws() -> Iterator[str]:
    with aws() as address:
        yield address


@pytest.mark.usefixtures("in_aws")
def test_ecs_is_told_the_number_of_tasks() -> None:
    client = ecs_service(2)
    service = EcsService("tv/worker")
    assert service.wanted() == 2
    service.scale(5)
    assert client.describe_services(cluster="tv", services=["worker"])["services"][0]["desiredCount"] == 5


@pytest.mark.usefixtures("in_aws")
def test_an_auto_scaling_group_gets_machines_up_to_its_greatest_size_and_no_more() -> None:
    client = scaling_group(2, most=4)
    group = ScalingGroup("workers")
    assert group.wanted() == 2
    group.scale(4)
    for count in (5, 0):
        with pytest.raises(StoreError, match="from 1 to 4 machines, not"):
            group.scale(count)
    found = client.describe_auto_scaling_groups()["AutoScalingGroups"][0]
    assert (found["DesiredCapacity"], len(found["Instances"])) == (4, 4)


@pytest.mark.usefixtures("in_aws")
def test_who_changed_the_number_in_aws_meanwhile_is_not_written_over() -> None:
    client = ecs_service(2)
    service = EcsService("tv/worker")
    service.wanted()
    client.update_service(cluster="tv", service="worker", desiredCount=7)
    with pytest.raises(Conflict, match="there are 7 wanted, not 2"):
        service.scale(3)
    assert service.wanted() == 7
    groups = scaling_group(2, most=9)
    group = ScalingGroup("workers")
    group.wanted()
    groups.set_desired_capacity(AutoScalingGroupName="workers", DesiredCapacity=6)
    with pytest.raises(Conflict, match="there are 6 wanted, not 2"):
        group.scale(3)


@pytest.mark.usefixtures("in_aws")
def test_what_is_not_there_in_aws_is_said() -> None:
    boto3.client("ecs").create_cluster(clusterName="tv")
    for missing in (EcsService("tv/other"), EcsService("nowhere/worker"), ScalingGroup("workers")):
        with pytest.raises(StoreError, match="there is no such"):
            missing.wanted()


@pytest.mark.parametrize(
    ("code", "kind", "told"),
    [
        ("AccessDeniedException", StoreError, "credentials may not"),
        ("ExpiredTokenException", StoreError, "have expired"),
        ("ThrottlingException", ServerAway, "too busy"),
        ("ServerException", ServerAway, "too busy"),
        ("InvalidParameterException", StoreError, "refused it .InvalidParameterException: no."),
        ("ScalingActivityInProgress", Conflict, "under way"),
    ],
)
@pytest.mark.usefixtures("in_aws")
def test_what_aws_refuses_is_said(code: str, kind: type[Exception], told: str) -> None:
    service = EcsService("tv/worker")
    client: Any = service._client
    with Stubber(client) as answers:  # moto refuses nobody
        answers.add_client_error("describe_services", code, "no")
        with pytest.raises(kind, match=told):
            service.wanted()


def test_an_aws_that_is_away_or_not_configured_is_said(in_aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_aws
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(ServerAway, match="AWS does not answer"):
        EcsService("tv/worker").wanted()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(UsageError, match="run where there is a role"):
        ScalingGroup("workers").wanted()
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    with pytest.raises(UsageError, match="set AWS_REGION"):
        ScalingGroup("workers")


@pytest.mark.parametrize("code", [200, 500, 502])
def test_a_page_instead_of_an_answer_is_said_and_asked_for_again(code: int, in_aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_aws
    with serving(lambda _request, _body: (code, b"<html>no", "text/html")) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        for actuator in (EcsService("tv/worker"), ScalingGroup("workers"), ScaleSet("tv/workers", SUBSCRIPTION, address)):
            with pytest.raises(ServerAway, match=r"too busy|what answers is not"):
                actuator.wanted()


@pytest.mark.parametrize("target", ["worker", "/worker", "tv/", "tv/worker/2", ""])
def test_a_target_that_is_none_is_refused(target: str) -> None:
    with pytest.raises(UsageError, match="CLUSTER/SERVICE"):
        EcsService(target)
    with pytest.raises(UsageError, match="GROUP/NAME"):
        ScaleSet(target, SUBSCRIPTION)


def test_what_azure_is_asked() -> None:
    with azure(2) as (server, address):
        scale_set = ScaleSet("tv/workers", SUBSCRIPTION, address)
        assert scale_set.wanted() == 2
        scale_set.scale(6)
        (read, _, _), (written, headers, body) = server.asked
        assert (read, written) == ("GET", "PATCH")
        assert headers["If-Match"] == '"7"'
        assert body == {"sku": {"name": "Standard_D4as_v5", "tier": "Standard", "capacity": 6}}
        assert server.capacity == 6


def test_who_wrote_to_azure_meanwhile_is_not_written_over() -> None:
    with azure(2) as (server, address):
        scale_set = ScaleSet("tv/workers", SUBSCRIPTION, address)
        scale_set.wanted()
        server.capacity, server.version = 9, 8
        with pytest.raises(Conflict, match="somebody else has changed it"):
            scale_set.scale(3)
        assert server.capacity == 9
        assert scale_set.wanted() == 9


@pytest.mark.parametrize(
    ("code", "kind", "told"),
    [
        (401, StoreError, "credentials are not accepted"),
        (403, StoreError, "may not read and write"),
        (404, StoreError, "no such thing"),
        (400, StoreError, "Azure refused it"),
        (409, Conflict, "tv/workers"),
        (429, ServerAway, "too busy"),
        (503, ServerAway, "too busy"),
    ],
)
def test_what_azure_refuses_is_said(code: int, kind: type[Exception], told: str) -> None:
    with azure(2) as (server, address):
        server.refuse = code
        with pytest.raises(kind, match=told):
            ScaleSet("tv/workers", SUBSCRIPTION, address).wanted()


def test_an_azure_that_is_away_or_not_configured_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ServerAway, match="Azure does not answer"):
        ScaleSet("tv/workers", SUBSCRIPTION, "http://127.0.0.1:1").wanted()
    monkeypatch.delenv("AZURE_SUBSCRIPTION_ID", raising=False)
    with pytest.raises(UsageError, match="set AZURE_SUBSCRIPTION_ID"):
        ScaleSet("tv/workers")
