"""One partition of hub ``changes``: map records, find their entities, forward what is new."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import xxhash

from flockiq.merge.letters import DECODERS, Misfit, letters, no_record
from flockiq.merge.mapping import Mapped, Record, StreamPlan, mapped
from flockiq.merge.match import NOWHERE, Place, places
from flockiq.merge.parts import At, Older, layers, older_after, said_again, unsaid_since
from flockiq.merge.records import Records, Verdict, Versions
from flockiq.shared import wire
from flockiq.shared.arrays import Packed
from flockiq.shared.fields import Value
from flockiq.shared.instants import rfc3339
from flockiq.shared.lanes import ABSENT, Bools, Int64s
from flockiq.shared.lines import UNREADABLE, decoded
from flockiq.shared.outbox import Outbox
from flockiq.shared.owner import Folded
from flockiq.shared.positions import bucket, hash64
from flockiq.shared.rows import round_numbers
from flockiq.shared.settings import Settings

_HASH_MASK = (1 << 61) - 1
_ROW = (1 << 32) - 1
_DELETED = -1  # the content of a record that is gone

_NEVER = At(ABSENT, ABSENT, ABSENT)

Plans = Mapping[tuple[str, str], StreamPlan]


class State(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The records a commit changed; of a snapshot, all of them."""

    names: list[str] = []
    ids: list[str] = []
    places: list[Place] = []
    fields: list[bytes] = []
    older: dict[int, Older] = {}  # by index in names, as are came and left
    came: dict[int, At] = {}
    left: dict[int, At] = {}
    versions: dict[str, tuple[str, list[int], bytes]] = {}
    duplicates: int = 0
    unchanged: int = 0


class _Version(NamedTuple):
    """A version of a record as it is forwarded."""

    id: str
    op: wire.Op
    key: str
    us: int
    run: int
    row: int
    captured_us: int
    traceparent: str
    fields: bytes


_encode = msgspec.json.Encoder().encode
_fields = msgspec.json.Decoder(dict[str, str | int | float | bool | None]).decode
_records = msgspec.json.Decoder(list[Any])
_record = msgspec.json.Decoder().decode
_state = msgspec.msgpack.Decoder(State).decode
_pack = msgspec.msgpack.Encoder().encode


def _now_us() -> int:
    return time.time_ns() // 1000


class Changes:
    """The record state of one partition. An ``Owned`` (shared/owner.py)."""

    def __init__(self, plans: Plans, settings: Settings, now_us: Callable[[], int] = _now_us) -> None:
        self.plans = plans
        self.settings = settings
        self.now_us = now_us
        self.records = Records()
        self.duplicates = 0
        self.unchanged = 0

    def load(self, snapshot: bytes, entries: Sequence[bytes]) -> None:
        """Forget everything; become what the log says."""
        self.records, self.duplicates, self.unchanged = Records(), 0, 0
        for body in ([snapshot] if snapshot else []) + list(entries):
            state = _state(body)
            self.duplicates += state.duplicates
            self.unchanged += state.unchanged
            number = self.records.numbers(state.names)
            if len(number):
                self.records.versions.put(number, Versions.unpacked(state.versions))
            for at, one in enumerate(number.tolist()):
                self.records.ids[one] = state.ids[at]
                self.records.places[one] = state.places[at]
                self.records.fields[one] = state.fields[at]
                _put(self.records.older, one, state.older.get(at))
                _put(self.records.came, one, state.came.get(at))
                _put(self.records.left, one, state.left.get(at))

    def snapshot(self) -> bytes:
        """Everything."""
        return _pack(self._state_of(list(self.records.index), self.duplicates, self.unchanged))

    def fold(self, bodies: Sequence[bytes], commit: int) -> Folded:  # noqa: ARG002 - ids need no commit number here
        """Judge a batch of changes; what can't be mapped becomes dead letters."""
        now_us = self.now_us()
        batch = _Batch(self)
        by_stream: dict[tuple[str, str], list[wire.Change]] = defaultdict(list)
        lines = decoded(bodies, DECODERS)
        for change in lines.of(wire.CHANGE):
            if change.tenant != batch.tenant:
                batch.misfits.append(Misfit(change, "tenant", f"this app is of tenant {batch.tenant!r}"))
                continue
            by_stream[change.source, change.data.stream].append(change)
        for stream, found in by_stream.items():
            plan = self.plans.get(stream)
            if plan is None:
                reason = f"no source in config has the stream {stream[0]}/{stream[1]}"
                batch.misfits += [Misfit(change, "stream", reason) for change in found]
            else:
                batch.stream(plan, found)
        self.duplicates += batch.duplicates
        self.unchanged += batch.unchanged
        state = self._state_of(sorted(batch.touched), batch.duplicates, batch.unchanged)
        return Folded(_pack(state), batch.outbox(), letters(lines, batch.misfits, now_us))

    def _state_of(self, names: list[str], duplicates: int, unchanged: int) -> State:
        records = self.records
        number = [records.index[name] for name in names]
        packed: Packed = records.versions.packed(np.array(number, np.int64))
        return State(
            names=names,
            ids=[records.ids[one] for one in number],
            places=[records.places[one] for one in number],
            fields=[records.fields[one] for one in number],
            older={at: records.older[one] for at, one in enumerate(number) if one in records.older},
            came={at: records.came[one] for at, one in enumerate(number) if one in records.came},
            left={at: records.left[one] for at, one in enumerate(number) if one in records.left},
            versions=dict(packed),
            duplicates=duplicates,
            unchanged=unchanged,
        )


