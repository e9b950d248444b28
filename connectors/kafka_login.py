"""How Kafka is signed in to, for both of its clients: librdkafka (confluent-kafka) here, aiokafka by Faust in streams/credentials.py."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from confluent_kafka import KafkaError

from connectors.bearer import bearers
from connectors.tls import tls_context
from topologies.errors import MarqueeError, StoreError
from topologies.settings import KafkaSettings

PASSWORDS: Final = ("plain", "scram-sha-256", "scram-sha-512")
_REFUSED: Final = frozenset({
    KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError.UNSUPPORTED_SASL_MECHANISM,
    KafkaError.ILLEGAL_SASL_STATE,
})  # fmt: skip


def login_options(kafka: KafkaSettings) -> dict[str, Any]:
    """What librdkafka is told for TLS and the login of these settings; nothing for neither. Raises UsageError for a file of certificates
    that is not there, and as `bearers` does."""
    options: dict[str, Any] = {}
    if kafka.tls or kafka.login != "none":
        layer = "SASL_" if kafka.login != "none" else ""
        options["security.protocol"] = layer + ("SSL" if kafka.tls else "PLAINTEXT")
    if kafka.tls and kafka.ca_file:
        tls_context("kafka.ca_file", kafka.ca_file)  # says what is wrong with the file, which librdkafka does not
        options["ssl.ca.location"] = kafka.ca_file
    if kafka.login in PASSWORDS:
        options |= {"sasl.mechanism": kafka.login.upper(), "sasl.username": kafka.user, "sasl.password": kafka.password}
    elif kafka.login != "none":
        ask = bearers(kafka)
        ask()  # says now why there is none: librdkafka would wait for one

        def token(_: str) -> tuple[str, float, str, dict[str, str]]:
            bearer = ask()
            return bearer.text, bearer.ends_s, bearer.principal, {}

        options |= {"sasl.mechanism": "OAUTHBEARER", "oauth_cb": token}
    return options


def raise_refused(kafka: KafkaSettings, overheard: Iterable[KafkaError]) -> None:
    """Raises StoreError if among the errors that a client has told there is one of the login or of a certificate: the call itself only
    says that nobody answered. Does nothing otherwise."""
    for error in overheard:
        said = error.str().rstrip(".")
        if error.code() == KafkaError._SSL:
            hint = "set kafka.tls and kafka.ca_file to what its listener has"
            raise StoreError(f"Kafka at {kafka.bootstrap} and this client do not trust each other ({said}); {hint}")
        if error.code() in _REFUSED:
            if kafka.login not in (*PASSWORDS, "none"):
                _show_why(kafka)
            raise StoreError(f"Kafka at {kafka.bootstrap} refused the login {kafka.login} ({said}); set kafka.user and kafka.password")


def _show_why(kafka: KafkaSettings) -> None:
    """Raises what a token's source says, which librdkafka keeps to itself; else that the token was refused."""
    try:
        bearers(kafka)()
    except MarqueeError:
        raise
    raise StoreError(f"Kafka at {kafka.bootstrap} refused the token of the login {kafka.login}; see what it may do")
