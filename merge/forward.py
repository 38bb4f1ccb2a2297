"""Forwarding: versions as lines of hub ``resolved`` and as rows of table Changes."""

from __future__ import annotations

from collections import defaultdict

import msgspec

from flockiq.merge.mapping import StreamPlan
from flockiq.merge.match import Place
from flockiq.merge.version import Version
from flockiq.shared import wire
from flockiq.shared.instants import rfc3339
from flockiq.shared.outbox import Outbox
from flockiq.shared.positions import bucket

_encode = msgspec.json.Encoder().encode


class Forwarded:
    """What one batch forwards."""

    def __init__(self, tenant: str, partitions: int) -> None:
        self.tenant = tenant
        self.partitions = partitions  # of hub resolved
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

    def same_partition(self, one: Place, other: Place) -> bool:
        """Whether two places are in one partition."""
        return bucket(one.group, self.partitions) == bucket(other.group, self.partitions)

    def line(self, plan: StreamPlan, place: Place, version: Version) -> None:
        """Tell an entity of a version."""
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

    def row(self, plan: StreamPlan, place: Place, change: wire.Change) -> None:
        """Keep a change in the history."""
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
