"""The number of workers in Azure: the capacity of a virtual machine scale set.

A write names the ETag that it read, so Azure refuses it (412) when anybody else has written meanwhile. It needs
Microsoft.Compute/virtualMachineScaleSets/read and /write on the set. Credentials are the process's own, as azure-identity finds them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from azure.core import MatchConditions
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceModifiedError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.identity import DefaultAzureCredential
from azure.mgmt.compute import ComputeManagementClient
from azure.mgmt.compute.models import Sku, VirtualMachineScaleSetUpdate

from cluster.scaling.actuator import Actuator
from topologies.errors import Conflict, ServerAway, StoreError, UsageError

SUBSCRIPTION: Final = "AZURE_SUBSCRIPTION_ID"
_HINTS: Final = {403: "its credentials may not read and write it", 404: "there is no such thing"}
_BUSY: Final = frozenset({408, 429, 500, 502, 503, 504})
logging.getLogger("azure").setLevel(logging.ERROR)  # of what it is told it warns in tracebacks, and then raises it


class ScaleSet(Actuator):
    """The machines of one scale set, one worker each. Of fewer, Azure chooses which end, by the set's scale-in policy."""

    def __init__(self, target: str, subscription: str | None = None, server: str | None = None) -> None:
        """target: `GROUP/NAME`. subscription: AZURE_SUBSCRIPTION_ID's when None. server: a management endpoint that asks for no
        credentials; without it Azure's. Raises UsageError for what cannot be used."""
        self._group, _, self._name = target.partition("/")
        if not self._group or not self._name or "/" in self._name:
            raise UsageError(f"{target!r} is not GROUP/NAME: the resource group, and the scale set in it")
        subscription = subscription or os.environ.get(SUBSCRIPTION)
        if not subscription:
            raise UsageError(f"Azure is not configured: set {SUBSCRIPTION} to the subscription that {target} is in")
        self._target = target
        self._read: Any = None
        options: dict[str, Any] = {"connection_timeout": 5, "read_timeout": 10, "retry_total": 1}
        if server is not None:
            options |= {"base_url": server, "authentication_policy": SansIOHTTPPolicy()}
        self._client = ComputeManagementClient(DefaultAzureCredential(), subscription, **options)

    def wanted(self) -> int:
        with self._errors():
            self._read = self._client.virtual_machine_scale_sets.get(self._group, self._name)
        if self._read.sku is None or self._read.sku.capacity is None:
            raise StoreError(f"{self._target} cannot be scaled: it does not say how many machines it has")
        return int(self._read.sku.capacity)

    def scale(self, count: int) -> None:
        if self._read is None:
            self.wanted()
        read, self._read = self._read, None
        if read.sku.capacity == count:
            self._read = read
            return
        wanted = VirtualMachineScaleSetUpdate(sku=Sku(name=read.sku.name, tier=read.sku.tier, capacity=count))
        with self._errors():
            # Not waited for: it is asked for when this returns. Older API versions have no ETag; with them the last to write stands.
            named = {"etag": read.etag, "match_condition": MatchConditions.IfNotModified} if read.etag else {}
            self._client.virtual_machine_scale_sets.begin_update(self._group, self._name, wanted, polling=False, **named)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except ResourceModifiedError as error:
            raise Conflict(f"{self._target}: somebody else has changed it since it was read") from error
        except ClientAuthenticationError as error:
            said = str(error).splitlines()[0]
            raise StoreError(f"{self._target} cannot be scaled: its credentials are not accepted ({said})") from error
        except HttpResponseError as error:
            if error.status_code in _BUSY:
                raise ServerAway(f"Azure is too busy to scale {self._target} ({error.status_code})") from error
            if error.status_code in (409, 412):
                raise Conflict(f"{self._target}: {_said(error)}") from error
            hint = _HINTS.get(error.status_code or 0, "Azure refused it")
            raise StoreError(f"{self._target} cannot be scaled: {hint} ({_said(error)})") from error
        except (ServiceRequestError, ServiceResponseError) as error:
            raise ServerAway(f"Azure does not answer ({error})") from error
        except ValueError as error:
            raise ServerAway(f"what answers is not Azure, or not now ({error})") from error


def _said(error: HttpResponseError) -> str:
    return (error.message or str(error)).splitlines()[0]
