"""The stacks of deploy/aws: in order by CloudFormation's linter, deployed to moto as far as moto goes, and there scaled."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import click
import yaml

from cluster.scaling.aws import EcsService
from marquee.cli import cli
from marquee.config import VARIABLES
from tests.clouds import aws

REPOSITORY = Path(__file__).parents[2]
STORES, MARQUEE = (REPOSITORY / "deploy" / "aws" / name for name in ("stores.yaml", "marquee.yaml"))
BEYOND_MOTO = {
    *("AWS::MSK::Cluster", "AWS::MSK::Configuration", "AWS::ElastiCache::SubnetGroup", "AWS::ElastiCache::ParameterGroup"),
    *("AWS::ElastiCache::ReplicationGroup", "AWS::ElastiCache::CacheCluster", "AWS::SecretsManager::Secret"),
}
"""What moto's CloudFormation does not make: the linter alone judges these."""


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms (!Ref, !Sub, …), as the long ones."""


def _long(loader: _Loader, tag: str, node: yaml.Node) -> dict[str, Any]:
    name = tag if tag in ("Ref", "Condition") else f"Fn::{tag}"
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
        return {name: value.split(".", 1) if tag == "GetAtt" else value}
    assert isinstance(node, yaml.SequenceNode)
    return {name: loader.construct_sequence(node, deep=True)}


_Loader.add_multi_constructor("!", _long)


def template(path: Path) -> Any:
    return yaml.load(path.read_text(), _Loader)  # a safe loader's


def within_moto(value: Any, absent: set[str]) -> Any:
    """The same, where what refers to a resource that moto does not make has its name instead."""
    if isinstance(value, list):
        return [within_moto(one, absent) for one in value]
    if not isinstance(value, dict):
        return value
    if value.get("Ref") in absent:
        return value["Ref"]
    if value.get("Fn::GetAtt", [""])[0] in absent:
        return ".".join(value["Fn::GetAtt"])
    if isinstance(text := value.get("Fn::Sub"), str):
        return {"Fn::Sub": re.sub(r"\$\{(\w+)[.\w]*\}", lambda found: found[1] if found[1] in absent else found[0], text)}
    return {key: within_moto(one, absent) for key, one in value.items()}


def lint(*paths: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("cfn-lint")
    words: list[str | Path] = [program, "--non-zero-exit-code", "warning", "--format", "parseable", "--template", *paths]
    return subprocess.run(words, capture_output=True, text=True, timeout=300)


def test_the_linter_finds_nothing_and_would_find_a_misspelt_property(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(STORES.read_text().replace("TransitEncryptionEnabled", "TransitEncryption").replace("KafkaVersion:", "KafkaVersoin:"))
    found = lint(STORES, MARQUEE, wrong)
    assert found.returncode != 0
    lines = found.stdout.splitlines()
    assert [line for line in lines if not line.startswith(str(wrong))] == []
    assert all(any(word in line for line in lines) for word in ("TransitEncryption", "KafkaVersoin", "KafkaVersion"))


def containers() -> dict[str, Any]:
    """The containers of the task definitions, by name."""
    found = template(MARQUEE)["Resources"].values()
    tasks = [one["Properties"] for one in found if one["Type"] == "AWS::ECS::TaskDefinition"]
    return {container["Name"]: container for task in tasks for container in task["ContainerDefinitions"]}


def test_what_the_containers_are_told_are_settings_and_commands_that_there_are() -> None:
    found, context = containers(), click.Context(cli)
    assert set(found) == {"worker", "api", "autoscaler"}
    told = {name: {one["Name"]: one["Value"] for one in container["Environment"]} for name, container in found.items()}
    secret = {name: {one["Name"] for one in container["Secrets"]} for name, container in found.items()}
    for name, container in found.items():
        assert container["Command"][0] in cli.list_commands(context)
        assert told[name].keys() | secret[name] <= set(VARIABLES.values())
        assert told[name]["MARQUEE_KAFKA__LOGIN"] == "msk-iam"
    assert all("MARQUEE_WORKER__REGION" in one for one in told.values()), (
        "an autoscaler measures, and an API asks for, that region's sources"
    )
    for variable in set.union(*(set(one) for one in told.values())):
        values = [one[variable] for one in told.values() if variable in one]
        assert all(value == values[0] for value in values), variable
    autoscale = cli.get_command(context, "autoscale")
    assert autoscale is not None
    assert "--ecs" in {option for parameter in autoscale.params for option in parameter.opts}
    assert "--ecs" in found["autoscaler"]["Command"]


def test_how_many_workers_there_are_is_the_autoscalers_alone() -> None:
    # CloudFormation leaves a number that it is not told as it is; told one, it would set it with each new version.
    assert "DesiredCount" not in template(MARQUEE)["Resources"]["Workers"]["Properties"]


def network() -> dict[str, str]:
    """A network of moto's, and what else the stacks are given."""
    ec2: Any = boto3.client("ec2")
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    subnets = ",".join(subnet["SubnetId"] for subnet in ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"])
    return {"Vpc": vpc, "Subnets": subnets, "PublicSubnets": subnets}


def deployed(client: Any, name: str, path: Path, given: dict[str, str]) -> None:
    """All of the template that moto makes, made."""
    whole = template(path)
    absent = {key for key, resource in whole["Resources"].items() if resource["Type"] in BEYOND_MOTO}
    known = whole["Parameters"]
    parameters = [{"ParameterKey": key, "ParameterValue": value} for key, value in given.items() if key in known]
    resources = {key: resource for key, resource in whole["Resources"].items() if key not in absent}
    body = json.dumps(within_moto(whole | {"Resources": resources}, absent))
    client.create_stack(StackName=name, TemplateBody=body, Parameters=parameters, Capabilities=["CAPABILITY_IAM"])
    assert client.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE"
    made = {one["LogicalResourceId"] for one in client.describe_stack_resources(StackName=name)["StackResources"]}
    assert made == whole["Resources"].keys() - absent


def test_the_stacks_deploy_and_the_service_is_scaled() -> None:
    with aws():
        client: Any = boto3.client("cloudformation")
        secret = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:cassandra-AbCdEf"
        certificates: Any = boto3.client("acm")
        certificate = certificates.request_certificate(DomainName="tv.example")["CertificateArn"]
        given = network() | {
            "Stores": "stores",
            "Bootstrap": "b-1.x.c2.kafka.eu-central-1.amazonaws.com:9098",
            "Image": "registry.example/marquee:1",
            "CertificateArn": certificate,
            "CassandraHosts": "10.0.0.1,10.0.0.2,10.0.0.3",
            "CassandraSecret": secret,
            "ZooKeeperHosts": "10.0.1.1:2181,10.0.1.2:2181,10.0.1.3:2181",
        }
        deployed(client, "stores", STORES, given)
        deployed(client, "tv", MARQUEE, given)
        ecs: Any = boto3.client("ecs")
        told = ecs.describe_task_definition(taskDefinition="tv-worker")["taskDefinition"]["containerDefinitions"][0]
        environment = {one["name"]: one["value"] for one in told["environment"]}
        assert environment["MARQUEE_KAFKA__BOOTSTRAP"] == given["Bootstrap"]
        assert told["command"] == ["worker"]
        outputs = {one["OutputKey"]: one["OutputValue"] for one in client.describe_stacks(StackName="tv")["Stacks"][0]["Outputs"]}
        service = EcsService(outputs["Workers"])
        service.scale(8)
        assert ecs.describe_services(cluster="tv", services=["worker"])["services"][0]["desiredCount"] == 8
