"""Lines of hub ``resolved`` written by compiled code: what merge/lines.py writes, many times as fast.

Imported only by merge/compiled.py.
"""

from __future__ import annotations

import numpy as np

from flockiq.shared.machine.code import Array, Columns, Whole, borrowing
from flockiq.shared.machine.spelling import put_id, put_moment, put_number
from flockiq.shared.machine.tokens import bytes_of, copied

_ID = bytes_of('{"specversion":"1.0","id":"')
_TRACE = bytes_of(',"traceparent":"')
_SUBJECT = bytes_of(',"subject":')
_OP = bytes_of(',"data":{"op":"')
_ABOUT = bytes_of('",')
_KEY = bytes_of(',"key":"')
_TS_US = bytes_of('","ts_us":')
_RUN = bytes_of(',"run":')
_ROW = bytes_of(',"row":')
_CAPTURED = bytes_of(',"captured_us":')
_REVISION = bytes_of(',"rev":')
_FIELDS = bytes_of(',"fields":')
_VOID = bytes_of("{}")
_END = bytes_of("}}\n")
_SIGN = np.uint64(1 << 63)
_QUOTE, _V = 34, 118


@borrowing
def _put(out: Array, o: int, text: Array) -> Whole:
    return copied(out, o, text, 0, len(text))


@borrowing
def write_lines(
    told_row: Array, told_version: Array, revision: Array, void: Array, text: Array, rows: Columns, versions: Columns,
    heap: Array, book: Columns, out: Array, ends: Array,
) -> None:  # fmt: skip
    """Write the lines of what was told, each with its newline; ``ends``: int64, where each ends in ``out``.

    revision, void: of lines that take the place of others, else of length 0.
    """
    o = 0
    address, again = out.ctypes.data, len(revision) > 0
    for k in range(len(told_row)):
        row, version = told_row[k], told_version[k]
        place = versions.place[version]
        o = _put(out, o, _ID)
        o = put_id(address, o, np.uint64(versions.tie[version]) ^ _SIGN, np.uint64(versions.rest[version]))
        o = _put(out, o, book.source)
        us = versions.us[version]
        o = put_moment(address, o, us)
        out[o] = _QUOTE
        o = _put(out, o + 1, book.tenant)
        if rows.trace_end[row] > rows.trace_begin[row]:
            o = _put(out, o, _TRACE)
            o = copied(out, o, text, rows.trace_begin[row], rows.trace_end[row])
            out[o] = _QUOTE
            o += 1
        o = _put(out, o, _SUBJECT)
        middle = book.middles[place]
        o = copied(out, o, book.utf8, book.ends[place] - book.sizes[place], middle)
        o = _put(out, o, _OP)
        voided = again and void[k]
        out[o] = _V if voided else versions.op[version]
        o = _put(out, o + 1, _ABOUT)
        o = copied(out, o, book.utf8, middle, book.ends[place])
        o = _put(out, o, _KEY)
        o = copied(out, o, text, rows.key_begin[row], rows.key_end[row])
        o = _put(out, o, _TS_US)
        o = put_number(address, o, us)
        rr = versions.rr[version]
        o = _put(out, o, _RUN)
        o = put_number(address, o, rr >> 32)
        o = _put(out, o, _ROW)
        o = put_number(address, o, rr & ((1 << 32) - 1))
        o = _put(out, o, _CAPTURED)
        o = put_number(address, o, rows.captured_us[row])
        if again:
            o = put_number(address, _put(out, o, _REVISION), revision[k])
        o = _put(out, o, _FIELDS)
        if voided:
            o = _put(out, o, _VOID)
        else:
            o = copied(out, o, heap, versions.given_begin[version], versions.given_end[version])
        o = _put(out, o, _END)
        ends[k] = o


@borrowing
def gather(text: Array, begin: Array, end: Array, out: Array) -> None:
    """Write stretches of a text one after the other."""
    o = 0
    for i in range(len(begin)):
        o = copied(out, o, text, begin[i], end[i])
