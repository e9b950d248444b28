"""The command line as a person meets it: a process of its own, its two streams, its exit code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.distributions import install
from tests.marquee.running import ENVIRONMENT, marquee, sentence
from topologies.views import OTHERS, VIEWS

COMMANDS = {
    *("audit", "autoscale", "balance", "bench", "capacity", "chaos", "checkpoints", "config", "dead", "demo", "doctor", "down"),
    *("hash", "history", "late", "load", "query", "replay", "simulate", "status", "up", "views", "worker"),
}
AWAY = {
    "MARQUEE_KAFKA__BOOTSTRAP": "127.0.0.1:1",
    "MARQUEE_KAFKA__REQUEST_TIMEOUT_S": "3",
    "MARQUEE_REDIS__URL": "redis://127.0.0.1:1/0",
    "MARQUEE_CASSANDRA__PORT": "1",
    "MARQUEE_CASSANDRA__TIMEOUT_S": "3",
    "MARQUEE_MEMCACHED__SERVERS": "127.0.0.1:1",
}
"""Servers where none listens: port 1 refuses at once."""


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    """So it is quick: 0.2 s, of which most is Python's own start. Any of these would add 0.1 s or more."""
    script = "import sys\nfrom marquee.cli import main\nmain(['--help'])\nprint(*sys.modules, file=sys.stderr)"
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=True
    )
    heavy = {"aiokafka", "cassandra", "confluent_kafka", "duckdb", "faust", "numba", "numpy", "polars", "pyarrow", "redis", "rich"}
    assert not heavy & set(ran.stderr.split())


