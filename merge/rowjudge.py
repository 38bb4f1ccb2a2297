"""Versions of records judged one after the other by compiled code: what merge/rounds.py does, many times as fast.

A version that is not as most are, one that comes late, moves its record or belongs where nothing was told
of yet, is handed to merge/judging.py; after it the next row goes on.

Imported only by merge/compiled.py.
"""

from __future__ import annotations

import numpy as np

from flockiq.merge.codes import BY_HAND, DONE, DUPLICATES, FULL, HEAP, UNCHANGED, VERSIONS
from flockiq.merge.rowmap import placed
from flockiq.shared.machine.code import Array, Columns, Whole, borrowing, newer
from flockiq.shared.machine.stretches import lane_of_bytes
from flockiq.shared.machine.tokens import CLOSE, COMMA, OPEN, copied, same, value_end

_DELETED, _PARTIAL = 100, 117  # ops d and u
_NOWHERE = -1
_NOTHING = 2  # bytes of "{}", which every heap begins with
_MARGIN = 16


@borrowing
def _begins(text: Array, p: int, end: int, heads: Array, first: int, last: int) -> bool:
    """Whether a member begins at ``p``."""
    if end - p < last - first:
        return False
    return same(text, p, p + last - first, heads, first, last)


@borrowing
def merged(heap: Array, p: int, p_end: int, q: int, q_end: int, shape: Columns, o: int, value: Array) -> Whole:
    """Write at ``o`` what is known once the update at ``q`` follows what was known at ``p``; where it ends, or -1.

    -1: one of them is not as the plan's fields are today. ``value`` becomes where each field is, -1 without one.
    """
    start = o
    p_end -= 1
    q_end -= 1
    p += 1
    q += 1
    heap[o] = OPEN
    o += 1
    for field in range(len(shape.kind)):
        first, last = shape.head_bounds[field], shape.head_bounds[field + 1]
        value[field, 0] = -1
        before, said = (
            _begins(heap, p, p_end, shape.heads, first, last),
            _begins(heap, q, q_end, shape.heads, first, last),
        )
        if not before and not said:
            continue
        if o > start + 1:
            heap[o] = COMMA
            o += 1
        o = copied(heap, o, shape.heads, first, last)
        value[field, 0] = o
        if before:
            begin = p + last - first
            end = value_end(heap, begin)
            if not said:
                o = copied(heap, o, heap, begin, end)
            p = end + (end < p_end)
        if said:
            begin = q + last - first
            end = value_end(heap, begin)
            o = copied(heap, o, heap, begin, end)
            q = end + (end < q_end)
        value[field, 1] = o
    if p != p_end or q != q_end:
        return -1
    heap[o] = CLOSE
    return o + 1


@borrowing
def judge(
    first: int, text: Array, rows: Columns, said: Array, shape: Columns, placings: Columns, place_of: Array,
    head: Array, depth: Array, versions: Columns, heap: Array, now_us: int, nothing: int, scratch: Columns,
    out: Columns,
) -> tuple[int, int]:  # fmt: skip
    """Judge rows from the ``first`` on; where it stopped and why: DONE, FULL (the heap), or BY_HAND with that row.

    Versions are added to ``versions`` (there is room) and their texts to ``heap``; ``out.counts`` says how many there
    are. ``nothing``: the lane of "{}".
    """
    counts = out.counts
    value = scratch.value
    for i in range(first, len(rows.number)):
        record, op = rows.number[i], rows.op[i]
        us, rr, tie, rest = rows.us[i], rows.rr[i], rows.tie[i], rows.rest[i]
        last = head[record]
        begin, end, content, place, gone, again = 0, _NOTHING, nothing, np.int64(_NOWHERE), True, False
        if last >= 0:
            if not newer(us, rr, tie, versions.us[last], versions.rr[last], versions.tie[last]):
                one = last
                for _ in range(depth[record] + 1):
                    if one < 0 or (
                        versions.tie[one] == tie
                        and versions.rest[one] == rest
                        and versions.us[one] == us
                        and versions.rr[one] == rr
                    ):
                        break
                    one = versions.before[one]
                else:
                    one = -1
                if one < 0:
                    return i, BY_HAND
                counts[DUPLICATES] += 1
                continue
            begin, end, content = versions.begin[last], versions.end[last], versions.content[last]
            place = versions.place[last]
            gone = versions.op[last] == _DELETED or place == _NOWHERE
            again = versions.tie[last] == tie and versions.rest[last] == rest
        same_version = again and versions.us[last] == us
        was = place
        size = rows.end[i] - rows.begin[i]
        at = counts[HEAP]
        if at + 2 * size + end - begin + _MARGIN > len(heap):
            return i, FULL
        given_begin, given_end = 0, _NOTHING
        known = same_version
        if op == _PARTIAL:
            given_begin = at
            given_end = copied(heap, at, said, rows.begin[i], rows.end[i])
            at = given_end
            if not known:
                close = merged(heap, begin, end, given_begin, given_end, shape, at, value)
                if close < 0:
                    return i, BY_HAND
                place = placed(
                    heap, value, shape, text, rows.key_begin[i], rows.key_end[i], placings, place_of, scratch.text
                )
                lane = lane_of_bytes(heap.ctypes.data, at, close)
                if lane != content or not same(heap, at, close, heap, begin, end):  # else they are kept once
                    begin, end, content = at, close, lane
                    at = close
        elif op != _DELETED:
            known = known or (not gone and rows.content[i] == content)
            if not known:
                place = rows.place[i]
                if rows.content[i] != content or not same(heap, begin, end, said, rows.begin[i], rows.end[i]):
                    begin = at
                    end = copied(heap, at, said, rows.begin[i], rows.end[i])
                    content = rows.content[i]
                    at = end
            given_begin, given_end = begin, end
        news = not (known or again) and place != _NOWHERE
        if not known and op != _DELETED and (place == _NOWHERE or (was != _NOWHERE and was != place)):
            return i, BY_HAND
        counts[HEAP] = at
        counts[DUPLICATES] += again
        counts[UNCHANGED] += known and not again
        new = counts[VERSIONS]
        counts[VERSIONS] += 1
        before = last
        if again and versions.before[last] >= 0:
            earlier = versions.before[last]
            if versions.tie[earlier] == tie and versions.rest[earlier] == rest:
                before = earlier  # of one repeated by many runs the first and the last are kept
        versions.us[new], versions.rr[new], versions.tie[new], versions.rest[new] = us, rr, tie, rest
        versions.op[new], versions.arrived_us[new] = op, now_us
        versions.begin[new], versions.end[new], versions.content[new] = begin, end, content
        versions.given_begin[new], versions.given_end[new] = given_begin, given_end
        versions.place[new], versions.before[new] = place, before
        head[record] = new
        out.version[i], out.after[i], out.plain[i] = new, last, news
    return len(rows.number), DONE
