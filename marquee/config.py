"""The settings' front door: where each value comes from.

    flag -s section.key=value  >  environment MARQUEE_SECTION__KEY  >  marquee.toml  >  running local cluster  >  default

A wrong name or a wrong type is a UsageError that names the place and the nearest known setting.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, get_type_hints
from urllib.parse import urlsplit

from topologies.errors import UsageError
from topologies.regions import require_consistent
from topologies.settings import IN_CASSANDRA, Form, Settings

FILE: Final = "marquee.toml"
PREFIX: Final = "MARQUEE_"
MASK: Final = "********"

LocalAddresses = Callable[[Path], Mapping[str, str]]
"""Given a cluster's directory, the `MARQUEE_…` variables of the cluster that runs there; none when none does."""
_PASSWORD: Final = re.compile(r"((?:^|//|=)[^\s/@:]*:)[^\s/]+(?=@)")
_SECRET_OPTION: Final = re.compile(r"([?&][^\s=&]*(?:key|secret|token|sas|signature|sig)[^\s=&]*=)[^\s&]+", re.IGNORECASE)
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
    least: float = 0
    most: float | None = None
    form: Form | None = None
    some: bool = False

    @property
    def variable(self) -> str:
        """Its environment variable."""
        section, key = self.name.split(".")
        return f"{PREFIX}{section.upper()}__{key.upper()}"

    @property
    def kind_name(self) -> str:
        """What it has to be, in words."""
        span = f"from {self.least:g}" + ("" if self.most is None else f" to {self.most:g}")
        numbers = {int: f"a whole number {span}", float: f"a number {span}", bool: "true or false"}
        if self.kind in numbers:
            return numbers[self.kind]
        text = "text" if self.form is None else f"text: {self.form.words}"
        return text if self.kind is str else f"a list of {'at least one ' if self.some else ''}{text}"

    def allows(self, value: object) -> bool:
        """Whether a value of its type is within what it may be."""
        if self.kind in (int, float):
            return self.least <= value and (self.most is None or value <= self.most)  # type: ignore[operator]  # a number here
        texts = value if isinstance(value, tuple) else (value,)
        return (bool(texts) or not self.some) and (self.form is None or all(self.form.fits(str(text)) for text in texts))


def _known() -> Iterator[Known]:
    for section in fields(Settings):
        values = getattr(Settings(), section.name)
        hints = get_type_hints(type(values))
        for key in fields(values):
            yield Known(f"{section.name}.{key.name}", hints[key.name], getattr(values, key.name), **key.metadata)


KNOWN: Final[dict[str, Known]] = {known.name: known for known in _known()}
VARIABLES: Final[dict[str, str]] = {known.name: known.variable for known in KNOWN.values()}
_ONE_UNDERSCORE: Final[dict[str, str]] = {variable.replace("__", "_"): variable for variable in VARIABLES.values()}


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
        return _unlocked(value)


def _unlocked(value: object) -> object:
    """The value without the passwords of its URLs."""
    if isinstance(value, tuple | list):
        return type(value)(_unlocked(each) for each in value)
    return without_password(value) if isinstance(value, str) else value


def without_password(text: str) -> str:
    """The text with the password of a URL masked, and what options behind its ? are keys or tokens; of what is nearly a URL too. Other text
    as it is."""
    return _SECRET_OPTION.sub(rf"\1{MASK}", _PASSWORD.sub(rf"\1{MASK}", text))


def without_secrets(arguments: Sequence[str]) -> list[str]:
    """A command line as it may be kept: what `-s` sets a secret to, and passwords in URLs, masked."""
    found = []
    for argument in arguments:
        option = next((option for option in ("--set=", "-s") if argument.startswith(option)), "")
        name, equals, _ = argument.removeprefix(option).partition("=")
        secret = bool(equals) and _may_be_secret(name)
        found.append(f"{option}{name}={MASK}" if secret else without_password(argument))
    return found


def _may_be_secret(name: str) -> bool:
    """Whether it names a secret, rightly or nearly so."""
    near = difflib.get_close_matches(name.strip().lower(), KNOWN, n=1, cutoff=0.8)
    return bool(near) and KNOWN[near[0]].secret


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
    _consistent(settings)
    origins = {name: found[name][1] if name in found else "default" for name in KNOWN}
    return Resolved(settings, origins)


