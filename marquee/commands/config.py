"""`marquee config`: every setting, its value and where it came from."""

from __future__ import annotations

import click

from marquee.config import KNOWN
from marquee.invocation import Invocation, pass_invocation
from marquee.output import emit, json_option, table


@click.command()
@click.argument("section", required=False)
@json_option
@pass_invocation
def config(invocation: Invocation, section: str | None, as_json: bool) -> None:
    """Show each setting, its value and where it came from.

    From strongest to weakest: -s flag, environment MARQUEE_SECTION__KEY, marquee.toml, the running local cluster, default.
    Secrets are masked.

    \b
    Examples:
      marquee config
      marquee config kafka
      MARQUEE_KAFKA__BOOTSTRAP=10.0.0.5:9092 marquee config --json
    """
    resolved = invocation.resolved
    sections = list(dict.fromkeys(name.split(".")[0] for name in KNOWN))
    if section is not None and section not in sections:
        raise click.BadParameter(f"there is no section {section!r}; there are {', '.join(sections)}")
    names = [name for name in KNOWN if section is None or name.startswith(f"{section}.")]
    if as_json:
        emit({name: {"value": resolved.shown(name), "from": resolved.origins[name]} for name in names})
        return
    rows = []
    for name in names:
        value = resolved.shown(name)
        rows.append((name, ",".join(value) if isinstance(value, tuple) else str(value), resolved.origins[name], KNOWN[name].doc))
    table(("setting", "value", "from", "meaning"), rows)


COMMAND = config
