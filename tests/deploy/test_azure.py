"""deploy/azure: what its template makes is what Azure's own models know, to the name and the type, and is made and scaled by its SDK.

Azure's linters are not to be had without its command line or its cloud (docs/decisions/0076), so the template is worked out here, and
each resource is held against the models that Microsoft generates from the API's specification.
"""

from __future__ import annotations

import base64
import configparser
import enum
import json
import shlex
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.identity import DefaultAzureCredential
from azure.mgmt.authorization.v2022_04_01.models import RoleAssignmentCreateParameters, RoleDefinition
from azure.mgmt.compute import ComputeManagementClient
from azure.mgmt.compute import models as compute
from azure.mgmt.compute._utils.model_base import Model
from azure.mgmt.msi.v2024_11_30.models import Identity

from cluster.scaling.azure import ScaleSet
from marquee.cli import cli
from marquee.config import VARIABLES
from tests.arm import Deployment, Wrong
from tests.clouds import SUBSCRIPTION, azure

TEMPLATE = Path(__file__).parents[2] / "deploy" / "azure" / "marquee.json"
GIVEN: dict[str, Any] = {
    "subnetId": f"/subscriptions/{SUBSCRIPTION}/resourceGroups/net/providers/Microsoft.Network/virtualNetworks/tv/subnets/marquee",
    "image": "registry.example/marquee:1",
    "settings": {"MARQUEE_KAFKA__BOOTSTRAP": "10.0.0.1:9093", "MARQUEE_KAFKA__LOGIN": "scram", "MARQUEE_KAFKA__TLS": "true"},
    "secrets": {"MARQUEE_KAFKA__PASSWORD": 'it\'s = 5 %"{0}"# $x'},
    "adminPublicKey": "ssh-ed25519 AAAA",
}
SCALE_SET = "Microsoft.Compute/virtualMachineScaleSets"
MODELS: dict[str, tuple[str, Any]] = {
    SCALE_SET: ("2026-04-01", compute.VirtualMachineScaleSet),
    "Microsoft.ManagedIdentity/userAssignedIdentities": ("2024-11-30", Identity),
    "Microsoft.Authorization/roleDefinitions": ("2022-04-01", RoleDefinition),
    "Microsoft.Authorization/roleAssignments": ("2022-04-01", RoleAssignmentCreateParameters),
}
OF_THE_TEMPLATE = {"type", "apiVersion", "name", "dependsOn", "scope", "id"}
"""What a resource's document has for the deployment alone."""


def template() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(TEMPLATE.read_text())
    return read


def resources(changed: dict[str, Any] | None = None, **given: Any) -> list[dict[str, Any]]:
    return Deployment(changed or template(), GIVEN | given, SUBSCRIPTION).resources()