def _consistent(settings: Settings) -> None:
    """Raises UsageError for URLs that are none, for shelves among cells, and where letters would be read as events: each refused one would
    be written again, for ever."""
    try:
        _ = urlsplit(settings.redis.url).port
        if settings.redis.shelves_db >= 0:
            from connectors.redis import at_shelves  # only here: most invocations need no client

            at_shelves(settings.redis)
    except ValueError as error:
        raise UsageError(f"redis.url is no URL ({error}): write {KNOWN['redis.url'].kind_name}") from None
    require_consistent(settings)
    for section, url in (("checkpoints", settings.checkpoints.url), ("history", settings.history.url)):
        if url not in ("", IN_CASSANDRA):
            from connectors.object_url import ObjectUrl  # as above

            try:
                ObjectUrl.of(url)
            except UsageError as error:
                raise UsageError(f"{section}.url: {error}") from None
    _signed_in(settings)
    kafka = settings.kafka
    for name, topic in (("kafka.dead_topic", kafka.dead_topic), ("kafka.late_topic", kafka.late_topic)):
        if topic in kafka.topics or topic.startswith(kafka.backfill_prefix):
            raise UsageError(f"{name} {topic} is a topic that workers read (kafka.topics, kafka.backfill_prefix): give it another name")
    if read_twice := [topic for topic in kafka.topics if topic.startswith(kafka.backfill_prefix)]:
        raise UsageError(f"kafka.topics has {read_twice[0]}, which kafka.backfill_prefix {kafka.backfill_prefix} makes a backfill")


def _signed_in(settings: Settings) -> None:
    """Raises UsageError for a login without what it takes, or that would show a secret to whoever is on the way."""
    kafka = settings.kafka
    if kafka.login in ("plain", "scram-sha-256", "scram-sha-512") and not (kafka.user and kafka.password):
        raise UsageError(f"kafka.login {kafka.login} takes kafka.user and kafka.password: set both")
    if kafka.login == "token-file" and not kafka.token_file:
        raise UsageError("kafka.login token-file takes kafka.token_file: name the file that the token stands in")
    if kafka.login in ("plain", "token-file", "msk-iam", "entra") and not kafka.tls:
        raise UsageError(f"kafka.login {kafka.login} sends what others could sign in with: set kafka.tls, or take scram-sha-512")
    if settings.redis.ca_file and not settings.redis.url.startswith("rediss://"):
        raise UsageError("redis.ca_file is for TLS, which redis.url does not ask for: write rediss://")
    for section in ("kafka", "cassandra", "memcached"):
        values = getattr(settings, section)
        if values.ca_file and not values.tls:
            raise UsageError(f"{section}.ca_file is for TLS, which {section}.tls does not ask for: set it to true")


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
            raise UsageError(
                f"--set {without_password(flag)}: write it as section.key=value, for example -s kafka.bootstrap=127.0.0.1:9092"
            )
        known = _setting(name.strip(), f"--set {without_secrets([flag])[0]}")
        found[known.name] = (_parsed(known, text, "--set"), "flag")
    return found


def _from_environment(environment: Mapping[str, str], origin: str = "environment") -> dict[str, tuple[object, str]]:
    found: dict[str, tuple[object, str]] = {}
    for variable, text in environment.items():
        if meant := _ONE_UNDERSCORE.get(variable):
            raise UsageError(f"{origin} variable {variable} is no setting: write {meant}, with two underscores")
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
        return _checked(known, text, place)
    if known.kind is bool:
        words = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
        return _checked(known, words.get(text.strip().lower(), text), place)
    if known.kind in (int, float):
        try:
            return _checked(known, known.kind(text), place)
        except ValueError:
            raise _wrong(known, text, place) from None
    return _checked(known, [part.strip() for part in text.split(",") if part.strip()], place)


def _checked(known: Known, value: object, place: str) -> object:
    """The value if it is what the setting may be: what TOML and JSON give."""
    if known.kind is float and type(value) is int:
        try:
            value = float(value)
        except OverflowError:
            raise _wrong(known, value, place) from None
    if known.kind in (int, float, str, bool):
        right = type(value) is known.kind and not (isinstance(value, float) and not math.isfinite(value))
    else:
        right = isinstance(value, list | tuple) and all(isinstance(part, str) for part in value)
        value = tuple(value) if right else value  # type: ignore[arg-type]  # a list here
    if not right or not known.allows(value):
        raise _wrong(known, value, place)
    return value


def _wrong(known: Known, value: object, place: str) -> UsageError:
    shown = MASK if known.secret else repr(_unlocked(value))
    return UsageError(f"{place}: {known.name} is {known.kind_name} ({known.doc}), not {shown}")
