"""One batch of changes: judged in rounds of columns, and forwarded where it is new."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress, repeat
from typing import Any, NamedTuple

import msgspec
import numpy as np

from flockiq.merge.arrived import Arrived, picked
from flockiq.merge.chain import (
    WHOLE,
    Home,
    Version,
    encode,
    fields_of,
    known_fields,
    placing,
    told,
    with_late,
)
from flockiq.merge.forward import Forwarded
from flockiq.merge.letters import Misfit, no_record
from flockiq.merge.mapping import Mapped, StreamPlan, encoded, mapped_columns, raw_columns
from flockiq.merge.match import NOWHERE, Place, Places
from flockiq.merge.records import Newest, Records, contents
from flockiq.merge.stored import Following
from flockiq.shared import wire
from flockiq.shared.lanes import Bools, Int64s
from flockiq.shared.lines import UNREADABLE
from flockiq.shared.rows import round_numbers

_record = msgspec.json.Decoder().decode
_version = Version._make


class _Stream(NamedTuple):
    """One stream's changes of the batch that can be judged: n rows.

    said: the fields each says, as JSON; content: int64 [n], their hash; whole, gone: bool [n], by op;
    columns: what says where records belong, per field of ``plan.placing``; number: int64 [n], of its record.
    """

    plan: StreamPlan
    places: Places
    arrived: Arrived
    said: list[bytes]
    content: Int64s
    whole: Bools
    gone: Bools
    placing: list[tuple[Any, ...]]
    number: Int64s


class Batch:
    """What one batch does to the records and forwards."""

    def __init__(self, records: Records, forwarded: Forwarded, now_us: int) -> None:
        self.records = records
        self.now_us = now_us
        self.forwarded = forwarded
        self.misfits: list[Misfit] = []
        self.duplicates = 0
        self.unchanged = 0
        self.following = Following()
        self._redone: set[int] = set()

    @property
    def redone(self) -> list[int]:
        """The records whose versions were worked out again."""
        return sorted(self._redone)

    def stream(self, plan: StreamPlan, places: Places, found: Sequence[wire.Change]) -> None:
        """One stream's changes, in rounds in which no record repeats."""
        found, table = self._mapped(plan, found)
        if not found:
            return
        arrived = Arrived.of(found)
        number = self.records.numbers([f"{plan.name}/{key}" for key in arrived.keys])
        said = encoded(plan, table.columns)
        ops = np.array(arrived.ops)
        whole, gone = np.isin(ops, WHOLE), ops == "d"
        nothing = [None] * len(found)
        columns = [table.columns.get(name, nothing) for name in plan.placing]
        where = list(zip(*columns, strict=True))
        stream = _Stream(plan, places, arrived, said, contents(said), whole, gone, where, number)
        order = np.argsort(number, kind="stable")
        rounds = np.empty(len(found), np.int64)
        rounds[order] = round_numbers(number[order])
        by_round = np.argsort(rounds, kind="stable")
        start = 0
        for end in np.cumsum(np.bincount(rounds)).tolist():
            self._round(stream, by_round[start:end])
            start = end

    def _mapped(self, plan: StreamPlan, found: Sequence[wire.Change]) -> tuple[Sequence[wire.Change], Mapped]:
        """The changes whose record can be mapped, and their fields; the others become dead letters."""
        try:
            raw = raw_columns(plan, b"[" + b",".join([change.data.after for change in found]) + b"]")
        except UNREADABLE:
            found = self._readable(found)
            raw = raw_columns(plan, b"[" + b",".join([change.data.after for change in found]) + b"]")
        table = mapped_columns(plan, raw, [change.data.op in WHOLE for change in found])
        _refuse_heavy(plan, found, table)
        bad = {row: why for row, why in table.bad.items() if found[row].data.op != "d"}
        if not bad:
            return found, table
        self.misfits += [Misfit(found[row], *why) for row, why in sorted(bad.items())]
        good = [row not in bad for row in range(len(found))]
        columns = {name: list(compress(column, good)) for name, column in table.columns.items()}
        return list(compress(found, good)), Mapped(columns, {})

    def _readable(self, found: Sequence[wire.Change]) -> list[wire.Change]:
        """The changes whose record is a JSON object; the others become dead letters."""
        kept: list[wire.Change] = []
        for change in found:
            if isinstance(_record_of(change), dict):
                kept.append(change)
            else:
                self.misfits.append(Misfit(change, *no_record(change.data.after)))
        return kept

    def _round(self, stream: _Stream, at: Int64s) -> None:
        """At most one version of a record: rows ``at`` of the stream."""
        records, arrived, rows = self.records, stream.arrived, at.tolist()
        number, whole, gone = stream.number[at], stream.whole[at], stream.gone[at]
        last = records.last(number)
        given = list(picked(stream.said, rows))
        fields, content, where = list(given), stream.content[at], list(picked(stream.placing, rows))
        partial = np.flatnonzero(~whole).tolist()
        for row in partial:
            if gone[row]:
                given[row], fields[row] = b"{}", last[row].fields
            else:
                known = known_fields(stream.plan, last[row], fields_of(given[row]))
                fields[row], where[row] = encode(known), placing(stream.plan, known)
        if partial:
            content[partial] = contents([fields[row] for row in partial])
        newest = Newest(us=arrived.us[at], rr=arrived.rr[at], tie=arrived.tie[at], content=content, gone=gone)
        ids = picked(arrived.ids, rows)
        verdict = records.judge(number, newest, ids, whole)
        place = self._placed(stream, rows, verdict.newest & ~gone, where, last)
        for row in np.flatnonzero(verdict.unchanged).tolist():
            fields[row] = last[row].fields  # kept once
            if whole[row]:
                given[row] = fields[row]
        position = (newest.us.tolist(), newest.rr.tolist(), newest.tie.tolist())
        ops = picked(arrived.ops, rows)
        columns = (*position, ids, ops, repeat(self.now_us), given, fields, place, gone.tolist())
        versions = list(map(_version, zip(*columns, strict=False)))
        if verdict.late.any():
            for row in np.flatnonzero(verdict.late).tolist():
                self._late(stream, rows[row], versions[row], int(number[row]))
            follows = np.flatnonzero(~verdict.late).tolist()
            newest = newest.take(~verdict.late)
            records.refresh(number[verdict.late])
            rows, versions, last = ([one[row] for row in follows] for one in (rows, versions, last))
            number, unchanged = number[follows], verdict.unchanged[follows]
        else:
            unchanged = verdict.unchanged
        self._follow(stream, rows, versions, last, unchanged)
        numbers = number.tolist()
        for record, version in zip(numbers, versions, strict=True):
            records.keep(record, version)
        self.following.add(numbers, versions, last)
        records.newest.put(number, newest)

    def _placed(
        self, stream: _Stream, rows: list[int], say: Bools, where: Sequence[tuple[Any, ...]], last: Sequence[Version]
    ) -> list[Place]:
        """Where each version's record is: worked out where ``say``, else where it was."""
        place = [before.place for before in last]
        saying = np.flatnonzero(say).tolist()
        keys = [stream.arrived.keys[rows[row]] for row in saying]
        placing = [where[row] for row in saying]
        for row, found in zip(saying, stream.places.of(keys, placing), strict=True):
            place[row] = found
        return place

    def _follow(
        self, stream: _Stream, rows: list[int], versions: list[Version], last: list[Version], unchanged: Bools
    ) -> None:
        """Versions that follow the newest: tell of those that are news."""
        repeated = np.array([version.id == before.id for version, before in zip(versions, last, strict=True)], np.bool_)
        self.duplicates += int(repeated.sum())
        self.unchanged += int((unchanged & ~repeated).sum())
        news: list[int] = []
        entities: list[str] = []
        plain: list[tuple[int, Place, bytes]] = []
        is_news = (~(unchanged | repeated)).tolist()
        for row, version, before in compress(zip(rows, versions, last, strict=True), is_news):
            place = version.place
            if place == NOWHERE:
                continue
            news.append(row)
            entities.append(place.entity_id)
            if before.place in (place, NOWHERE):
                plain.append((row, place, version.given))
            else:
                for line in told(self._home(stream, row), before, version):
                    self.forwarded.line(stream.plan, stream.arrived.changes[row], line)
        if plain:
            at, where, said = zip(*plain, strict=True)
            self.forwarded.lines(stream.plan, stream.arrived, at, where, said)
        self.forwarded.rows(stream.plan, stream.arrived, news, entities)

    def _home(self, stream: _Stream, row: int) -> Home:
        return Home(stream.plan, stream.arrived.keys[row], stream.places, self.forwarded.addresses.partitions)

    def _late(self, stream: _Stream, row: int, late: Version, number: int) -> None:
        """A version that does not follow the newest: those after it are worked out again."""
        chain = self.records.chains[number]
        if any(version.id == late.id and version.position == late.position for version in chain):
            self.duplicates += 1
            return
        unplaced = late._replace(fields=b"", place=NOWHERE)
        redone, lines = with_late(self._home(stream, row), chain, unplaced)
        for line in lines:
            self.forwarded.line(stream.plan, stream.arrived.changes[row], line, anew=True)
        mine = [line.place.entity_id for line in lines if line.id == late.id and line.op != "v"]
        if mine:
            self.forwarded.rows(stream.plan, stream.arrived, [row], mine[:1])
        self.records.put(number, redone)
        self._redone.add(number)


def _record_of(change: wire.Change) -> object:
    """One change's record, or None; ``wire.Change`` takes its bytes without looking into them."""
    try:
        return _record(change.data.after)
    except UNREADABLE:
        return None


def _refuse_heavy(plan: StreamPlan, found: Sequence[wire.Change], table: Mapped) -> None:
    """Refuse records whose mapped fields are too large to be told of on the hubs."""
    for row in [row for row, change in enumerate(found) if len(change.data.after) > wire.MAX_FIELDS_BYTES]:
        (said,) = encoded(plan, {name: [column[row]] for name, column in table.columns.items()})
        size = len(said)
        if size > wire.MAX_FIELDS_BYTES:
            reason = f"its fields have {size:,} bytes together, over the limit of {wire.MAX_FIELDS_BYTES:,}"
            table.bad.setdefault(row, ("", reason))
