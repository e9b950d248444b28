"""What the chart renders is what Kubernetes takes, in every way that it can be asked for."""

from __future__ import annotations

import kubernetes_validate
import pytest
import yaml

from tests.kubernetes.rendering import CHART, ELSEWHERE, EVERYTHING, PLATFORMS, REPOSITORY, Document, helm, of_kind, rendered

OLDEST, NEWEST = "1.30", "1.36"
"""Of Kubernetes: what Chart.yaml asks for, and what `make kubernetes` installs it in."""
WAYS = {
    "marquee": ("scaling.mode=marquee",),
    "keda": ("scaling.mode=keda", "scaling.keda.authenticationRef=kafka", "scaling.keda.metadata.tls=enable"),
    "none": ("scaling.mode=none", "networkPolicy.enabled=false"),
    "everything": (
        *EVERYTHING,
        "doors.ingress.enabled=true",
        "doors.ingress.hosts={tv.example.org}",
        "doors.ingress.tlsSecret=tv",
        "secretProviderClasses={vault}",
        "image.pullSecrets={registry}",
        "workers.priorityClassName=high",
        "workers.tolerations[0].key=spot",
        "workers.tolerations[0].operator=Exists",
        "networkPolicy.extraEgress[0].ports[0].port=443",
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_document_is_valid(platform: str, way: str) -> None:
    documents = rendered(platform, *WAYS[way])
    kinds = {one["kind"] for one in documents}
    assert kinds >= {"ConfigMap", "Deployment", "PodDisruptionBudget", "Service", "ServiceAccount"}
    for document in documents:
        if document["apiVersion"] not in ELSEWHERE:
            for version in (OLDEST, NEWEST):
                kubernetes_validate.validate(document, version, strict=True)


def test_the_validator_refuses_what_is_wrong() -> None:
    worker = yaml.safe_load(yaml.safe_dump(of_kind(rendered(), "Deployment")["worker"]))
    worker["spec"]["minReadySecs"] = 5
    with pytest.raises(kubernetes_validate.ValidationError, match="minReadySecs"):
        kubernetes_validate.validate(worker, NEWEST, strict=True)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_helm_has_nothing_to_object_to(platform: str) -> None:
    files = [f"--values={file}" for file in PLATFORMS[platform]]
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART), *files)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_no_two_documents_have_one_name(platform: str) -> None:
    names = [(one["kind"], one["metadata"]["name"]) for one in rendered(platform, *EVERYTHING)]
    assert len(names) == len(set(names))


def test_every_document_is_in_the_releases_namespace() -> None:
    assert {one["metadata"]["namespace"] for one in rendered("plain", *EVERYTHING)} == {"stream"}


def test_long_names_stay_within_what_names_may_be() -> None:
    for document in rendered("plain", f"fullnameOverride={'x' * 80}"):
        assert len(document["metadata"]["name"]) <= 52, document["metadata"]["name"]


def test_the_alert_rules_are_the_repositorys() -> None:
    source = (REPOSITORY / "observability" / "prometheus" / "alerts.yml").read_text()
    assert (CHART / "files" / "alerts.yml").read_text() == source, f"cp observability/prometheus/alerts.yml {CHART}/files/"
    rules: Document = of_kind(rendered("plain", *EVERYTHING), "PrometheusRule")["alerts"]
    assert rules["spec"] == yaml.safe_load(source)


def test_the_chart_is_of_marquees_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert f'version = "{chart["appVersion"]}"' in (REPOSITORY / "pyproject.toml").read_text()
    assert chart["kubeVersion"] == f">={OLDEST}.0-0"
