"""Forwarding: what records' versions mean, as lines of hub ``resolved`` and as rows of table Changes."""

from __future__ import annotations

from collections import defaultdict

import msgspec

from flockiq.merge.chain import Told
from flockiq.merge.mapping import StreamPlan
from flockiq.shared import wire
from flockiq.shared.instants import rfc3339
from flockiq.shared.outbox import Outbox
from flockiq.shared.positions import bucket

MAX_REVISIONS = 1 << 20  # lines of one commit that revisions can tell apart
_ROW = (1 << 32) - 1

_encode = msgspec.json.Encoder().encode


class Forwarded:
    """What one commit forwards."""

    def __init__(self, tenant: str, partitions: int, commit: int) -> None:
        self.tenant = tenant
        self.partitions = partitions  # of hub resolved
        self._revision = commit * MAX_REVISIONS
        self._lines: dict[int, list[bytes]] = defaultdict(list)
        self._rows: list[bytes] = []

    def outbox(self) -> Outbox:
        """Everything, packed by partition."""
        events = [
            event
            for partition, lines in sorted(self._lines.items())
            for event in wire.pack(partition, wire.RESOLVED, lines)
        ]
        rows = {"Changes": b"\n".join(self._rows)} if self._rows else {}
        return Outbox(events={"resolved": events} if events else {}, rows=rows)

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
        self._lines[bucket(place.group, self.partitions)].append(_encode(line))

    def row(self, plan: StreamPlan, entity_id: str, change: wire.Change) -> None:
        """A version that was told, for the history."""
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
            "EntityId": entity_id,
            "After": data.after,
        }
        self._rows.append(_encode(row))
