"""requirements.lock is what `make setup` installs, so it must fit pyproject.toml, verify what it fetches and name no host."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]
PACKAGES = {"cluster", "connectors", "loadgen", "marquee", "serving", "streams", "topologies"}
LOCK = (REPOSITORY / "requirements.lock").read_text()


def locked() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)(?:\[.*?\])?==(\S+)", LOCK, re.MULTILINE):
        found.setdefault(canonicalize_name(name), []).append(version)
    return found


def test_the_lock_fits_what_the_project_asks_for() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    versions = locked()
    for text in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        wanted = Requirement(text)
        assert versions.get(canonicalize_name(wanted.name)), f"{text} is not locked: run make lock"
        assert all(version in wanted.specifier for version in versions[canonicalize_name(wanted.name)]), f"{text}: run make lock"


def imported() -> dict[str, list[Path]]:
    """The top-level modules that the project's packages import, and where; their own and Python's apart."""
    found: dict[str, list[Path]] = {}
    for package in PACKAGES:
        for file in (REPOSITORY / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                named = [one.name for one in node.names] if isinstance(node, ast.Import) else []
                named += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
                for name in {one.split(".")[0] for one in named} - sys.stdlib_module_names - PACKAGES:
                    found.setdefault(name, []).append(file)
    return found


def test_what_is_imported_is_asked_for_by_the_project_itself() -> None:
    """Not only by its tests, nor by what it asks for."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *(text for extra in ("aws", "azure", "kubernetes") for text in extras[extra])]
    declared = {canonicalize_name(Requirement(text).name) for text in asked}
    givers = packages_distributions()
    missing = {
        name: [str(file.relative_to(REPOSITORY)) for file in files]
        for name, files in imported().items()
        if not declared & {canonicalize_name(giver) for giver in givers.get(name, ())}
    }
    assert missing == {}


def test_everything_locked_has_a_hash() -> None:
    for block in re.split(r"\n(?=[a-z0-9])", LOCK)[1:]:
        assert "--hash=sha256:" in block, block.splitlines()[0]


def test_the_lock_names_no_host() -> None:
    assert not re.search(r"https?://|--index|--find-links", LOCK)