def faults(value: Any, hint: Any, where: str) -> Iterator[str]:
    """What is wrong with it by the model's types."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return
    if origin in (typing.Union, types.UnionType):
        kinds = [one for one in inner if one is not type(None)]
        named = [one for one in kinds if isinstance(one, type) and issubclass(one, enum.Enum)]
        yield from faults(value, named[0] if named else kinds[0], where)
    elif origin is list:
        if not isinstance(value, list):
            yield f"{where} is not a list"
            return
        for number, one in enumerate(value):
            yield from faults(one, inner[0], f"{where}[{number}]")
    elif origin in (dict, Mapping):
        for name, one in value.items():
            yield from faults(one, inner[1], f"{where}[{name}]")
    elif issubclass(hint, enum.Enum):
        if value not in {one.value for one in hint}:
            yield f"{where} cannot be {value!r}"
    elif issubclass(hint, Model):
        yield from _faults_of_a_model(value, hint, where)
    elif type(value) is not hint:
        yield f"{where} is not of type {hint.__name__}"


def _faults_of_a_model(value: Any, model: Any, where: str) -> Iterator[str]:
    fields = {field._rest_name: name for name, field in model({})._attr_to_rest_field.items()}
    hints = typing.get_type_hints(model, vars(sys.modules[model.__module__]), {"_models": compute})
    for name, one in value.items():
        if name in fields:
            yield from faults(one, hints[fields[name]], f"{where}.{name}")
        else:
            yield f"{where} has no {name}"


def faults_of(resource: dict[str, Any]) -> list[str]:
    version, model = MODELS[resource["type"]]
    body = {name: value for name, value in resource.items() if name not in OF_THE_TEMPLATE}
    wrong = [] if resource["apiVersion"] == version else [f"{resource['type']} is not checked as of {resource['apiVersion']}"]
    if model is compute.VirtualMachineScaleSet:
        return wrong + list(faults(body, model, resource["name"]))
    kept = model.deserialize(body).serialize(keep_readonly=True)  # what it does not know is dropped
    return wrong if kept == body else [*wrong, f"{resource['name']}: {body} is read as {kept}"]


def test_every_resource_is_of_names_and_values_that_azure_has() -> None:
    pool = "/subscriptions/x/backendAddressPools/apis"
    for given, pools in ((None, []), (pool, [{"id": pool}])):
        made = resources(backendPoolId=given or "")
        assert {one["type"] for one in made} == MODELS.keys()
        assert [fault for one in made for fault in faults_of(one)] == []
        assert f'"applicationGatewayBackendAddressPools": {json.dumps(pools)}' in json.dumps(made)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("customData", "customdata"),
        ("maxBatchInstancePercent", "maxBatchPercent"),
        ('"Rolling"', '"rolling-upgrade"'),
        ('"overprovision": false', '"overprovision": "no"'),
        ("assignableScopes", "assignableScope"),
        ("principalType", "kind"),
        ('"2026-04-01"', '"2019-07-01"'),
    ],
)
def test_a_name_or_value_that_azure_does_not_have_is_found(right: str, wrong: str) -> None:
    text = TEMPLATE.read_text()
    assert right in text
    assert [fault for one in resources(json.loads(text.replace(right, wrong))) for fault in faults_of(one)] != []


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("parameters('image')", "parameters('picture')", "no picture among the parameters"),
        ("variables('osDisk')", "variables('imageReference')", "nobody uses"),
        ("[base64(", "[base46(", "no function base46"),
        (").clientId", ").client", "has no client"),
        ("[resourceGroup().location]", "[resourceGroup().location)]", "what is"),
        ('"dependsOn"', '"comments"', "does not wait for"),
    ],
)
def test_a_template_that_does_not_hold_together_is_found(right: str, wrong: str, said: str) -> None:
    text = TEMPLATE.read_text()
    assert right in text
    with pytest.raises(Wrong, match=said):
        resources(json.loads(text.replace(right, wrong)))


def started(resource: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
    """The words that a machine of the scale set runs Marquee with, and the environment."""
    data = base64.b64decode(resource["properties"]["virtualMachineProfile"]["osProfile"]["customData"]).decode()
    assert data.startswith("#cloud-config\n")
    written = {one["path"]: one for one in yaml.safe_load(data)["write_files"]}
    lines = base64.b64decode(written["/etc/marquee.env"]["content"]).decode().split("\n")
    assert written["/etc/marquee.env"]["permissions"] == "0600"
    unit = configparser.RawConfigParser(delimiters="=")
    unit.read_string(written["/etc/systemd/system/marquee.service"]["content"])
    words = shlex.split(unit["Service"]["ExecStart"])
    assert words[words.index("--env-file") + 1] == "/etc/marquee.env"
    return words[words.index(GIVEN["image"]) + 1 :], dict(line.split("=", 1) for line in lines)


def test_each_machine_runs_a_command_that_there_is_with_the_settings_as_they_were_given() -> None:
    machines = {one["name"]: started(one) for one in resources(name="tv") if one["type"] == SCALE_SET}
    assert {name: words[0] for name, (words, _) in machines.items()} == {
        "tv-workers": "worker",
        "tv-apis": "serve",
        "tv-autoscalers": "autoscale",
    }
    assert machines["tv-autoscalers"][0] == ["autoscale", "2..24", "--vmss", "tv/tv-workers"]
    for words, environment in machines.values():
        assert environment.keys() - {"AZURE_SUBSCRIPTION_ID", "AZURE_CLIENT_ID"} <= set(VARIABLES.values())
        assert (GIVEN["settings"] | GIVEN["secrets"]).items() <= environment.items()
        marquee = click.Context(cli, info_name="marquee", **cli.context_settings)
        command = cli.get_command(marquee, words[0])
        assert command is not None
        command.make_context(words[0], words[1:], parent=marquee)  # raises click.UsageError for words that it does not have


@pytest.mark.parametrize(("name", "variable"), [("tv-workers", "MARQUEE_WORKER__HTTP_PORT"), ("tv-apis", "MARQUEE_API__HTTP_PORT")])
def test_a_machine_answers_at_the_port_where_azure_looks_for_its_health(name: str, variable: str) -> None:
    made = next(one for one in resources(name="tv") if one["name"] == name)
    (health,) = made["properties"]["virtualMachineProfile"]["extensionProfile"]["extensions"]
    _, environment = started(made)
    assert environment[variable] == str(health["properties"]["settings"]["port"])
    assert environment["MARQUEE_API__HTTP_HOST"] == "0.0.0.0"  # a gateway's requests come from elsewhere


def test_the_scale_set_is_made_by_azures_sdk_and_scaled_by_marquee() -> None:
    made = next(one for one in resources() if one["name"] == "marquee-workers")
    body = {name: value for name, value in made.items() if name not in OF_THE_TEMPLATE}
    with azure(0, "marquee-workers") as (server, address):
        client = ComputeManagementClient(DefaultAzureCredential(), SUBSCRIPTION, base_url=address, authentication_policy=SansIOHTTPPolicy())
        client.virtual_machine_scale_sets.begin_create_or_update(
            "tv", "marquee-workers", compute.VirtualMachineScaleSet(body), polling=False
        )
        assert server.made == body
        workers = ScaleSet("tv/marquee-workers", SUBSCRIPTION, address)
        assert workers.wanted() == 2
        workers.scale(5)
        assert server.capacity == 5
