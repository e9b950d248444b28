"""Bins of histograms in SQL, from docs/architecture.md's text, and how far quantiles of bins are from those of the values.

Macros: bin_of(value), the number of the bin; middle_of(bin), what stands for its values.
"""

from __future__ import annotations

from typing import Final

import duckdb

from loadgen import audit_generated
from topologies.view import View

STATED: Final = 1 / 64
"""No bin's middle is further from any of its values, relative to the value."""

_MACROS: Final = """
CREATE OR REPLACE MACRO doubling_of(value) AS length(bin(value)) - 7;
CREATE OR REPLACE MACRO bin_of(value) AS CASE WHEN value < 64 THEN value
  ELSE 64 + 32 * doubling_of(value) + (value - (64 << doubling_of(value))) // (2 << doubling_of(value)) END;
CREATE OR REPLACE MACRO middle_of(number) AS CASE WHEN number < 64 THEN number
  ELSE (64 << ((number - 64) // 32)) + (number % 32) * (2 << ((number - 64) // 32)) + ((2 << ((number - 64) // 32)) - 1) / 2 END;
"""


def define(database: duckdb.DuckDBPyConnection) -> None:
    """Make the macros."""
    database.execute(_MACROS)


def measured_error(database: duckdb.DuckDBPyConnection, part: View) -> float | None:
    """The largest relative error of this histogram's quantiles in any window and group of the source and offset that were recounted last;
    None without any. The p-quantile of n values is the one at rank ⌈p · n⌉, here of the values and there of their bins."""
    assert part.histogram is not None
    ranks = ", ".join(map(str, part.histogram.quantiles))
    found = []
    for values in audit_generated.binned_values(part):
        query = f"""SELECT max(abs(middle_of(binned) - exact) / exact) FROM (
            SELECT unnest(quantile_disc(value, [{ranks}])) AS exact, unnest(quantile_disc(bin_of(value), [{ranks}])) AS binned
            FROM ({values}) GROUP BY start_ms, key) WHERE exact > 0"""
        found += database.execute(query).fetchall()
    return max((error for (error,) in found if error is not None), default=None)
