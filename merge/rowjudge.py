"""Versions of records judged one after the other by compiled code: what merge/rounds.py does, many times as fast.

A version that comes late is judged by merge/rowlate.py. One that moves its record, or belongs where nothing was
told of yet, is handed to merge/judging.py; after it the next row goes on.

Imported only by merge/compiled.py.
"""

from __future__ import annotations

import numpy as np

from flockiq.merge.codes import BY_HAND, DONE, DUPLICATES, FULL, HEAP, UNCHANGED, VERSIONS
from flockiq.merge.rowlate import late
from flockiq.merge.rowmap import placed
from flockiq.merge.rowmerge import DELETED, MARGIN, NOTHING, NOWHERE, PARTIAL, merged
from flockiq.shared.machine.code import Array, Columns, borrowing, newer
from flockiq.shared.machine.stretches import lane_of_bytes
from flockiq.shared.machine.tokens import copied, same


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
        begin, end, content, place, gone, again = 0, NOTHING, nothing, np.int64(NOWHERE), True, False
        if last >= 0:
            if not newer(us, rr, tie, versions.us[last], versions.rr[last], versions.tie[last]):
                why = late(
                    i, text, rows, said, shape, placings, place_of, head, depth, versions, heap, now_us, nothing,
                    scratch, out,
                )  # fmt: skip
                if why != DONE:
                    return i, why
                continue
            begin, end, content = versions.begin[last], versions.end[last], versions.content[last]
            place = versions.place[last]
            gone = versions.op[last] == DELETED or place == NOWHERE
            again = versions.tie[last] == tie and versions.rest[last] == rest
        same_version = again and versions.us[last] == us
        was = place
        size = rows.end[i] - rows.begin[i]
        at = counts[HEAP]
        if at + 2 * size + end - begin + MARGIN > len(heap):
            return i, FULL
        given_begin, given_end = 0, NOTHING
        known = same_version
        if op == PARTIAL:
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
        elif op != DELETED:
            known = known or (not gone and rows.content[i] == content)
            if not known:
                place = rows.place[i]
                if rows.content[i] != content or not same(heap, begin, end, said, rows.begin[i], rows.end[i]):
                    begin = at
                    end = copied(heap, at, said, rows.begin[i], rows.end[i])
                    content = rows.content[i]
                    at = end
            given_begin, given_end = begin, end
        news = not (known or again) and place != NOWHERE
        if not known and op != DELETED and (place == NOWHERE or (was != NOWHERE and was != place)):
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
