"""One batch of changes: judged record by record, in rounds of columns, and forwarded where it is new."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from flockiq.merge.chain import WHOLE, Home, Version, encode, known_fields, told, with_late
from flockiq.merge.forward import Forwarded
from flockiq.merge.letters import Misfit, no_record
from flockiq.merge.mapping import Mapped, Record, StreamPlan, mapped
from flockiq.merge.match import NOWHERE, places
from flockiq.merge.records import Newest, Records, content
from flockiq.merge.stored import slim
from flockiq.shared import wire
from flockiq.shared.lines import UNREADABLE
from flockiq.shared.positions import event_lane
from flockiq.shared.rows import round_numbers

_records = msgspec.json.Decoder(list[Any])
_record = msgspec.json.Decoder().decode


class Batch:
    """What one batch does to the records and forwards."""

    def __init__(self, records: Records, forwarded: Forwarded, now_us: int) -> None:
        self.records = records
        self.now_us = now_us
        self.forwarded = forwarded
        self.misfits: list[Misfit] = []
        self.duplicates = 0
        self.unchanged = 0
        self._kept: list[tuple[str, Version]] = []
        self._redone: set[str] = set()

    @property
    def kept(self) -> list[tuple[str, Version]]:
        """Versions that followed the newest of their record, as they are stored."""
        return [(name, version) for name, version in self._kept if name not in self._redone]

    @property
    def redone(self) -> list[str]:
        """The records whose versions were worked out again."""
        return sorted(self._redone)

    def stream(self, plan: StreamPlan, found: Sequence[wire.Change]) -> None:
        """One stream's changes, in rounds in which no record repeats."""
        found, records = self._readable(found)
        if not found:
            return
        table = mapped(plan, records, [change.data.op in WHOLE for change in found])
        _refuse_heavy(found, table)
        for row, (field, reason) in sorted(table.bad.items()):
            if found[row].data.op != "d":
                self.misfits.append(Misfit(found[row], field, reason))
        good = [row for row in range(len(found)) if row not in table.bad or found[row].data.op == "d"]
        names = [f"{plan.source}/{plan.stream}/{found[row].data.key}" for row in good]
        if not good:
            return
        _, group = np.unique(np.array(names, object), return_inverse=True)
        order = np.argsort(group, kind="stable")
        rounds = np.empty(len(good), np.int64)
        rounds[order] = round_numbers(group[order])
        for number in range(int(rounds.max()) + 1):
            at = np.flatnonzero(rounds == number).tolist()
            self._round(
                plan, [found[good[one]] for one in at], table, [good[one] for one in at], [names[one] for one in at]
            )

    def _readable(self, found: Sequence[wire.Change]) -> tuple[list[wire.Change], list[Record]]:
        """The changes whose record is a JSON object, with it; the others become dead letters."""
        try:
            records = _records.decode(b"[" + b",".join(bytes(change.data.after) for change in found) + b"]")
        except UNREADABLE:
            records = [_record_of(change) for change in found]
        kept: list[wire.Change] = []
        objects: list[Record] = []
        for change, record in zip(found, records, strict=True):
            if isinstance(record, dict):
                kept.append(change)
                objects.append(record)
            else:
                self.misfits.append(Misfit(change, *no_record(change.data.after)))
        return kept, objects

    def _round(
        self, plan: StreamPlan, found: list[wire.Change], table: Mapped, rows: list[int], names: list[str]
    ) -> None:
        """At most one version of a record."""
        records = self.records
        number = records.numbers(names)
        last = [records.chains[one][-1] for one in number.tolist()]
        said = [{} if change.data.op == "d" else table.said(row) for change, row in zip(found, rows, strict=True)]
        known = [
            known_fields(plan, before, given) if change.data.op == "u" else given
            for change, before, given in zip(found, last, said, strict=True)
        ]
        fields = [
            before.fields if change.data.op == "d" else encode(full)
            for change, before, full in zip(found, last, known, strict=True)
        ]
        newest = _newest(found, fields)
        whole = np.array([change.data.op in WHOLE for change in found], np.bool_)
        verdict = records.judge(number, newest, [change.id for change in found], whole)
        where = [before.place for before in last]
        say = [row for row in np.flatnonzero(verdict.newest).tolist() if found[row].data.op != "d"]
        placed = places(plan, [found[row].data.key for row in say], [known[row] for row in say], self.forwarded.tenant)
        for row, place in zip(say, placed, strict=True):
            where[row] = place
        for row, change in enumerate(found):
            op, one = change.data.op, int(number[row])
            given = encode(said[row]) if op == "u" else b"{}" if op == "d" else fields[row]
            at = (int(newest.us[row]), int(newest.rr[row]), int(newest.tie[row]))
            version = Version(*at, change.id, op, self.now_us, given, fields[row], where[row], op == "d")
            if verdict.late[row]:
                self._late(plan, change, version, one, names[row])
            else:
                self._follow(plan, change, version, one, names[row], unchanged=bool(verdict.unchanged[row]))
        follows = ~verdict.late
        records.newest.put(number[follows], newest.take(follows))
        records.refresh(number[verdict.late])

    def _follow(
        self, plan: StreamPlan, change: wire.Change, version: Version, number: int, name: str, *, unchanged: bool
    ) -> None:
        """A version that follows the newest."""
        before = self.records.chains[number][-1]
        if version.id == before.id:
            self.duplicates += 1
        elif unchanged:
            self.unchanged += 1
        elif version.place != NOWHERE:
            for line in told(self._home(plan, change), before, version):
                self.forwarded.line(plan, change, line)
            self.forwarded.row(plan, version.place.entity_id, change)
        if unchanged:
            version = version._replace(fields=before.fields)  # kept once
        self._kept.append((name, slim(before, version)))
        self.records.keep(number, version)

    def _home(self, plan: StreamPlan, change: wire.Change) -> Home:
        return Home(plan, change.data.key, self.forwarded.tenant, self.forwarded.partitions)

    def _late(self, plan: StreamPlan, change: wire.Change, late: Version, number: int, name: str) -> None:
        """A version that does not follow the newest: those after it are worked out again."""
        chain = self.records.chains[number]
        if any(version.id == late.id and version.position == late.position for version in chain):
            self.duplicates += 1
            return
        unplaced = late._replace(fields=b"", place=NOWHERE)
        redone, lines = with_late(self._home(plan, change), chain, unplaced)
        for line in lines:
            self.forwarded.line(plan, change, line, anew=True)
        mine = [line.place.entity_id for line in lines if line.id == late.id and line.op != "v"]
        if mine:
            self.forwarded.row(plan, mine[0], change)
        self.records.put(number, redone)
        self._redone.add(name)


