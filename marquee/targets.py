"""The table of managed services, targets.toml: what each can do of what Marquee needs, by which source."""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Final, Literal

import msgspec

Verdict = Literal["yes", "configured", "no", "ask"]
WORDS: Final[dict[str, str]] = {"yes": "yes", "configured": "if configured so", "no": "NO", "ask": "ask it"}


class Need(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that Marquee needs of a server, and whether the service has it. source and url: both, or neither where there is none."""

    need: str
    verdict: Verdict
    found: str
    source: str = ""
    url: str = ""


class Service(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One service. server: which of Marquee's servers it would be, or `checkpoints`, several separated by commas; take: what to choose."""

    target: str
    name: str
    server: str
    verdict: Literal["yes", "configured", "no"]
    take: str
    need: tuple[Need, ...]

    @property
    def servers(self) -> tuple[str, ...]:
        """The servers that are asked about it."""
        return tuple(name.strip() for name in self.server.split(","))


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    service: tuple[Service, ...]


def services() -> dict[str, Service]:
    """All, by target, in the table's order."""
    text = files("marquee").joinpath("targets.toml").read_bytes()
    return {service.target: service for service in msgspec.toml.decode(text, type=_Table).service}


def managed_page(note: str) -> str:
    """docs/managed-services.md."""
    lines = ["# Managed services", "", note, ""]
    lines += [
        "What managed services of AWS and Azure can do of what Marquee needs, each statement with the document it was read in, and which",
        "service to take instead of one that cannot. `marquee doctor --target NAME` shows a service's part and, when the settings name",
        "such a server, connects and asks it: of what time its topics' records are, whether topics have ids, whether functions can be",
        "loaded, whether a write keeps the time it is given, whether objects can be put and got. How to sign in:",
        "[bring-your-own.md](bring-your-own.md).",
        "",
        "| service | `--target` | can it be used | take |",
        "|---|---|---|---|",
    ]
    found = services()
    lines += [f"| {one.name} | `{one.target}` | {WORDS[one.verdict]} | {one.take} |" for one in found.values()]
    for one in found.values():
        lines += ["", f"## {one.name}", "", "| Marquee needs | has it | what was found | source |", "|---|---|---|---|"]
        lines += [f"| {need.need} | {WORDS[need.verdict]} | {need.found} | {_link(need)} |" for need in one.need]
    return "\n".join(lines) + "\n"


def _link(need: Need) -> str:
    return f"[{need.source}]({need.url})" if need.url else ""


def document(service: Service) -> dict[str, Any]:
    """For `--json`."""
    found: dict[str, Any] = msgspec.to_builtins(service)
    return found
