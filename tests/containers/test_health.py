"""The image's health check: a container is well when its command is ready."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from connectors.sockets import listen
from marquee.cli import cli
from marquee.healthy import trouble
from marquee.ready_file import VARIABLE, ready_file_option
from tests.http_server import Answer, serving

UNDER_INIT = ["/sbin/docker-init", "--", "marquee", "worker", ""]


@contextmanager
def door(status: int) -> Iterator[str]:
    """Where `/readyz`, and nothing else, is answered so."""

    def judge(request: BaseHTTPRequestHandler, _body: bytes) -> Answer:
        return status if request.path == "/readyz" else 404, b"Cassandra is away", "text/plain"

    with serving(judge) as address:
        yield address


@pytest.fixture
def ready_file(tmp_path: Path) -> Path:
    return tmp_path / "ready.json"


@pytest.mark.parametrize("command", [UNDER_INIT, ["marquee", "-s", "api.http_port=0", "serve"]])
def test_who_is_not_ready_yet_is_not_well(command: list[str], ready_file: Path) -> None:
    assert "not ready yet" in trouble(command, ready_file)


def test_who_answers_that_it_is_ready_is_well(ready_file: Path) -> None:
    with door(200) as address:
        ready_file.write_text(json.dumps({"http": address}))
        assert trouble(UNDER_INIT, ready_file) == ""


def test_who_says_that_it_lacks_something_is_not_well_and_says_what(ready_file: Path) -> None:
    with door(503) as address:
        ready_file.write_text(json.dumps({"http": address}))
        assert "503: Cassandra is away" in trouble(UNDER_INIT, ready_file)


def test_who_was_ready_and_does_not_answer_any_more_is_not_well(ready_file: Path) -> None:
    with door(200) as address:
        ready_file.write_text(json.dumps({"http": address}))
    assert "does not answer" in trouble(UNDER_INIT, ready_file)


def test_a_command_that_ends_by_itself_is_well_while_it_runs(ready_file: Path) -> None:
    assert trouble(["marquee", "load", "--events", "7"], ready_file) == ""


@pytest.mark.parametrize(
    "command", [["marquee", "load", "--run", "worker"], ["marquee", "--edition", "serve", "audit", "serve"], ["marquee", "-s", "worker"]]
)
def test_what_only_has_such_a_name_among_its_words_has_no_door(command: list[str], ready_file: Path) -> None:
    assert trouble(command, ready_file) == ""


@pytest.mark.parametrize("options", [["-sapi.http_port=0"], ["--set=a.b=c"], ["--edition", "load", "--config", "load"], []])
def test_options_before_the_command_hide_it_not(options: list[str], ready_file: Path) -> None:
    assert "not ready yet" in trouble(["/opt/marquee/bin/python", "/opt/marquee/bin/marquee", *options, "worker", ""], ready_file)


def test_every_option_before_the_command_takes_one_value() -> None:
    assert cli.params
    assert all(isinstance(option, click.Option) and not option.is_flag and option.nargs == 1 for option in cli.params)


def test_the_ready_file_is_told_by_the_environment_too(ready_file: Path) -> None:
    told: list[Path] = []

    @click.command()
    @ready_file_option("it is there")
    def waits(ready_file: Path) -> None:
        told.append(ready_file)

    CliRunner().invoke(waits, env={VARIABLE: str(ready_file)}, catch_exceptions=False)
    assert told == [ready_file]


def test_a_door_on_all_addresses_tells_one_that_can_be_asked() -> None:
    opened, address = listen("0.0.0.0", 0, "worker", "worker")
    with opened:
        host = address.removeprefix("http://").rpartition(":")[0]
    assert host not in ("0.0.0.0", "")
