"""Alert rules and the dashboard are what Prometheus takes, each alert comes when it should, and all metrics that they name are told."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
PROMETHEUS = REPOSITORY / "observability" / "prometheus"
GRAFANA = REPOSITORY / "observability" / "grafana"


def promtool(*words: str, cwd: Path = PROMETHEUS) -> None:
    ran = subprocess.run(["promtool", *words], cwd=cwd, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def expressions() -> list[str]:
    """Of all rules and all panels."""
    rules = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())
    found = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    for file in GRAFANA.glob("*.json"):
        found += [target["expr"] for panel in json.loads(file.read_text())["panels"] for target in panel["targets"]]
    return found


def test_the_rules_are_rules() -> None:
    promtool("check", "rules", "alerts.yml")


def test_each_alert_comes_when_it_should() -> None:
    promtool("test", "rules", "alerts.test.yml")


def test_every_alert_is_tested() -> None:
    rules = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())
    names = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    tested = (PROMETHEUS / "alerts.test.yml").read_text()
    assert names
    assert {name for name in names if name not in tested} == set()


@pytest.mark.parametrize("file", ["prometheus.yml", "containers.yml"])
def test_the_configuration_is_one(file: str) -> None:
    promtool("check", "config", file)


def test_every_panel_asks_what_can_be_asked(tmp_path: Path) -> None:
    records = [{"record": f"panel:{number}", "expr": one} for number, one in enumerate(expressions())]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": records}]}))
    promtool("check", "rules", "panels.yml", cwd=tmp_path)


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_named_is_told(expression: str) -> None:
    told = set(re.findall(r"`(marquee_[a-z_]+)`", (REPOSITORY / "docs" / "metrics.md").read_text()))
    named = {re.sub(r"_bucket$", "", name) for name in re.findall(r"\bmarquee_[a-z_]+\b", expression)}
    assert named - told == set()


def test_panels_do_not_lie_over_each_other() -> None:
    for file in GRAFANA.glob("*.json"):
        cells: set[tuple[int, int]] = set()
        for panel in json.loads(file.read_text())["panels"]:
            at = panel["gridPos"]
            own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert max(x for x, _ in own) < 24
            assert not own & cells
            cells |= own
