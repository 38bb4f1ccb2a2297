"""Versions that come late, judged by compiled code: what merge/chain.py works out, many times as fast.

A late version is put where it belongs among its record's versions. What was known after those that follow it is
worked out again, up to the first that stays as it was. Where all of them are in one place, what changes for its
entity is whether it is told of a version at all: then that is told anew, or its line is voided. What is otherwise
is left to merge/judging.py, before anything has been changed.

Imported only by merge/compiled.py.
"""

from __future__ import annotations

import numpy as np

from flockiq.merge.codes import BY_HAND, DEEPEST_CHAIN, DONE, DUPLICATES, FULL, HEAP, TOLD, VERSIONS
from flockiq.merge.rowmap import placed
from flockiq.merge.rowmerge import DELETED, MARGIN, NOTHING, NOWHERE, PARTIAL, merged
from flockiq.shared.machine.code import Array, Columns, Truth, Whole, borrowing, newer
from flockiq.shared.machine.stretches import lane_of_bytes
from flockiq.shared.machine.tokens import copied, same

_NONE = -1  # before the first version
_CONTENT, _BEGIN, _END = range(3)  # what was known after a version: its lane, and where it is in the heap


@borrowing
def _know(known: Array, at: int, content: int, begin: int, end: int) -> None:
    known[at, _CONTENT], known[at, _BEGIN], known[at, _END] = content, begin, end


@borrowing
def _alike(one: Array, i: int, other: Array, j: int, heap: Array) -> Truth:
    """Whether what was known is the same."""
    if one[i, _CONTENT] != other[j, _CONTENT]:
        return False
    return same(heap, one[i, _BEGIN], one[i, _END], heap, other[j, _BEGIN], other[j, _END])


@borrowing
def _is_told(versions: Columns, version: int, before: int, known: Array, at: int, heap: Array) -> Truth:
    """Whether an entity is told of a version that follows another of the same place (merge/chain.py, ``told``)."""
    if before == _NONE:
        return True
    if versions.tie[version] == versions.tie[before] and versions.rest[version] == versions.rest[before]:
        return False
    op = versions.op[version]
    if op == DELETED or op == PARTIAL or versions.op[before] == DELETED:
        return True
    return not _alike(known, at, known, at + 1, heap)


@borrowing
def _tell(out: Columns, row: int, version: int, void: bool) -> None:
    told = out.counts[TOLD]
    out.told_row[told], out.told_version[told], out.told_void[told] = row, version, void
    out.counts[TOLD] = told + 1


@borrowing
def _updated(
    text: Array, key_begin: int, key_end: int, versions: Columns, version: int, now: Array, at: int, shape: Columns,
    placings: Columns, place_of: Array, heap: Array, o: int, scratch: Columns,
) -> tuple[Whole, Whole]:  # fmt: skip
    """What is known after an update, in row ``at``, which follows row ``at + 1``: where its text ends, and its place.

    It ends where it would have begun if it is as before; -1: it is not as the plan's fields are today.
    """
    close = merged(
        heap, now[at + 1, _BEGIN], now[at + 1, _END], versions.given_begin[version], versions.given_end[version],
        shape, o, scratch.value,
    )  # fmt: skip
    if close < 0:
        return -1, NOWHERE
    place = placed(heap, scratch.value, shape, text, key_begin, key_end, placings, place_of, scratch.text)
    _know(now, at, lane_of_bytes(heap.ctypes.data, o, close), o, close)
    if _alike(now, at, now, at + 1, heap):
        _know(now, at, now[at, _CONTENT], now[at + 1, _BEGIN], now[at + 1, _END])
        close = o
    return close, place


