"""A mapping file: how a row of a recorded trace becomes events. TOML; every value is a DuckDB SQL expression over the row.

    files = ["name*"]            traces that it is for, when --map is absent
    [let]      name = expr       new columns, each may use those before it; `row` numbers the rows from 1
    [fields]   field = expr      of every event
    [growing]  field = expr      grows through a session: an event carries what was added since the session's previous one
    [[event]]  type = "stall"    then, optionally: when = condition; repeat = how often (`i` counts from 0); w = any number,
                                 for `growing` and ts; ts = epoch ms; and fields of this event, which win over [fields]

Events are numbered within (account, session) by ts, then row, then their order in the file. An expression that fails is null.
"""

from __future__ import annotations

import fnmatch
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from topologies.errors import UsageError
from topologies.events import FIELDS, TYPES

SHIPPED: Final = Path(__file__).parent / "maps"
_MADE: Final = ("v", "type", "seq")
MAPPED: Final = tuple(field.name for field in FIELDS if field.name not in _MADE)
"""Fields that a mapping may give."""
_OWN: Final = ("type", "when", "repeat", "w")


@dataclass(frozen=True)
class EventRule:
    """One kind of event of a row."""

    type: str
    when: str
    repeat: str
    w: str
    fields: dict[str, str]


@dataclass(frozen=True)
class Mapping:
    """A mapping file, checked."""

    name: str
    let: dict[str, str]
    fields: dict[str, str]
    growing: dict[str, str]
    events: tuple[EventRule, ...]


def load_mapping(path: Path) -> Mapping:
    """Raises UsageError, naming the line to change, when the file is no mapping."""
    try:
        content = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise UsageError(f"there is no mapping file {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no TOML file ({error})") from error
    rules = content.get("event", [])
    if not isinstance(rules, list) or not rules:
        raise UsageError(f"{path} makes no events; give at least one [[event]] with a type and a ts")
    mapping = Mapping(
        path.stem,
        _texts(path, "let", content.get("let", {})),
        _texts(path, "fields", content.get("fields", {})),
        _texts(path, "growing", content.get("growing", {})),
        tuple(_rule(path, rule) for rule in rules),
    )
    for section in (mapping.fields, mapping.growing, *(rule.fields for rule in mapping.events)):
        for name in section:
            if name not in MAPPED:
                raise UsageError(f"{path}: {name!r} is no field of an event; choose from {', '.join(MAPPED)}")
    return mapping


def _rule(path: Path, rule: dict[str, Any]) -> EventRule:
    texts = _texts(path, "event", rule)
    if texts.get("type") not in TYPES:
        raise UsageError(f"{path}: [[event]] type {texts.get('type')!r} is none of {', '.join(TYPES)}")
    fields = {name: expression for name, expression in texts.items() if name not in _OWN}
    return EventRule(texts["type"], texts.get("when", "true"), texts.get("repeat", ""), texts.get("w", "null"), fields)


def _texts(path: Path, section: str, values: Any) -> dict[str, str]:
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise UsageError(f"{path}: in [{section}] every value is a text, an SQL expression (numbers in quotes too)")
    return dict(values)


def mapping_for(trace: Path) -> Mapping:
    """The shipped mapping whose `files` fit the trace's name. UsageError when none does."""
    for path in sorted(SHIPPED.glob("*.toml")):
        patterns = tomllib.loads(path.read_text()).get("files", [])
        if any(fnmatch.fnmatch(trace.name, pattern) for pattern in patterns):
            return load_mapping(path)
    known = ", ".join(path.stem for path in sorted(SHIPPED.glob("*.toml")))
    raise UsageError(f"no shipped mapping ({known}) is for {trace.name}; give one with --map")


def events_sql(mapping: Mapping, trace: str) -> str:
    """A query of all candidate events: row, part, i, type, w_…, fields. `trace`: SQL that yields the rows, with
    their number as `row`."""
    steps = [f"step0 as (select * from {trace})"]
    for number, (name, expression) in enumerate(mapping.let.items()):
        steps.append(f'step{number + 1} as (select *, {_safe(expression)} as "{name}" from step{number})')
    last = f"step{len(mapping.let)}"
    parts = [_part(mapping, rule, number, last) for number, rule in enumerate(mapping.events)]
    return f"with {', '.join(steps)} {' union all '.join(parts)}"


def _safe(expression: str) -> str:
    # TRY does not take window functions; those of a mapping do not fail on a value.
    return f"({expression})" if " over " in expression else f"try({expression})"


def _part(mapping: Mapping, rule: EventRule, number: int, rows: str) -> str:
    given = mapping.fields | mapping.growing | rule.fields
    columns = [f"{_cast(name, given.get(name, 'null'))} as out_{name}" for name in MAPPED]
    source = f"select *, 0::bigint as i from {rows}"
    if rule.repeat:
        source = f"select *, unnest(range(coalesce(try(cast({rule.repeat} as bigint)), 0))) as i from {rows} where try({rule.when})"
    with_w = f"select *, try({rule.w}) as w from ({source}) where try({rule.when})"
    return f"select row, {number} as part, i, '{rule.type}' as type, {', '.join(columns)} from ({with_w})"


def _cast(name: str, expression: str) -> str:
    form = next(field.form for field in FIELDS if field.name == name)
    if form == "int":
        return f"try(cast(round({expression}) as bigint))"
    return f"try(cast({expression} as {'boolean' if form == 'bool' else 'varchar'}))"


def valid_sql() -> str:
    """A condition on `out_…` columns that the strict rules of topologies.events hold (seq is made, so it is right)."""
    return " and ".join(conditions().values())


def conditions() -> dict[str, str]:
    """The same by field."""
    found = {}
    for field in FIELDS:
        if field.name in _MADE:
            continue
        column = f"out_{field.name}"
        if field.form == "int":
            fits = f"{column} between {field.low} and {field.high}"
        elif field.form == "enum":
            fits = f"{column} in ({', '.join(repr(value) for value in field.values)})"
        elif field.form == "bool":
            fits = "true"
        else:
            fits = f"length({column}) between 1 and 128 and not regexp_matches({column}, '[\\x00-\\x1f\\x7f]')"
        found[field.name] = f"({column} is not null and {fits})" if field.required else f"({column} is null or {fits})"
    return found
