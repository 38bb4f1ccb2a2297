"""Judging one stream's changes by columns, in rounds in which no record repeats; merge/rowjudge.py goes row by row."""

from __future__ import annotations

import numpy as np

from flockiq.merge.chain import encode, fields_of, known_fields, placing
from flockiq.merge.codes import DUPLICATES, UNCHANGED
from flockiq.merge.judging import Judging
from flockiq.merge.known import Bytes
from flockiq.merge.versions import NONE, NOTHING, content, contents
from flockiq.shared.lanes import Bools, Int64s
from flockiq.shared.rows import round_numbers

_C, _D, _R, _U = (ord(op) for op in "cdru")
_NOTHING = content(NOTHING)


def in_rounds(judging: Judging) -> None:
    """Judge all rows."""
    number = judging.arrived.rows.number
    order = np.argsort(number, kind="stable")
    rounds = np.empty(len(number), np.int64)
    rounds[order] = round_numbers(number[order])
    by_round = np.argsort(rounds, kind="stable")
    begin = 0
    for end in np.cumsum(np.bincount(rounds)).tolist():
        following = _on_time(judging, by_round[begin:end])
        if len(following):
            _Round(judging, following).judge()
        begin = end


def _on_time(judging: Judging, at: Int64s) -> Int64s:
    """The rows that follow the newest version of their record; the others are judged one by one."""
    records, rows = judging.records, judging.arrived.rows
    head = records.head[rows.number[at]]
    there = np.flatnonzero(head >= 0)
    if not len(there):
        return at
    of, last = records.versions, head[there]
    here = at[there]
    us, rr, tie = rows.us[here], rows.rr[here], rows.tie[here]
    last_us, last_rr, last_tie = of.us[last], of.rr[last], of.tie[last]
    newer = (us > last_us) | ((us == last_us) & ((rr > last_rr) | ((rr == last_rr) & (tie > last_tie))))
    if newer.all():
        return at
    late = there[~newer]
    for row in at[late].tolist():
        judging.late(row, int(rows.number[row]), judging.said(row))
    follows = np.ones(len(at), np.bool_)
    follows[late] = False
    return at[follows]


