"""Forwarding: what records' versions mean, as lines of hub ``resolved`` and as rows of table Changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import accumulate
from operator import itemgetter
from typing import NamedTuple, get_args

import numpy as np

from flockiq.merge.arrived import Arrived
from flockiq.merge.chain import Told
from flockiq.merge.compiled import Functions
from flockiq.merge.known import Bytes
from flockiq.merge.lines import Again, Plain, Said, joined, one_line, rewritten, written
from flockiq.merge.records import Records
from flockiq.merge.stretches import stretches
from flockiq.merge.versions import halves_in_hex
from flockiq.shared import wire
from flockiq.shared.lanes import Bools, Int64s
from flockiq.shared.outbox import Outbox
from flockiq.shared.pool import Rows, rows_of
from flockiq.shared.ports import OutgoingEvent
from flockiq.shared.positions import bucket
from flockiq.shared.tabular import Columns, packed

MAX_REVISIONS = 1 << 20  # lines of one commit that revisions can tell apart
OPS: Sequence[str] = get_args(wire.Op)
_OP_NUMBERS = np.zeros(256, np.int64)
_OP_NUMBERS[[ord(op) for op in OPS]] = np.arange(len(OPS))
_ROW = (1 << 32) - 1
_ID_SIZE = 32  # characters of an entity's id
_BACKSLASH = ord("\\")


type Other = tuple[int, Said, Told, bool]


class News(NamedTuple):
    """What one stream's changes tell.

    plain: rows that are told as they are. every, place: int64 [n], all rows that an entity was told of, in order, and
    the numbers of the places where those are. others: lines beside the plain ones, each behind its row, in order;
    True: in the place of a line told before. again: the lines of other rows that do so.
    """

    plain: Plain
    every: Int64s
    place: Int64s
    others: Sequence[Other]
    again: Again


class Forwarded:
    """What one commit forwards."""

    def __init__(self, tenant: str, partitions: int, commit: int) -> None:
        self.tenant = tenant
        self.partitions = partitions
        self._revision = commit * MAX_REVISIONS
        self._lines: dict[int, list[Rows]] = defaultdict(list)
        self._rows: list[Columns] = []

    def outbox(self) -> Outbox:
        """Everything, packed by partition."""
        events: list[OutgoingEvent] = []
        for partition, parts in sorted(self._lines.items()):
            begins = accumulate((len(part.utf8) for part in parts), initial=0)
            ends = np.concatenate([part.ends + begin for part, begin in zip(parts, begins, strict=False)])
            text = b"".join([part.utf8.data for part in parts]) if len(parts) > 1 else parts[0].utf8.data
            events += wire.pack_text(partition, wire.RESOLVED, text, ends.tolist())
        columns = {"Changes": packed(self._rows)} if self._rows else {}
        return Outbox(events={"resolved": events} if events else {}, columns=columns)

    def news(self, records: Records, news: News, functions: Functions | None) -> None:
        """Tell entities, and the history."""
        stream, arrived, row, version = news.plain
        odd = _odd(arrived, row)
        ours = news.plain._replace(row=row[~odd], version=version[~odd])
        for partition, lines in written(records, ours, functions):
            self._lines[partition].append(lines)
        others: dict[int, list[bytes]] = defaultdict(list)
        for said, told in _one_by_one(records, arrived, row[odd], version[odd]):
            line = one_line(self.tenant, stream.plan, said, told)
            others[bucket(told.place.group, self.partitions)].append(line)
        for partition, line in self._beside(records, news, functions):
            others[partition].append(line)
        for partition, some in others.items():
            self._lines[partition].append(joined(some))
        if len(news.every):
            self._rows.append(self._history(records, news, functions))

    def _beside(self, records: Records, news: News, functions: Functions | None) -> Iterator[tuple[int, bytes]]:
        """The lines beside the plain ones, by row, each behind its partition."""
        (stream, arrived), others, again = news.plain[:2], news.others, news.again
        if functions is None or not len(again.row) or records.odd:
            others = sorted([*others, *_by_hand(records, arrived, again)], key=itemgetter(0))
            again = again._replace(row=again.row[:0])
        anew = np.array([row for row, _, _, anew in others if anew], np.int64)
        first = self._revision + 1
        lines = []
        revisions = iter((first + np.arange(len(anew)) + np.searchsorted(again.row, anew)).tolist())
        for row, said, told, is_anew in others:
            line = one_line(self.tenant, stream.plan, said, told, revision=next(revisions) if is_anew else 0)
            lines.append((row, bucket(told.place.group, self.partitions), line))
        if functions is not None and len(again.row):
            revision = first + np.arange(len(again.row)) + np.searchsorted(anew, again.row)
            written_ = rewritten(records, stream, arrived, again, revision, functions)
            lines += [(row, *one) for row, one in zip(again.row.tolist(), written_, strict=True)]
            lines.sort(key=itemgetter(0))
        self._revision += len(anew) + len(again.row)
        for _, partition, line in lines:
            yield partition, line

    def _history(self, records: Records, news: News, functions: Functions | None) -> Columns:
        """Rows of table Changes."""
        stream, arrived = news.plain[:2]
        plan, rows, at = stream.plan, arrived.rows, news.every
        columns = Columns(len(at))
        if arrived.odd:
            halves = zip(rows.tie[at].tolist(), rows.rest[at].tolist(), strict=True)
            columns.texts("EventId", [records.id_of(*both) for both in halves])
        else:
            ids = np.frombuffer(halves_in_hex(rows.tie[at], rows.rest[at]), np.uint8)
            columns.written("EventId", Rows(ids, np.arange(32, 32 * len(at) + 1, 32)))
        columns.text("Tenant", self.tenant)
        columns.text("Source", plan.source)
        columns.text("Stream", plan.stream)
        columns.written("Key", _keys(arrived, at, functions))
        columns.texts("Op", OPS, _OP_NUMBERS[rows.op[at]])
        columns.instants("SourceTime", rows.us[at])
        columns.numbers("Run", rows.rr[at] >> 32)
        columns.numbers("Row", rows.rr[at] & _ROW)
        columns.instants("CapturedAt", rows.captured_us[at])
        columns.text("EntityType", plan.entity)
        addresses = stream.addresses()
        ends = addresses.middles[news.place] - 1  # of subjects as JSON
        columns.written("EntityId", _gathered(addresses.utf8, ends - _ID_SIZE, ends, functions))
        after = _gathered(arrived.text, rows.after_begin[at], rows.after_end[at], functions)
        columns.written("After", after, dynamic=True)
        return columns


def _keys(arrived: Arrived, at: Int64s, functions: Functions | None) -> Rows:
    """The keys of rows."""
    rows = _gathered(arrived.text, arrived.rows.key_begin[at], arrived.rows.key_end[at], functions)
    if (rows.utf8 == _BACKSLASH).any():
        return rows_of([arrived.key(row) for row in at.tolist()])
    return rows


def _gathered(text: Bytes, begin: Int64s, end: Int64s, functions: Functions | None) -> Rows:
    return Rows(stretches(text, begin, end, functions), np.cumsum(end - begin))


def _odd(arrived: Arrived, row: Int64s) -> Bools:
    """Which rows have ids that are none of ours."""
    if not arrived.odd:
        return np.zeros(len(row), np.bool_)
    halves = zip(arrived.rows.tie[row].tolist(), arrived.rows.rest[row].tolist(), strict=True)
    return np.array([both in arrived.odd for both in halves], np.bool_)


def _one_by_one(records: Records, arrived: Arrived, row: Int64s, version: Int64s) -> Iterator[tuple[Said, Told]]:
    """Lines of rows whose entities are told what they say."""
    for at, mine in zip(row.tolist(), version.tolist(), strict=True):
        told = records.version(int(arrived.rows.number[at]), mine)
        said = Said(arrived.key(at), arrived.trace(at), int(arrived.rows.captured_us[at]))
        yield said, Told(told.id, told.us, told.rr, told.place, told.op, told.given)


def _by_hand(records: Records, arrived: Arrived, again: Again) -> Iterator[Other]:
    """The same lines, to be written one by one."""
    lines = _one_by_one(records, arrived, again.row, again.version)
    for row, void, (said, told) in zip(again.row.tolist(), again.void.tolist(), lines, strict=True):
        yield row, said, told._replace(op="v", fields=b"{}") if void else told, True
