"""The chart as Helm renders it, and the settings that processes in its pods would have."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from marquee.config import resolve
from topologies.settings import Settings

REPOSITORY: Final = Path(__file__).parents[2]
CHART: Final = REPOSITORY / "deploy" / "helm" / "marquee"
HELM: Final = REPOSITORY / "var" / "tools" / "helm"
Document = dict[str, Any]

PLATFORMS: Final[dict[str, tuple[Path, ...]]] = {"plain": (), "eks": (CHART / "values-eks.yaml",), "aks": (CHART / "values-aks.yaml",)}
EVERYTHING: Final = ("monitoring.podMonitors.enabled=true", "monitoring.rules.enabled=true")
ELSEWHERE: Final = ("keda.sh/v1alpha1", "monitoring.coreos.com/v1")
"""Kinds that Kubernetes itself does not have: `make kubernetes` asks their own definitions."""
ROLES: Final = ("worker", "door", "autoscaler")


class Refused(Exception):
    """What Helm said instead of rendering."""


@cache
def rendered(platform: str = "plain", *values: str) -> list[Document]:
    """Every document of the chart for one of PLATFORMS and `--set` values. Raises Refused where Helm refuses them."""
    return of_files(*PLATFORMS[platform], values=values)


def of_files(*files: Path, values: Sequence[str] = ()) -> list[Document]:
    """The same for values files."""
    words = [*(f"--values={file}" for file in files), *(f"--set={value}" for value in values)]
    return [document for document in yaml.safe_load_all(helm("template", "tv", str(CHART), "--namespace=stream", *words)) if document]


def helm(*words: str) -> str:
    """What it prints. Raises Refused with what it says on stderr when it fails."""
    assert HELM.exists(), f"{HELM} is missing: run `make setup`"
    ran = subprocess.run([str(HELM), *words], capture_output=True, text=True, check=False, timeout=400)
    if ran.returncode:
        raise Refused(ran.stderr)
    return ran.stdout


def of_kind(documents: list[Document], kind: str) -> dict[str, Document]:
    """By component."""
    return {one["metadata"]["labels"]["app.kubernetes.io/component"]: one for one in documents if one["kind"] == kind}


def pod(deployment: Document) -> Document:
    """The specification of its pods."""
    found: Document = deployment["spec"]["template"]["spec"]
    return found


def containers(deployment: Document) -> list[Document]:
    """Those that prepare its pods too."""
    return [*pod(deployment).get("initContainers", []), container(deployment)]


def container(deployment: Document) -> Document:
    """The one container of its pods."""
    (found,) = pod(deployment)["containers"]
    assert isinstance(found, dict)
    return found


def environment_in(documents: list[Document], deployment: Document, given: Mapping[str, str]) -> dict[str, str]:
    """The variables that a process in its pods has from the chart. given: what stands in Secrets, and what Kubernetes says of a pod, by
    where it stands (`name/key`, `status.podIP`)."""
    maps = {one["metadata"]["name"]: one["data"] for one in documents if one["kind"] == "ConfigMap"}
    environment: dict[str, str] = {}
    for source in container(deployment)["envFrom"]:
        environment.update(maps[source["configMapRef"]["name"]])
    for variable in container(deployment)["env"]:
        environment[variable["name"]] = _value(variable, environment, given)
    return environment


def settings_in(documents: list[Document], deployment: Document, given: Mapping[str, str]) -> Settings:
    """What marquee.config makes of them."""
    return resolve(environment=environment_in(documents, deployment, given), directory=Path("/nowhere")).settings


def _value(variable: Document, environment: Mapping[str, str], given: Mapping[str, str]) -> str:
    if "value" not in variable:
        ((kind, place),) = variable["valueFrom"].items()
        return given[place["fieldPath"] if kind == "fieldRef" else f"{place['name']}/{place['key']}"]
    text: str = variable["value"]
    for name, value in environment.items():
        text = text.replace(f"$({name})", value)
    return text


def selects(selector: Document, labels: Mapping[str, str]) -> bool:
    """Whether a selector of labels takes these; an empty one takes all."""
    assert set(selector) <= {"matchLabels"}
    return all(labels.get(name) == value for name, value in selector.get("matchLabels", {}).items())


def deployments(documents: list[Document]) -> Iterator[tuple[str, Document]]:
    """Each with its component."""
    yield from of_kind(documents, "Deployment").items()
