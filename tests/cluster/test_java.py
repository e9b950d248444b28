from __future__ import annotations

from pathlib import Path

import pytest

from cluster.java import NEWEST, OLDEST, class_path, find_java, version_of
from topologies.errors import SetupError


def test_a_java_that_the_servers_run_on_is_found() -> None:
    assert OLDEST <= find_java().version <= NEWEST


def test_what_is_no_java_has_no_version(tmp_path: Path) -> None:
    assert version_of(tmp_path / "java") is None
    assert version_of(Path("/bin/false")) is None


def test_a_folder_without_jars_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="make setup"):
        class_path(tmp_path)
