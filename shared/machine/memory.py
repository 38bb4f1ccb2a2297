"""Memory for compiled code: loads of eight bytes and comparisons of 32 at once, that LLVM makes vectors of.

What is read and written is named by its address, an int64: an array that is handed on is counted as a
reference each time, which takes longer than what is done with it here. Whoever takes an address keeps the array.
Nothing here checks bounds: a text that is read has PADDING bytes behind its end.

Imported only by where machine code is loaded (shared/machine/loading.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic

LINE = 64  # bytes of memory that a cache holds together
_LINES = 8  # of a long row, how many are asked for
WIDE = 32  # bytes compared at once: at most PADDING

_BYTE, _PLACE, _WORD, _DOUBLE = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.DoubleType()
_MANY = ir.VectorType(_BYTE, WIDE)
_READ_SOON = 0, 3, 1  # of llvm.prefetch: to read, into every cache, data


def _intrinsic(function: Callable[..., Any]) -> Any:
    """What numba calls to make code: for it, a function of the arguments but the first."""
    return intrinsic(function)


def _pointer(builder: Any, address: Any, at: Any, kind: Any = _BYTE) -> Any:
    """A pointer to value number ``at`` from an address."""
    return builder.gep(builder.inttoptr(address, kind.as_pointer()), [at])


def _mask(builder: Any, pointer: Any, test: Callable[[Any, Any], Any]) -> Any:
    """A bit for each of 32 bytes that passes a test, as int64."""
    many = builder.load(builder.bitcast(pointer, _MANY.as_pointer()), align=1)
    return builder.zext(builder.bitcast(test(builder, many), ir.IntType(WIDE)), _WORD)


def _every(byte: int) -> Any:
    return ir.Constant(_MANY, [byte] * WIDE)


def _is_stop(builder: Any, many: Any) -> Any:
    quote = builder.icmp_unsigned("==", many, _every(34))
    backslash = builder.icmp_unsigned("==", many, _every(92))
    control = builder.icmp_unsigned("<", many, _every(32))
    return builder.or_(builder.or_(quote, backslash), control)


def _is_high(builder: Any, many: Any) -> Any:
    return builder.icmp_unsigned(">=", many, _every(128))


def _is_newline(builder: Any, many: Any) -> Any:
    return builder.icmp_unsigned("==", many, _every(10))


def _is_doubtful(builder: Any, many: Any) -> Any:
    backslash = builder.icmp_unsigned("==", many, _every(92))
    delete = builder.icmp_unsigned("==", many, _every(127))
    latin = builder.icmp_unsigned("==", many, _every(0xC2))
    return builder.or_(builder.or_(backslash, delete), latin)


def _asked(test: Callable[[Any, Any], Any]) -> Any:
    def asked(typing: Any, text: Any, p: Any) -> Any:  # as numba calls it
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return _mask(builder, _pointer(builder, *args), test)

        return types.int64(types.int64, types.int64), code

    return asked


stops = _intrinsic(_asked(_is_stop))
"""stops(text, p): which of 32 bytes end a text or are no part of one as they are: quote, backslash, control."""
highs = _intrinsic(_asked(_is_high))
"""highs(text, p): which of 32 bytes are beyond ASCII."""
doubtful = _intrinsic(_asked(_is_doubtful))
"""doubtful(text, p): which of 32 bytes are doubtful in a canonical text: backslash, U+007F, C2."""
newlines = _intrinsic(_asked(_is_newline))
"""newlines(text, p): which of 32 bytes are newlines."""


@_intrinsic
def lowest(typing: Any, mask: Any) -> Any:
    """The number of a mask's lowest bit; 64 where there is none."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), code


@_intrinsic
def word(typing: Any, text: Any, p: Any) -> Any:
    """Eight bytes as uint64, little end first."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(builder.bitcast(_pointer(builder, *args), _WORD.as_pointer()), align=1)

    return types.uint64(types.int64, types.int64), code


@_intrinsic
def half(typing: Any, text: Any, p: Any) -> Any:
    """Four bytes as uint64, little end first."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits = builder.load(builder.bitcast(_pointer(builder, *args), _PLACE.as_pointer()), align=1)
        return builder.zext(bits, _WORD)

    return types.uint64(types.int64, types.int64), code


@_intrinsic
def folded(typing: Any, one: Any, other: Any) -> Any:
    """Both halves of the product of two uint64, xored: each bit of it depends on every bit of both."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        twice = ir.IntType(128)
        product = builder.mul(*[builder.zext(arg, twice) for arg in args])
        high = builder.lshr(product, ir.Constant(twice, 64))
        return builder.xor(builder.trunc(high, _WORD), builder.trunc(product, _WORD))

    return types.uint64(types.uint64, types.uint64), code


@_intrinsic
def byte(typing: Any, text: Any, p: Any) -> Any:
    """One byte as int64."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.zext(builder.load(_pointer(builder, *args)), _WORD)

    return types.int64(types.int64, types.int64), code


@_intrinsic
def put(typing: Any, text: Any, p: Any, value: Any) -> Any:
    """Write one byte."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(builder.trunc(args[2], _BYTE), _pointer(builder, *args[:2]))
        return context.get_dummy_value()

    return types.none(types.int64, types.int64, types.int64), code


@_intrinsic
def put_word(typing: Any, text: Any, p: Any, value: Any) -> Any:
    """Write eight bytes of a uint64, little end first."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], builder.bitcast(_pointer(builder, *args[:2]), _WORD.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.none(types.int64, types.int64, types.uint64), code


