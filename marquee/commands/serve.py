"""`marquee serve`: one process of the API and the collector."""

from __future__ import annotations

from pathlib import Path

import click

from marquee.invocation import Invocation, pass_invocation
from marquee.ready_file import ready_file_option


@click.command()
@click.option("--only", type=click.Choice(["api", "collector"]), help="Answer questions only, or take events only; both when not given.")
@ready_file_option("it answers")
@pass_invocation
def serve(invocation: Invocation, only: str | None, ready_file: Path | None) -> int:
    """Answer over HTTP: every view, profiles' shelves, and how everything stands; and take events. /docs describes it, the dashboard is
    at /. Ends on SIGTERM or Ctrl-C.

    `marquee up` runs one already. Several may run at once, on ports of their own.

    \b
    Examples:
      marquee serve
      marquee -s api.http_port=0 serve
      marquee serve --only collector
      MARQUEE_API__HTTP_HOST=0.0.0.0 marquee serve
      curl 'http://127.0.0.1:8080/v1/views/concurrents?top=10'
      curl 'http://127.0.0.1:8080/v1/views/watch_time?by=region&format=csv'
    """
    settings = invocation.settings
    from streams.politeness import imported

    imported("serving.api.server", "cluster.roster")
    from cluster.discovery import Role
    from cluster.registries import registered
    from cluster.roster import Roster
    from serving.api.app import DOORS
    from serving.api.server import run

    doors = DOORS if only is None else (only,)
    if not settings.zookeeper.hosts and not settings.discovery.members:
        return run(settings, ready_file, doors)
    roles = [Role(door) for door in doors]
    with Roster(settings) as roster:
        return run(settings, ready_file, doors, lambda address: registered(settings, roles, address), roster.document)


COMMAND = serve
