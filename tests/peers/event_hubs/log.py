"""What the hubs hold: a log a partition, with sequence numbers, offsets, enqueued times and retention."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

OVERHEAD_BYTES = 80  # what an event takes beside its own bytes; so an offset is never a sequence number


class Event(NamedTuple):
    """An event as it is kept; ``message`` is the sender's, without annotations."""

    sequence: int
    offset: int
    enqueued_us: int
    message: bytes
    partition_key: str | None
    body: bytes
    properties: dict[str, object]


class Incoming(NamedTuple):
    """An event as it came."""

    message: bytes
    partition_key: str | None
    body: bytes
    properties: dict[str, object]


@dataclass(slots=True)
class Partition:
    """One partition: events from ``first`` on, up to but without ``end``."""

    events: list[Event] = field(default_factory=list)
    end: int = 0
    offset: int = 0
    last_us: int = 0
    last_offset: int = -1
    more: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def first(self) -> int:
        """The sequence number of the oldest that is kept."""
        return self.events[0].sequence if self.events else self.end

    def append(self, incoming: Sequence[Incoming]) -> None:
        """Keep all of a publication."""
        self.last_us = max(self.last_us, time.time_ns() // 1000)
        for event in incoming:
            self.events.append(Event(self.end, self.offset, self.last_us, *event))
            self.last_offset = self.offset
            self.offset += len(event.message) + OVERHEAD_BYTES
            self.end += 1
        self.more.set()
        self.more = asyncio.Event()

    def expire(self, before_us: int) -> None:
        """Drop what is older."""
        kept = next((at for at, event in enumerate(self.events) if event.enqueued_us >= before_us), len(self.events))
        del self.events[:kept]

    def drop(self, before: int) -> None:
        """Drop what was enqueued before sequence number ``before``."""
        del self.events[: max(0, before - self.first)]

    def after(self, sequence: int, limit: int) -> list[Event]:
        """Up to ``limit`` events from ``sequence`` on."""
        at = max(0, sequence - self.first)
        return self.events[at : at + limit]

    def start(self, selector: str | None) -> int:
        """The sequence number that a receiver with this filter begins at. ValueError if it can't be read."""
        if selector is None:
            return self.first
        match = _SELECTOR.fullmatch(selector)
        if match is None:
            raise ValueError(selector)
        by, inclusive, value = match["by"], match["op"] == ">=", match["value"]
        if by == "offset" and value == "@latest":
            return self.end
        number = int(value) + (0 if inclusive else 1)
        if by == "sequence-number":
            if number > self.end:
                raise ValueError(f"The supplied sequence number '{value}' is invalid. The last is '{self.end - 1}'")
            return number
        if by == "offset":
            return next((event.sequence for event in self.events if event.offset >= number), self.end)
        return next((event.sequence for event in self.events if event.enqueued_us // 1000 >= number), self.end)


_SELECTOR = re.compile(
    r"amqp\.annotation\.x-opt-(?P<by>offset|sequence-number|enqueued-time) (?P<op>>=?) '(?P<value>-?\d+|@latest)'"
)
