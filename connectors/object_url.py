"""Where objects are kept, as a URL says it.

    s3://bucket/prefix?endpoint=https://minio:9000&region=eu-west-1      a bucket of S3, or of what speaks as it does
    az://container/prefix?account_name=films                             a container of Azure Blob Storage
    file:///var/lib/marquee                                              a directory that is there

Behind the ? stand options of that kind of store (OPTIONS), percent-encoded where they must be. What the URL does not say comes from the
environment and the machine's role, as the vendors' own clients take it: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION,
AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY, and so on. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from topologies.errors import UsageError

OPTIONS: Final[dict[str, frozenset[str]]] = {
    "s3": frozenset({"endpoint", "region", "access_key_id", "secret_access_key", "session_token", "virtual_hosted_style_request"}),
    "az": frozenset({"endpoint", "account_name", "account_key", "sas_key", "tenant_id", "client_id", "client_secret"}),
    "file": frozenset(),
}
"""By scheme, what may stand behind the ?."""
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{1,61}[A-Za-z0-9]")
_PREFIX: Final = re.compile(r"[A-Za-z0-9_.=-]+(/[A-Za-z0-9_.=-]+)*|")


@dataclass(frozen=True)
class ObjectUrl:
    """A parsed URL. bucket: the bucket or container, or the directory's absolute path; prefix: below it, without slashes at its ends."""

    scheme: str
    bucket: str
    prefix: str
    options: Mapping[str, str]

    @classmethod
    def of(cls, url: str) -> ObjectUrl:
        """Raises UsageError for what is none, in a sentence without secrets."""
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise UsageError(f"an object store's URL cannot be read ({error})") from None
        if parts.scheme not in OPTIONS:
            raise UsageError(f"an object store's URL begins with s3://, az:// or file:///, not with {parts.scheme or 'nothing'}:")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        for name in options:
            if name not in OPTIONS[parts.scheme]:
                known = ", ".join(sorted(OPTIONS[parts.scheme])) or "none"
                raise UsageError(f"{parts.scheme}:// has no option {name!r}; it has {known}")
        if parts.scheme == "file":
            if parts.netloc or not parts.path.startswith("/"):
                raise UsageError("a directory's URL is file:/// and its absolute path")
            return cls("file", unquote(parts.path).rstrip("/") or "/", "", {})
        prefix = parts.path.strip("/")
        if not _BUCKET.fullmatch(parts.netloc):
            raise UsageError(f"{parts.scheme}:// is followed by the name of a bucket or container of 3 to 63 letters, digits, '.' and '-'")
        if not _PREFIX.fullmatch(prefix) or {".", ".."} & set(prefix.split("/")):
            raise UsageError(f"{parts.scheme}://{parts.netloc}/ is followed by a prefix of letters, digits, and '_', '.', '=', '-', '/'")
        return cls(parts.scheme, parts.netloc, prefix, options)

    @property
    def shown(self) -> str:
        """The URL without its options, for messages."""
        if self.scheme == "file":
            return f"file://{self.bucket}"
        return f"{self.scheme}://{self.bucket}{'/' if self.prefix else ''}{self.prefix}"


def segment(text: str) -> str:
    """Any text as one segment of a key, and no two as the same: what is not a letter, a digit, or one of _ : . - stands as =XX for each of
    its bytes, and so does a dot at an end, since stores take . and .. for directories. No text at all is =."""
    return re.sub(rb"[^A-Za-z0-9_:.-]|^\.|\.$", lambda found: b"=%02X" % found[0][0], text.encode()).decode() or "="


def text_of(written: str) -> str:
    """The text of which that is the segment; what is nobody's segment comes back with what cannot be read replaced."""
    plain = re.sub(rb"=([0-9A-F]{2})", lambda found: bytes.fromhex(found[1].decode()), written.encode())
    return plain.decode(errors="replace") if written != "=" else ""
