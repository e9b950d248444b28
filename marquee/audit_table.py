"""An audit's result for people: what became of every record, and what of it the views say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from loadgen.audit_report import RANGES
from marquee.output import instant, number, say, table

if TYPE_CHECKING:
    from loadgen.audit_report import AuditResult, Difference, ErrorTally, Origin

SHOWN = 10
EVENTS_SHOWN = 3


def show(result: AuditResult) -> None:
    """The tables on stdout, the verdict and what is wrong on stderr."""
    names = ("generated", "received", "applied", "duplicate", "late", "dead", "crossed", "unaccounted")
    table(names, [[getattr(result, name) for name in names]], right=names)
    click.echo()
    rows = [
        (
            name, view.cells, view.wrong, "EMPTY" if not view.cells else "WRONG" if view.wrong else "equal",
            "independently" if view.independent else "as declared", _stores(view.by_store),
        )
        for name, view in sorted(result.views.items())
    ]  # fmt: skip
    table(("view", "cells", "wrong", "", "recounted", "compared in"), [*rows, _letters(result)], right=("cells", "wrong"))
    if result.errors:
        click.echo()
        errors = [(name, _percent(error.stated), _measured(error)) for name, error in sorted(result.errors.items())]
        table(("estimate", "stated error", "measured"), errors, right=("stated error", "measured"))
    if result.faults:
        told = ", ".join(f"{kind} {number(found)} of {number(injected)}" for kind, (injected, found) in sorted(result.faults.items()))
        say(f"broken on purpose, and found to be so: {told}")
    for difference in result.differences[:SHOWN]:
        say(_told(difference))
        for origin in difference.origins:
            say(_made_of(origin))
    if len(result.differences) > SHOWN:
        say("… and more: --json has them")
    for source in result.sources:
        if source.trouble:
            say(f"{source.source}: {source.trouble}")
    if absent := sum(source.redis is None and source.cassandra is not None for source in result.sources):
        say(
            f"redis: has nothing of {number(absent)} of {len(result.sources)} sources; a worker that has taken over a partition writes it "
            "all again within seconds: see in `marquee status` whether each has one"
        )
    if deleted := sum(tally.deleted for tally in result.letters.values()):
        say(f"letters: of {number(deleted)} events they may have been deleted from their topics, so these could not be looked for")
    if missing := result.finals.missing:
        overdue = f", {number(result.finals.overdue)} of them overdue: see whether workers run" if result.finals.overdue else ""
        say(
            f"history: of {number(result.finals.spans)} final spans {number(missing)} have no final rows yet{overdue}; answers are the same"
        )
    if result.dead_reasons:
        say("dead because: " + ", ".join(f"{reason} {number(count)}" for reason, count in sorted(result.dead_reasons.items())))
    say(verdict(result))


def verdict(result: AuditResult) -> str:
    """One line: exact or not, as of when, and what the ledger says."""
    waiting = sum(source.waiting for source in result.sources)
    rest = f"; {number(waiting)} records of the log are not applied yet" if waiting else ""
    word = "exact" if result.exact else "NOT EXACT"
    return f"{word}: ledger {result.ledger}, as of {instant(result.as_of_ms)}, {len(result.sources)} sources, {result.seconds:.1f} s{rest}"


def _letters(result: AuditResult) -> tuple[object, ...]:
    """The line of the letters: of how many dead and late events; wrong: those that say something else, are missing, or of no such event."""
    wrong = sum(tally.faults for tally in result.letters.values())
    compared = {kind: tally.compared for kind, tally in result.letters.items()}
    word = "WRONG" if wrong else "equal" if any(compared.values()) else "none"
    return (
        "letters",
        sum(compared.values()),
        wrong,
        word,
        "independently",
        _stores({kind: count for kind, count in compared.items() if count}),
    )


def _measured(error: ErrorTally) -> str:
    """The largest error, and where the stated one is a standard error what it is compared with."""
    rms = getattr(error, "rms", None)
    return _percent(error.measured) if rms is None else f"{_percent(error.measured)}, root mean square {_percent(rms)}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.3g} %"


def _stores(by_store: dict[str, int]) -> str:
    return ", ".join(f"{store} {number(cells)}" for store, cells in sorted(by_store.items()) if cells)


def _told(found: Difference) -> str:
    where = f"{found.view} {found.window} {instant(found.start_ms) if found.start_ms else ''}".strip()
    key = found.key.replace("\x1f", " × ") or "(all)"
    if found.store == "ledger":  # here the ledger is what is expected, and the log what is found
        return f"wrong: ledger, {key}: the ledger says {found.expected}, the log has {found.served}"
    if found.view == "letters":
        return f"wrong: letter {key} in {found.store}: {_said(found.served)}, and by the log {_said(found.expected)}"
    return f"wrong: {where}, {key}: {found.store} has {found.served}, the log says {found.expected} ({found.source})"


def _made_of(origin: Origin) -> str:
    """Where a difference's events stand: how many, in which offsets, and what the first of them are."""
    spans = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in origin.offsets)
    rest = ", …" if len(origin.offsets) == RANGES else ""
    first = "; ".join(
        f"{event.offset}#{event.row} {event.type or '?'} of {event.session or '?'}, seq {'?' if event.seq is None else event.seq}"
        for event in origin.sample[:EVENTS_SHOWN]
    )
    where = f"partition {origin.partition} of {origin.topic}"
    return f"  {origin.what}: {number(origin.events)} in {where}, offsets {spans}{rest} (first {first})"


def _said(letter: tuple[int | str, ...] | None) -> str:
    return "there is none" if letter is None else " with ".join(map(str, letter))
