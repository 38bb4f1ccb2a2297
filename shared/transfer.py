"""The whole state of a system, out of its stores into an archive and back into others.

Export may run beside the app: what it takes first is never ahead of what it takes later. Cursors come before the
records' state, and that before the events that wait for it; then the entities' state, and the events that wait for
that; alerts come last. So every record that a cursor has passed is in a state or among the waiting events, and every
line that the records' state has told is in the entities' state, among the waiting events or still to be told.

Import puts the waiting events on the hubs there are. Sequence numbers differ between hubs, so each state log is told
to go on at the first event that was enqueued when the last one it had folded was, or later. What it has folded
already comes again then, and loses to its own position.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec

from flockiq import __version__
from flockiq.shared import segments
from flockiq.shared.alerts import Alert, AlertQuery, HistoryEntry
from flockiq.shared.archive import FORMAT, Archive, Manifest, Step, Way, Writing
from flockiq.shared.erased import remembered, tombstones
from flockiq.shared.errors import Conflict, FlockIQError
from flockiq.shared.instants import rfc3339
from flockiq.shared.owner import NO_INPUT, input_of, moved
from flockiq.shared.ports import OutgoingEvent, StateVersion, StoredEvent
from flockiq.shared.services import Services
from flockiq.shared.tombstones import NEVER, Tombstones

HUBS: Final = {"changes": "merge_changes", "resolved": "process_resolved"}
DOCUMENTS: Final = (
    "cursor", "columns", "deliveries", "file", "backfill", "slice", "subscription", "turn", "status", "rules",
    "erased", "erasure", "erasure-salt",
)  # fmt: skip
"""What of the registry is state: how far sources have been read. Leases, paces and the host's notes are not."""

PAGE: Final = 200
_READ: Final = 32


class Log(msgspec.Struct, array_like=True):
    """A state log."""

    name: str
    snapshot: bytes
    entries: Sequence[bytes]


class Waiting(msgspec.Struct, array_like=True):
    """An event that waits to be folded."""

    partition: int
    body: bytes
    properties: dict[str, str]


class KeptAlert(msgspec.Struct, array_like=True):
    """An alert with its history."""

    alert: Alert
    history: Sequence[HistoryEntry]


_pack = msgspec.msgpack.Encoder().encode


async def export(services: Services, archive: Writing, step: Step) -> Manifest:
    """Write everything into ``archive``."""
    tenant, counts, marks = services.settings.tenant, dict.fromkeys(("documents", "keys", "waiting"), 0), {}
    partitions = {hub: await services.events.partition_count(hub) for hub in HUBS}
    way = Way(step, 3 + sum(partitions.values()))
    way.next("cursors")
    documents: dict[str, bytes] = {}
    for what in DOCUMENTS:
        found = await services.registry.list(f"{what}/")
        documents |= {key: one.value for key, one in found.items() if _of(tenant, key)}
    archive.add("registry/documents", _pack(documents))
    counts["documents"] = len(documents)
    for hub, function in HUBS.items():
        for partition in range(partitions[hub]):
            name = f"{function}/{partition}"
            way.next(f"state of {name}")
            read = await services.state.read(name)
            archive.add(f"state/{name}", _pack(Log(name, read.snapshot or b"", read.entries)))
            folded = input_of(read)
            marks[name] = await _enqueued(services, hub, partition, folded)
            waiting = [
                Waiting(partition, event.body, event.properties)
                async for event in _events(services, hub, partition, folded + 1)
            ]
            archive.add(f"waiting/{hub}/{partition}", _pack(waiting))
            counts["waiting"] += len(waiting)
    way.next("alerts")
    counts["alerts"] = await _export_alerts(services, archive)
    way.next("key sets")
    counts["keys"] = await _export_keys(services, archive)
    manifest = Manifest(
        format=FORMAT,
        flockiq=__version__,
        tenant=tenant,
        exported_us=time.time_ns() // 1000,
        partitions=partitions,
        marks=marks,
        counts=counts,
    )
    archive.finish(manifest)
    return manifest


