"""A dead letter's way back: the record goes again to the function that could not process it.

| stage | what is kept | goes back to |
|---|---|---|
| merge | a line of hub ``changes`` | hub ``changes``, in its record's bucket |
| process | a line of hub ``resolved`` | hub ``resolved``, in its group's bucket |
| capture | a record as its source gave it, or the event that told of it | hub ``work``: capture takes it anew |

A line keeps its id and its position, and a record captured again gets the ones it would have had.
So a letter that is replayed twice, or although its record came by another way meanwhile, changes
nothing a second time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from flockiq.shared import wire
from flockiq.shared.config.model import Config
from flockiq.shared.config.sources import Source
from flockiq.shared.deadletters import Kept
from flockiq.shared.errors import BadRecord, NotFound
from flockiq.shared.faults import UNREADABLE
from flockiq.shared.ports import OutgoingEvent
from flockiq.shared.positions import bucket, hash_id, record_key
from flockiq.shared.services import Services

SLICE = "dead-letter:"  # what the slice of hub ``work`` begins with that names a letter's blob

HUBS: Mapping[str, str] = {
    "capture": "work",
    "merge": "changes",
    "merge_changes": "changes",
    "process": "resolved",
    "process_resolved": "resolved",
}
"""Where the letters of each stage go back to. The functions' names stand for what no fold survived."""

_SEND_AGAIN = "Mend what sent it, and have it send the record again."


class NotReplayable(BadRecord):
    """A letter that can't be sent back as it is; says why, and what to do instead."""


class WayBack(NamedTuple):
    """The events that bring a record back, and the hub they go to."""

    hub: str
    events: Sequence[OutgoingEvent]


_change = msgspec.json.Decoder(wire.Change).decode
_resolved = msgspec.json.Decoder(wire.Resolved).decode
_action = msgspec.json.Decoder(wire.Action).decode
_override = msgspec.json.Decoder(wire.Override).decode
_kind = msgspec.json.Decoder(wire.Kind).decode
_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


async def way_back(services: Services, config: Config, kept: Kept) -> WayBack:
    """How a letter's record goes back. NotReplayable says why it can't, and what to do."""
    hub = HUBS.get(kept.stage)
    if hub is None:
        raise NotReplayable(f"nothing takes back the letters of stage {kept.stage!r}. {_SEND_AGAIN}")
    if kept.cut:
        raise NotReplayable(f"the record was too large to be kept whole, and a part of it is no record. {_SEND_AGAIN}")
    partitions = await services.events.partition_count(hub)
    match hub:
        case "work":
            return WayBack(hub, _work(services.settings.tenant, config, kept, partitions))
        case "changes":
            return WayBack(hub, _packed(wire.CHANGE, [_placed_change(kept.body)], partitions))
        case _:
            return WayBack(hub, _packed(*await _placed_resolved(services, kept.body), partitions))


def _placed_change(line: bytes) -> tuple[str, bytes]:
    """A line of hub ``changes`` with the key it is bucketed by."""
    change = _read(_change, line, "changes")
    return record_key(change.tenant, change.source, change.data.stream, change.data.key), line


async def _placed_resolved(services: Services, line: bytes) -> tuple[str, list[tuple[str, bytes]]]:
    """A line of hub ``resolved``: its kind, and the line with the key it is bucketed by."""
    kind = _read(_kind, line, "resolved").type
    if kind == wire.TICK:
        raise NotReplayable("it is a tick of the clock, which is over; the next one came by itself.")
    if kind == wire.OVERRIDE:
        return wire.OVERRIDE, [(_read(_override, line, "resolved").data.group, line)]
    if kind != wire.ACTION:
        return wire.RESOLVED, [(_read(_resolved, line, "resolved").data.group, line)]
    action = _read(_action, line, "resolved")
    try:
        alert = await services.alerts.get(services.settings.tenant, action.data.alert_id)
    except NotFound as error:
        raise NotReplayable("it is a press of a button on an alert that is gone.") from error
    return wire.ACTION, [(alert.group, line)]


def _packed(kind: str, placed: Sequence[tuple[str, bytes]], partitions: int) -> list[OutgoingEvent]:
    lines: dict[int, list[bytes]] = defaultdict(list)
    for key, line in placed:
        lines[bucket(key, partitions)].append(line)
    try:
        return [event for partition, some in lines.items() for event in wire.pack(partition, kind, some)]
    except BadRecord as error:
        raise NotReplayable(f"{error}. {_SEND_AGAIN}") from error


def _read[Line](decode: Callable[[bytes], Line], line: bytes, hub: str) -> Line:
    try:
        return decode(line)
    except UNREADABLE as error:
        reason = str(error)[:200]
        raise NotReplayable(f"it is no line that hub {hub} takes ({reason}). {_SEND_AGAIN}") from error


def _work(tenant: str, config: Config, kept: Kept, partitions: int) -> list[OutgoingEvent]:
    """The slice of work that is this one record."""
    source = _source_of(config, kept)
    if source.files is not None and not kept.record:
        raise NotReplayable(f"no record of file {kept.key} is kept. Mend the file and put it there again.")
    _must_be_record(kept, source)
    work = wire.Work(
        id=hash_id(tenant, SLICE, kept.id),
        source=kept.source,
        type=wire.WORK,
        time=kept.at,
        tenant=tenant,
        data=wire.WorkData(source=kept.source, stream=kept.stream, slice=f"{SLICE}{kept.path}"),
    )
    place = f"{tenant}\x1f{kept.source}\x1f{kept.stream}"
    return _packed(wire.WORK, [(place, wire.encode(work))], partitions)


def _source_of(config: Config, kept: Kept) -> Source:
    """The source that a captured record came from."""
    if not kept.source:
        raise NotReplayable(
            "it is a message to capture itself, not a record. Readings are sent again by themselves; put a file "
            "that was not read there again."
        )
    source = config.sources.get(kept.source)
    if source is None:
        raise NotReplayable(f"there is no source {kept.source!r} in config, or it is disabled. Bring it back first.")
    if not kept.stream:
        raise NotReplayable(f"it belongs to no stream of source {kept.source!r}. {_SEND_AGAIN}")
    if kept.stream not in source.streams:
        raise NotReplayable(f"source {kept.source!r} has no stream {kept.stream!r} any more. Bring it back first.")
    return source


def _must_be_record(kept: Kept, source: Source) -> None:
    try:
        _object(kept.body)
    except UNREADABLE as error:
        reason = "it is no JSON object, so no record"
        if source.files is not None:
            raise NotReplayable(f"{reason}: a row of a file. Mend the file and put it there again.") from error
        raise NotReplayable(f"{reason}. {_SEND_AGAIN}") from error
