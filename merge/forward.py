"""Forwarding: what records' versions mean, as lines of hub ``resolved`` and as rows of table Changes.

Lines are written as text, column by column: what does not differ between the lines of an entity or a
stream is written once. Their bytes are those that ``wire.encode`` gives (a test holds it).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from flockiq.merge.arrived import Arrived, picked
from flockiq.merge.chain import Told
from flockiq.merge.mapping import StreamPlan
from flockiq.merge.match import REMEMBERED, Place
from flockiq.shared import wire
from flockiq.shared.instants import rfc3339
from flockiq.shared.outbox import Outbox
from flockiq.shared.positions import bucket
from flockiq.shared.tabular import Columns, packed

MAX_REVISIONS = 1 << 20  # lines of one commit that revisions can tell apart
_ROW = (1 << 32) - 1

_encode = msgspec.json.Encoder().encode


class _Address(NamedTuple):
    """Where lines about an entity go, and what all of them say of it: before their op, and from there to the key."""

    partition: int
    subject: bytes
    about: bytes


class _OfStream(dict[Place, _Address]):
    """The addresses of the entities that one stream's records are about, by place."""

    def __init__(self, plan: StreamPlan, partitions: int) -> None:
        super().__init__()
        self._plan = plan
        self._partitions = partitions

    def __missing__(self, place: Place) -> _Address:
        if len(self) >= REMEMBERED:
            self.clear()
        plan = self._plan
        about = {
            "entity": plan.entity,
            "entity_id": place.entity_id,
            "match_key": place.match_key,
            "group": place.group,
            "stream": plan.stream,
        }
        found = self[place] = _Address(
            bucket(place.group, self._partitions),
            _encode(f"{plan.entity}/{place.entity_id}"),
            _encode(about)[1:-1],
        )
        return found


class Addresses:
    """The addresses of entities, each written once."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions  # of hub resolved
        self._known: dict[str, _OfStream] = {}

    def of(self, plan: StreamPlan) -> Mapping[Place, _Address]:
        """The addresses of lines about records of ``plan``, by place."""
        found = self._known.get(plan.name)
        if found is None:
            found = self._known[plan.name] = _OfStream(plan, self.partitions)
        return found


class _Rows(NamedTuple):
    """Versions that were told: where they are in what arrived, and the entities they were told to."""

    plan: StreamPlan
    arrived: Arrived
    at: list[int]
    entities: list[str]


class Forwarded:
    """What one commit forwards."""

    def __init__(self, tenant: str, addresses: Addresses, commit: int) -> None:
        self.tenant = tenant
        self.addresses = addresses
        self._revision = commit * MAX_REVISIONS
        self._lines: dict[int, list[bytes]] = defaultdict(list)
        self._rows: list[_Rows] = []

    def outbox(self) -> Outbox:
        """Everything, packed by partition."""
        events = [
            event
            for partition, lines in sorted(self._lines.items())
            for event in wire.pack(partition, wire.RESOLVED, lines)
        ]
        columns = {"Changes": self._history()} if self._rows else {}
        return Outbox(events={"resolved": events} if events else {}, columns=columns)

    def line(self, plan: StreamPlan, change: wire.Change, told: Told, *, anew: bool = False) -> None:
        """Tell an entity; ``anew``: in the place of a line told before."""
        place = told.place
        self._revision += 1
        line = wire.RawResolved(
            id=told.id,
            source=plan.source,
            type=wire.RESOLVED,
            subject=f"{plan.entity}/{place.entity_id}",
            time=rfc3339(told.us),
            tenant=self.tenant,
            traceparent=change.traceparent,
            data=wire.ResolvedRaw(
                op=told.op,
                entity=plan.entity,
                entity_id=place.entity_id,
                match_key=place.match_key,
                group=place.group,
                stream=plan.stream,
                key=change.data.key,
                ts_us=told.us,
                run=told.rr >> 32,
                row=told.rr & _ROW,
                captured_us=change.data.captured_us,
                fields=msgspec.Raw(told.fields),
                rev=self._revision if anew else 0,
            ),
        )
        self._lines[self.addresses.of(plan)[place].partition].append(_encode(line))

    def lines(
        self, plan: StreamPlan, arrived: Arrived, at: Sequence[int], where: Sequence[Place], fields: Sequence[bytes]
    ) -> None:
        """Tell entities of versions as they arrived, with these fields; nothing of it was told before."""
        some = arrived.written(at)
        head = _encode({"source": plan.source, "type": wire.RESOLVED})[1:-1]
        tenant = _encode(self.tenant)
        lines, addresses = self._lines, self.addresses.of(plan)
        for identity, time, trace, op, key, position, place, said in zip(*some, where, fields, strict=True):
            partition, subject, about = addresses[place]
            lines[partition].append(
                b'{"specversion":"1.0","id":%b,%b,"time":"%b","tenant":%b,%b"subject":%b,"data":{"op":"%b",%b,"key":%b,%b,"fields":%b}}'
                % (identity, head, time, tenant, trace, subject, op, about, key, position, said)
            )

    def rows(self, plan: StreamPlan, arrived: Arrived, at: Sequence[int], entities: Sequence[str]) -> None:
        """Versions that were told, for the history."""
        if at:
            self._rows.append(_Rows(plan, arrived, list(at), list(entities)))

    def _history(self) -> bytes:
        """Rows of table Changes."""
        every = self._rows
        sizes = [len(one.at) for one in every]
        of_stream = np.repeat(np.arange(len(every)), sizes)
        columns = Columns(len(of_stream))
        columns.texts("EventId", [text for one in every for text in picked(one.arrived.ids, one.at)])
        columns.text("Tenant", self.tenant)
        columns.texts("Source", [one.plan.source for one in every], of_stream)
        columns.texts("Stream", [one.plan.stream for one in every], of_stream)
        columns.texts("Key", [text for one in every for text in picked(one.arrived.keys, one.at)])
        columns.texts("Op", [text for one in every for text in picked(one.arrived.ops, one.at)])
        columns.instants("SourceTime", np.concatenate([one.arrived.us[one.at] for one in every]))
        run_row = np.concatenate([one.arrived.rr[one.at] for one in every])
        columns.numbers("Run", run_row >> 32)
        columns.numbers("Row", run_row & _ROW)
        columns.instants("CapturedAt", np.concatenate([one.arrived.captured_us[one.at] for one in every]))
        columns.texts("EntityType", [one.plan.entity for one in every], of_stream)
        columns.texts("EntityId", [entity for one in every for entity in one.entities])
        columns.dynamic("After", [bytes(raw) for one in every for raw in picked(one.arrived.after, one.at)])
        return packed([columns])
