"""Objects in a bucket, a container or a directory, through obstore, whichever a URL names (object_url.py).

A put is atomic on each of the three: an object is there whole, as it was, or not at all. What is listed is what is there now, on S3 since
December 2020, on Azure ever. A put is durable when it returns; of a directory's file that is seen to here, since obstore does not. A file
that is put into a directory is written below _staging/ and renamed: beside the others, others' readers would find it half written.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from connectors.object_url import ObjectUrl
from topologies.errors import MarqueeError, ServerAway, StoreError, UsageError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

CONNECT_TIMEOUT_S: Final = 5.0
RETRIES: Final = 2
"""Of a request, by obstore; then whoever waits is told, and asks again or not."""
IN_FLIGHT: Final = 4
"""Objects that are put or got at the same time."""
STAGING: Final = "_staging"
LEFT_S: Final = 86_400.0
"""What stands there unchanged for so long was begun by somebody who was killed."""
_AWAY: Final = re.compile(r"HTTP error: |status code: (5\d\d|429|408)\b")
_GONE: Final = re.compile(r"status code: 404\b|Unable to canonicalize")
_REFUSED: Final = re.compile(r"status code: 40[13]\b")
_NOISE: Final = re.compile(
    r"^Generic \w+ error: |Error performing list request: | in [\d.]+\w+(, after \d+ retries, max_retries: .*?)?(?=  - )|\?\S+|: <.*$"
)
"""Of what obstore says: how often and how long it tried, what stands behind a URL's ?, which may be a signature, and XML."""
_CODE: Final = re.compile(r"<Code>(\w+)</Code>")


@dataclass(frozen=True)
class Listed:
    """One object that is there. e_tag: another where the object is another."""

    key: str
    size: int
    e_tag: str


class Objects:
    """The objects below a URL; keys are segments (object_url.segment) joined by /.

    Methods raise ServerAway when the store does not answer, StoreError when it answers that it cannot. Any number of tasks may use one, of
    any event loop; what is put twice is there once. Nothing need be closed.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        """Asks nobody yet. Raises UsageError for a wrong URL, StoreError for a directory that is not there."""
        self.url = ObjectUrl.of(url)
        with self._errors():
            self._store = _opened(self.url, timeout_s)

    async def put(self, key: str, data: bytes | memoryview | Path) -> str:
        """The object is there, and durable; another of that key is not any more. A file's goes in parts, where it is large. Returns its
        e_tag."""
        staged = f"{STAGING}/{uuid.uuid4().hex}" if isinstance(data, Path) and self.url.scheme == "file" else key
        with self._errors():
            put = await self._store.put_async(staged, data, use_multipart=None if isinstance(data, Path) else False)
            if staged != key:
                await self._store.rename_async(staged, key)
                await asyncio.to_thread(_cleared, Path(self.url.bucket, STAGING))
            if self.url.scheme == "file":
                await asyncio.to_thread(_synced, Path(self.url.bucket), key)
        return _tag(put["e_tag"])

    async def get(self, key: str) -> bytes | None:
        """Its bytes; None if there is no such object."""
        with self._errors():
            try:
                return (await (await self._store.get_async(key)).bytes_async()).to_bytes()
            except FileNotFoundError:
                return None

    async def listed(self, prefix: str) -> list[Listed]:
        """All objects whose keys begin with these whole segments, by key; none for a prefix that nothing has."""
        with self._errors():
            found = await self._store.list_async(prefix or None).collect_async()
        return sorted((Listed(one["path"], one["size"], _tag(one["e_tag"])) for one in found), key=lambda one: one.key)

    async def delete(self, keys: Sequence[str]) -> None:
        """They are not there any more; those that were not are none the worse."""
        if self.url.scheme == "s3" and keys:
            with self._errors():
                await self._store.delete_async(keys)  # so many in one request, and none is missed
            return
        await bounded(self._delete(key) for key in keys)

    async def _delete(self, key: str) -> None:
        with self._errors():
            try:
                await self._store.delete_async(key)
            except FileNotFoundError:
                return

    async def sweep(self, prefix: str, is_stale: Callable[[str], bool]) -> None:
        """Of a directory's folders right below these segments, those of whose names that is true go, with what killed writers had begun in
        them, which is not listed. Elsewhere what is not finished is nowhere."""
        if self.url.scheme == "file":
            with self._errors():
                await asyncio.to_thread(_swept, Path(self.url.bucket, prefix), is_stale)

    async def require(self) -> None:
        """Returns if it can be listed now."""
        with self._errors():
            await self._store.list_with_delimiter_async()

    async def try_out(self, key: str) -> None:
        """Returns if an object of that key, which nobody has, can be put, got, listed and deleted now."""
        await self.put(key, b"marquee")
        if await self.get(key) != b"marquee" or key not in {one.key for one in await self.listed(key.rpartition("/")[0])}:
            raise StoreError(f"{self.url.shown} does not give back what is put there; it cannot keep checkpoints")
        await self.delete([key])

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turns obstore's errors into ours."""
        from obstore.exceptions import BaseError

        try:
            yield
        except MarqueeError:
            raise
        except (BaseError, OSError, ValueError) as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> MarqueeError:
        where, said, kind = self.url.shown, _line(error), type(error).__name__
        refused = kind in ("PermissionDeniedError", "UnauthenticatedError", "PermissionError") or _REFUSED.search(said)
        if refused and self.url.scheme == "file":
            return StoreError(f"{where} may not be used ({said}); let this process' user list, read, write and delete there")
        if refused:
            return StoreError(f"{where} refused the credentials ({said}); set them in the URL's options or in the environment")
        if isinstance(error, FileNotFoundError) or _GONE.search(said):
            place = {"s3": "bucket", "az": "container"}.get(self.url.scheme, "directory")
            return StoreError(f"{where} is not there ({said}); make that {place}, or set another")
        if _AWAY.search(said):
            return ServerAway(f"{where} does not answer ({said}); see whether it is up, or set another URL")
        return StoreError(f"{where} answered with an error: {said}")


