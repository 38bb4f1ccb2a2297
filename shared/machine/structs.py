"""Columns that lie together (shared/structs.py) as compiled code sees them: views of one table.

The table is what compiled code is given, since that is always of one type. A column of it handed over as an array
would be of another type where it has one row than where it has more, and be compiled for anew.

Imported only by where machine code is loaded (shared/machine/loading.py), for functions that borrow their arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

_BYTE, _WORD = ir.IntType(8), ir.IntType(64)


def _made(kind: Any, table: Any, sizes: int) -> tuple[Any, Callable[..., Any]]:
    """The type of a column whose rows have so many axes, and what makes code that sees it in a table."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        whole = context.make_array(signature.args[0])(context, builder, args[0])
        seen = context.make_array(signature.return_type)(context, builder)
        size = context.get_abi_sizeof(context.get_data_type(kind))
        first = builder.gep(builder.bitcast(whole.data, _BYTE.as_pointer()), [args[1]])
        shape: Sequence[Any] = [builder.extract_value(whole.shape, 0), *args[2:]]
        steps: list[Any] = [ir.Constant(_WORD, size)]
        for axis in range(sizes - 1):
            steps.insert(0, builder.mul(steps[0], shape[-1 - axis]))
        populate_array(  # type: ignore[no-untyped-call]
            seen,
            data=builder.bitcast(first, seen.data.type),
            shape=cgutils.pack_array(builder, shape, _WORD),  # type: ignore[no-untyped-call]
            strides=cgutils.pack_array(  # type: ignore[no-untyped-call]
                builder, [builder.extract_value(whole.strides, 0), *steps[: len(shape) - 1]], _WORD
            ),
            itemsize=size,
            meminfo=None,
        )
        return seen._getvalue()  # noqa: SLF001  # as numba's own intrinsics do

    given = [types.int64] * (1 + sizes)
    return types.Array(kind, 1 + sizes, "A")(table, *given), code


def _flat(kind: Any) -> Any:
    """flat(table, at): a column of one value a row, ``at`` bytes from where rows begin."""

    def flat(typing: Any, table: Any, at: Any) -> Any:  # as numba calls it
        return _made(kind, table, 0)

    return intrinsic(flat)


def _face(kind: Any) -> Any:
    """face(table, at, n): a column of n values a row."""

    def face(typing: Any, table: Any, at: Any, n: Any) -> Any:
        return _made(kind, table, 1)

    return intrinsic(face)


def _cube(kind: Any) -> Any:
    """cube(table, at, n, m): a column of n by m values a row."""

    def cube(typing: Any, table: Any, at: Any, n: Any, m: Any) -> Any:
        return _made(kind, table, 2)

    return intrinsic(cube)


flat_of_truths = _flat(types.boolean)
face_of_words = _face(types.int64)
face_of_places = _face(types.int32)
face_of_reals = _face(types.float64)
face_of_bytes = _face(types.int8)
face_of_truths = _face(types.boolean)
cube_of_words = _cube(types.int64)
cube_of_places = _cube(types.int32)
cube_of_reals = _cube(types.float64)
cube_of_bytes = _cube(types.int8)