async def _export_alerts(services: Services, archive: Writing) -> int:
    tenant, query, count, part = services.settings.tenant, AlertQuery(limit=PAGE), 0, 0
    while True:
        page = await services.alerts.query(tenant, query)
        kept = [KeptAlert(alert, await services.alerts.history(tenant, alert.id)) for alert in page.alerts]
        archive.add(f"alerts/{part:06}", _pack(kept))
        count, part = count + len(kept), part + 1
        if not page.continuation:
            return count
        query = msgspec.structs.replace(query, continuation=page.continuation)


async def _export_keys(services: Services, archive: Writing) -> int:
    start, after, count = f"{segments.FOLDER}/{services.settings.tenant}/", "", 0
    while names := await services.blobs.list(start, after=after, limit=PAGE):
        archive.add(f"keys/{count:09}", _pack({name: await services.blobs.get(name) for name in names}))
        count, after = count + len(names), names[-1]
    return count


async def admit(services: Services, archive: Archive, *, force: bool) -> Sequence[int]:
    """Begin an import, or go on with one of this archive that was interrupted; ``restore`` does it.

    Gives when something was erased that the archive still holds, µs. FlockIQError if there is any such, or if the
    stores hold something already, unless ``force``, which replaces it; or if the archive is of another tenant or other
    partitions.
    """
    manifest = archive.manifest
    await _fits(services, manifest)
    since = sorted(one.at_us for one in await remembered(services, 0) if one.at_us >= manifest.exported_us)
    identity = manifest.identity.encode()
    under_way = await services.registry.get(_mark(services))
    if not force and (under_way is None or under_way.value != identity):
        if since:
            raise FlockIQError(
                f"the export is older than {len(since):,} erasures, the last of {rfc3339(since[-1])[:19]}Z, and holds "
                "what they removed: use a later export, or say --force and erase the same keys again afterwards"
            )
        await _empty(services)
    await services.registry.put(_mark(services), identity, under_way.etag if under_way else None)
    return since


async def restore(services: Services, archive: Archive, step: Step) -> Manifest:
    """Bring everything that ``archive`` holds into the stores, once it is admitted. The app must not run."""
    manifest = archive.manifest
    way = Way(step, len(manifest.members))
    await _restore_stores(services, archive, way)
    for hub, function in HUBS.items():
        for partition in range(manifest.partitions[hub]):
            log = f"{function}/{partition}"
            way.next(f"state of {log}")
            kept_log = msgspec.msgpack.decode(archive.read(f"state/{log}"), type=Log)
            before = await _before(services, hub, partition, manifest.marks.get(log, 0))
            await _restore_log(services, kept_log, before)
    await services.registry.delete(_mark(services))
    return manifest


def _mark(services: Services) -> str:
    """The note that an import is under way, and of what."""
    return f"import/{services.settings.tenant}"


async def _restore_stores(services: Services, archive: Archive, way: Way) -> None:
    """Everything but the state logs, which come last: without them, nothing has been imported.

    Of what was erased since the export no alert and no key comes back.
    """
    stones = await tombstones(services, 0)
    for name in archive.names("registry"):
        way.next("cursors")
        await _restore_documents(services, msgspec.msgpack.decode(archive.read(name), type=dict[str, bytes]))
    for name in archive.names("keys"):
        way.next("key sets")
        for path, body in msgspec.msgpack.decode(archive.read(name), type=dict[str, bytes]).items():
            await services.blobs.put(path, _without(stones, path, body) if stones else body)
    for name in archive.names("alerts"):
        way.next("alerts")
        for kept in msgspec.msgpack.decode(archive.read(name), type=list[KeptAlert]):
            if stones.until_us(kept.alert.subject) >= kept.alert.opened_us:
                continue
            await services.alerts.restore(services.settings.tenant, kept.alert, kept.history)
    for name in archive.names("waiting"):
        way.next("waiting events")
        waiting = msgspec.msgpack.decode(archive.read(name), type=list[Waiting])
        events = [OutgoingEvent(one.partition, one.body, one.properties) for one in waiting]
        for at in range(0, len(events), _READ):
            await services.events.publish(name.split("/")[1], events[at : at + _READ])


