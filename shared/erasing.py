"""What an erasure removes from each store, once the owners of state have forgotten. Every step can be done again.

A step gives lines of the report. One that reads many blobs does so until its time is over, and goes on after the last
one the next time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from flockiq.shared import overflow, rawhistory, segments, wire
from flockiq.shared.alerts import Alert, AlertQuery
from flockiq.shared.deadletters import exhume
from flockiq.shared.errors import BadRecord, FlockIQError, NotFound, StateCorrupt
from flockiq.shared.instants import rfc3339
from flockiq.shared.keeping import keep
from flockiq.shared.scrubs import Lingers, Scrubs
from flockiq.shared.services import Services
from flockiq.shared.settings import HUBS
from flockiq.shared.subjects import Record, Subject

PAGE: Final = 200
_AT_ONCE: Final = 16  # blobs read at a time
_ABOUT_ENTITIES: Final = ("Entities", "Deltas", "Findings")


class Line(msgspec.Struct, frozen=True):
    """One line of the report: how much was removed from where, and what is left there until when, and why."""

    store: str
    what: str
    removed: int = 0
    remains: str = ""
    failed: str = ""  # why it could not be removed, and what to do


class Scan(msgspec.Struct, kw_only=True):
    """How far a step that reads many blobs has come."""

    after: str = ""
    removed: int = 0
    failed: str = ""
    rows: list[dict[str, str]] = []  # of table DeadLetters, that tell of letters to be removed
    names: list[str] = []  # and those letters' blobs


class Work(NamedTuple):
    """What a step is given. ``until``: by the monotonic clock, when it is to leave off; ``scan``: where it was."""

    services: Services
    subject: Subject
    at_us: int
    until: float
    scan: Scan


type Step = Callable[[Work], Awaitable[list[Line] | None]]
"""Gives its lines, or None if it is to be called again."""


async def alerts(work: Work) -> list[Line]:
    """Alerts about the entities, and those of query rules whose row is about them."""
    store, tenant = work.services.alerts, work.services.settings.tenant
    subjects = dict.fromkeys(work.subject.entities)
    names = {*work.subject.entities, *work.subject.names}
    async for alert in _alerts(work.services):
        if alert.kind == "query" and not names.isdisjoint([alert.subject, *map(str, alert.values.values())]):
            subjects[alert.subject] = None
    removed = sum([await store.forget(tenant, subject) for subject in subjects])
    rows = await work.services.analytics.remove("Alerts", [{"Tenant": tenant, "Subject": one} for one in subjects])
    return [
        Line("alerts", "alerts with their histories", removed, lingers_at(store)),
        Line("history", "rows of table Alerts", rows),
    ]


async def _alerts(services: Services) -> AsyncIterator[Alert]:
    query = AlertQuery(limit=PAGE)
    while True:
        page = await services.alerts.query(services.settings.tenant, query)
        for alert in page.alerts:
            yield alert
        if not page.continuation:
            return
        query = msgspec.structs.replace(query, continuation=page.continuation)


async def letters(work: Work) -> list[Line] | None:
    """Dead letters of the records, or whose text names one of the entities: what was refused was never told of.

    A record of the entities' own streams that is found so is erased like the others.
    """
    needles, subject = work.subject.needles(), work.subject
    tenant = work.services.settings.tenant

    async def look(name: str) -> int:
        kept = await exhume(work.services, name)
        record = Record(kept.source, kept.stream, kept.key)
        if record not in subject.records:
            text = (kept.body + _plain(kept.body)).lower()
            named = any(needle in text for needle in needles)
            if not named or (kept.source and f"{kept.source}/{kept.stream}" not in subject.streams):
                return 0
            if kept.source and kept.key:
                subject.records.append(record)
        work.scan.rows.append({"Tenant": tenant, "Id": kept.id})
        work.scan.names.append(name)
        return 1

    if not await _scan(work, f"dead-letters/{tenant}/", look):
        return None
    rows = [*work.subject.like_records(tenant), *work.scan.rows]
    removed = await work.services.analytics.remove("DeadLetters", rows) if rows else 0
    for name in work.scan.names:  # last: without them, nothing would tell the next erasure of their rows
        await work.services.blobs.delete(name)
    return [
        Line("blobs", "dead letters", work.scan.removed, lingers_at(work.services.blobs), work.scan.failed),
        Line("history", "rows of table DeadLetters", removed),
    ]


async def letters_since(work: Work) -> list[Line] | None:
    """Dead letters that came while the owners worked off what stood on the hubs before the erasure."""
    lines = await letters(work)
    return lines and [line for line in lines if line.removed or line.failed]


def _plain(body: bytes) -> bytes:
    """The text of a packed event, which a letter may hold whole; b"" if it is none."""
    try:
        return wire.unpack(body)
    except BadRecord:
        return b""


async def raw(work: Work) -> list[Line] | None:
    """Raw history: each blob is written again without the lines about them, once all that came before is kept."""
    if work.services.settings.raw_days and not work.scan.after and not await keep(work.services):
        return None
    match = work.subject.lines()

    async def look(name: str) -> int:
        return await rawhistory.erase(work.services.blobs, name, match)

    if not await _scan(work, f"{rawhistory.PREFIX}{work.services.settings.tenant}/", look):
        return None
    lingers = lingers_at(work.services.blobs)
    return [Line("blobs", "lines of raw history", work.scan.removed, lingers, work.scan.failed)]


async def large(work: Work) -> list[Line] | None:
    """Bodies too large for an event, of which every event that refers to one has been worked off by now."""
    needles, match = work.subject.needles(), work.subject.lines()

    async def look(name: str) -> int:
        text = _plain(await work.services.blobs.get(name))
        if not any(needle in text.lower() for needle in needles) and not any(map(match.of, text.split(b"\n"))):
            return 0
        await work.services.blobs.delete(name)
        return 1

    if not await _scan(work, overflow.PREFIX, look):
        return None
    lingers = lingers_at(work.services.blobs)
    return [Line("blobs", "bodies too large for an event", work.scan.removed, lingers, work.scan.failed)]


async def keys(work: Work) -> list[Line] | None:
    """Key sets, which tell what a stream is known to hold."""
    by_stream: dict[str, set[str]] = {}
    for record in work.subject.records:
        by_stream.setdefault(f"{record.source}/{record.stream}", set()).add(record.key)
    start = f"{segments.FOLDER}/{work.services.settings.tenant}/"

    async def look(name: str) -> int:
        mine = by_stream.get("/".join(name.removeprefix(start).split("/")[:2]), set())
        if not mine:
            return 0
        segment = segments.unpacked(await work.services.blobs.get(name))
        left = segment.without(mine)
        if left == segment:
            return 0
        await work.services.blobs.put(name, segments.packed(left))
        return len(segment.added) + len(segment.removed) - len(left.added) - len(left.removed)

    if not await _scan(work, start, look):
        return None
    return [Line("blobs", "keys of key sets", work.scan.removed, lingers_at(work.services.blobs), work.scan.failed)]


async def _scan(work: Work, prefix: str, look: Callable[[str], Awaitable[int]]) -> bool:
    """Look at every blob, from where the scan left off; whether all have been seen."""

    async def one(name: str) -> int:
        try:
            return await look(name)
        except NotFound:  # it was removed meanwhile
            return 0
        except (StateCorrupt, BadRecord, msgspec.DecodeError) as error:
            work.scan.failed = f"blob {name} can't be read ({error}): look at it, and remove it"
            return 0

    blobs = work.services.blobs
    while names := await blobs.list(prefix, after=work.scan.after, limit=_AT_ONCE):
        work.scan.removed += sum(await asyncio.gather(*map(one, names)))
        work.scan.after = names[-1]
        if time.monotonic() > work.until:
            return False
    return True


async def history(work: Work) -> list[Line]:
    """The history: every version, golden record, delta and finding."""
    tenant, analytics = work.services.settings.tenant, work.services.analytics
    lines: list[Line] = []
    likes: Mapping[str, Sequence[Mapping[str, str]]] = {
        "Changes": [*work.subject.like(tenant, "EntityId"), *work.subject.like_records(tenant)],
        **{table: work.subject.like(tenant, "EntityId") for table in _ABOUT_ENTITIES},
    }
    for table, like in likes.items():
        removed = await analytics.remove(table, like) if like else 0
        lines.append(Line("history", f"rows of table {table}", removed, lingers_at(analytics)))
    audit = "the requests that were made about it, by its id, which is a hash: until the table's retention ends"
    return [*lines, Line("history", "rows of table Audit", 0, audit)]


async def registry(work: Work) -> list[Line]:
    """Cursors and other notes that name a record as the place where reading goes on."""
    tenant, found = work.services.settings.tenant, 0
    records = {(one.source, one.stream): one.key for one in work.subject.records}
    for what in ("cursor", "deliveries"):
        for (source, stream), key in records.items():
            document = await work.services.registry.get(f"{what}/{tenant}/{source}/{stream}")
            found += document is not None and msgspec.json.encode(key) in document.value
    remains = f"{found} name one of its records as the place to go on from, until the next record is read" * bool(found)
    return [Line("registry", "cursors", 0, remains)]


async def hubs(work: Work) -> list[Line]:
    """What nobody can take out of a hub: it goes when the hub's retention is over."""
    until = rfc3339(work.at_us + int(work.services.settings.hub_retention_h * 3.6e9))[:19]
    remains = (
        f"events from before the erasure, until {until}Z, when the hubs' retention is over; nobody takes them in again"
    )
    return [Line("hubs", ", ".join(sorted(HUBS)), 0, remains)]


async def scrub(work: Work) -> list[Line]:
    """Files in which removed rows stay readable are written anew."""
    services, scrubbed = work.services, 0
    for port in (services.state, services.alerts, services.registry, services.analytics):
        if isinstance(port, Scrubs):
            await port.scrub()
            scrubbed += 1
    return [Line("files", "written anew, without the bytes of what was removed", scrubbed)] if scrubbed else []


STEPS: Final[Mapping[str, Step]] = {
    "letters": letters,
    "letters since": letters_since,
    "alerts": alerts,
    "raw": raw,
    "large": large,
    "keys": keys,
    "history": history,
    "registry": registry,
    "hubs": hubs,
}
"""The steps in their order, the first of them before the owners are asked.

``scrub`` comes when nothing of the request itself is kept any more.
"""


async def taken(step: Step, name: str, work: Work) -> list[Line] | None:
    """What a step gives; one that fails says so in its line, and the others go on."""
    try:
        return await step(work)
    except FlockIQError as error:
        return [Line(name, "", 0, "", str(error))]


def lingers_at(port: object) -> str:
    """How long what is removed from a store can still be restored there, in words; "" where it can't."""
    return port.lingers if isinstance(port, Lingers) else ""