@borrowing
def late(
    i: int, text: Array, rows: Columns, said: Array, shape: Columns, placings: Columns, place_of: Array, head: Array,
    depth: Array, versions: Columns, heap: Array, now_us: int, nothing: int, scratch: Columns, out: Columns,
) -> Whole:  # fmt: skip
    """Judge row ``i``, which does not follow the newest version of its record: DONE, FULL (the heap) or BY_HAND.

    There is room for one more version. ``nothing``: the lane of "{}".
    """
    counts, path, now, was, turn = out.counts, scratch.path, scratch.now, scratch.was, scratch.turn
    record, op = rows.number[i], rows.op[i]
    us, rr, tie, rest = rows.us[i], rows.rr[i], rows.tie[i], rows.rest[i]
    after, before = 0, head[record]  # how many versions follow, the newest of them first in ``path``
    while before >= 0 and newer(versions.us[before], versions.rr[before], versions.tie[before], us, rr, tie):
        if after > depth[record] or after == DEEPEST_CHAIN:
            return BY_HAND
        path[after] = before
        after += 1
        before = versions.before[before]
    if before < _NONE or after > depth[record]:
        return BY_HAND
    if before >= 0 and versions.us[before] == us and versions.rr[before] == rr and versions.tie[before] == tie:
        if versions.rest[before] != rest:
            return BY_HAND
        counts[DUPLICATES] += 1
        return DONE
    if counts[TOLD] + 2 * after + 2 > len(out.told_row):
        return BY_HAND

    # Row k of ``now`` and ``was``: what is and was known after the version ``path[k]``; of both, row ``after`` is what
    # precedes those: after the late one, and before it, which is the row behind it, too.
    last = after + 1
    if before >= 0:
        _know(now, last, versions.content[before], versions.begin[before], versions.end[before])
    else:
        _know(now, last, nothing, 0, NOTHING)
    _know(was, after, now[last, _CONTENT], now[last, _BEGIN], now[last, _END])
    _know(now, after, now[last, _CONTENT], now[last, _BEGIN], now[last, _END])
    o, size = counts[HEAP], rows.end[i] - rows.begin[i]
    if o + 2 * size + now[last, _END] - now[last, _BEGIN] + MARGIN > len(heap):
        return FULL
    new = counts[VERSIONS]
    versions.us[new], versions.rr[new], versions.tie[new], versions.rest[new] = us, rr, tie, rest
    versions.op[new], versions.arrived_us[new], versions.before[new] = op, now_us, before
    versions.given_begin[new], versions.given_end[new] = 0, NOTHING
    place = rows.place[i]
    if op == DELETED:
        place = versions.place[before] if before >= 0 else place
    else:
        versions.given_begin[new] = o
        o = versions.given_end[new] = copied(heap, o, said, rows.begin[i], rows.end[i])
        if op == PARTIAL:
            o, place = _updated(
                text, rows.key_begin[i], rows.key_end[i], versions, new, now, after, shape, placings, place_of, heap, o,
                scratch,
            )  # fmt: skip
            if o < 0:
                return BY_HAND
        else:
            _know(now, after, rows.content[i], versions.given_begin[new], o)
    if place == NOWHERE or (before >= 0 and versions.place[before] != place):
        return BY_HAND

    k = after
    stays = False
    while k and not stays:
        k -= 1
        version = path[k]
        if versions.place[version] != place:
            return BY_HAND
        _know(was, k, versions.content[version], versions.begin[version], versions.end[version])
        _know(now, k, was[k, _CONTENT], was[k, _BEGIN], was[k, _END])
        if versions.op[version] == DELETED:
            _know(now, k, now[k + 1, _CONTENT], now[k + 1, _BEGIN], now[k + 1, _END])
        elif versions.op[version] == PARTIAL:
            size = versions.given_end[version] - versions.given_begin[version]
            if o + size + now[k + 1, _END] - now[k + 1, _BEGIN] + MARGIN > len(heap):
                return FULL
            o, where = _updated(
                text, rows.key_begin[i], rows.key_end[i], versions, version, now, k, shape, placings, place_of, heap, o,
                scratch,
            )  # fmt: skip
            if o < 0 or where != place:
                return BY_HAND
        stays = _alike(now, k, was, k, heap)
        told_now = _is_told(versions, version, new if k + 1 == after else path[k + 1], now, k, heap)
        told_then = _is_told(versions, version, before if k + 1 == after else path[k + 1], was, k, heap)
        turn[k] = np.int64(told_now) - np.int64(told_then)

    # From here on it is done.
    counts[VERSIONS], counts[HEAP] = new + 1, o
    versions.place[new], versions.content[new] = place, now[after, _CONTENT]
    versions.begin[new], versions.end[new] = now[after, _BEGIN], now[after, _END]
    versions.before[path[after - 1]] = new
    out.late[i] = new
    for at in range(after - 1, k - 1, -1):
        version = path[at]
        versions.content[version], versions.begin[version] = now[at, _CONTENT], now[at, _BEGIN]
        versions.end[version] = now[at, _END]
        if turn[at] < 0:
            _tell(out, i, version, True)  # noqa: FBT003
    out.shown[i] = _is_told(versions, new, before, now, after, heap)
    if out.shown[i]:
        _tell(out, i, new, False)  # noqa: FBT003
    for at in range(after - 1, k - 1, -1):
        version = path[at]
        if turn[at] > 0:
            _tell(out, i, version, False)  # noqa: FBT003
            out.shown[i] |= versions.tie[version] == tie and versions.rest[version] == rest
    return DONE
