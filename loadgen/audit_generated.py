"""The recount of a view that the auditor has no definition of: SQL made from its declaration.

It shares no code with the fold, but what it takes the view to be is what the declaration says. So it is told apart (ViewTally.independent).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import duckdb

from loadgen.audit_sql import column_of, total
from loadgen.audit_strict import TYPES
from topologies.view import BIN_MARK, Measure, View, Window

_SEPARATOR: Final = " || chr(31) || "


def recount(database: duckdb.DuckDBPyConnection, part: View) -> None:
    """Add the cells of a part, whatever it is declared to be but a distinct count (audit_sketches), to `recounted`."""
    values = _values(part)
    for window in part.windows:
        for number, grouping in enumerate(part.groupings):
            database.execute(
                f"""INSERT INTO recounted
                SELECT '{part.name}', '{window.name}', {start_of(window)} AS start_ms, {number}, {key_of(grouping)} AS key,
                  {values} AS "values"
                FROM {_source(part)} GROUP BY start_ms, key HAVING list_max("values") > 0"""
            )


def binned_values(part: View) -> Iterator[str]:
    """For each grouping and window of a histogram: SQL that gives start_ms, key (without the bin) and value of all that it counts."""
    assert part.histogram is not None
    for window in part.windows:
        for *grouping, _ in part.groupings:
            yield f"SELECT {start_of(window)} AS start_ms, {key_of(grouping)} AS key, {part.histogram.of} AS value FROM {_source(part)}"


def key_of(grouping: Sequence[str]) -> str:
    """SQL of a cell's key: the dimensions' texts, nothing for an absent one, joined by U+001F; a bin is its number."""
    return _SEPARATOR.join(map(_dimension, grouping)) or "''"


def _dimension(name: str) -> str:
    if name.endswith(BIN_MARK):
        return f"bin_of({name.removesuffix(BIN_MARK)})::VARCHAR"
    return f"coalesce({column_of(name)}, '')"


def start_of(window: Window) -> str:
    """SQL of the start of the window that an event or a session stands in."""
    return f"ts - ts % {window.length_ms}"


def counted_if(part: View) -> str:
    """SQL of the condition under which an event or a session is counted in a cell of the part: what it adds is not all zero."""
    if part.distinct is not None or part.extreme is not None:
        return _condition(part)
    amounts = " OR ".join(f"coalesce({_amount(measure)}, 0) > 0" for measure in part.measures)
    return f"{_condition(part)} AND ({amounts})"


def _source(part: View) -> str:
    """What is counted, with its condition: a cell is of nothing else."""
    return f"{'events' if part.of == 'event' else 'over'} WHERE {_condition(part)}"


def _condition(part: View) -> str:
    conditions = [f"{declared.of} IS NOT NULL" for declared in (part.histogram, part.extreme) if declared is not None]
    if part.histogram is not None and part.histogram.on is not None:
        conditions.append(f"\"type\" = '{part.histogram.on}'")
    return " AND ".join(conditions) or "true"


def _values(part: View) -> str:
    if part.extreme is None:
        return f"[{', '.join(map(_sum, part.measures))}]"
    field = part.extreme.of
    # what is not added stands as one more, so that 0 is none
    if part.extreme.keep == "last":
        return f"first([ts + 1, seq + 1, {field} + 1] ORDER BY ts DESC, seq DESC, n)"
    return f"[{part.extreme.keep}({field}) + 1]"


def _sum(measure: Measure) -> str:
    if measure.sum_of is None and measure.count_of is not None and not measure.half_life_s:
        return f"count(*) FILTER ({_is_counted(measure.count_of)})"
    return total(_amount(measure))


def _amount(measure: Measure) -> str:
    """SQL of what one event or session adds to the measure; null or 0 for nothing."""
    if measure.sum_of is not None:
        return " * ".join((measure.sum_of, *([measure.times] if measure.times else [])))
    if measure.count_of is None:
        return "0"
    weight = "1"
    if measure.half_life_s:
        weight = f"round(65536 * pow(2, (ts % 86400000) // 60000 * 60 / {measure.half_life_s}))::BIGINT"
    return f"CASE WHEN {_is_counted(measure.count_of)} THEN {weight} END"


def _is_counted(what: str) -> str:
    if what in TYPES:
        return f"\"type\" = '{what}'"
    return "true" if what == "any" else f"outcome = '{what}'"
