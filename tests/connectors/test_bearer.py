"""Tokens that Kafka is signed in with: what is in them, when they end, what is said where there are none. All on this machine."""

from __future__ import annotations

import base64
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from connectors.bearer import bearers
from tests.clouds import environment
from tests.http_server import in_json, serving
from tests.secured import unsecured_token
from topologies.errors import SetupError, StoreError, UsageError
from topologies.settings import KafkaSettings

MSK = KafkaSettings(
    bootstrap="b-1.tv.abc123.c2.kafka.eu-central-1.amazonaws.com:9098,b-2.tv.abc123.c2.kafka.eu-central-1.amazonaws.com:9098",
    tls=True,
    login="msk-iam",
)
HUBS = KafkaSettings(bootstrap="tv-events.servicebus.windows.net:9093", tls=True, login="entra")


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment("http://127.0.0.1:1").items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("aws_credentials")
@pytest.mark.parametrize(
    ("kafka", "region"),
    [
        (MSK, "eu-central-1"),
        (replace(MSK, bootstrap="boot-x1.c2.kafka-serverless.us-east-1.amazonaws.com:9098"), "us-east-1"),
        (replace(MSK, bootstrap="kafka.internal:9098", aws_region="ap-south-1"), "ap-south-1"),
    ],
)
def test_a_token_of_msk_is_a_signed_request_to_connect(kafka: KafkaSettings, region: str) -> None:
    begun_s = time.time()
    bearer = bearers(kafka)()
    url = urlsplit(base64.urlsafe_b64decode(bearer.text + "=" * (-len(bearer.text) % 4)).decode())
    asked = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert (url.scheme, url.netloc, url.path) == ("https", f"kafka.{region}.amazonaws.com", "/")
    assert (asked["Action"], asked["X-Amz-Algorithm"], asked["X-Amz-Expires"]) == ("kafka-cluster:Connect", "AWS4-HMAC-SHA256", "900")
    assert asked["X-Amz-Credential"].split("/")[0::2] == ["AKIDEXAMPLE", region, "aws4_request"]
    assert asked["X-Amz-Credential"].split("/")[3] == "kafka-cluster"
    assert len(asked["X-Amz-Signature"]) == 64
    assert begun_s + 898 <= bearer.ends_s <= time.time() + 900


def test_a_token_of_msk_without_credentials_or_region_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment("http://127.0.0.1:1").items():
        if "KEY" in name:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    with pytest.raises(StoreError, match="no AWS credentials"):
        bearers(MSK)()
    with pytest.raises(UsageError, match=r"set kafka\.aws_region"):
        bearers(replace(MSK, bootstrap="kafka.internal:9098"))


@contextmanager
def identity(answer: dict[str, object], code: int = 200) -> Iterator[tuple[list[tuple[str, dict[str, str]]], str]]:
    """The endpoint that Azure gives to what runs in it (App Service's and Container Apps', 2019-08-01); gives what it was asked."""
    asked: list[tuple[str, dict[str, str]]] = []

    def judge(request: BaseHTTPRequestHandler, _body: object) -> tuple[int, object]:
        asked.append((request.path, dict(request.headers)))
        return code, answer

    with serving(in_json(judge)) as address:
        yield asked, f"{address}/msi/token"


def test_a_token_of_azure_is_asked_for_the_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    ends_s = int(time.time()) + 3600
    with identity({"access_token": "eyJ.token", "expires_on": str(ends_s), "resource": "x", "token_type": "Bearer"}) as (asked, endpoint):
        monkeypatch.setenv("IDENTITY_ENDPOINT", endpoint)
        monkeypatch.setenv("IDENTITY_HEADER", "secret")
        bearer = bearers(HUBS)()
    assert (bearer.text, bearer.ends_s) == ("eyJ.token", ends_s)
    ((path, headers),) = asked
    assert parse_qs(urlsplit(path).query)["resource"] == ["https://tv-events.servicebus.windows.net"]
    assert headers["X-IDENTITY-HEADER"] == "secret"


def test_a_token_of_azure_that_is_refused_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with identity({"error": "invalid_request"}, 400) as (_, endpoint):
        monkeypatch.setenv("IDENTITY_ENDPOINT", endpoint)
        monkeypatch.setenv("IDENTITY_HEADER", "secret")
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
        with pytest.raises(StoreError, match="no Azure credentials to sign in to Event Hubs"):
            bearers(HUBS)()
    with pytest.raises(UsageError, match=r"NAME.servicebus.windows.net:9093"):
        bearers(replace(HUBS, bootstrap="kafka.internal:9093"))


def test_a_token_of_azure_that_cannot_be_renewed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    soon_s = int(time.time()) + 60  # so soon that it is not kept
    with identity({"access_token": "eyJ.token", "expires_on": str(soon_s), "resource": "x", "token_type": "Bearer"}) as (_, endpoint):
        monkeypatch.setenv("IDENTITY_ENDPOINT", endpoint)
        monkeypatch.setenv("IDENTITY_HEADER", "secret")
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
        ask = bearers(HUBS)
        assert ask().text == "eyJ.token"
    with pytest.raises(StoreError, match="no Azure credentials to sign in to Event Hubs"):
        ask()


def test_a_token_in_a_file_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "token"
    ask = bearers(KafkaSettings(login="token-file", token_file=str(path)))
    with pytest.raises(StoreError, match=r"cannot be read: No such file .*; see who writes it"):
        ask()
    unsecured_token(path, 60.0, "first")
    first = ask()
    unsecured_token(path, 90.0, "second")
    second = ask()
    assert (first.principal, second.principal) == ("first", "second")
    assert 29 < second.ends_s - first.ends_s < 31


@pytest.mark.parametrize("text", ["", "secret", "a.b", "a.b.c", "e30.e30.", "e30.eyJleHAiOiJuZXZlciJ9.x", "e30.WzFd.x"])
def test_what_is_no_token_is_said(text: str, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(text)
    with pytest.raises(StoreError, match=r"no JSON web token that says when it ends"):
        bearers(KafkaSettings(login="token-file", token_file=str(path)))()


@pytest.mark.parametrize(("kafka", "module", "extra"), [(MSK, "aws_msk_iam_sasl_signer", "aws"), (HUBS, "azure.identity", "azure")])
def test_a_package_that_is_missing_is_named(kafka: KafkaSettings, module: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SetupError, match=rf"pip install 'marquee\[{extra}\]'"):
        bearers(kafka)