class _Batch:
    """What one batch touches and forwards."""

    def __init__(self, owner: Changes) -> None:
        self.owner = owner
        self.tenant = owner.settings.tenant
        self.partitions = owner.settings.partitions["resolved"]
        self.misfits: list[Misfit] = []
        self.touched: set[str] = set()
        self.duplicates = 0
        self.unchanged = 0
        self._lines: dict[int, list[bytes]] = defaultdict(list)
        self._rows: list[bytes] = []

    def outbox(self) -> Outbox:
        """Everything forwarded, packed by partition, and the rows of table Changes."""
        events = [
            event
            for partition, lines in sorted(self._lines.items())
            for event in wire.pack(partition, wire.RESOLVED, lines)
        ]
        rows = {"Changes": b"\n".join(self._rows)} if self._rows else {}
        return Outbox(events={"resolved": events} if events else {}, rows=rows)

    def stream(self, plan: StreamPlan, found: Sequence[wire.Change]) -> None:
        """One stream's changes, in rounds in which no record repeats."""
        found, records = self._readable(found)
        if not found:
            return
        whole = [change.data.op in ("c", "r") for change in found]
        table = mapped(plan, records, whole)
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
        state = self.owner.records
        number = state.numbers(names)
        given = [{} if change.data.op == "d" else table.said(row) for change, row in zip(found, rows, strict=True)]
        full = self._full(found, given, number)
        bodies = [_encode(fields) for fields in full]
        versions = _versions(found, bodies)
        repeated = np.array([state.ids[one] == change.id for one, change in zip(number.tolist(), found, strict=True)])
        whole = np.array([change.data.op in ("c", "r") for change in found])
        verdict = state.judge(number, versions, repeated, whole)
        unchanged = verdict.unchanged & ~repeated
        self.unchanged += int(unchanged.sum())
        self.duplicates += int((~(verdict.newest | verdict.late | unchanged)).sum())
        self.touched.update(names)
        self._forward(plan, found, given, full, bodies, number, versions, verdict)
        self._keep_older(given, full, number, verdict.newest & ~whole, verdict)
        state.remember(number, versions, verdict)
        for row, one in enumerate(number.tolist()):
            if versions.deleted[row] and state.places[one] == NOWHERE:
                state.versions.sent[one] = False  # it goes out once a version tells which entity it left
        for row in np.flatnonzero(verdict.newest | verdict.unchanged).tolist():
            state.ids[number[row]] = found[row].id
            state.fields[number[row]] = bodies[row]

    def _full(
        self, found: Sequence[wire.Change], given: Sequence[dict[str, Value]], number: Int64s
    ) -> list[dict[str, Value]]:
        """Each record's full fields: an update's laid over what is known, a delete's as last known."""
        full = []
        for change, fields, one in zip(found, given, number.tolist(), strict=True):
            if change.data.op in ("c", "r"):
                full.append(fields)
            else:
                full.append(_fields(self.owner.records.fields[one]) | fields)
        return full

    def _keep_older(
        self,
        given: Sequence[dict[str, Value]],
        full: Sequence[dict[str, Value]],
        number: Int64s,
        in_part: Bools,
        verdict: Verdict,
    ) -> None:
        """Note where the fields were said that a newer version does not say."""
        records = self.owner.records
        for row in np.flatnonzero(verdict.newest | verdict.unchanged).tolist():
            one = int(number[row])
            older = None
            if in_part[row] and len(full[row]) > len(given[row]):
                older = older_after(full[row], records.older.get(one, {}), records.newest(one), given[row])
            _put(records.older, one, older)

    def _forward(
        self,
        plan: StreamPlan,
        found: Sequence[wire.Change],
        given: Sequence[dict[str, Value]],
        full: Sequence[dict[str, Value]],
        bodies: Sequence[bytes],
        number: Int64s,
        versions: Versions,
        verdict: Verdict,
    ) -> None:
        state = self.owner.records
        go = np.flatnonzero(verdict.newest | verdict.late).tolist()
        where = places(plan, [found[row].data.key for row in go], [full[row] for row in go], self.tenant)
        for row, place in zip(go, where, strict=True):
            change, one = found[row], int(number[row])
            known = state.places[one]
            here = known if change.data.op == "d" else place
            if here == NOWHERE:
                continue
            at = At(int(versions.us[row]), int(versions.rr[row]), int(versions.tie[row]))
            version = _version(change, bodies[row] if change.data.op in ("c", "r") else _encode(given[row]))
            self._row(plan, here, change)
            if verdict.late[row]:
                self._line(plan, here, version)
                self._after_late(plan, change, given[row], one, at, here, resend=bool(verdict.resend[row]))
                continue
            if known not in (NOWHERE, here):
                self._leave(plan, known, here, version, at)
                version = version._replace(fields=bodies[row])
                state.came[one] = at
            if known == NOWHERE and change.data.op == "u" and state.versions.deleted[one]:
                self._line(
                    plan, here, self._latest(one, change.data.key, change)
                )  # the deletion has waited for a place
            state.places[one] = here
            self._line(plan, here, version)

    def _after_late(
        self,
        plan: StreamPlan,
        change: wire.Change,
        given: dict[str, Value],
        one: int,
        at: At,
        here: Place,
        *,
        resend: bool,
    ) -> None:
        """What a late version, told to ``here``, means for where the record is and what is known there."""
        state = self.owner.records
        known, latest = state.places[one], self._latest(one, change.data.key, change)
        filled = {} if change.data.op == "d" else self._fill(one, given, at)
        if known == NOWHERE:
            self._line(plan, here, latest)
            state.places[one] = here
            return
        now, over = known, state.newest(one)
        if latest.op != "d" and one in state.older:
            (now,) = places(plan, [change.data.key], [_fields(state.fields[one])], self.tenant)
            over = said_again(plan.placing, at, state.older[one], over)
        if here != now:
            self._leave(plan, here, now, latest, over)
        if resend:
            self._line(plan, known, latest)
        if now != known:
            self._join(plan, one, latest, at, now)
        elif latest.op != "d" and one in state.older:
            self._amend(plan, one, latest, at, filled, over if here != now else _NEVER)

    def _amend(self, plan: StreamPlan, one: int, latest: _Version, at: At, filled: dict[str, Value], over: At) -> None:
        """A late version at ``at`` tells more of what a record brought along; ``over``: until then it was elsewhere."""
        state = self.owner.records
        came = state.came.get(one, _NEVER)
        if over > came:
            self._bring(plan, one, latest, over)
        elif filled and at < came:
            state.came[one] = came = _beyond(came)
            self._line(plan, state.places[one], _part(latest, state.places[one], came, filled))

    def _join(self, plan: StreamPlan, one: int, latest: _Version, at: At, place: Place) -> None:
        """A late version at ``at`` shows that the record was part of ``place`` all along."""
        state = self.owner.records
        came, known = state.came.get(one, _NEVER), state.places[one]
        since = max(came, at, _beyond(state.left.get(one, _NEVER)))
        state.left[one] = gone = _beyond(max(state.newest(one), came))
        self._leave(plan, known, place, latest, gone)
        state.places[one] = place
        self._bring(plan, one, latest, since)

    def _bring(self, plan: StreamPlan, one: int, latest: _Version, since: At) -> None:
        """Tell the place of a record, which it came to at ``since``, everything that is known of it."""
        state = self.owner.records
        state.came[one] = since
        for at, fields in layers(_fields(state.fields[one]), state.older.get(one, {}), state.newest(one), since):
            self._line(plan, state.places[one], _part(latest, state.places[one], at, fields))

    def _leave(self, plan: StreamPlan, place: Place, other: Place, version: _Version, at: At) -> None:
        """Tell a place that a record is at another, unless both are one entity in one partition."""
        same = place.entity_id == other.entity_id
        if not same or bucket(place.group, self.partitions) != bucket(other.group, self.partitions):
            self._line(plan, place, _left(version, place, at))

    def _fill(self, one: int, given: dict[str, Value], at: At) -> dict[str, Value]:
        """Those fields of a late version that nothing newer has said; they are known from now on."""
        state = self.owner.records
        fields, older = _fields(state.fields[one]), state.older.get(one, {})
        filled = unsaid_since(given, at, fields, older)
        if filled:
            state.fields[one] = _encode(fields | filled)
            state.older[one] = older | dict.fromkeys(filled, at)
            if not state.versions.deleted[one]:
                state.versions.content[one] = _content(state.fields[one])
        return filled

    def _latest(self, number: int, key: str, change: wire.Change) -> _Version:
        """The newest version known of a record, to be sent after one that came late."""
        state = self.owner.records
        rr = int(state.versions.rr[number])
        deleted = bool(state.versions.deleted[number])
        return _Version(
            id=state.ids[number],
            op="d" if deleted else "r",
            key=key,
            us=int(state.versions.us[number]),
            run=rr >> 32,
            row=rr & _ROW,
            captured_us=change.data.captured_us,
            traceparent=change.traceparent,
            fields=b"{}" if deleted else state.fields[number],
        )

    def _line(self, plan: StreamPlan, place: Place, version: _Version) -> None:
        line = wire.RawResolved(
            id=version.id,
            source=plan.source,
            type=wire.RESOLVED,
            subject=f"{plan.entity}/{place.entity_id}",
            time=rfc3339(version.us),
            tenant=self.tenant,
            traceparent=version.traceparent,
            data=wire.ResolvedRaw(
                op=version.op,
                entity=plan.entity,
                entity_id=place.entity_id,
                match_key=place.match_key,
                group=place.group,
                stream=plan.stream,
                key=version.key,
                ts_us=version.us,
                run=version.run,
                row=version.row,
                captured_us=version.captured_us,
                fields=msgspec.Raw(version.fields),
            ),
        )
        self._lines[bucket(place.group, self.partitions)].append(_encode(line))

    def _row(self, plan: StreamPlan, place: Place, change: wire.Change) -> None:
        data = change.data
        row = {
            "EventId": change.id,
            "Tenant": self.tenant,
            "Source": change.source,
            "Stream": data.stream,
            "Key": data.key,
            "Op": data.op,
            "SourceTime": rfc3339(data.ts_us),
            "Run": data.run,
            "Row": data.row,
            "CapturedAt": rfc3339(data.captured_us),
            "EntityType": plan.entity,
            "EntityId": place.entity_id,
            "After": data.after,
        }
        self._rows.append(_encode(row))


