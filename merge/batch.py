"""One batch of changes: judged record by record, in rounds of columns, and forwarded where it is new."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from flockiq.merge.forward import Forwarded
from flockiq.merge.letters import Misfit, no_record
from flockiq.merge.mapping import Mapped, Record, StreamPlan, mapped
from flockiq.merge.match import NOWHERE, places
from flockiq.merge.moves import Whereabouts
from flockiq.merge.parts import At, older_after
from flockiq.merge.records import Records, Verdict, Versions, content, put
from flockiq.merge.version import version_of
from flockiq.shared import wire
from flockiq.shared.fields import Value
from flockiq.shared.lanes import Bools, Int64s
from flockiq.shared.lines import UNREADABLE
from flockiq.shared.outbox import Outbox
from flockiq.shared.positions import event_lane
from flockiq.shared.rows import round_numbers

_DELETED = -1  # the content of a record that is gone

_encode = msgspec.json.Encoder().encode
_fields = msgspec.json.Decoder(dict[str, str | int | float | bool | None]).decode
_records = msgspec.json.Decoder(list[Any])
_record = msgspec.json.Decoder().decode


class Batch:
    """What one batch touches and forwards."""

    def __init__(self, records: Records, tenant: str, partitions: int) -> None:
        self.records = records
        self.misfits: list[Misfit] = []
        self.touched: set[str] = set()
        self.duplicates = 0
        self.unchanged = 0
        self.forwarded = Forwarded(tenant, partitions)
        self._whereabouts = Whereabouts(records, self.forwarded)

    def outbox(self) -> Outbox:
        """Everything forwarded."""
        return self.forwarded.outbox()

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
        state = self.records
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
                full.append(_fields(self.records.fields[one]) | fields)
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
        records = self.records
        for row in np.flatnonzero(verdict.newest | verdict.unchanged).tolist():
            one = int(number[row])
            older = None
            if in_part[row] and len(full[row]) > len(given[row]):
                older = older_after(full[row], records.older.get(one, {}), records.newest(one), given[row])
            put(records.older, one, older)

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
        state = self.records
        go = np.flatnonzero(verdict.newest | verdict.late).tolist()
        where = places(plan, [found[row].data.key for row in go], [full[row] for row in go], self.forwarded.tenant)
        for row, place in zip(go, where, strict=True):
            change, one = found[row], int(number[row])
            known = state.places[one]
            here = known if change.data.op == "d" else place
            if here == NOWHERE:
                continue
            at = At(int(versions.us[row]), int(versions.rr[row]), int(versions.tie[row]))
            version = version_of(change, bodies[row] if change.data.op in ("c", "r") else _encode(given[row]))
            self.forwarded.row(plan, here, change)
            if verdict.late[row]:
                self.forwarded.line(plan, here, version)
                self._whereabouts.after_late(plan, change, given[row], one, at, here, resend=bool(verdict.resend[row]))
                continue
            if known not in (NOWHERE, here):
                self._whereabouts.leave(plan, known, here, version, at)
                version = version._replace(fields=bodies[row])
                state.came[one] = at
            if known == NOWHERE and change.data.op == "u" and state.versions.deleted[one]:
                self.forwarded.line(
                    plan, here, self._whereabouts.latest(one, change.data.key, change)
                )  # the deletion has waited for a place
            state.places[one] = here
            self.forwarded.line(plan, here, version)


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
    contents = np.array([content(body) for body in bodies], np.int64)
    return Versions(
        us=np.array([change.data.ts_us for change in found], np.int64),
        rr=np.array([change.data.run << 32 | change.data.row for change in found], np.int64),
        tie=np.array([event_lane(change.id) for change in found], np.int64),
        content=np.where(gone, _DELETED, contents),
        sent=np.ones(len(found), np.bool_),
        deleted=gone,
    )
