"""Objects in S3, Azure Blob Storage and a directory: the same calls, the same sentences for what goes wrong, no secret in any of them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from connectors.object_url import ObjectUrl, segment, text_of
from connectors.objects import Objects, bounded
from tests.object_servers import ACCOUNT, ObjectServer
from topologies.errors import ServerAway, StoreError, UsageError

TIMEOUT_S = 60.0
SECRET = "aHVudGVyMg=="
KINDS = ("s3", "azure", "directory")


def url_of(kind: str, request: pytest.FixtureRequest) -> str:
    if kind == "directory":
        return f"file://{request.getfixturevalue('tmp_path')}"
    server: ObjectServer = request.getfixturevalue(kind)
    return server.new("some/prefix")


@pytest.fixture(params=KINDS)
def objects(request: pytest.FixtureRequest) -> Objects:
    return Objects(url_of(request.param, request), TIMEOUT_S)


async def test_what_is_put_is_got_listed_and_deleted(objects: Objects, tmp_path: Path) -> None:
    assert await objects.get("a/1") is None
    assert await objects.listed("a") == []
    large = bytes(range(256)) * 40_000
    file = tmp_path.parent / "large"
    file.write_bytes(large)
    e_tags = {key: await objects.put(key, data) for key, data in (("a/1", b"one"), ("a/2", b""), ("ab/3", memoryview(b"x")), ("a/4", file))}
    assert [(one.key, one.size, one.e_tag) for one in await objects.listed("a")] == [
        (key, size, e_tags[key]) for key, size in (("a/1", 3), ("a/2", 0), ("a/4", len(large)))
    ]
    assert [await objects.get(key) for key in ("a/1", "a/2", "a/4")] == [b"one", b"", large]
    await objects.put("a/1", b"another")
    assert await objects.get("a/1") == b"another"
    assert (await objects.listed("a"))[0].e_tag != e_tags["a/1"]
    await objects.delete(["a/1", "a/none", "a/2"])
    assert [one.key for one in await objects.listed("a")] == ["a/4"]
    await objects.require()
    await objects.try_out("doctor/1")
    assert [one.key for one in await objects.listed("")] == ["a/4", "ab/3"]


PUT_AND_DIE = """
import asyncio, os, pathlib, signal, sys, threading
from connectors.objects import Objects

folder, file = map(pathlib.Path, sys.argv[1:])


def die_in_the_midst() -> None:
    while not any(each.is_file() and each.stat().st_size > 2**20 for each in folder.rglob("*")):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


