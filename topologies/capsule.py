"""Arrow's C data interface by its public door: a record batch's `__arrow_c_array__` and the address of the struct in it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

_pointer: Final = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype = ctypes.c_void_p
_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]


@contextmanager
def array_address(batch: Any) -> Iterator[int]:
    """The address of the batch's ArrowArray, which stays as long as the context does."""
    capsules = batch.__arrow_c_array__()
    yield int(_pointer(capsules[1], b"arrow_array"))
    del capsules
