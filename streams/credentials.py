"""How Kafka is signed in to by aiokafka, as Faust hands it on."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka.abc import AbstractTokenProvider
from faust.auth import OAuthCredentials, SASLCredentials, SSLCredentials

from connectors.bearer import Bearers, bearers
from connectors.kafka_login import PASSWORDS
from connectors.tls import tls_context
from topologies.settings import KafkaSettings


def credentials(kafka: KafkaSettings) -> Any:
    """Faust's credentials of these settings; None for neither TLS nor a login. Raises as `tls_context` and `bearers` do."""
    context = tls_context("kafka.ca_file", kafka.ca_file) if kafka.tls else None
    if kafka.login in PASSWORDS:
        return SASLCredentials(username=kafka.user, password=kafka.password, mechanism=kafka.login.upper(), ssl_context=context)
    if kafka.login != "none":
        return OAuthCredentials(oauth_cb=Tokens(bearers(kafka)), ssl_context=context)
    return None if context is None else SSLCredentials(context)


class Tokens(AbstractTokenProvider):
    """Asked by aiokafka for each connection that it opens."""

    def __init__(self, ask: Bearers) -> None:
        self._ask = ask

    async def token(self) -> str:
        """One that counts now; on a thread, for the loop has heartbeats to send."""
        return (await asyncio.to_thread(self._ask)).text
