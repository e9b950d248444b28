"""How kernels are compiled: numba, cached on disk, without the interpreter's lock.

Also the machine words that numba has no name for: unaligned loads, the count of trailing zeros, and a 64-bit mix. A buffer
handed to `load64` must have PADDING readable bytes behind its last value.
"""

from __future__ import annotations

import builtins
import dis
import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])
Word: TypeAlias = Any
"""A number inside a kernel. A machine word when compiled, which mixes with Python's int as numpy's types, to a type checker, do not."""

PADDING: Final = 32
"""Bytes that must follow the last byte of a buffer that a kernel reads by words."""

signed: Final = cast(Callable[[Any], Word], np.int64)
unsigned: Final = cast(Callable[[Any], Word], np.uint64)


def kernel(function: Function) -> Function:
    """Compile on first call, keep the machine code on disk, release the GIL while running."""
    return _compiled(function)


def lean(function: Function) -> Function:
    """Like `kernel`, for one that makes no arrays. Its arrays' references are not counted, so it can be cut into functions freely.

    Measured: the scanner in pieces takes 1.65 µs an event as a `kernel`, 0.2 as `lean`.
    """
    return _compiled(function, _nrt=False)


def inlined(function: Function) -> Function:
    """Like `lean`, for functions that become part of the kernel that calls them."""
    return _compiled(function, _nrt=False, forceinline=True)


def _compiled(function: Function, **options: Any) -> Function:
    known_as = fingerprint(function, repr(options))
    config: Any = numba.config
    given = config.CACHE_DIR
    config.CACHE_DIR = str(Path(given or Path(inspect.getfile(function)).parent / "__pycache__") / f"kernel-{known_as}")
    try:
        made = numba.njit(cache=True, nogil=True, error_model="numpy", **options)(function)
    finally:
        config.CACHE_DIR = given
    made.known_as = known_as
    return cast(Function, made)


def fingerprint(function: Callable[..., Any], options: str) -> str:
    """Of the function and of all that is frozen into its machine code: constants, tables, the functions that it calls.

    numba's own cache looks at the function's file only, so a constant changed in another file would not be seen. What is
    defined further down in the function's own file is not known yet: then the whole file counts, with all that it imports.
    """
    digest = hashlib.sha256((inspect.getsource(function) + options).encode())
    names = {step.argval for step in dis.get_instructions(function) if step.opname == "LOAD_GLOBAL"}
    known = function.__globals__
    if names - known.keys() - vars(builtins).keys():
        digest.update(Path(inspect.getfile(function)).read_bytes())
        names = set(known)
    for name in sorted(names):
        value: Any = known.get(name)
        if hasattr(value, "known_as"):
            digest.update(value.known_as.encode())
        elif isinstance(value, np.ndarray):
            digest.update(f"{name} {value.dtype} {value.shape}".encode() + value.tobytes())
        elif isinstance(value, (int, float, str, tuple, np.generic)):
            digest.update(f"{name} {value!r}".encode())
    return digest.hexdigest()[:16]


def _word(function: Callable[..., Any], options: str = "") -> Any:
    made: Any = intrinsic(function)
    made.known_as = fingerprint(function, options)
    return made


def _load64(_typing: Any, array: Any, index: Any) -> Any:  # noqa: ARG001  # numba calls it by these names
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.gep(view.data, [arguments[1]])
        return builder.load(builder.bitcast(address, ir.IntType(64).as_pointer()), align=1, typ=ir.IntType(64))

    return types.uint64(array, types.int64), code


def _load8(_typing: Any, array: Any, index: Any) -> Any:  # noqa: ARG001  # numba calls it by these names
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        byte = builder.load(builder.gep(view.data, [arguments[1]]), typ=ir.IntType(8))
        return builder.zext(byte, ir.IntType(64))

    return types.int64(array, types.int64), code


def _peek(bits: int, widen: str) -> Any:
    def read(_typing: Any, address: Any) -> Any:  # noqa: ARG001  # numba calls it by these names
        def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            pointer = builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer())
            value = builder.load(pointer, align=1, typ=ir.IntType(bits))
            return value if bits == 64 else getattr(builder, widen)(value, ir.IntType(64))

        return types.int64(types.int64), code

    return _word(read, f"{bits} {widen}")


def _trailing_zeros(_typing: Any, word: Any) -> Any:  # noqa: ARG001  # numba calls it by these names
    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), code


def _prefetch(_typing: Any, array: Any, index: Any) -> Any:  # noqa: ARG001  # numba calls it by these names
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.bitcast(builder.gep(view.data, [arguments[1]]), ir.IntType(8).as_pointer())
        word = ir.IntType(32)
        called = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), word, word, word])
        function: Any = cgutils.get_or_insert_function(builder.module, called, "llvm.prefetch.p0i8")  # type: ignore[no-untyped-call]
        builder.call(function, [address, word(0), word(3), word(1)])  # to read, into every level, data
        return context.get_dummy_value()

    return types.none(array, types.int64), code


load64: Final = cast(Callable[[np.ndarray, Word], Word], _word(_load64))
"""The 8 bytes of a `uint8[:]` from an index, little endian, as uint64. Only inside kernels."""
load8: Final = cast(Callable[[np.ndarray, Word], Word], _word(_load8))
"""An element of a `uint8[:]` without the check for a negative index, as int64. Only inside kernels."""
prefetch: Final = cast(Callable[[np.ndarray, Word], None], _word(_prefetch))
"""Begin to bring a contiguous array's element, counted through all its dimensions, into the cache. Only inside kernels."""
peek_i8, peek_i16, peek_i32, peek_i64 = (cast(Callable[[Word], Word], _peek(bits, "sext")) for bits in (8, 16, 32, 64))
peek_u8, peek_u16, peek_u32 = (cast(Callable[[Word], Word], _peek(bits, "zext")) for bits in (8, 16, 32))
"""The number that stands at an address, whatever its alignment, as int64. Only inside kernels, of memory that is known to be there."""
trailing_zeros: Final = cast(Callable[[Word], Word], _word(_trailing_zeros))
"""Number of zero bits below the lowest set bit of a uint64 (64 for 0). Only inside kernels."""


@inlined
def mix(word: Word) -> Word:
    """MurmurHash3's 64-bit finaliser: every input bit reaches every output bit."""
    word ^= word >> unsigned(33)
    word *= unsigned(0xFF51AFD7ED558CCD)
    word ^= word >> unsigned(33)
    word *= unsigned(0xC4CEB9FE1A85EC53)
    word ^= word >> unsigned(33)
    return word


@inlined
def hash_bytes(buffer: np.ndarray, start: Word, length: Word, seed: Word) -> Word:
    """A stable 64-bit hash of `buffer[start : start + length]`; stored in checkpoints, so it may never change."""
    word = seed ^ (unsigned(length) * unsigned(0x9E3779B97F4A7C15))
    at = start
    rest = length
    while rest >= 8:
        word = mix(word ^ load64(buffer, at))
        at += 8
        rest -= 8
    if rest > 0:
        keep = (unsigned(1) << unsigned(8 * rest)) - unsigned(1)
        word = mix(word ^ (load64(buffer, at) & keep))
    return mix(word + unsigned(0xD6E8FEB86659FD93))
