"""Faults on purpose, under load: `marquee chaos`. What may be struck and how is a row of `kinds`; when is `plan`'s, a pure function
of the seed; `strays` makes records that belong to no run; `ground` is what is struck, `lanes` strike it in time, `trial` is the whole way
from servers to the audit."""

from __future__ import annotations

from typing import Final

MOST_FAULTS: Final = 10_000
"""Of a run."""
