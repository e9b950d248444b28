"""`up`, `status`, `config`, `down` together: one terminal runs the cluster, the others find it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cluster.local import ALL_SERVICES
from cluster.process import wait_until
from tests.marquee.running import ROOT, Foreground, answers, document, marquee, sentence

CLIENTS = [name for name in ALL_SERVICES if name != "haproxy"]
"""The servers that Marquee is a client of."""
JARS = {"MARQUEE_LOCAL__JARS": str(ROOT / "var" / "jars")}


def test_up_is_found_by_the_other_commands_and_stopped_by_down(tmp_path: Path) -> None:
    with Foreground(tmp_path, "up", "--workers", "0", environment=JARS) as up:
        up.wait_said("up with 0 workers", 400)
        config = document(marquee(tmp_path, "config", "kafka", "--json"))
        assert config["kafka.bootstrap"]["from"] == "local cluster"
        assert config["kafka.bootstrap"]["value"] in up.said
        assert "already runs" in sentence(marquee(tmp_path, "up", environment=JARS), 2)
        status = document(marquee(tmp_path, "status", "--json"))
        assert {server["name"]: server["ok"] for server in status["servers"]} == dict.fromkeys(CLIENTS, True)
        assert (len(status["sources"]), status["lag"]) == (8, 0)
        assert wait_until(lambda: registered(tmp_path) == [("api", "api-0"), ("collector", "api-0")], 120)
        door = re.findall(r"door +(http://\S+), in front of 1 API", up.said)[0]
        assert wait_until(lambda: answers(f"{door}/v1/views"), 120)
        assert marquee(tmp_path, "down").returncode == 0
        assert up.ended(120) == 0
    assert not (tmp_path / "var/clusters/local/cluster.json").exists()
    assert "no local cluster" in sentence(marquee(tmp_path, "down"), 1)


def registered(directory: Path) -> list[tuple[str, str]]:
    """Who is up, as `marquee members` has it."""
    return [(member["role"], member["id"]) for member in document(marquee(directory, "members", "--json"))["members"]]


@pytest.mark.timeout(1_500)
def test_the_demo_is_exact_and_leaves_nothing(tmp_path: Path) -> None:
    faults = "duplicates,late,malformed,out-of-order"
    arguments = ("demo", "--events", "20000", "--rate", "4000", "--workers", "1", "--faults", faults, "--json")
    found = document(marquee(tmp_path, *arguments, environment=JARS, timeout_s=1_200))
    assert (found["exact"], found["generated"], found["unaccounted"]) == (True, 20_000, 0)
    assert found["received"] == found["applied"] + found["duplicate"] + found["late"] + found["dead"]
    assert min(found["duplicate"], found["late"], found["dead"]) > 0
    assert (found["workers"][0]["n"], found["workers"][0]["wanted"]) == (1, 1)
    assert found["events_per_core_second"] > 0
    assert list(found["steps"]) == ["cluster", "workers", "drive", "catch_up", "audit", "stop"]
    assert list((tmp_path / "var/clusters").iterdir()) == []
