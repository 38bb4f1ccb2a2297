"""What is known of a record once an update follows, written by compiled code: ``known_fields`` of merge/chain.py.

Imported only by merge/compiled.py.
"""

from __future__ import annotations

from flockiq.shared.machine.code import Array, Columns, Truth, Whole, borrowing
from flockiq.shared.machine.tokens import CLOSE, COMMA, OPEN, copied, same, value_end

DELETED, PARTIAL = 100, 117  # ops d and u
NOWHERE = -1
NOTHING = 2  # bytes of "{}", which every heap begins with
MARGIN = 16  # bytes that suffice beside the two texts that are merged


@borrowing
def _begins(text: Array, p: int, end: int, heads: Array, first: int, last: int) -> Truth:
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
