"""The settings' front door: where each value comes from.

    flag -s section.key=value  >  environment MARQUEE_SECTION__KEY  >  marquee.toml  >  running local cluster  >  default

A wrong name or a wrong type is a UsageError that names the place and the nearest known setting.
"""

from __future__ import annotations

import difflib
import math
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, get_type_hints
from urllib.parse import urlsplit, urlunsplit

from topologies.errors import UsageError
from topologies.settings import Settings

FILE: Final = "marquee.toml"
PREFIX: Final = "MARQUEE_"
MASK: Final = "********"

LocalAddresses = Callable[[Path], Mapping[str, str]]
"""Given a cluster's directory, the `MARQUEE_…` variables of the cluster that runs there; none when none does."""
LOCAL: Final = Path("clusters/local")
"""Where `marquee up` keeps its cluster, under `local.directory`."""


@dataclass(frozen=True)
class Known:
    """One setting there is: its dotted name, type, default, meaning."""

    name: str
    kind: Any
    default: object
    doc: str
    secret: bool

    @property
    def variable(self) -> str:
        """Its environment variable."""
        section, key = self.name.split(".")
        return f"{PREFIX}{section.upper()}__{key.upper()}"

    @property
    def kind_name(self) -> str:
        """Its type in words."""
        names = {str: "text", int: "a whole number from 0", float: "a number from 0", bool: "true or false"}
        return names.get(self.kind, "a list of texts")


def _known() -> Iterator[Known]:
    for section in fields(Settings):
        values = getattr(Settings(), section.name)
        hints = get_type_hints(type(values))
        for key in fields(values):
            secret = bool(key.metadata["secret"])
            yield Known(f"{section.name}.{key.name}", hints[key.name], getattr(values, key.name), key.metadata["doc"], secret)


KNOWN: Final[dict[str, Known]] = {known.name: known for known in _known()}
VARIABLES: Final[dict[str, str]] = {known.name: known.variable for known in KNOWN.values()}


@dataclass(frozen=True)
class Resolved:
    """The settings, and for each dotted name where its value came from (`default`, `environment`, …)."""

    settings: Settings
    origins: Mapping[str, str] = field(default_factory=dict)

    def value(self, name: str) -> object:
        """The value of a dotted name."""
        section, key = name.split(".")
        found: object = getattr(getattr(self.settings, section), key)
        return found

    def shown(self, name: str) -> object:
        """The value as it may be printed: secrets, and a password inside a URL, masked."""
        value = self.value(name)
        if KNOWN[name].secret:
            return MASK if value else ""
        return without_password(value) if isinstance(value, str) else value


def without_password(text: str) -> str:
    """The text with the password of a URL masked; other text as it is."""
    if "://" not in text or "@" not in text:
        return text
    parts = urlsplit(text)
    user, at, host = parts.netloc.rpartition("@")
    if not at or ":" not in user:
        return text
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}:{MASK}@{host}"))


def resolve(
    flags: Sequence[str] = (),
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    local: LocalAddresses | None = None,
) -> Resolved:
    """The settings from every place. Raises UsageError for an unknown name, a wrong type or an unreadable file.

    flags: `section.key=value` each. file: instead of `marquee.toml` in `directory` (default: the current one).
    """
    found: dict[str, tuple[object, str]] = {}
    path = file if file is not None else (directory or Path.cwd()) / FILE
    found.update(_from_file(path, must_exist=file is not None))
    found.update(_from_environment(os.environ if environment is None else environment))
    found.update(_from_flags(flags))
    home = found.get("local.directory", (KNOWN["local.directory"].default, ""))[0]
    running = (local or _running_cluster)(Path(str(home)) / LOCAL)
    return _assembled(_from_environment(running, "local cluster") | found)


def _assembled(found: Mapping[str, tuple[object, str]]) -> Resolved:
    settings = Settings()
    for name, (value, _) in found.items():
        section, key = name.split(".")
        settings = replace(settings, **{section: replace(getattr(settings, section), **{key: value})})
    origins = {name: found[name][1] if name in found else "default" for name in KNOWN}
    return Resolved(settings, origins)


def _running_cluster(directory: Path) -> Mapping[str, str]:
    if not (directory / "cluster.json").exists():
        return {}
    from cluster.state import running_addresses  # only here: most invocations need no cluster

    return running_addresses(directory)


def _from_flags(flags: Sequence[str]) -> dict[str, tuple[object, str]]:
    found: dict[str, tuple[object, str]] = {}
    for flag in flags:
        name, equals, text = flag.partition("=")
        if not equals:
            raise UsageError(f"--set {flag}: write it as section.key=value, for example -s kafka.bootstrap=127.0.0.1:9092")
        known = _setting(name.strip(), f"--set {flag}")
        found[known.name] = (_parsed(known, text, "--set"), "flag")
    return found


def _from_environment(environment: Mapping[str, str], origin: str = "environment") -> dict[str, tuple[object, str]]:
    found: dict[str, tuple[object, str]] = {}
    for variable, text in environment.items():
        if variable.startswith(PREFIX) and "__" in variable:
            section, _, key = variable.removeprefix(PREFIX).partition("__")
            known = _setting(f"{section}.{key}".lower(), f"{origin} variable {variable}", VARIABLES)
            found[known.name] = (_parsed(known, text, variable), origin)
    return found


def _from_file(path: Path, must_exist: bool) -> dict[str, tuple[object, str]]:
    try:
        with path.open("rb") as opened:
            document = tomllib.load(opened)
    except FileNotFoundError:
        if must_exist:
            raise UsageError(f"the settings file {path} does not exist; give --config an existing one") from None
        return {}
    except OSError as error:
        raise UsageError(f"the settings file {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the settings file {path} is not TOML: {error}") from error
    found: dict[str, tuple[object, str]] = {}
    for section, values in document.items():
        if not isinstance(values, dict):
            raise UsageError(f"{path}: {section!r} stands outside a section; write it under one, for example [kafka]")
        for key, value in values.items():
            known = _setting(f"{section}.{key}", str(path))
            found[known.name] = (_checked(known, value, str(path)), str(path))
    return found


def _setting(name: str, place: str, names: Mapping[str, str] | None = None) -> Known:
    if name in KNOWN:
        return KNOWN[name]
    near = difflib.get_close_matches(name, KNOWN, n=1, cutoff=0.5)
    written = names[near[0]] if near and names else near[0] if near else ""
    hint = f"; did you mean {written}?" if near else "; `marquee config` lists all"
    raise UsageError(f"{place}: there is no setting {name}{hint}")


def _parsed(known: Known, text: str, place: str) -> object:
    """The value that a text means."""
    if known.kind is str:
        return text
    if known.kind is bool:
        words = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
        return _checked(known, words.get(text.strip().lower(), text), place)
    if known.kind in (int, float):
        try:
            return _checked(known, known.kind(text), place)
        except ValueError:
            raise _wrong(known, text, place) from None
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _checked(known: Known, value: object, place: str) -> object:
    """The value if it has the setting's type: what TOML and JSON give."""
    if known.kind is float and type(value) is int:
        value = float(value)
    if known.kind in (int, float):
        if type(value) is known.kind and math.isfinite(value) and value >= 0:  # type: ignore[operator,arg-type]  # int or float here
            return value
    elif known.kind in (str, bool):
        if type(value) is known.kind:
            return value
    elif isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
        return tuple(value)
    raise _wrong(known, value, place)


def _wrong(known: Known, value: object, place: str) -> UsageError:
    shown = MASK if known.secret else repr(value)
    return UsageError(f"{place}: {known.name} is {known.kind_name} ({known.doc}), not {shown}")
