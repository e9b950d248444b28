"""Compiling by numba, typed. Kernels take numpy arrays and named tuples and hold no Python object.

The machine code is cached beside the source. numba renews a module's cache when that module changes, not when a
function that it calls from another module does: so `draws` and `rows`, on which other kernels build, are kept small and still.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """`function`, compiled at its first call, without holding the interpreter's lock."""
    return cast(F, numba.njit(cache=True, nogil=True)(function))
