"""Where a setting's value comes from, and what is said about one that is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from marquee.config import KNOWN, Resolved, resolve, without_secrets
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
        ((), "", {"MARQUEE_KAFKA_PARTITIONS": "1"}, "write MARQUEE_KAFKA__PARTITIONS, with two underscores"),
        ((), "", {"MARQUEE_KAFKA__PARTITION": "1"}, r"MARQUEE_KAFKA__PARTITION: .* did you mean MARQUEE_KAFKA__PARTITIONS\?"),
        ((), "", {"MARQUEE_KAFKA__PARTITIONS": "many"}, "kafka.partitions is a whole number from 1 .* not 'many'"),
        ((), "", {"MARQUEE_KAFKA__PARTITIONS": "-1"}, "is a whole number from 1"),
        ((), "", {"MARQUEE_REDIS__TIMEOUT_S": "nan"}, "is a number from 0"),
        ((), "[kafka]\npartitions = 2.5\n", {}, "not 2.5"),
        ((), "[kafka]\npartitions = true\n", {}, "not True"),
        ((), '[kafka]\ntopics = "a"\n', {}, "kafka.topics is a list of at least one text"),
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
    several = resolved(tmp_path, "worker.region=eu", "regions.redis=eu=redis://u:hunter4@h:1/0", "regions.kafka=eu=h:2")
    assert several.shown("regions.redis") == ("eu=redis://u:********@h:1/0",)
    assert found.shown("redis.url") == "redis://me:********@h:1/0"
    assert found.shown("cassandra.password") == ""


def test_keys_and_tokens_in_the_options_of_an_object_stores_url_are_masked_and_nothing_else_of_it(tmp_path: Path) -> None:
    s3 = "s3://films/here?region=eu-west-1&access_key_id=AK&secret_access_key=hunter2&session_token=hunter3"
    az = "az://films/here?account_name=me&account_key=hunter4&sas_key=sv%3D1%26sig%3Dhunter5&endpoint=http%3A%2F%2Fh%3A1"
    found = resolved(tmp_path, f"checkpoints.url={s3}", f"history.url={az}")
    masked = "s3://films/here?region=eu-west-1&access_key_id=********&secret_access_key=********&session_token=********"
    assert found.shown("checkpoints.url") == masked
    assert found.shown("history.url") == "az://films/here?account_name=me&account_key=********&sas_key=********&endpoint=http%3A%2F%2Fh%3A1"
    assert "hunter" not in " ".join(without_secrets(["-s", f"checkpoints.url={s3}", f"--set=history.url={az}", "--to", az]))


@pytest.mark.parametrize("name", ["checkpoints.url", "history.url"])
@pytest.mark.parametrize("url", ["s3:films", "gs://films/here", "s3://b/here?secret_access_key=hunter2", "s3://films/here?secret=hunter2"])
def test_an_object_stores_url_that_is_none_is_refused_and_no_secret_told(tmp_path: Path, name: str, url: str) -> None:
    with pytest.raises(UsageError, match=re.escape(name)) as caught:
        resolved(tmp_path, f"{name}={url}")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("worker.flush_share=0", "a number from 0.001 to 1"),
        ("worker.checkpoint_share=1.5", "a number from 0.001 to 1"),
        ("kafka.max_record_bytes=65536", "a whole number from 131072"),
        ("kafka.request_timeout_s=1000", "a number from 0.01 to 300"),
        ("cassandra.port=70000", "a whole number from 1 to 65535"),
        ("worker.http_port=" + "9" * 400, "a whole number from 0 to 65535"),
        ("cassandra.timeout_s=0", "a number from 0.01 to 3600"),
        ("kafka.partitions=0", "a whole number from 1"),
        ("kafka.topics=", "a list of at least one text"),
        ("cassandra.hosts=,", "a list of at least one text"),
        ("kafka.bootstrap= ", "text: not empty"),
        ("memcached.servers=cache", "a list of text: host:port"),
        ("memcached.servers=cache-1:11211,cache-2:70000", "a list of text: host:port"),
        ("memcached.prefix=m q", "without a space"),
        ("kafka.compression=foo", "none, gzip, snappy, lz4 or zstd"),
        ("worker.region=eu@west", "letters, digits"),
        ("worker.region=", "letters, digits"),
        ("cassandra.keyspace=Marquee;", "small letters"),
        ("redis.url=foo", "redis://host:port/database"),
        ("redis.url=redis://127.0.0.1:99999/0", "redis://host:port/database"),
        ("redis.url=redis://u:p@[bad", "redis://host:port/database"),
        ("redis.shelves_db=0", "is the database of redis.url"),
    ],
)
def test_a_value_with_which_nothing_can_work_is_refused_with_what_it_may_be(tmp_path: Path, flag: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolved(tmp_path, flag)
    assert flag.partition("=")[0] in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "flags",
    [
        ("kafka.dead_topic=viewing-events",),
        ("kafka.late_topic=viewing-events.backfill.late",),
        ("kafka.backfill_prefix=viewing-events.",),
        ("kafka.topics=viewing-events.backfill.x",),
    ],
)
def test_workers_may_not_be_told_to_read_their_own_letters_or_a_topic_as_two(tmp_path: Path, flags: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=r"kafka\.backfill_prefix"):
        resolved(tmp_path, *flags)


@pytest.mark.parametrize("flag", ["redis.url=redis//u:hunter2@host", "redis.pasword=hunter2", "redis.url=redis://u:hunter2@h:99999/0"])
def test_no_message_tells_a_password(tmp_path: Path, flag: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolved(tmp_path, flag)
    assert "hunter2" not in str(caught.value)


def test_a_command_line_is_kept_without_its_secrets() -> None:
    called = ["marquee", "-s", "redis.password=hunter2", "-s", "redis.url=redis://u:hunter2@h:1/0", "-scassandra.password=hunter2", "query"]
    kept = without_secrets(called)
    assert without_secrets(["--set=redis.password=hunter2", "-s", "redis.url=redis://u:hun@ter2@h/0"]) == [
        "--set=redis.password=********", "-s", "redis.url=redis://u:********@h/0",
    ]  # fmt: skip
    assert "hunter2" not in " ".join(kept)
    assert kept[-1] == "query"
    assert kept[4] == "redis.url=redis://u:********@h:1/0"


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("kafka.login=scram-sha-512",), "takes kafka.user and kafka.password"),
        (("kafka.login=plain", "kafka.user=tv", "kafka.password=secret"), "set kafka.tls"),
        (("kafka.login=msk-iam",), "set kafka.tls"),
        (("kafka.login=entra",), "set kafka.tls"),
        (("kafka.login=token-file", "kafka.tls=true"), "takes kafka.token_file"),
        (("kafka.login=kerberos",), "none, plain, scram-sha-256"),
        (("kafka.tls=maybe",), "true or false"),
        (("kafka.ca_file=ca.pem",), "kafka.tls does not ask for"),
        (("cassandra.ca_file=ca.pem",), "cassandra.tls does not ask for"),
        (("memcached.ca_file=ca.pem",), "memcached.tls does not ask for"),
        (("redis.ca_file=ca.pem",), "write rediss://"),
    ],
)
def test_a_login_that_cannot_be_or_would_show_a_secret_is_refused(tmp_path: Path, flags: tuple[str, ...], told: str) -> None:
    with pytest.raises(UsageError, match=told) as refused:
        resolved(tmp_path, *flags)
    assert "secret" not in str(refused.value)


def test_who_signs_in_is_passed_on_and_not_shown(tmp_path: Path) -> None:
    flags = ("kafka.login=plain", "kafka.user=$ConnectionString", "kafka.password=Endpoint=sb://x/;SharedAccessKey=k=", "kafka.tls=true")
    found = resolved(tmp_path, *flags)
    assert resolved(tmp_path, environment=found.settings.environment()).settings == found.settings
    assert found.settings.kafka.password == "Endpoint=sb://x/;SharedAccessKey=k="
    assert found.shown("kafka.password") == "********"
