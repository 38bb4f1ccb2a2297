"""Lines of hub ``changes``, found by compiled code: what merge/letters.py decodes with msgspec, many times as fast.

A line is taken when it is exactly as capture writes it and its record is sound JSON; every other line is
left to the decoder that can say what is wrong with it. Text is UTF-8 that has been checked.

Imported only by merge/compiled.py.
"""

from __future__ import annotations

import numpy as np

from flockiq.merge.codes import DEEPEST
from flockiq.shared.instants import EARLIEST_US, LATEST_US
from flockiq.shared.machine.code import Array, Columns, Whole, borrowing
from flockiq.shared.machine.tokens import (
    CLOSE,
    CLOSE_LIST,
    COLON,
    COMMA,
    NEWLINE,
    OPEN,
    OPEN_LIST,
    QUOTE,
    after,
    bytes_of,
    closing,
    hex_word,
    is_id,
    past,
    same,
    text_behind,
    value_end,
    whole_behind,
)
from flockiq.shared.wire import MAX_FIELDS_BYTES, MAX_KEY

_BEGIN = bytes_of('{"specversion":"1.0","id":"')
_SOURCE = bytes_of(',"source":"')
_TYPE = bytes_of(',"type":"flockiq.change","time":"')
_TENANT = bytes_of(',"tenant":"')
_TRACE = bytes_of(',"traceparent":"')
_SUBJECT = bytes_of(',"subject":"')
_OP = bytes_of(',"data":{"op":"')
_STREAM = bytes_of(',"stream":"')
_KEY = bytes_of(',"key":"')
_TS_US = bytes_of(',"ts_us":')
_RUN = bytes_of(',"run":')
_ROW = bytes_of(',"row":')
_CAPTURED = bytes_of(',"captured_us":')
_AFTER = bytes_of(',"after":')
_SIGN = np.uint64(1 << 63)
_C, _D, _R, _U = 99, 100, 114, 117


@borrowing
def json_end(text: Array, p: int, kinds: Array) -> Whole:
    """Where a JSON value of any kind ends, or -1. ``kinds``: scratch of DEEPEST bytes."""
    depth = 0
    while True:
        # a value is expected at p
        if p >= len(text):
            return -1
        byte = text[p]
        opened = byte == OPEN or byte == OPEN_LIST
        if opened:
            if depth == DEEPEST:
                return -1
            kinds[depth] = byte
            depth += 1
            p = past(text, p + 1)
            if p >= len(text):
                return -1
            opened = text[p] != (CLOSE if byte == OPEN else CLOSE_LIST)
        else:
            p = value_end(text, p)
            if p < 0:
                return -1
        # a value has ended at p, or one that is opened begins with its first member
        while not opened:
            if depth == 0:
                return p
            p = past(text, p)
            if p >= len(text):
                return -1
            if text[p] == (CLOSE if kinds[depth - 1] == OPEN else CLOSE_LIST):
                depth -= 1
                p += 1
                continue
            if text[p] != COMMA:
                return -1
            p = past(text, p + 1)
            break
        if kinds[depth - 1] == OPEN:
            if p >= len(text) or text[p] != QUOTE:
                return -1
            p = closing(text, p + 1) + 1
            if p == 0:
                return -1
            p = past(text, p)
            if p >= len(text) or text[p] != COLON:
                return -1
            p = past(text, p + 1)


@borrowing
def _envelope(text: Array, p: int, tenant: Array, n: int, out: Columns, number: Array) -> Whole:
    """Read a line up to its record into row ``n``; where that begins, or -1."""
    p = after(text, p, _BEGIN)
    close = closing(text, p)
    if close < 0 or not is_id(text, p, close):
        return -1
    out.tie[n] = np.int64(hex_word(text, p) ^ _SIGN)
    out.rest[n] = np.int64(hex_word(text, p + 16))
    p = text_behind(text, close + 1, _SOURCE, out.source_begin, out.source_end, n)
    p = closing(text, after(text, p, _TYPE)) + 1
    p = after(text, p or -1, _TENANT)
    close = closing(text, p)
    if close < 0 or not same(text, p, close, tenant, 0, len(tenant)):
        return -1
    p = close + 1
    traced = after(text, p, _TRACE)
    out.trace_begin[n] = out.trace_end[n] = p
    if traced >= 0:
        close = closing(text, traced)
        if close < 0:
            return -1
        out.trace_begin[n], out.trace_end[n] = traced, close
        p = close + 1
    p = closing(text, after(text, p, _SUBJECT)) + 1
    p = after(text, p or -1, _OP)
    if p < 0 or p + 1 >= len(text) or text[p + 1] != QUOTE:
        return -1
    op = text[p]
    if op != _C and op != _R and op != _U and op != _D:
        return -1
    out.op[n] = op
    p = text_behind(text, p + 2, _STREAM, out.stream_begin, out.stream_end, n)
    p = text_behind(text, p, _KEY, out.key_begin, out.key_end, n)
    if p < 0 or out.key_end[n] - out.key_begin[n] > MAX_KEY:
        return -1
    p = whole_behind(text, p, _TS_US, EARLIEST_US, LATEST_US, number)
    out.us[n] = number[0]
    p = whole_behind(text, p, _RUN, 0, (1 << 31) - 1, number)
    out.rr[n] = number[0] << 32
    p = whole_behind(text, p, _ROW, 0, (1 << 32) - 1, number)
    out.rr[n] |= number[0]
    p = whole_behind(text, p, _CAPTURED, EARLIEST_US, LATEST_US, number)
    out.captured_us[n] = number[0]
    p = after(text, p, _AFTER)
    if p < 0 or p >= len(text) or text[p] != OPEN:
        return -1
    out.after_begin[n] = p
    return p


@borrowing
def scan_changes(text: Array, tenant: Array, scratch: Columns, out: Columns) -> Whole:
    """Find the parts of each line of ``text`` that is of ``tenant``; how many lines were taken.

    Of lines taken, ``out.line`` is their number from 0, and the rest where their parts are. Of lines left,
    ``out.left`` is their number and ``left_begin``, ``left_end`` where they are; ``out.counts`` has how many.
    """
    number, kinds = scratch.number, scratch.kinds
    n = left = line = 0
    p = 0
    while p < len(text):
        begin = p
        p = _envelope(text, begin, tenant, n, out, number)
        if p >= 0:
            p = json_end(text, p, kinds)
            out.after_end[n] = p
        if (
            p >= 0
            and p - out.after_begin[n] <= MAX_FIELDS_BYTES
            and p + 1 < len(text)
            and text[p] == CLOSE  # of data, and of the line
            and text[p + 1] == CLOSE
            and (p + 2 == len(text) or text[p + 2] == NEWLINE)
        ):
            out.line[n] = line
            out.begin[n], out.end[n] = begin, p + 2
            n += 1
            p += 3
        else:
            p = begin
            while p < len(text) and text[p] != NEWLINE:
                p += 1
            out.left[left], out.left_begin[left], out.left_end[left] = line, begin, p
            left += 1
            p += 1
        line += 1
    out.counts[0] = left
    return n
