"""Where a setting's value comes from, and what is said about one that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from marquee.config import KNOWN, Resolved, resolve
from topologies.errors import UsageError
from topologies.settings import Settings


def resolved(
    tmp_path: Path,
    *flags: str,
    toml: str = "",
    environment: Mapping[str, str] | None = None,
    local: Mapping[str, str] | None = None,
) -> Resolved:
    (tmp_path / "marquee.toml").write_text(toml)
    return resolve(flags, None, environment or {}, tmp_path, lambda _: local or {})


def test_each_place_outranks_the_ones_after_it(tmp_path: Path) -> None:
    toml = '[kafka]\nbootstrap = "toml:1"\n'
    environment = {"MARQUEE_KAFKA__BOOTSTRAP": "environment:1"}
    local = {"MARQUEE_KAFKA__BOOTSTRAP": "local:1"}
    assert resolved(tmp_path).settings.kafka.bootstrap == Settings().kafka.bootstrap
    assert resolved(tmp_path, local=local).settings.kafka.bootstrap == "local:1"
    assert resolved(tmp_path, local=local, toml=toml).settings.kafka.bootstrap == "toml:1"
    assert resolved(tmp_path, local=local, toml=toml, environment=environment).settings.kafka.bootstrap == "environment:1"
    flagged = resolved(tmp_path, "kafka.bootstrap=flag:1", local=local, toml=toml, environment=environment)
    assert flagged.settings.kafka.bootstrap == "flag:1"


def test_it_tells_where_each_value_came_from(tmp_path: Path) -> None:
    toml = "[kafka]\npartitions = 3\n"
    environment, local = {"MARQUEE_WORKER__NAME": "w"}, {"MARQUEE_CASSANDRA__PORT": "9"}
    found = resolved(tmp_path, "redis.timeout_s=2", toml=toml, environment=environment, local=local)
    names = ("redis.timeout_s", "worker.name", "kafka.partitions", "cassandra.port", "kafka.group")
    assert [found.origins[name] for name in names] == ["flag", "environment", str(tmp_path / "marquee.toml"), "local cluster", "default"]
    assert set(found.origins) == set(KNOWN)


def test_the_last_of_two_flags_counts(tmp_path: Path) -> None:
    assert resolved(tmp_path, "kafka.partitions=1", "kafka.partitions=2").settings.kafka.partitions == 2


def test_a_child_process_sees_the_same_settings(tmp_path: Path) -> None:
    flags = ("kafka.topics=a,b", "worker.redis_flush_s=0.5", "cassandra.hosts=10.0.0.1, 10.0.0.2", "worker.views=")
    settings = resolved(tmp_path, *flags).settings
    assert settings.kafka.topics == ("a", "b")
    assert settings.cassandra.hosts == ("10.0.0.1", "10.0.0.2")
    assert resolved(tmp_path, environment=settings.environment()).settings == settings


def test_toml_values_keep_their_types(tmp_path: Path) -> None:
    settings = resolved(tmp_path, toml='[kafka]\ntopics = ["a", "b"]\n[worker]\nredis_flush_s = 1\n').settings
    assert settings.kafka.topics == ("a", "b")
    assert settings.worker.redis_flush_s == 1.0


@pytest.mark.parametrize(
    ("flags", "toml", "environment", "words"),
    [
        (("kafka.bootstrp=x",), "", {}, r"--set kafka.bootstrp=x: there is no setting kafka.bootstrp; did you mean kafka.bootstrap\?"),
        (("kafka.bootstrap",), "", {}, "write it as section.key=value"),
        (("xyzzy=1",), "", {}, "`marquee config` lists all"),
        ((), "", {"MARQUEE_KAFKA__PARTITION": "1"}, r"MARQUEE_KAFKA__PARTITION: .* did you mean MARQUEE_KAFKA__PARTITIONS\?"),
        ((), "", {"MARQUEE_KAFKA__PARTITIONS": "many"}, "kafka.partitions is a whole number from 0 .* not 'many'"),
        ((), "", {"MARQUEE_KAFKA__PARTITIONS": "-1"}, "is a whole number from 0"),
        ((), "", {"MARQUEE_REDIS__TIMEOUT_S": "nan"}, "is a number from 0"),
        ((), "[kafka]\npartitions = 2.5\n", {}, "not 2.5"),
        ((), "[kafka]\npartitions = true\n", {}, "not True"),
        ((), '[kafka]\ntopics = "a"\n', {}, "kafka.topics is a list of texts"),
        ((), "partitions = 2\n", {}, "stands outside a section"),
        ((), "[kafka\n", {}, "is not TOML"),
        ((), "[cassandra]\npassword = 5\n", {}, r"not \*\*\*"),
    ],
)
def test_a_wrong_setting_gets_a_sentence_that_names_it(
    tmp_path: Path, flags: tuple[str, ...], toml: str, environment: Mapping[str, str], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        resolved(tmp_path, *flags, toml=toml, environment=environment)


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        resolve((), tmp_path / "absent.toml", {}, tmp_path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "directory.toml").mkdir()
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        resolve((), tmp_path / "directory.toml", {}, tmp_path)


def test_secrets_are_masked(tmp_path: Path) -> None:
    found = resolved(tmp_path, "redis.password=hunter2", "redis.url=redis://me:hunter3@h:1/0")
    assert found.shown("redis.password") == "********"
    assert found.shown("redis.url") == "redis://me:********@h:1/0"
    assert found.shown("cassandra.password") == ""
