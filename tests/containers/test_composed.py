"""What docker-compose.yml and Dockerfile say of Marquee's own containers: true of the settings, the commands and the packages there are.

That it really starts, counts and is exact, `scripts/compose-trial` shows (test_trial.py).
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from marquee.cli import cli
from marquee.config import VARIABLES, resolve
from marquee.healthy import DOORED
from marquee.ready_file import VARIABLE
from topologies.settings import Settings

REPOSITORY = Path(__file__).parents[2]
COMPOSE = REPOSITORY / "docker-compose.yml"
DOCKERFILES = [REPOSITORY / "Dockerfile", *sorted((Path(__file__).parent / "images").glob("*/Dockerfile"))]
SERVERS_ALONE = {"kafka", "cassandra", "redis"}
PROFILES = {
    "core": SERVERS_ALONE | {"worker", "api"},
    "full": SERVERS_ALONE | {"worker", "memcached", "zookeeper", "haproxy", "balancer", "node", "collector"},
    "observability": SERVERS_ALONE | {"prometheus", "grafana"},
    "commands": SERVERS_ALONE | {"marquee"},
}
Services = Mapping[str, Any]


@pytest.fixture(scope="module")
def services() -> Services:
    found: Services = yaml.safe_load(COMPOSE.read_text())["services"]
    return found


@pytest.fixture(scope="module")
def own(services: Services) -> Services:
    """Those made from Dockerfile."""
    return {name: service for name, service in services.items() if "build" in service}


@pytest.fixture(scope="module")
def dockerfile() -> str:
    return re.sub(r"\\\n\s*", "", (REPOSITORY / "Dockerfile").read_text())


def tool(name: str, *words: str) -> None:
    ran = subprocess.run([str(Path(sys.executable).parent / name), *words], capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def places(value: str) -> Iterator[tuple[str, int]]:
    for part in value.removeprefix("redis://").partition("/")[0].split(","):
        host, _, port = part.partition(":")
        yield host, int(port or 0)


def listening(service: Any) -> set[int]:
    """The ports at which a service of the file answers others of it."""
    published = {int(port.rpartition(":")[2]) for port in service.get("ports", ())}
    listeners = service["environment"].get("KAFKA_LISTENERS", "") if "environment" in service else ""
    return published | {int(port) for port in re.findall(r"0\.0\.0\.0:(\d+)", listeners)}


def test_the_file_is_one_that_compose_takes() -> None:
    tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE))


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.parent.name)
def test_images_are_made_as_good_images_are(file: Path) -> None:
    tool("hadolint", "--no-color", "--failure-threshold", "warning", str(file))


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_starts_what_it_says(services: Services, profile: str) -> None:
    started = {name for name, service in services.items() if profile in service.get("profiles", [profile])}
    assert started == PROFILES[profile]
    assert all(set(services[name].get("depends_on", ())) <= started for name in started)


def test_no_container_of_marquee_may_write_or_become_root(own: Services, dockerfile: str) -> None:
    for name, service in own.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.keys() & {"privileged", "user", "cap_add", "pid", "network_mode"}, name
    assert re.findall(r"^USER (.*)$", dockerfile, re.MULTILINE) == ["10001:10001"]


def test_what_marquee_writes_to_is_a_volume_or_in_memory(own: Services, dockerfile: str) -> None:
    kept = set(yaml.safe_load(re.findall(r"^VOLUME (.*)$", dockerfile, re.MULTILINE)[0]))
    given = dict(word.split("=", 1) for line in re.findall(r"^ENV (.*)$", dockerfile, re.MULTILINE) for word in line.split())
    assert {given["NUMBA_CACHE_DIR"], given["MARQUEE_LOCAL__DIRECTORY"]} == kept
    for service in own.values():
        assert {mount.partition(":")[0] for mount in service["tmpfs"]} == {"/tmp", str(Path(given[VARIABLE]).parent)}


def test_haproxy_and_who_tells_it_its_members_are_one_user(services: Services, dockerfile: str) -> None:
    (user,) = re.findall(r"^USER (.*)$", dockerfile, re.MULTILINE)
    assert services["haproxy"]["user"] == user
    options = yaml.safe_load(COMPOSE.read_text())["volumes"]["door"]["driver_opts"]["o"]
    assert options == "uid={},gid={},mode=0700".format(*user.split(":"))
    assert services["balancer"]["command"].split()[1] == services["haproxy"]["environment"]["ADMIN"]


def test_every_variable_is_a_setting(own: Services, dockerfile: str) -> None:
    """And has a value that it may have: those of a wrong one raise."""
    for service in own.values():
        variables = {name: str(value) for name, value in service["environment"].items()}
        assert variables.keys() <= set(VARIABLES.values())
        resolve(environment=variables)
    assert set(re.findall(r"\b(MARQUEE_\w+__\w+)=", dockerfile)) <= set(VARIABLES.values())


def test_every_address_is_a_service_that_listens_there(services: Services, own: Services) -> None:
    for service in own.values():
        settings = resolve(environment={name: str(value) for name, value in service["environment"].items()}).settings
        told = [settings.kafka.bootstrap, settings.redis.url, *settings.zookeeper.hosts, *settings.memcached.servers]
        told += [f"{host}:{settings.cassandra.port}" for host in settings.cassandra.hosts]
        for host, port in (place for value in told for place in places(value)):
            assert port in listening(services[host]), host


def test_every_command_is_one(own: Services) -> None:
    for service in own.values():
        word = service["command"].split()[0]
        assert cli.get_command(click.Context(cli), word) is not None, word


def test_the_commands_with_a_door_are_those_that_the_health_check_asks(own: Services) -> None:
    at_a_door = {service["command"].split()[0] for service in own.values() if "MARQUEE_API__HTTP_HOST" in service["environment"]}
    assert at_a_door | {"worker"} == DOORED


def test_the_api_is_published_where_it_is_without_containers(services: Services) -> None:
    port = Settings().api.http_port
    assert services["api"]["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_no_port_is_published_beyond_this_machine(services: Services) -> None:
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_prometheus_asks_containers_where_they_answer(services: Services) -> None:
    jobs = yaml.safe_load((REPOSITORY / "observability" / "prometheus" / "containers.yml").read_text())["scrape_configs"]
    asked = {name: found["port"] for job in jobs for found in job["dns_sd_configs"] for name in found["names"]}
    assert asked.pop("worker") == services["worker"]["environment"]["MARQUEE_WORKER__HTTP_PORT"]
    assert asked == dict.fromkeys(("api", "node", "collector"), Settings().api.http_port)


def test_grafana_finds_the_dashboard_and_prometheus(services: Services) -> None:
    """Of what its files say; Grafana itself is in no package that the tests could start."""
    provisioning = REPOSITORY / "observability" / "grafana" / "provisioning"
    mounted = {Path(there): REPOSITORY / here for here, there, _ in (volume.split(":") for volume in services["grafana"]["volumes"])}
    assert mounted[Path("/etc/grafana/provisioning")] == provisioning
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "marquee.yml").read_text())["providers"]
    folder = Path(provider["options"]["path"])
    assert [file.name for file in mounted if file.parent == folder] == ["marquee.json"]
    assert services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == str(folder / "marquee.json")
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    host, port = next(places(source["url"].removeprefix("http://")))
    assert port in listening(services[host])


def test_the_image_has_this_version_and_all_packages(own: Services, dockerfile: str) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    assert {service["image"] for service in own.values()} == {f"marquee:{project['project']['version']}"}
    copied = re.findall(r"^COPY (\w+) \1$", dockerfile, re.MULTILINE)
    assert copied == project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    sent = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert sent == {*copied, "pyproject.toml", "requirements.lock", "README.md", "LICENSE"}


def test_the_image_has_every_extra_but_that_of_the_tests(dockerfile: str) -> None:
    """The chart and both clouds' templates start autoscalers of this one image, and workers that sign in to Kafka as their cloud does."""
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"].keys()
    assert set(re.findall(r"--extra (\w+)", dockerfile)) == extras - {"dev"}


def test_the_machines_own_network_is_described_for_every_service(services: Services) -> None:
    """host-network.yml, which a trial with a daemon of its own lays over the file, says of commands and checks only where they are."""
    text = (Path(__file__).parent / "host-network.yml").read_text().replace("!reset []", "[]")
    laid_over = yaml.safe_load(text)["services"]
    assert laid_over.keys() == services.keys() - {"grafana"}
    assert all(service["network_mode"] == "host" for service in laid_over.values())
    for name, service in laid_over.items():
        given = services[name]
        if "command" in service:
            assert service["command"][: len(given["command"])] == given["command"], name
        if "healthcheck" in service:
            (port,) = re.findall(r"127\.0\.0\.1:(\d+):\1", given["ports"][0])
            at_its_port = re.sub(r"\$\{\w+:\?\}", port, service["healthcheck"]["test"])
            assert at_its_port.replace(f" -p {port}", "") == given["healthcheck"]["test"], name
