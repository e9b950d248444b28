"""What the chart promises of what it renders, for every platform."""

from __future__ import annotations

import pytest

from cluster.scaling.kubernetes import Replicas
from streams.ending import END_S
from tests.cluster.scaling.kubernetes_server import kubernetes
from tests.kubernetes.rendering import EVERYTHING, PLATFORMS, ROLES, container, containers, deployments, of_kind, pod, rendered, selects
from topologies.settings import Settings

pytestmark = pytest.mark.parametrize("platform", PLATFORMS)


def test_workers_doors_and_autoscalers_are_started_as_the_commands_are(platform: str) -> None:
    arguments = {role: container(one)["args"] for role, one in deployments(rendered(platform))}
    assert set(arguments) == set(ROLES)
    assert (arguments["worker"], arguments["door"]) == (["worker"], ["serve"])
    least, most = ("2", "8") if platform == "plain" else ("3", "24")
    command, limits, target, namespace, _ = arguments["autoscaler"]
    assert (command, limits) == ("autoscale", f"{least}..{most}")
    assert (target, namespace) == ("--kubernetes=deployment/tv-marquee-worker", "--namespace=stream")


def test_every_pod_is_as_the_restricted_standard_wants_it(platform: str) -> None:
    for _, deployment in deployments(rendered(platform)):
        whole = pod(deployment)
        assert whole["securityContext"]["runAsNonRoot"] is True
        assert whole["securityContext"]["runAsUser"] > 0
        assert whole["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        confined = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        assert [one["securityContext"] for one in containers(deployment)] == [confined] * len(containers(deployment))
        assert {next(iter(set(volume) - {"name"})) for volume in whole["volumes"]} <= {"emptyDir", "csi"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(whole)


def test_every_pod_has_bounds_and_probes(platform: str) -> None:
    for role, deployment in deployments(rendered(platform)):
        for one in containers(deployment):
            for amount in ("requests", "limits"):
                assert set(one["resources"][amount]) == {"cpu", "memory"}
        one = container(deployment)
        assert {"startupProbe", "readinessProbe"} <= set(one)
        if role != "autoscaler":  # which has no door: docs/kubernetes.md
            assert one["startupProbe"]["httpGet"] == one["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
            assert one["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}


def test_a_worker_begins_with_the_images_kernels_where_it_can_add_to_them(platform: str) -> None:
    worker = of_kind(rendered(platform), "Deployment")["worker"]
    (copying,) = pod(worker)["initContainers"]
    *_, source, target = copying["command"]
    assert source == "/var/cache/marquee"
    assert {"name": "NUMBA_CACHE_DIR", "value": target} in container(worker)["env"]
    (place,) = (mount["mountPath"] for mount in container(worker)["volumeMounts"] if mount in copying["volumeMounts"])
    assert target.startswith(place)
    assert "initContainers" not in pod(of_kind(rendered(platform, "workers.kernels="), "Deployment")["worker"])


def test_a_worker_has_memory_for_what_may_wait(platform: str) -> None:
    limit: str = container(of_kind(rendered(platform), "Deployment")["worker"])["resources"]["limits"]["memory"]
    settings = Settings().worker
    assert int(limit.removesuffix("Gi")) * 1024 >= 2200 + settings.max_unacked_mb + settings.max_buffered_mb


def test_a_pod_has_the_time_to_end_in_good_order(platform: str) -> None:
    found = of_kind(rendered(platform), "Deployment")
    assert pod(found["worker"])["terminationGracePeriodSeconds"] >= END_S + 3
    before_s = container(found["door"])["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert before_s >= 5
    assert pod(found["door"])["terminationGracePeriodSeconds"] >= before_s + Settings().api.drain_s + 5


def test_a_roll_moves_one_workers_partitions_at_a_time(platform: str) -> None:
    for role in ("worker", "door"):
        spec = of_kind(rendered(platform), "Deployment")[role]["spec"]
        assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert of_kind(rendered(platform), "Deployment")["worker"]["spec"]["minReadySeconds"] >= 10


def test_other_settings_are_other_pods(platform: str) -> None:
    def marks(*values: str) -> set[str]:
        found = deployments(rendered(platform, *values))
        return {one["spec"]["template"]["metadata"]["annotations"]["checksum/settings"] for _, one in found}

    assert len(marks()) == 1
    assert marks() == marks("workers.minReadySeconds=20")
    assert not marks() & marks("settings.kafka.group=other")


def test_whoever_scales_the_workers_owns_their_number(platform: str) -> None:
    for mode, owned in (("marquee", True), ("keda", True), ("none", False)):
        documents = rendered(platform, f"scaling.mode={mode}", "workers.replicas=5")
        spec = of_kind(documents, "Deployment")["worker"]["spec"]
        assert spec.get("replicas") == (None if owned else 5)
        assert ("autoscaler" in of_kind(documents, "Deployment")) == (mode == "marquee")
        assert bool(of_kind(documents, "ScaledObject")) == (mode == "keda")
        assert ("autoscaler" in of_kind(documents, "NetworkPolicy")) == (mode == "marquee")


def test_the_autoscaler_may_do_what_it_asks_for_and_no_more(platform: str) -> None:
    documents = rendered(platform)
    with kubernetes(1) as (cluster, address):
        replicas = Replicas("deployment/worker", "tv", address)
        replicas.wanted()
        replicas.scale(3)
        asked = {method for method, _, _ in cluster.asked}
    verbs = {"GET": "get", "PUT": "update", "PATCH": "patch", "POST": "create", "DELETE": "delete"}
    (rule,) = of_kind(documents, "Role")["autoscaler"]["rules"]
    assert set(rule["verbs"]) == {verbs[method] for method in asked}
    assert (rule["apiGroups"], rule["resources"]) == (["apps"], ["deployments/scale"])
    assert rule["resourceNames"] == [of_kind(documents, "Deployment")["worker"]["metadata"]["name"]]
    binding = of_kind(documents, "RoleBinding")["autoscaler"]
    account = of_kind(documents, "ServiceAccount")["autoscaler"]["metadata"]["name"]
    assert [(one["kind"], one["name"], one["namespace"]) for one in binding["subjects"]] == [("ServiceAccount", account, "stream")]
    assert binding["roleRef"]["name"] == of_kind(documents, "Role")["autoscaler"]["metadata"]["name"]
    assert not {one["kind"] for one in documents} & {"ClusterRole", "ClusterRoleBinding"}


def test_only_the_autoscaler_has_a_token_of_kubernetes(platform: str) -> None:
    for role, deployment in deployments(rendered(platform)):
        whole = pod(deployment)
        assert whole.get("automountServiceAccountToken", True) == (role == "autoscaler")
        assert whole["serviceAccountName"] == ("tv-marquee-autoscaler" if role == "autoscaler" else "tv-marquee")


def test_no_service_puts_variables_into_pods(platform: str) -> None:
    """A Service called marquee-api-http would be MARQUEE_API_HTTP_PORT, which marquee.config refuses."""
    for _, deployment in deployments(rendered(platform)):
        assert pod(deployment)["enableServiceLinks"] is False


def test_every_pod_has_one_policy_both_ways(platform: str) -> None:
    documents = rendered(platform)
    policies = of_kind(documents, "NetworkPolicy").values()
    for _, deployment in deployments(documents):
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        (policy,) = (one["spec"] for one in policies if selects(one["spec"]["podSelector"], labels))
        assert policy["policyTypes"] == ["Ingress", "Egress"]


SERVERS = {"kafka": 9092, "cassandra": 9042, "redis": 6379, "memcached": 11211, "zookeeper": 2181}
ASKS = {
    "worker": {"kafka", "cassandra", "redis", "zookeeper"},
    "door": set(SERVERS),
    "autoscaler": {"kafka", "redis", "zookeeper"},
}


def test_pods_reach_the_servers_that_they_ask_and_no_others(platform: str) -> None:
    for role, policy in of_kind(rendered(platform), "NetworkPolicy").items():
        ports = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
        assert {name for name, port in SERVERS.items() if port in ports} == ASKS[role]
        assert 53 in ports
        assert (443 in ports) == (role == "autoscaler")
        assert {8080, 9000} <= ports or role != "door"


def test_nobody_comes_to_autoscalers_and_only_doors_and_prometheus_to_workers(platform: str) -> None:
    found = of_kind(rendered(platform), "NetworkPolicy")
    assert found["autoscaler"]["spec"]["ingress"] == []
    (rule,) = found["worker"]["spec"]["ingress"]
    door, prometheus = rule["from"]
    assert selects(door["podSelector"], of_kind(rendered(platform), "Deployment")["door"]["spec"]["template"]["metadata"]["labels"])
    assert "namespaceSelector" in prometheus
    assert platform == "plain" or all(one.get("from") for one in found["door"]["spec"]["ingress"])


def test_budgets_services_and_monitors_select_their_pods(platform: str) -> None:
    documents = rendered(platform, *EVERYTHING)
    pods = {role: one["spec"]["template"]["metadata"]["labels"] for role, one in deployments(documents)}
    for kind, roles in (("PodDisruptionBudget", {"worker", "door"}), ("PodMonitor", {"worker", "door"})):
        found = of_kind(documents, kind)
        assert set(found) == roles
        for role, one in found.items():
            assert [name for name, labels in pods.items() if selects(one["spec"]["selector"], labels)] == [role]
    service = of_kind(documents, "Service")["door"]["spec"]
    assert [name for name, labels in pods.items() if selects({"matchLabels": service["selector"]}, labels)] == ["door"]
    for role, deployment in deployments(documents):
        assert selects(deployment["spec"]["selector"], pods[role])


def test_a_node_can_be_drained_while_no_worker_is_ready(platform: str) -> None:
    for budget in of_kind(rendered(platform), "PodDisruptionBudget").values():
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        assert budget["spec"]["maxUnavailable"] == 1


def test_pods_spread_over_zones_and_hosts_version_by_version(platform: str) -> None:
    for _, deployment in deployments(rendered(platform)):
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        spread = {one["topologyKey"]: one for one in pod(deployment)["topologySpreadConstraints"]}
        assert set(spread) == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
        for one in spread.values():
            assert selects(one["labelSelector"], labels)
            assert one["matchLabelKeys"] == ["pod-template-hash"]


def test_keda_scales_those_workers_by_the_groups_lag(platform: str) -> None:
    documents = rendered(platform, "scaling.mode=keda", "settings.scaling.capacity_per_s=20000", "settings.kafka.group=tv")
    spec = of_kind(documents, "ScaledObject")["worker"]["spec"]
    assert spec["scaleTargetRef"] == {"kind": "Deployment", "name": "tv-marquee-worker"}
    assert spec["minReplicaCount"] >= 1
    (trigger,) = spec["triggers"]
    assert (trigger["type"], trigger["metadata"]["consumerGroup"], trigger["metadata"]["lagThreshold"]) == ("kafka", "tv", "67000")
    assert all(isinstance(value, str) for value in trigger["metadata"].values())


def test_a_member_scraped_is_of_the_job_that_a_rule_names(platform: str) -> None:
    jobs = {
        role: one["spec"]["podMetricsEndpoints"][0]["relabelings"][0]
        for role, one in of_kind(rendered(platform, *EVERYTHING), "PodMonitor").items()
    }
    assert jobs["worker"] == {"targetLabel": "job", "replacement": "marquee-worker"}
    assert jobs["door"] == {"targetLabel": "job", "replacement": "marquee-api"}


def test_identities_are_the_platforms_own(platform: str) -> None:
    documents = rendered(platform)
    accounts = [list(one["metadata"].get("annotations", {})) for one in documents if one["kind"] == "ServiceAccount"]
    labels = of_kind(documents, "Deployment")["worker"]["spec"]["template"]["metadata"]["labels"]
    keys = {"eks": "eks.amazonaws.com/role-arn", "aks": "azure.workload.identity/client-id"}
    assert accounts == [[keys[platform]] if platform in keys else []] * 2
    assert ("azure.workload.identity/use" in labels) == (platform == "aks")
