"""The number of workers in AWS: the desired count of an ECS service, the desired capacity of an EC2 Auto Scaling group.

Neither says of which version its number is, so who wrote meanwhile is found by reading again just before writing: another writer in that
instant is not seen. IAM: ecs:DescribeServices and ecs:UpdateService; autoscaling:DescribeAutoScalingGroups and
autoscaling:SetDesiredCapacity. Region and credentials are the process's own, as boto3 finds them.
"""

from __future__ import annotations

import abc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoCredentialsError, NoRegionError
from botocore.exceptions import ConnectionError as Unconnected
from botocore.parsers import ResponseParserError

from cluster.scaling.actuator import Actuator
from topologies.errors import Conflict, MarqueeError, ServerAway, StoreError, UsageError

_CALLS: Final = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2})
_BUSY: Final = frozenset({
    "Throttling", "ThrottlingException", "RequestLimitExceeded", "ServiceUnavailable", "InternalFailure", "ServerException",
})  # fmt: skip
_FAILED: Final = 500
_REFUSED: Final = {
    "AccessDenied": "its credentials may not",
    "AccessDeniedException": "its credentials may not",
    "UnrecognizedClientException": "its credentials are not accepted",
    "InvalidClientTokenId": "its credentials are not accepted",
    "ExpiredToken": "its credentials have expired",
    "ExpiredTokenException": "its credentials have expired",
    "ClusterNotFoundException": "there is no such cluster",
    "ServiceNotFoundException": "there is no such service",
}


class _Counted(Actuator):
    """What both have alike: a number that is read, and written if it is still the one that was read."""

    def __init__(self, service: str, shown: str) -> None:
        self._shown = shown
        self._read: int | None = None
        with self._errors():
            self._client: Any = boto3.Session(region_name=os.environ.get("AWS_REGION")).client(service, config=_CALLS)

    @abc.abstractmethod
    def _ask(self) -> int:
        """The number that is wanted, now. Raises botocore's errors and StoreError."""

    @abc.abstractmethod
    def _tell(self, count: int) -> None:
        """Ask for so many. Raises botocore's errors and StoreError."""

    def wanted(self) -> int:
        with self._errors():
            self._read = self._ask()
        return self._read

    def scale(self, count: int) -> None:
        before = self._read
        now = self.wanted()
        if before is not None and now != before:
            raise Conflict(f"{self._shown}: there are {now} wanted, not {before}: somebody else has changed that")
        if now == count:
            return
        with self._errors():
            self._tell(count)
        self._read = count

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except MarqueeError:
            raise
        except ClientError as error:
            code, said = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
            if code in _BUSY or error.response["ResponseMetadata"]["HTTPStatusCode"] >= _FAILED:
                raise ServerAway(f"AWS is too busy to scale {self._shown} ({code})") from error
            if code == "ScalingActivityInProgress":
                raise Conflict(f"{self._shown}: another scaling is under way") from error
            raise StoreError(f"{self._shown} cannot be scaled: {_REFUSED.get(code, 'AWS refused it')} ({code}: {said})") from error
        except NoRegionError as error:
            raise UsageError("AWS is not configured: set AWS_REGION, or a region in ~/.aws/config") from error
        except NoCredentialsError as error:
            hint = "run where there is a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            raise UsageError(f"AWS is not configured: {hint}") from error
        except (HTTPClientError, Unconnected) as error:
            raise ServerAway(f"AWS does not answer ({error})") from error
        except (ResponseParserError, KeyError) as error:
            raise ServerAway(f"what answers is not AWS, or not now ({type(error).__name__}: {error})") from error
        except BotoCoreError as error:
            raise UsageError(f"{self._shown} cannot be asked for ({error})") from error


class EcsService(_Counted):
    """The tasks of an ECS service, each a worker. Of fewer, ECS chooses which end: they get SIGTERM, and stopTimeout to drain."""

    def __init__(self, target: str) -> None:
        """target: `CLUSTER/SERVICE`. Raises UsageError for what is not, and where boto3 finds no region."""
        self._cluster, _, self._service = target.partition("/")
        if not self._cluster or not self._service or "/" in self._service:
            raise UsageError(f"{target!r} is not CLUSTER/SERVICE")
        super().__init__("ecs", target)

    def _ask(self) -> int:
        found = self._client.describe_services(cluster=self._cluster, services=[self._service])["services"]
        if not found or found[0]["status"] != "ACTIVE":
            raise StoreError(f"{self._shown} cannot be scaled: there is no such service")
        if found[0].get("schedulingStrategy", "REPLICA") != "REPLICA":
            raise StoreError(f"{self._shown} cannot be scaled: it runs one task a machine (DAEMON), which has no number")
        return int(found[0]["desiredCount"])

    def _tell(self, count: int) -> None:
        self._client.update_service(cluster=self._cluster, service=self._service, desiredCount=count)


class ScalingGroup(_Counted):
    """The machines of an EC2 Auto Scaling group, one worker each. Of fewer, the group chooses which end; docs/clouds.md: how they drain."""

    def __init__(self, name: str) -> None:
        """Raises UsageError for an empty name, and where boto3 finds no region."""
        if not name:
            raise UsageError("the Auto Scaling group has no name")
        self._name = name
        super().__init__("autoscaling", name)
        self._least, self._most = 0, 0

    def _ask(self) -> int:
        found = self._client.describe_auto_scaling_groups(AutoScalingGroupNames=[self._name])["AutoScalingGroups"]
        if not found:
            raise StoreError(f"{self._shown} cannot be scaled: there is no such Auto Scaling group")
        self._least, self._most = int(found[0]["MinSize"]), int(found[0]["MaxSize"])
        return int(found[0]["DesiredCapacity"])

    def _tell(self, count: int) -> None:
        if not self._least <= count <= self._most:
            bounds = f"from {self._least} to {self._most} machines, not {count}"
            raise StoreError(f"{self._shown} is set to have {bounds}: change that, or the limits")
        self._client.set_desired_capacity(AutoScalingGroupName=self._name, DesiredCapacity=count, HonorCooldown=False)