async def bounded(works: Iterable[Coroutine[Any, Any, object]], in_flight: int = IN_FLIGHT) -> None:
    """Awaits all of these, so many at a time; raises the first error, and then nothing more goes on."""
    waiting = iter(works)

    async def one_after_another() -> None:
        for work in waiting:
            await work

    abreast = [asyncio.create_task(one_after_another()) for _ in range(in_flight)]
    try:
        await asyncio.gather(*abreast)
    finally:
        for task in abreast:
            task.cancel()


def _opened(url: ObjectUrl, timeout_s: float) -> ObjectStore:
    from obstore.exceptions import BaseError
    from obstore.store import AzureStore, LocalStore, S3Store

    if url.scheme == "file":
        return LocalStore(url.bucket, automatic_cleanup=True)
    options = dict(url.options)
    patience: Any = {
        "client_options": {
            "timeout": timedelta(seconds=timeout_s),
            "connect_timeout": timedelta(seconds=min(CONNECT_TIMEOUT_S, timeout_s)),
            "allow_http": options.get("endpoint", "").startswith("http://"),
        },
        "retry_config": {"max_retries": RETRIES, "retry_timeout": timedelta(seconds=timeout_s)},
    }
    try:
        store = {"s3": S3Store, "az": AzureStore}[url.scheme]
        opened: ObjectStore = store(url.bucket, prefix=url.prefix or None, config=options, **patience)
    except (BaseError, ValueError) as error:
        raise UsageError(f"{url.shown}: its options cannot be used ({_line(error)})") from None
    return opened


def _tag(e_tag: str | None) -> str:
    """Azure lists them without the quotes with which it gives them."""
    return (e_tag or "").strip('"')


def try_out(url: str, timeout_s: float) -> None:
    """Returns if an object can be put, got, listed and deleted there now. Raises as Objects does."""
    asyncio.run(Objects(url, timeout_s).try_out(f"doctor/{uuid.uuid4().hex}"))


def _synced(directory: Path, key: str) -> None:
    """The file and the folders that lead to it are on the disk, not only in the kernel's memory; unless somebody has deleted it since."""
    path = directory / key
    for each in (path, *(parent for parent in path.parents if parent.is_relative_to(directory))):
        try:
            opened = os.open(each, os.O_RDONLY)
        except FileNotFoundError:
            return
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def _cleared(staging: Path) -> None:
    try:
        for each in staging.iterdir():
            if time.time() - each.stat().st_mtime > LEFT_S:
                each.unlink()
    except FileNotFoundError:
        return  # another put has just renamed or cleared one; the next put sees to the rest


def _swept(folder: Path, is_stale: Callable[[str], bool]) -> None:
    if folder.is_dir():
        for stale in [each for each in folder.iterdir() if is_stale(each.name)]:
            shutil.rmtree(stale, ignore_errors=True)  # who writes there meanwhile is far behind; the next sweep finds it


def _line(error: BaseException) -> str:
    """What it says, in a line, without its debugging text."""
    whole = str(error)
    said = (whole.strip().splitlines() or [type(error).__name__])[0].rstrip(". ")
    code = _CODE.search(whole.partition("Debug source:")[0])
    return re.sub(r"\s+", " ", _NOISE.sub("", said)) + (f": {code[1]}" if code else "")