def _without(stones: Tombstones, path: str, body: bytes) -> bytes:
    """A segment of a key set without the keys of records that were erased."""
    source, stream = path.removeprefix(f"{segments.FOLDER}/").split("/")[1:3]
    segment = segments.unpacked(body)
    gone = {key for key in (*segment.added, *segment.removed) if stones.until_us(f"{source}/{stream}/{key}") > NEVER}
    return segments.packed(segment.without(gone)) if gone else body


async def _fits(services: Services, manifest: Manifest) -> None:
    if manifest.tenant != services.settings.tenant:
        raise FlockIQError(f"the export is of tenant {manifest.tenant!r}, this system of {services.settings.tenant!r}")
    for hub, count in manifest.partitions.items():
        found = await services.events.partition_count(hub)
        if found != count:
            raise FlockIQError(
                f"the export was made over {count} partitions of hub {hub}, there are {found}: make hubs with as many, "
                "or bring the records back by `replay --from`, which works with any number"
            )


async def _empty(services: Services) -> None:
    """Refuse stores that hold something."""
    tenant = services.settings.tenant
    held = [f"state log {log}" for log in await services.state.logs()]
    held += ["alerts"] if (await services.alerts.query(tenant, AlertQuery(limit=1))).alerts else []
    held += [key for key in await services.registry.list("cursor/") if _of(tenant, key)]
    if held:
        raise FlockIQError(
            f"there is something here already ({', '.join(held[:3])}): import into an empty system, or say --force to "
            "have it replaced"
        )


async def _restore_documents(services: Services, documents: dict[str, bytes]) -> None:
    for key, value in documents.items():
        for _ in range(_READ):
            known = await services.registry.get(key)
            try:
                await services.registry.put(key, value, known.etag if known else None)
                break
            except Conflict:  # somebody writes it: does the app run?
                continue
        else:
            raise FlockIQError(f"document {key} is being written all the time: stop the app first")


async def _restore_log(services: Services, log: Log, before: int) -> None:
    """Write a state log; what is there in its place goes."""
    version = (await services.state.read(log.name)).version
    if log.snapshot or version != StateVersion(0, 0):
        version = await services.state.roll(log.name, moved(log.snapshot, before), version)
    for entry in log.entries:
        version = await services.state.append(log.name, moved(entry, before), version)


async def _events(services: Services, hub: str, partition: int, start: int) -> AsyncIterator[StoredEvent]:
    """The retained events from ``start`` to where the partition ends now."""
    bounds = await services.events.bounds(hub, partition)
    at = max(start, bounds.first)
    while at < bounds.end and (batch := await services.events.read(hub, partition, at, _READ)):
        for event in batch:
            yield event
        at = batch[-1].sequence + 1


async def _enqueued(services: Services, hub: str, partition: int, sequence: int) -> int:
    """When an event was enqueued, µs; 0 if it is not there any more."""
    if sequence == NO_INPUT:
        return 0
    found = await services.events.read(hub, partition, sequence, 1)
    return found[0].enqueued_us if found and found[0].sequence == sequence else 0


async def _before(services: Services, hub: str, partition: int, mark_us: int) -> int:
    """The sequence number before the first event that was enqueued at ``mark_us`` or later."""
    low, high = await services.events.bounds(hub, partition)
    while low < high:
        middle = (low + high) // 2
        found = await services.events.read(hub, partition, middle, 1)
        if found and found[0].enqueued_us < mark_us:
            low = middle + 1
        else:
            high = middle
    return low - 1


def _of(tenant: str, key: str) -> bool:
    """Whether a document is this tenant's."""
    return key.split("/")[1:2] == [tenant] or key.startswith("columns/")
