"""Tokens that Kafka is signed in with (SASL/OAUTHBEARER, RFC 7628): where they come from, and until when each counts.

    token-file   a JSON web token that something else writes and renews, as Kubernetes does for a service account
    msk-iam      a request to MSK's cluster for `kafka-cluster:Connect`, signed with the AWS credentials of this process, for 15 minutes:
                 what aws-msk-iam-sasl-signer-python makes, offline
    entra        an access token for the namespace of Event Hubs, from the Azure credentials of this process (azure-identity)

librdkafka asks for the next one when four fifths of a token's time have gone, and signs in with it anew on the connections it has
(KIP-368). aiokafka asks at each connection that it opens.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import orjson

from topologies.errors import SetupError, StoreError, UsageError
from topologies.settings import KafkaSettings

_MSK: Final = re.compile(r"\.kafka(?:-serverless)?\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?$")
_EVENT_HUBS: Final = re.compile(r"[a-z0-9-]+\.servicebus\.[a-z.]+", re.IGNORECASE)


@dataclass(frozen=True)
class Bearer:
    """A token, who it is of, and when it ends, seconds since the epoch."""

    text: str
    ends_s: float
    principal: str = ""


Bearers: TypeAlias = Callable[[], Bearer]
"""Gives a token that counts now. Any thread, and blocks as long as whoever gives it needs. Raises UsageError for a setting that does not
do, SetupError for a package that is missing, StoreError where there is no token to be had."""


def bearers(kafka: KafkaSettings) -> Bearers:
    """Where this login's tokens come from. Raises as they do, as soon as it can be known."""
    if kafka.login == "msk-iam":
        return _of_msk(kafka.aws_region or _region(kafka.bootstrap))
    if kafka.login == "entra":
        return _of_entra(_namespace(kafka.bootstrap))
    return _of_file(Path(kafka.token_file))


def _of_file(path: Path) -> Bearers:
    def read() -> Bearer:
        try:
            return parsed(path.read_text().strip(), str(path))
        except OSError as error:
            raise StoreError(f"kafka.token_file {path} cannot be read: {error.strerror}; see who writes it") from error

    return read


def parsed(text: str, place: str) -> Bearer:
    """A JSON web token (RFC 7519), of which only its end and its subject are looked at: to verify it is the server's. Raises StoreError
    for what is none, or has no end, or has ended."""
    try:
        _, body, _ = text.split(".")
        claims = orjson.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        ends_s, subject = float(claims["exp"]), str(claims.get("sub", ""))
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise StoreError(f"what stands in {place} is no JSON web token that says when it ends (exp)") from error
    if ends_s <= time.time():
        raise StoreError(f"the token in {place} ended {time.time() - ends_s:.0f} s ago; see to who renews it")
    return Bearer(text, ends_s, subject)


def _of_msk(region: str) -> Bearers:
    try:
        from aws_msk_iam_sasl_signer import MSKAuthTokenProvider
    except ModuleNotFoundError as error:
        raise SetupError(f"{error.name} is not installed, which signs in to MSK: pip install 'marquee[aws]'") from error

    def sign() -> Bearer:
        try:
            text, ends_ms = MSKAuthTokenProvider.generate_auth_token(region)
        except Exception as error:
            raise StoreError(f"there are no AWS credentials to sign in to MSK with ({error}); give this process a role") from error
        return Bearer(text, ends_ms / 1000)

    return sign


def _of_entra(namespace: str) -> Bearers:
    try:
        from azure.core.exceptions import AzureError
        from azure.identity import DefaultAzureCredential
    except ModuleNotFoundError as error:
        raise SetupError(f"{error.name} is not installed, which signs in to Azure: pip install 'marquee[azure]'") from error
    credential: Any = DefaultAzureCredential()

    def ask() -> Bearer:
        try:
            token = credential.get_token(f"https://{namespace}/.default")
        except AzureError as error:  # a first one is not there, or one to go on with is not to be had now
            said = (str(error).splitlines() or [type(error).__name__])[0]
            raise StoreError(f"there are no Azure credentials to sign in to Event Hubs with ({said}); give this process one") from error
        return Bearer(token.token, token.expires_on)

    return ask


def _hosts(bootstrap: str) -> list[str]:
    return [address.strip().rpartition(":")[0] for address in bootstrap.split(",")]


def _region(bootstrap: str) -> str:
    for host in _hosts(bootstrap):
        if (found := _MSK.search(host)) is not None:
            return found.group(1)
    raise UsageError(f"kafka.bootstrap {bootstrap} does not tell the AWS region that msk-iam signs in to: set kafka.aws_region")


def _namespace(bootstrap: str) -> str:
    for host in _hosts(bootstrap):
        if _EVENT_HUBS.fullmatch(host):
            return host
    raise UsageError(f"kafka.bootstrap {bootstrap} is no namespace of Event Hubs: write NAME.servicebus.windows.net:9093")
