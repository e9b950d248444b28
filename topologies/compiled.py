"""How kernels are compiled: numba, cached on disk, without the interpreter's lock.

Also the three machine words that numba has no name for: an unaligned 8-byte load, the count of trailing zeros, and a
64-bit mix. A buffer handed to `load64` must have PADDING readable bytes behind its last value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])

PADDING: Final = 32
"""Bytes that must follow the last byte of a buffer that a kernel reads by words."""


def kernel(function: Function) -> Function:
    """Compile on first call, keep the machine code on disk, release the GIL while running."""
    return cast(Function, numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def inlined(function: Function) -> Function:
    """Like `kernel`, for small functions that kernels call in their innermost loop."""
    return cast(Function, numba.njit(cache=True, nogil=True, error_model="numpy", inline="never", forceinline=True)(function))


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def load64(_typing: Any, array: Any, index: Any) -> Any:
    """The 8 bytes of `array: uint8[:]` from `index`, little endian, as uint64."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.gep(view.data, [arguments[1]])
        return builder.load(builder.bitcast(address, ir.IntType(64).as_pointer()), align=1, typ=ir.IntType(64))

    return types.uint64(array, types.int64), code


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def load8(_typing: Any, array: Any, index: Any) -> Any:
    """`array[index]` of a `uint8[:]` without the check for a negative index, as int64."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        byte = builder.load(builder.gep(view.data, [arguments[1]]), typ=ir.IntType(8))
        return builder.zext(byte, ir.IntType(64))

    return types.int64(array, types.int64), code


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def trailing_zeros(_typing: Any, word: Any) -> Any:
    """Number of zero bits below the lowest set bit of a uint64 (64 for 0)."""

    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), code


@inlined
def mix(word: np.uint64) -> np.uint64:
    """MurmurHash3's 64-bit finaliser: every input bit reaches every output bit."""
    word ^= word >> np.uint64(33)
    word *= np.uint64(0xFF51AFD7ED558CCD)
    word ^= word >> np.uint64(33)
    word *= np.uint64(0xC4CEB9FE1A85EC53)
    word ^= word >> np.uint64(33)
    return word


@inlined
def hash_bytes(buffer: np.ndarray, start: int, length: int, seed: np.uint64) -> np.uint64:
    """A stable 64-bit hash of `buffer[start : start + length]`; stored in checkpoints, so it may never change."""
    word = seed ^ (np.uint64(length) * np.uint64(0x9E3779B97F4A7C15))
    at = start
    rest = length
    while rest >= 8:
        word = mix(word ^ load64(buffer, at))
        at += 8
        rest -= 8
    if rest > 0:
        keep = (np.uint64(1) << np.uint64(8 * rest)) - np.uint64(1)
        word = mix(word ^ (load64(buffer, at) & keep))
    return mix(word + np.uint64(0xD6E8FEB86659FD93))