def _record_of(change: wire.Change) -> object:
    """One change's record, or None; ``wire.Change`` takes its bytes without looking into them."""
    try:
        return _record(change.data.after)
    except UNREADABLE:
        return None


def _refuse_heavy(found: Sequence[wire.Change], table: Mapped) -> None:
    """Refuse records whose mapped fields are too large to be told of on the hubs."""
    for row in [row for row, change in enumerate(found) if len(change.data.after) > wire.MAX_FIELDS_BYTES]:
        size = len(_encode(table.said(row)))
        if size > wire.MAX_FIELDS_BYTES:
            reason = f"its fields have {size:,} bytes together, over the limit of {wire.MAX_FIELDS_BYTES:,}"
            table.bad.setdefault(row, ("", reason))


def _versions(found: Sequence[wire.Change], bodies: Sequence[bytes]) -> Versions:
    gone = np.array([change.data.op == "d" for change in found])
    content = np.array([_content(body) for body in bodies], np.int64)
    return Versions(
        us=np.array([change.data.ts_us for change in found], np.int64),
        rr=np.array([change.data.run << 32 | change.data.row for change in found], np.int64),
        tie=np.array([hash64(change.id) & _HASH_MASK for change in found], np.int64),
        content=np.where(gone, _DELETED, content),
        sent=np.ones(len(found), np.bool_),
        deleted=gone,
    )