@_intrinsic
def copy_wide(typing: Any, to: Any, at: Any, text: Any, p: Any) -> Any:
    """Copy 32 bytes from ``p`` in one text to ``at`` behind another address."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        many = builder.load(builder.bitcast(_pointer(builder, *args[2:4]), _MANY.as_pointer()), align=1)
        builder.store(many, builder.bitcast(_pointer(builder, *args[:2]), _MANY.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.none(*[types.int64] * 4), code


@_intrinsic
def load(typing: Any, column: Any, at: Any) -> Any:
    """Value number ``at`` of a column of int64."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_pointer(builder, args[0], args[1], _WORD))

    return types.int64(types.int64, types.int64), code


@_intrinsic
def store(typing: Any, column: Any, at: Any, value: Any) -> Any:
    """Write value number ``at`` of a column of int64."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], _pointer(builder, args[0], args[1], _WORD))
        return context.get_dummy_value()

    return types.none(types.int64, types.int64, types.int64), code


@_intrinsic
def load_place(typing: Any, column: Any, at: Any) -> Any:
    """Value number ``at`` of a column of int32."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.sext(builder.load(_pointer(builder, args[0], args[1], _PLACE)), _WORD)

    return types.int64(types.int64, types.int64), code


@_intrinsic
def store_place(typing: Any, column: Any, at: Any, value: Any) -> Any:
    """Write value number ``at`` of a column of int32."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(builder.trunc(args[2], _PLACE), _pointer(builder, args[0], args[1], _PLACE))
        return context.get_dummy_value()

    return types.none(types.int64, types.int64, types.int64), code


@_intrinsic
def bits_of(typing: Any, real: Any) -> Any:
    """A float64 as the int64 of the same bits."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], _WORD)

    return types.int64(types.float64), code


@_intrinsic
def real_of(typing: Any, bits: Any) -> Any:
    """An int64 as the float64 of the same bits."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], _DOUBLE)

    return types.float64(types.int64), code


@_intrinsic
def copy(typing: Any, to: Any, at: Any, text: Any, p: Any, size: Any) -> Any:
    """Copy ``size`` bytes from ``p`` in one text to ``at`` behind another address."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        cgutils.raw_memcpy(  # type: ignore[no-untyped-call]
            builder, _pointer(builder, *args[:2]), _pointer(builder, *args[2:4]), args[4], 1
        )
        return context.get_dummy_value()

    return types.none(*[types.int64] * 5), code


@_intrinsic
def copy_between(typing: Any, out: Any, at: Any, text: Any, begin: Any, size: Any) -> Any:
    """Copy ``size`` bytes of the array ``text`` from ``begin`` on into another at ``at``: half the time of a loop."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target = context.make_array(signature.args[0])(context, builder, args[0])
        source = context.make_array(signature.args[2])(context, builder, args[2])
        places = builder.gep(target.data, [args[1]]), builder.gep(source.data, [args[3]])
        cgutils.raw_memcpy(builder, *places, args[4], 1)  # type: ignore[no-untyped-call]
        return context.get_dummy_value()

    return types.void(out, types.int64, text, types.int64, types.int64), code


def _asked_for(builder: Any, pointer: Any) -> None:
    """Have the processor bring a line of memory into the cache, while it goes on."""
    kind = ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer(), _PLACE, _PLACE, _PLACE])
    prefetch = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, kind, "llvm.prefetch.p0i8"
    )
    builder.call(prefetch, [pointer, *(ir.Constant(_PLACE, how) for how in _READ_SOON)])


def _asking(kind: Any) -> Any:
    """How a value of a column of this kind is asked for."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _asked_for(builder, builder.bitcast(_pointer(builder, args[0], args[1], kind), _BYTE.as_pointer()))
        return context.get_dummy_value()

    return types.none(types.int64, types.int64), code


@_intrinsic
def ask_for(typing: Any, column: Any, at: Any) -> Any:
    """Ask for value number ``at`` of a column of int64, so that it is in the cache when it is read.

    It may be one that is not there: nothing is read.
    """
    return _asking(_WORD)


@_intrinsic
def ask_for_place(typing: Any, column: Any, at: Any) -> Any:
    """The same of a column of int32."""
    return _asking(_PLACE)


@_intrinsic
def ask_for_row(typing: Any, column: Any, row: Any) -> Any:
    """The same of where a row of an array begins."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first, _ = _row(context, builder, signature, args)
        _asked_for(builder, first)
        return context.get_dummy_value()

    return types.none(column, types.int64), code


@_intrinsic
def ask_for_whole_row(typing: Any, column: Any, row: Any) -> Any:
    """The same of all of a row of an array, where it is no longer than some lines of memory."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first, size = _row(context, builder, signature, args)
        last = builder.sub(size, ir.Constant(_WORD, 1))
        for line in range(_LINES):
            at = ir.Constant(_WORD, line * LINE)
            within = builder.select(builder.icmp_signed("<", at, last), at, last)
            _asked_for(builder, builder.gep(first, [within]))
        return context.get_dummy_value()

    return types.none(column, types.int64), code


def _row(context: Any, builder: Any, signature: Any, args: Any) -> tuple[Any, Any]:
    """Where a row of an array begins, and its size in bytes."""
    array = context.make_array(signature.args[0])(context, builder, args[0])
    size = builder.extract_value(array.strides, 0)
    return builder.gep(builder.bitcast(array.data, _BYTE.as_pointer()), [builder.mul(args[1], size)]), size