def _newest(found: Sequence[wire.Change], fields: Sequence[bytes]) -> Newest:
    """The versions as columns, each as if it were the newest of its record."""
    return Newest(
        us=np.array([change.data.ts_us for change in found], np.int64),
        rr=np.array([change.data.run << 32 | change.data.row for change in found], np.int64),
        tie=np.array([event_lane(change.id) for change in found], np.int64),
        content=np.array([content(one) for one in fields], np.int64),
        gone=np.array([change.data.op == "d" for change in found], np.bool_),
    )


def _record_of(change: wire.Change) -> object:
    """One change's record, or None; ``wire.Change`` takes its bytes without looking into them."""
    try:
        return _record(change.data.after)
    except UNREADABLE:
        return None


def _refuse_heavy(found: Sequence[wire.Change], table: Mapped) -> None:
    """Refuse records whose mapped fields are too large to be told of on the hubs."""
    for row in [row for row, change in enumerate(found) if len(change.data.after) > wire.MAX_FIELDS_BYTES]:
        size = len(encode(table.said(row)))
        if size > wire.MAX_FIELDS_BYTES:
            reason = f"its fields have {size:,} bytes together, over the limit of {wire.MAX_FIELDS_BYTES:,}"
            table.bad.setdefault(row, ("", reason))
