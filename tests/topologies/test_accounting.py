"""The small declarations: accounting's equation, a source's name, its watermark, the error tree, the fingerprint of a kernel."""

from __future__ import annotations

import dataclasses

import pytest

from tests.topologies.logs import SOURCE, T0, event, folded
from topologies import accounting, compiled, errors
from topologies.settings import Settings
from topologies.sources import watermark_ms
from topologies.views import every_part
from topologies.warm import warm


def test_every_record_has_one_class() -> None:
    status = folded(every_part(), [event(T0), event(T0), event(T0 - 10**7), event(T0, ts=T0 + 10**6)]).status()
    assert [getattr(status, name) for name in accounting.MEASURES] == [4, 1, 1, 1, 1]
    assert accounting.balanced(status)
    assert not accounting.balanced(dataclasses.replace(status, dead=0))


def test_a_source_is_written_by_its_topics_id() -> None:
    assert str(SOURCE) == "eu:AAAAAAAAAAAAAAAAAAAAAA:3"


def test_the_watermark_trails_the_clock_and_knows_nothing_at_first() -> None:
    assert watermark_ms(-1, -1) == -1
    assert watermark_ms(T0, -1) == T0 - 60_000
    assert watermark_ms(T0, T0 - 1) == T0 - 1


@pytest.mark.parametrize("kind", [errors.SetupError, errors.ServerAway, errors.StoreError, errors.SourceError, errors.CheckpointError])
def test_errors_end_a_command_with_1_and_wrong_usage_with_2(kind: type[errors.MarqueeError]) -> None:
    assert issubclass(kind, errors.MarqueeError)
    assert (kind.exit_code, errors.UsageError.exit_code) == (1, 2)


def test_settings_are_handed_on_as_environment() -> None:
    settings = Settings()
    environment = settings.environment()
    assert environment["MARQUEE_KAFKA__TOPICS"] == ",".join(settings.kafka.topics)
    assert all(name.startswith("MARQUEE_") for name in environment)


LIMIT = 3


def _frozen(word: compiled.Word) -> compiled.Word:
    return word + LIMIT


def test_a_kernel_is_known_by_what_is_frozen_into_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a constant changed in another file would leave the old machine code in use."""
    first = compiled.fingerprint(_frozen, "")
    assert compiled.fingerprint(_frozen, "") == first
    assert compiled.fingerprint(_frozen, "options") != first
    monkeypatch.setitem(_frozen.__globals__, "LIMIT", 4)
    assert compiled.fingerprint(_frozen, "") != first


def test_a_kernel_that_uses_what_stands_below_it_is_known_by_its_whole_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(_frozen.__globals__, "LIMIT")
    first = compiled.fingerprint(_frozen, "")
    monkeypatch.setitem(_frozen.__globals__, "T0", 4)
    assert compiled.fingerprint(_frozen, "") != first


def test_every_kernel_can_be_compiled_beforehand() -> None:
    warm()
