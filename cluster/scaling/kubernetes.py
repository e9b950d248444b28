"""The number of workers in Kubernetes: the scale sub-resource of a Deployment or StatefulSet, which says `spec.replicas`.

A write names the resourceVersion that it read, so the API server refuses it (409) when anybody else has written meanwhile: kubectl, another
autoscaler, or a leader that does not know yet that it leads no more. RBAC: get and update of deployments/scale (statefulsets/scale).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from httpx2 import HTTPError
from lightkube import Client, KubeConfig
from lightkube.config.models import Cluster, User
from lightkube.core.exceptions import ApiError, ConfigError
from lightkube.models.autoscaling_v1 import ScaleSpec
from lightkube.resources.apps_v1 import DeploymentScale, StatefulSetScale

from cluster.scaling.actuator import Actuator
from topologies.errors import Conflict, ServerAway, StoreError, UsageError

KINDS: Final[dict[str, Any]] = {"deployment": DeploymentScale, "statefulset": StatefulSetScale}
_CONFLICT: Final = 409


class Replicas(Actuator):
    """Those of one Deployment or StatefulSet."""

    def __init__(self, target: str, namespace: str | None = None, server: str | None = None) -> None:
        """target: `deployment/NAME` or `statefulset/NAME`. namespace: the one of the configuration when None. server: an API server that
        asks for no credentials; without it the pod's service account, or KUBECONFIG. Raises UsageError for what cannot be used."""
        kind, _, self._name = target.partition("/")
        if kind not in KINDS or not self._name:
            raise UsageError(f"{target!r} is not deployment/NAME or statefulset/NAME")
        self._target, self._scale = target, KINDS[kind]
        self._read: Any = None
        try:
            config = KubeConfig.from_one(cluster=Cluster(server=server), user=User()) if server else KubeConfig.from_env()
            self._client = Client(config, namespace=namespace, trust_env=False)
        except ConfigError as error:
            raise UsageError(f"Kubernetes is not configured ({error}); run in a pod with a service account, or set KUBECONFIG") from error

    def wanted(self) -> int:
        with self._errors():
            read = self._client.get(self._scale, self._name)
            count = read.spec.replicas or 0
        self._read = read
        return count

    def scale(self, count: int) -> None:
        if self._read is None:
            self.wanted()
        if self._read.spec.replicas == count:
            return
        self._read.spec = ScaleSpec(replicas=count)
        read, self._read = self._read, None
        with self._errors():
            self._read = self._client.replace(read, self._name)

    def close(self) -> None:
        """Ends its connection to the API server. Twice is as good as once."""
        self._client.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except ApiError as error:
            if error.status.code == _CONFLICT:
                raise Conflict(f"{self._target}: {error.status.message}") from error
            hint = {401: "its credentials are not accepted", 403: "it may not get and update the scale", 404: "there is no such thing"}
            why = hint.get(error.status.code or 0, "the API server refused it")
            raise StoreError(f"{self._target} cannot be scaled: {why} ({error.status.message})") from error
        except HTTPError as error:
            raise ServerAway(f"the API server of Kubernetes does not answer ({type(error).__name__}: {error})") from error
        except (ValueError, TypeError, AttributeError) as error:  # a proxy's page, or JSON that is no Scale
            raise ServerAway(f"what answers is not the API server of Kubernetes ({type(error).__name__}: {error})") from error