threading.Thread(target=die_in_the_midst).start()
asyncio.run(Objects(f"file://{folder}", 60).put("history/day=1/part-0.parquet", file))
"""


def test_a_put_that_is_killed_leaves_nothing_where_a_directory_is_read(tmp_path: Path) -> None:
    folder, file = tmp_path / "films", tmp_path / "large"
    folder.mkdir()
    file.touch()
    os.truncate(file, 2**28)
    assert subprocess.run([sys.executable, "-c", PUT_AND_DIE, folder, file], timeout=60).returncode == -signal.SIGKILL
    left = [each for each in folder.rglob("*") if each.is_file()]
    assert [each.parent for each in left] == [folder / "_staging"]
    os.truncate(file, 10)
    asyncio.run(Objects(f"file://{folder}", TIMEOUT_S).put("history/day=1/part-0.parquet", file))
    assert left[0].exists(), "somebody may be writing it"
    os.utime(left[0], (0, 0))
    asyncio.run(Objects(f"file://{folder}", TIMEOUT_S).put("history/day=1/part-0.parquet", file))
    assert [each for each in folder.rglob("*") if each.is_file()] == [folder / "history" / "day=1" / "part-0.parquet"]


@pytest.mark.parametrize(
    "url",
    [
        f"s3://films/here?endpoint=http%3A%2F%2F127.0.0.1%3A1&region=x&access_key_id=a&secret_access_key={SECRET}",
        f"az://films/here?endpoint=http%3A%2F%2F127.0.0.1%3A1%2Fme&account_name=me&account_key={quote(SECRET)}",
        f"az://films/here?endpoint=http%3A%2F%2F127.0.0.1%3A1%2Fme&account_name=me&sas_key={quote('sv=1&sig=' + SECRET, safe='')}",
    ],
)
async def test_a_store_where_nobody_listens_is_away_and_no_secret_is_told(url: str) -> None:
    objects, said = (
        Objects(url, 5.0),
        r"^(s3|az)://films/here does not answer \(Error performing [^?]*: error sending request\); see whether it is up",
    )
    for work in (objects.require(), objects.put("a", b"1"), objects.get("a"), objects.delete(["a"]), objects.listed("a")):
        with pytest.raises(ServerAway, match=said) as raised:
            await work
        assert SECRET not in str(raised.value)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", ["s3", "azure"])
async def test_a_store_that_hangs_is_away_within_its_time(kind: str, request: pytest.FixtureRequest) -> None:
    url = url_of(kind, request)
    server: ObjectServer = request.getfixturevalue(kind)
    objects = Objects(url, 1.0)
    await objects.put("a", b"1")
    server.pause()
    try:
        begun = time.monotonic()
        with pytest.raises(ServerAway, match="does not answer"):
            await objects.put("a", b"2")
        assert time.monotonic() - begun < 30
    finally:
        server.resume()
    await Objects(url, TIMEOUT_S).put("a", b"3")


@pytest.mark.parametrize("kind", ["s3", "azure"])
async def test_a_bucket_that_is_not_there_is_to_be_made(kind: str, request: pytest.FixtureRequest) -> None:
    server: ObjectServer = request.getfixturevalue(kind)
    objects = Objects(server.url("nobody-made-it"), TIMEOUT_S)
    for work in (objects.require(), objects.listed("a"), objects.put("a", b"")):
        with pytest.raises(StoreError, match=r"://nobody-made-it is not there \(.*\); make that (bucket|container), or set another"):
            await work


async def test_credentials_that_are_refused_are_said_to_be(azure: ObjectServer) -> None:
    url = azure.new().partition("?")[0]
    endpoint = quote(f"{azure.address}/{ACCOUNT}", safe="")
    objects = Objects(f"{url}?endpoint={endpoint}&account_name={ACCOUNT}&account_key={quote(SECRET)}", TIMEOUT_S)
    with pytest.raises(StoreError, match="refused the credentials") as raised:
        await objects.require()
    assert SECRET not in str(raised.value)


def test_a_key_that_is_none_is_an_option_that_cannot_be_used_and_is_not_told() -> None:
    with pytest.raises(UsageError, match="its options cannot be used") as raised:
        Objects("az://films/here?account_name=me&account_key=hunter2!", TIMEOUT_S)
    assert "hunter2" not in str(raised.value)


def test_a_directory_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"/none is not there \(.*\); make that directory, or set another"):
        Objects(f"file://{tmp_path}/none", TIMEOUT_S)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("gs://films/here", "begins with s3://, az:// or file:///, not with gs:"),
        ("s3://b/here", "a bucket or container of 3 to 63"),
        ("s3://films/../here", "followed by a prefix of"),
        ("s3://films/here?pasword=hunter2", "has no option 'pasword'; it has access_key_id, endpoint"),
        ("file://films/here", "file:/// and its absolute path"),
        ("file:///films?region=x", "has no option 'region'; it has none"),
        ("az://[films", "cannot be read"),
    ],
)
def test_a_url_that_is_none_is_refused_with_what_it_is_to_be(url: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        ObjectUrl.of(url)
    assert said in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_a_urls_parts_are_found() -> None:
    found = ObjectUrl.of("s3://films/a/b/?endpoint=http%3A%2F%2Fh%3A1&secret_access_key=a%2Bb")
    assert (found.bucket, found.prefix, found.shown) == ("films", "a/b", "s3://films/a/b")
    assert found.options == {"endpoint": "http://h:1", "secret_access_key": "a+b"}
    assert ObjectUrl.of("file:///srv/a%20b/").bucket == "/srv/a b"


@pytest.mark.parametrize("text", ["", "=", "=41", ".", "..", "a.b", "a/b", "a%2Fb", "Über *", "\\", "a:b"])
def test_any_text_is_a_segment_of_its_own_and_comes_back(text: str) -> None:
    assert text_of(segment(text)) == text
    assert "/" not in segment(text)
    assert segment(text).strip(".")


async def test_the_first_error_of_many_is_raised_and_nothing_more_is_begun() -> None:
    begun: list[int] = []

    async def work(number: int) -> None:
        begun.append(number)
        if number == 2:
            raise StoreError("no")

    with pytest.raises(StoreError):
        await bounded((work(number) for number in range(100)), in_flight=1)
    assert begun == [0, 1, 2]