class _Round:
    """Rows that follow the newest version of their record, which is each another.

    head: int64 [r], that version, NONE without one; begin, end, content, place: what is known of each record, as in
    ``Versions``: at first by that version, then by the row.
    """

    def __init__(self, judging: Judging, at: Int64s) -> None:
        self.judging, self.at = judging, at
        self.records, self.rows = judging.records, judging.arrived.rows
        self.records.room(len(at), 0)
        self.number, self.op = self.rows.number[at], self.rows.op[at]
        self.whole = (self.op == _C) | (self.op == _R)
        self.head = self.records.head[self.number]
        known, last, of = self.head >= 0, np.maximum(self.head, 0), self.records.versions
        self.known, self.last = known, last
        self.begin, self.end = np.where(known, of.begin[last], 0), np.where(known, of.end[last], len(NOTHING))
        self.content = np.where(known, of.content[last], _NOTHING)
        self.place = np.where(known, of.place[last], NONE)
        self.given_begin, self.given_end = np.zeros(len(at), np.int64), np.full(len(at), len(NOTHING), np.int64)

    def judge(self) -> None:
        """Keep a version for each, and say which of them is news."""
        rows, of, at, known, last = self.rows, self.records.versions, self.at, self.known, self.last
        again = known & (rows.tie[at] == of.tie[last]) & (rows.rest[at] == of.rest[last])
        same = again & (rows.us[at] == of.us[last])
        there = known & (of.op[last] != _D) & (self.place >= 0)
        same |= self.whole & there & (rows.content[at] == self.content)
        was = self.place.copy()
        self._whole(np.flatnonzero(self.whole & ~same))
        self._updates(np.flatnonzero(self.op == _U), same)
        self.given_begin[self.whole], self.given_end[self.whole] = self.begin[self.whole], self.end[self.whole]
        versions = self._keep(again)
        judging, out = self.judging, self.judging.out
        out.counts[DUPLICATES] += again.sum()
        out.counts[UNCHANGED] += (same & ~again).sum()
        out.version[at], out.after[at] = versions, self.head
        news = ~(same | again) & (self.place >= 0)
        moved = news & (was >= 0) & (was != self.place)
        out.plain[at] = news & ~moved
        for one in np.flatnonzero(moved).tolist():
            number = int(self.number[one])
            before, now = self.records.several(number, [int(self.head[one]), int(versions[one])])
            judging.move(int(at[one]), before, now)

    def _whole(self, new: Int64s) -> None:
        """Records told whole: what they say is all that is known, kept once where that was known already."""
        at, rows, said, heap = self.at, self.rows, self.judging.arrived.said.data, self.records.heap.data
        self.place[new] = rows.place[at[new]]
        alike = self.known[new] & (rows.content[at[new]] == self.content[new])
        for one in np.flatnonzero(alike).tolist():
            row, mine = at[new[one]], new[one]
            alike[one] = said[rows.begin[row] : rows.end[row]] == heap[self.begin[mine] : self.end[mine]]
        new = new[~alike]
        bounds = zip(rows.begin[at[new]].tolist(), rows.end[at[new]].tolist(), strict=True)
        self._write([bytes(said[begin:end]) for begin, end in bounds], new, self.begin, self.end)
        self.content[new] = rows.content[at[new]]

    def _updates(self, updates: Int64s, same: Bools) -> None:
        """Records of which some fields were told: what is known now, where that is not the same."""
        if not len(updates):
            return
        plan, arrived, heap = self.judging.stream.plan, self.judging.arrived, self.records.heap.data
        given = [arrived.fields(row) for row in self.at[updates].tolist()]
        new = updates[~same[updates]]
        bounds = zip(self.begin[new].tolist(), self.end[new].tolist(), strict=True)
        before = [bytes(heap[begin:end]) for begin, end in bounds]
        told = [text for text, one in zip(given, same[updates].tolist(), strict=True) if not one]
        known = [known_fields(plan, was, fields_of(text)) for was, text in zip(before, told, strict=True)]
        texts = [encode(one) for one in known]
        if len(new):
            keys = [arrived.key(row) for row in self.at[new].tolist()]
            self.place[new] = self.judging.stream.numbers(keys, [placing(plan, one) for one in known])
        self._write(given, updates, self.given_begin, self.given_end)
        fresh = [text != was for text, was in zip(texts, before, strict=True)]
        changed = new[fresh]
        texts = [text for text, one in zip(texts, fresh, strict=True) if one]
        self._write(texts, changed, self.begin, self.end)
        self.content[changed] = contents(texts)

    def _write(self, texts: list[bytes], at: Int64s, begin: Int64s, end: Int64s) -> None:
        """Write texts into the heap; where each is goes to ``begin`` and ``end``."""
        records, text = self.records, b"".join(texts)
        records.room(0, len(text))
        first = records.size
        records.size += len(text)
        whole: Bytes = np.frombuffer(text, np.uint8)
        records.heap[first : records.size] = whole
        ends = first + np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
        begin[at], end[at] = np.r_[first, ends[:-1]][: len(ends)], ends

    def _keep(self, again: Bools) -> Int64s:
        """Add the versions; where they are. Of one told by many runs the first and the last stay."""
        records, rows, at, of = self.records, self.rows, self.at, self.records.versions
        versions = np.arange(records.count, records.count + len(at))
        before = self.head.copy()
        repeated = np.flatnonzero(again)
        earlier = of.before[self.head[repeated]]
        now = at[repeated]
        third = (earlier >= 0) & (of.tie[earlier] == rows.tie[now]) & (of.rest[earlier] == rows.rest[now])
        before[repeated[third]] = earlier[third]
        columns = (
            rows.us[at],
            rows.rr[at],
            rows.tie[at],
            rows.rest[at],
            self.op,
            self.judging.now_us,
            self.begin,
            self.end,
            self.given_begin,
            self.given_end,
            self.content,
            self.place,
            before,
        )
        for name, values in zip(of._fields, columns, strict=True):
            getattr(of, name)[records.count : records.count + len(at)] = values
        records.count += len(at)
        records.head[self.number] = versions
        return versions
