"""`marquee token` over the real store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from connectors.cassandra import close, connect
from connectors.cassandra_schema import ensure_schema
from connectors.tokens import parsed
from marquee.person import who
from tests.marquee.running import document, marquee, sentence
from topologies.settings import Settings


@pytest.fixture
def prepared(settings: Settings) -> Settings:
    """With the tables that the first worker makes."""
    session = connect(settings.cassandra)
    ensure_schema(session, settings.cassandra, ())
    close(session)
    return settings


def test_a_token_is_made_listed_and_revoked_and_the_audit_log_says_so(prepared: Settings, tmp_path: Path) -> None:
    def run(*arguments: str) -> Any:
        return document(marquee(tmp_path, *arguments, "--json", environment=prepared.environment()))

    made = run("token", "make", "grafana", "--scope", "read", "--scope", "operate", "--requests-per-s", "5")
    assert parsed(made["token"]) is not None
    listed = run("token", "list")["tokens"]
    assert listed == [{key: value for key, value in made.items() if key != "token"}]
    assert (made["scopes"], made["requests_per_s"], made["revoked"]) == (["operate", "read"], 5.0, None)
    for _ in range(2):
        revoked = marquee(tmp_path, "token", "revoke", made["id"], environment=prepared.environment())
        assert revoked.returncode == 0, revoked.stderr
    assert run("token", "list")["tokens"][0]["revoked"] is not None
    operations = run("operations")["operations"]
    assert [(one["method"], one["outcome"], one["times"]) for one in operations] == [("token make", "done", 1), ("token revoke", "done", 1)]
    assert {one["target"] for one in operations} == {f"grafana ({made['id']}) for operate, read"}
    assert {one["who"] for one in operations} == {who()}
    assert run("operations", "--since", "2999-01-01") == {"operations": []}
    wrong = marquee(tmp_path, "token", "revoke", "nonsense", environment=prepared.environment())
    assert "marquee token list" in sentence(wrong, 2)