def test_every_command_has_help_with_examples(tmp_path: Path) -> None:
    listed = re.findall(r"^  ([a-z]+)  ", marquee(tmp_path, "--help").stdout.partition("Commands:")[2], flags=re.MULTILINE)
    assert set(listed) >= COMMANDS
    for name in listed:
        ran = marquee(tmp_path, name, "--help")
        assert ran.returncode == 0
        assert "Example" in ran.stdout, name


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("wrker",), "No such command 'wrker'"),
        (("worker", "--nope"), "No such option.*--nope"),
        (("-s", "kafka.bootstrp=x", "config"), "did you mean kafka.bootstrap"),
        (("--config", "absent.toml", "config"), "absent.toml does not exist"),
        (("config", "kafak"), "there is no section 'kafak'"),
        (("query",), "Missing argument 'VIEW'"),
        (("query", "concurents"), "there is no view 'concurents'"),
        (("query", "concurrents", "--by", "cdn=x"), "not kept by 'cdn'"),
        (("query", "watch_time", "--from", "yesterday"), "is no instant"),
        (("query", "watch_time", "--top", "0"), "--top"),
        (("load", "--events", "-5"), "--events"),
        (("load",), "--events"),
        (("load", "--events", "9", "--rate", "nan"), "--rate"),
        (("demo", "--faults", "nosuch"), "nosuch"),
        (("bench", "freshness", "--rate", "nan"), "--rate"),
        (("replay", "absent.csv"), "absent.csv"),
        (("dead", "show", "nonsense"), "SOURCE@OFFSET"),
        (("demo", "--workers", "0"), "--workers"),
        (("chaos", "--seed", "1"), "--minutes"),
        (("capacity", "--workers", "2..1"), "no range of counts from 1 to 256"),
        (("capacity", "--loads", "5000,20000"), "--workers 1..4"),
        (("capacity", "--workers", "1", "--loads", "5000,-1"), "--loads"),
        (("capacity", "--cluster"), "--cluster goes with --workers"),
        (("load", "--resume", "first", "--rate", "5"), "leave the rest out"),
        (("hash", "absent"), "absent"),
        (("chaos", "--seed", "1", "--faults", "3", "--minutes", "2"), "either"),
        (("chaos", "--seed", "1", "--minutes", "0.05"), "no room"),
        (("chaos", "--minutes", "nan", "--plan"), "--minutes.*no number"),
        (("chaos", "--faults", "20000", "--plan"), "--faults"),
        (("chaos", "--faults", "3", "--rate", "inf"), "--rate"),
        (("bench", "nope"), "No such command 'nope'"),
        (("bench", "sessions", "--few", "5", "--many", "5"), "--few has to be less"),
        (("bench", "freshness", "--share", "0.5", "--rate", "100"), "leave --rate out"),
        (("bench", "drain", "--views", "nosuch"), "no view 'nosuch'"),
        (("load", "--backfill", "1h", "--events", "10", "--rate", "5"), "one of them"),
        (("load", "--events", "10", "--titles", "1000000000000"), "--titles"),
        (("load", "--events", "10", "--faults", "late,late=0.5"), "late twice"),
        (("query", "concurrents", "--by", "region=a", "--by", "region=b"), "a dimension twice"),
        (("query", "watch_time", "--to", "1960-01-01"), "1970"),
        (("query", "watch_time", "--to", "0"), "the span is empty"),
        (("query", "watch_time", "--tz", "Mars/Olympus"), "no time zone"),
        (("query", "concurrents", "--every", "3"), "add --watch"),
        (("query", "concurrents", "--watch", "--every", "0"), "--every"),
        (("query", "concurents", "--watch"), "there is no view 'concurents'"),
        (("query", "concurrents", "--spark", "--json"), "leave one of them out"),
        (("query", "accounting", "--top", "3", "--spark"), "takes no --top and no --spark"),
        (("query", "continue_watching", "--by", "account=a"), "by account and profile together"),
        (("source", "accept-gap", "viewing-events:3", "--yes"), "is no source"),
        (("worker", "--ready-file", "/nonexistent/d/w"), "--ready-file"),
    ],
)
def test_a_command_used_wrongly_gets_one_sentence_and_exit_2(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    assert re.search(words, sentence(marquee(tmp_path, *arguments, environment=AWAY), 2))


@pytest.mark.parametrize(
    ("arguments", "server"),
    [
        (("query", "concurrents"), "Redis|Cassandra"),
        (("query", "accounting"), "Redis|Cassandra"),
        (("load", "--events", "10", "--rate", "100"), "Kafka"),
        (("dead", "list"), "Kafka"),
        (("dead", "show", "local:AAAAAAAAAAAAAAAAAAAAAA:0@5"), "Kafka"),
        (("dead", "replay", "--all", "--yes"), "Kafka"),
        (("late", "list"), "Kafka"),
        (("worker",), "Kafka|Cassandra"),
        (("capacity",), "the system does not run: .*kafka, redis, cassandra"),
    ],
)
def test_a_server_that_is_away_gets_one_sentence_and_exit_1(tmp_path: Path, arguments: tuple[str, ...], server: str) -> None:
    said = sentence(marquee(tmp_path, *arguments, environment=AWAY), 1)
    assert re.search(server, said)
    assert "unexpected" not in said


def test_status_works_with_all_servers_away_and_says_which(tmp_path: Path) -> None:
    ran = marquee(tmp_path, "status", "--json", environment=AWAY)
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    servers = {server["name"]: server for server in json.loads(ran.stdout)["servers"]}
    assert {name: server["ok"] for name, server in servers.items()} == dict.fromkeys(("kafka", "redis", "cassandra", "memcached"), False)
    assert "history is read from Cassandra" in servers["memcached"]["detail"]
    assert "127.0.0.1:1" in servers["redis"]["address"]


def test_an_unknown_run_is_answered_with_the_runs_there_are(tmp_path: Path) -> None:
    (tmp_path / "var/runs/first").mkdir(parents=True)
    (tmp_path / "var/runs/first/run.json").write_text("{}")
    said = sentence(marquee(tmp_path, "audit", "second", environment=AWAY), 2)
    assert "second" in said
    assert "first" in said


def test_config_is_one_json_document_with_origins(tmp_path: Path) -> None:
    ran = marquee(tmp_path, "-s", "redis.password=hunter2", "config", "--json", environment=AWAY)
    document = json.loads(ran.stdout)
    assert document["redis.password"] == {"value": "********", "from": "flag"}
    assert document["kafka.bootstrap"] == {"value": "127.0.0.1:1", "from": "environment"}
    assert "hunter2" not in ran.stdout + ran.stderr


def test_views_lists_every_view(tmp_path: Path) -> None:
    document = json.loads(marquee(tmp_path, "views", "--json").stdout)
    views = {view["view"]: view for view in document["views"]}
    assert {*VIEWS, *OTHERS, "accounting"} == set(views)
    assert views["trending"]["trend"]["spans"] == ["5m", "1h"]
    assert [rate["name"] for rate in views["quality"]["rates"]][:2] == ["rebuffer_pct", "bitrate_kbps"]
    assert "startup (p50, p95, p99)" in marquee(tmp_path, "views").stdout


def test_a_view_that_is_installed_and_wrong_is_told_and_help_works_all_the_same(tmp_path: Path) -> None:
    install(tmp_path, "acme_wrong", "STALLS = 'stalls'", {"stalls": "acme_wrong:STALLS"})
    environment = {"PYTHONPATH": f"{ENVIRONMENT['PYTHONPATH']}:{tmp_path}"}
    assert "entry point stalls = acme_wrong:STALLS of acme_wrong 1.0 is no View" in sentence(
        marquee(tmp_path, "views", environment=environment), 1
    )
    assert marquee(tmp_path, "--help", environment=environment).returncode == 0


def test_down_without_a_cluster_says_so(tmp_path: Path) -> None:
    assert "no local cluster" in sentence(marquee(tmp_path, "down"), 1)


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    ran = subprocess.run(
        f"{sys.executable} -m marquee config --json | true",
        shell=True,
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.stderr == ""
