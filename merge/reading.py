"""A batch's events read: every line that is a change, as columns of the stream it is of, in the order they came."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from flockiq.merge import plainly
from flockiq.merge.arrived import Arrived
from flockiq.merge.book import Stream
from flockiq.merge.compiled import Functions
from flockiq.merge.forgetting import refuse
from flockiq.merge.letters import DECODERS, Misfit
from flockiq.merge.records import Records
from flockiq.merge.scanned import Scanned
from flockiq.shared import wire
from flockiq.shared.lines import Decoded, decode_lines, decode_text, unpacked
from flockiq.shared.tombstones import Tombstones

_NEWLINE = ord("\n")

Streams = Mapping[tuple[str, str], Stream]


class Event(NamedTuple):
    """An unpacked event: the number of its first line in the batch, how many it has, its text and its body."""

    first: int
    lines: int
    text: bytes
    body: bytes


class Reading:
    """A batch being read; with compiled functions where there are any.

    found: what was decoded line by line, and what could not be; misfits: changes that fit nowhere; count: how many
    changes of streams in config there were.
    """

    def __init__(self, functions: Functions | None, bodies: Sequence[bytes], tenant: str) -> None:
        self.found = Decoded()
        self.misfits: list[Misfit] = []
        self.count = 0
        self._tenant = tenant
        self._came: list[tuple[int, wire.Change]] = []
        events = _events(bodies, self.found)
        self._scanned = Scanned(functions, events, tenant) if functions is not None else None
        if self._scanned is None:
            for event in events:
                self._decode(event, None)
        else:
            for event, left in self._scanned.left():
                self._decode(event, left)

    def erasures(self) -> list[wire.Erase]:
        """The erasures among the lines."""
        return [one for one in self.found.of(wire.ERASE) if one.tenant == self._tenant]

    def streams(self, streams: Streams, records: Records, tombstones: Tombstones) -> list[tuple[Stream, Arrived]]:
        """The changes of each stream that can be mapped and that no erasure forbids."""
        parts: dict[tuple[str, str], list[Arrived]] = defaultdict(list)
        before = len(records.names)

        def knows(record: str) -> bool:
            return records.index.get(record, before) < before

        if self._scanned is not None:
            for name, some in self._scanned.mapped(streams, records, tombstones).items():
                parts[name].append(some)
                self.count += some.size
            for event, unmapped in self._scanned.unmapped():
                self._decode(event, unmapped)
        self._came.sort(key=itemgetter(0))
        for name, came in _by_stream(self._came, streams, self._tenant, self.misfits).items():
            stream = streams[name]
            self.count += len(came)
            left = refuse(stream.plan, stream.places, [change for _, change in came], tombstones, knows)
            kept = set(map(id, left))
            fine = [one for one in came if id(one[1]) in kept]
            plain = plainly.arrived(stream, records, fine, self.misfits) if fine else None
            if plain is not None:
                parts[name].append(plain)
        arrived = [
            (streams[name], some[0] if len(some) == 1 else some[0].and_(some[1])) for name, some in parts.items()
        ]
        return sorted(arrived, key=lambda one: int(one[1].rows.at[0]))

    def _decode(self, event: Event, left: Sequence[tuple[int, bytes]] | None) -> None:
        """Decode an event, or those lines of it that are ``left``, one by one."""
        mine = Decoded()
        if left is None:
            decode_text(event.text, event.body, DECODERS, mine)
        else:
            mine.bad += decode_lines(left, DECODERS, mine)[1]
        self.found.take(mine)
        self._came += [(event.first + number - 1, change) for number, change in mine.numbered(wire.CHANGE)]


def _events(bodies: Sequence[bytes], found: Decoded) -> list[Event]:
    events, first = [], 0
    for text, body in unpacked(bodies, found):
        newlines = np.frombuffer(text, np.uint8) == _NEWLINE  # bytes.count takes six times as long
        events.append(Event(first, int(np.count_nonzero(newlines)) + 1, text, body))
        first += events[-1].lines
    return events


def _by_stream(
    came: plainly.Came, streams: Streams, tenant: str, misfits: list[Misfit]
) -> dict[tuple[str, str], list[tuple[int, wire.Change]]]:
    """Changes by the stream they are of; those of none become dead letters."""
    found: dict[tuple[str, str], list[tuple[int, wire.Change]]] = defaultdict(list)
    for at, change in came:
        stream = change.source, change.data.stream
        if change.tenant != tenant:
            misfits.append(Misfit(change, "tenant", f"this app is of tenant {tenant!r}"))
        elif stream not in streams:
            reason = f"no source in config has the stream {stream[0]}/{stream[1]}"
            misfits.append(Misfit(change, "stream", reason))
        else:
            found[stream].append((at, change))
    return found