def _content(body: bytes) -> int:
    return xxhash.xxh3_64_intdigest(body) & _HASH_MASK


def _put[Value](kept: dict[int, Value], number: int, value: Value | None) -> None:
    if value is None:
        kept.pop(number, None)
    else:
        kept[number] = value


def _beyond(at: At) -> At:
    """The next position: what is told there beats what was told before."""
    return at._replace(rr=at.rr + 1)


def _left(version: _Version, place: Place, at: At) -> _Version:
    """The version that says that a record is no longer part of an entity."""
    name = f"{version.id}:left:{at.us}:{at.rr}:{place.entity_id}"
    return _at(version, at)._replace(id=name, op="d", fields=b"{}")


def _part(latest: _Version, place: Place, at: At, fields: dict[str, Value]) -> _Version:
    """Some of a record's fields, told to an entity where they were said."""
    name = f"{latest.id}:{at.us}:{at.rr}:{place.entity_id}"
    return _at(latest, at)._replace(id=name, op="u", fields=_encode(fields))


def _at(version: _Version, at: At) -> _Version:
    return version._replace(us=at.us, run=at.rr >> 32, row=at.rr & _ROW)


def _version(change: wire.Change, fields: bytes) -> _Version:
    data = change.data
    return _Version(
        change.id, data.op, data.key, data.ts_us, data.run, data.row, data.captured_us, change.traceparent, fields
    )
