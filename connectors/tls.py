"""TLS towards servers: whom it trusts, always verified. librdkafka and redis-py have their own, by the same files."""

from __future__ import annotations

import socket
import ssl
from typing import TypeAlias

from topologies.errors import UsageError
from topologies.settings import MemcachedSettings

Context: TypeAlias = ssl.SSLContext | None
"""What a connection is wrapped in; None for no TLS."""


def tls_context(setting: str, ca_file: str, *, names: bool = True) -> ssl.SSLContext:
    """A client's context: what the server shows has to be signed by what stands in `ca_file`, or by what this system trusts when that is
    empty, and to name the host that was asked for, unless `names` is False. setting: the name of the one that says the file.

    Raises UsageError for a file that cannot be read or has no certificate.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "there is no certificate in it"
        why = "there is no certificate in it" if isinstance(error, ssl.SSLError) else why
        raise UsageError(f"{setting} {ca_file}: {why}; name a PEM file of certificates") from error
    context.check_hostname = names
    return context


def memcached_tls(settings: MemcachedSettings) -> Context:
    """Of connections to Memcached. Raises UsageError for a file of certificates that cannot be read."""
    return tls_context("memcached.ca_file", settings.ca_file) if settings.tls else None


def reached(host: str, port: int, timeout_s: float, context: Context) -> socket.socket:
    """A connection, over TLS with a context. Raises OSError, of which ssl.SSLError is one."""
    plain = socket.create_connection((host, port), timeout_s)
    if context is None:
        return plain
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise
