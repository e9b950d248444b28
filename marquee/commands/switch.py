"""`marquee switch VIEW EDITION`: lets another edition answer for a view."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from marquee.invocation import Invocation, pass_invocation
from marquee.output import emit, instant, json_option, say
from topologies.editions import LIVE_EDITION
from topologies.errors import UsageError

if TYPE_CHECKING:
    from connectors.pointers import Pointer
    from marquee.switching import Switch


@click.command()
@click.argument("view")
@click.argument("edition", required=False)
@click.option("--back", is_flag=True, help="Let the live edition answer again.")
@click.option("--yes", is_flag=True, help="Do not ask, should the edition lack for ever what is answered now.")
@json_option
@pass_invocation
def switch(invocation: Invocation, view: str, edition: str | None, back: bool, yes: bool, as_json: bool) -> None:
    """Let another edition answer for a view, once it has caught up.

    Until then it says how far the edition is, and changes nothing. Run it with the declarations that the edition's workers run with;
    readers follow within seconds, whatever they run with.

    \b
    Examples:
      marquee --edition fix worker           # counts all logs anew, with the corrected declaration
      marquee switch watch_time fix          # from now on it answers for watch_time
      marquee switch watch_time --back       # the live workers' numbers again
    """
    from connectors.operations import Operations
    from connectors.pointers import Pointer
    from marquee.person import operation, who
    from marquee.switching import carry_out, opened, prepare
    from topologies import accounting
    from topologies.views import OTHERS, view_named

    if back == bool(edition):
        raise click.UsageError("name the edition that is to answer, or give --back for the live one")
    if invocation.edition != LIVE_EDITION:
        raise click.UsageError("an edition has no others: leave --edition out, and name it behind the view")
    if view in (*OTHERS, accounting.NAME):
        raise click.UsageError(f"{view} is no declared view, of which an edition could have another version: the live one answers")
    settings = invocation.settings
    wanted = Pointer(view_named(view), edition or LIVE_EDITION, time.time_ns() // 1_000_000, who())
    with opened(settings) as session:
        prepared = prepare(settings, session, wanted)
        if prepared.losses and not yes:
            _confirm(prepared)
        before = prepared.before.edition if prepared.before else LIVE_EDITION
        told = f"{view}: {before or 'live'} → {wanted.edition or 'live'}"
        with Operations(session, settings.cassandra).recorded(operation("switch", told)):
            carry_out(settings, session, prepared)
    if as_json:
        emit(_document(prepared))
    else:
        answers = f"edition {wanted.edition} (version {wanted.view.logic_version})" if wanted.edition else "the live edition"
        say(f"{view}: {answers} answers from now on; readers follow within seconds")


def _confirm(prepared: Switch) -> None:
    told = "; ".join(prepared.losses)
    if not sys.stdin.isatty():
        raise UsageError(f"{told}; add --yes to switch all the same")
    click.confirm(f"{told}. Switch all the same?", abort=True, err=True)


def _document(prepared: Switch) -> dict[str, Any]:
    pointer, before = prepared.pointer, prepared.before
    return {
        "view": pointer.view.name, "edition": pointer.edition, "logic_version": pointer.view.logic_version if pointer.edition else None,
        "switched_at": instant(pointer.at_ms), "by": pointer.by, "before": _named(before), "losses": list(prepared.losses),
    }  # fmt: skip


def _named(pointer: Pointer | None) -> dict[str, Any]:
    if pointer is None:
        return {"edition": LIVE_EDITION, "logic_version": None}
    return {"edition": pointer.edition, "logic_version": pointer.view.logic_version}


COMMAND = switch
