"""The command `marquee`: finds its commands in marquee/commands, one file each, and turns every ending into an exit code.

    0 done    1 failed, or not exact    2 used wrongly    130 interrupted

A command's module is imported when it is named or listed, so it imports what is heavy inside its function.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import click

import marquee.commands
from marquee.config import without_password, without_secrets
from marquee.invocation import Invocation
from topologies.editions import LIVE_EDITION
from topologies.errors import MarqueeError


class Commands(click.Group):
    """The modules of marquee/commands, each with its `COMMAND`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click passes it
        return sorted(module.name for module in pkgutil.iter_modules(marquee.commands.__path__))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command = importlib.import_module(f"marquee.commands.{cmd_name}").COMMAND
        return command if isinstance(command, click.Command) else None


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-s", "--set", "flags", multiple=True, metavar="SECTION.KEY=VALUE", help="Set one setting; before the command, repeatable.")
@click.option("--config", "file", type=click.Path(path_type=Path), help="Read settings from this file instead of ./marquee.toml.")
@click.option("--edition", default=LIVE_EDITION, metavar="NAME", help="Work in this edition: everything counted anew beside what is live.")
@click.pass_context
def cli(ctx: click.Context, flags: tuple[str, ...], file: Path | None, edition: str) -> None:
    """Real-time viewing analytics: every play counted once, live.

    \b
    Examples:
      marquee up                                    # the local cluster and workers, until Ctrl-C
      marquee load --rate 20000 --duration 60       # in another terminal: a minute of viewing
      marquee query concurrents --top 10            # who is watching what, now
      marquee -s kafka.bootstrap=10.0.0.5:9092 status
      marquee --edition fix worker                  # counts all logs anew, see docs/operations.md
    """
    ctx.obj = Invocation(flags, file, edition)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code; never raises, never prints a traceback."""
    try:
        code = cli.main(args=None if arguments is None else list(arguments), prog_name="marquee", standalone_mode=False)
        sys.stdout.flush()
    except click.UsageError as error:
        return _refused(_usage(error), 2)
    except click.ClickException as error:
        return _refused(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _refused("interrupted", 130)
    except MarqueeError as error:
        return _refused(str(error), error.exit_code)
    except SystemExit as error:  # click and rich end so when the reader of a pipe has gone
        return error.code if isinstance(error.code, int) else 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001  # the last line of defence: whatever it is, the person gets one sentence
        if isinstance(error, OSError) and error.filename is not None:
            return _refused(f"{error.filename} cannot be used: {error.strerror} (the traceback is in {_logged(error)})", 1)
        return _refused(f"an unexpected {type(error).__name__}: {error} (this is a bug; the traceback is in {_logged(error)})", 1)
    return code if isinstance(code, int) else 0


def _usage(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx else "marquee"
    return f"{error.format_message().rstrip('.')}; see `{path} --help`"


def _refused(message: str, code: int) -> int:
    try:
        click.echo(f"marquee: {' '.join(message.split())}", err=True)
    except OSError:  # nobody is left to read it
        return code
    return code


def _logged(error: Exception) -> Path:
    call = time.strftime("%Y-%m-%dT%H:%M:%S ") + " ".join(without_secrets(sys.argv))
    text = without_password(f"{call}\n{''.join(traceback.format_exception(error))}\n")
    for directory in (Path("var/logs"), Path(tempfile.gettempdir())):
        path = directory / "marquee-errors.log"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as log:
                log.write(text)
        except OSError:
            continue
        return path
    return Path("nowhere: no directory could be written")
