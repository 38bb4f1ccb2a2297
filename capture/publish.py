"""From taken records to packed events on hub ``changes``: one line each, by the record's bucket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from flockiq.capture.lines import Writer
from flockiq.capture.records import Taken
from flockiq.shared import telemetry, wire
from flockiq.shared.errors import BadRecord
from flockiq.shared.ports import EventStream, OutgoingEvent
from flockiq.shared.positions import Position

HUB: Final = "changes"
SMALL: Final = 100_000  # bytes of a record that travels whatever its key and names are


class Lines:
    """A batch of change events of one stream, growing until it is published."""

    def __init__(self, tenant: str, source: str, stream: str, partitions: int) -> None:
        self._writer = Writer(tenant, source, stream, partitions)
        self._lines: list[list[bytes]] = [[] for _ in range(partitions)]
        self.records = 0
        self.size = 0  # bytes

    def add(self, op: wire.Op, taken: Taken, position: Position, captured_us: int) -> None:
        """Add one version of one record; ``position`` has the time of one without. BadRecord: it is too large."""
        for place, line in self._writer.write(op, (taken,), position, captured_us):
            if len(line) > wire.MAX_LINE_BYTES:
                raise BadRecord(f"is too large to travel: {len(line):,} bytes, at most {wire.MAX_LINE_BYTES:,}")
            self._lines[place].append(line)
            self.records += 1
            self.size += len(line)

    def add_all(self, op: wire.Op, records: Sequence[Taken], first: Position, captured_us: int) -> None:
        """Add versions of records of which none is larger than SMALL, each a row further than the one before it."""
        lines, size = self._lines, 0
        for place, line in self._writer.write(op, records, first, captured_us):
            lines[place].append(line)
            size += len(line)
        self.records += len(records)
        self.size += size

    def events(self) -> list[OutgoingEvent]:
        """The batch as packed events."""
        telemetry.add(telemetry.RECORDS, self.records)
        return [event for place, lines in enumerate(self._lines) for event in wire.pack(place, wire.CHANGE, lines)]

    def clear(self) -> None:
        """Begin the next batch."""
        for lines in self._lines:
            lines.clear()
        self.records = self.size = 0


async def publish(events: EventStream, hub: str, outgoing: Sequence[OutgoingEvent]) -> None:
    """Publish what there is. HubUnavailable: nothing is promised, publish all again."""
    if outgoing:
        await events.publish(hub, outgoing)
