"""Erasing a person or a company: everything that is known of them, wherever it is kept.

0. Dead letters that name it: a record that was refused is known to nobody else.
1. A line to every partition of hub ``changes``: each owner forgets the records, remembers keyed hashes of what it
   forgot (shared/tombstones.py), rolls its log, so that none of it is left there, and gives a receipt.
2. When all have, a line to every partition of hub ``resolved``, in the same way: what the first had told before is
   ahead of it in its partition.
3. When all have, the stores, one after the other (shared/erasing.py).

The owners carry it out in the order of their hubs, so two of them, a replay or a restart agree about what is gone.
How far a request has come is kept in the registry: whoever asks again goes on with it. It names what is erased only
until it is done.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Final, Literal

import msgspec

from flockiq.shared import erasing, wire
from flockiq.shared.config.model import Config
from flockiq.shared.erased import Erased, remember, send
from flockiq.shared.erasing import Line, Scan, Work
from flockiq.shared.errors import BadRecord, Conflict
from flockiq.shared.instants import rfc3339
from flockiq.shared.owner import RECEIPTS
from flockiq.shared.positions import hash_id
from flockiq.shared.services import Services
from flockiq.shared.subjects import Subject, subject_of
from flockiq.shared.tombstones import digest

Phase = Literal["letters", "changes", "resolved", "stores", "done"]

FUNCTIONS: Final = {"changes": "merge_changes", "resolved": "process_resolved"}
AGAIN_US: Final = 30_000_000  # without all receipts for so long, the lines are sent again
WITHIN_S: Final = 0.5  # that one call waits for owners, and goes on with the stores
_LOOK_S: Final = 0.1
_NOTHING: Final = Subject(entities=[], names=[], records=[], known=[], streams=[])


class Request(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An erasure on its way, as the registry has it."""

    id: str
    at_us: int
    subject: Subject
    phase: Phase = "letters"
    sent_us: int = 0
    step: str = "letters"  # of the stores, the one that is next; "": all are done
    scan: Scan = msgspec.field(default_factory=Scan)
    records: int = 0  # that the history told of
    lines: list[Line] = []
    done_us: int = 0


class Erasure(msgspec.Struct, frozen=True):
    """How far an erasure is, and what it removed where. ``failed``: something could not be removed.

    ``part``: how much of it is behind, from 0 to 1; ``repeated``: it was done, at ``done_at``, before it was asked for.
    """

    id: str
    at: str
    phase: Phase
    part: float
    found: list[str]  # entities that the history had, as "type id"
    removed: int
    lines: list[Line]
    done: bool
    done_at: str  # "" until it is
    repeated: bool
    failed: bool


_request = msgspec.json.Decoder(Request).decode


async def erase(
    services: Services, config: Config, key: str, kind: str, now_us: int, *, within_s: float = WITHIN_S
) -> Erasure:
    """Begin to erase what ``key`` means, or go on with it, for about so long; call it until it is done.

    Called again within AGAIN_US of its end it gives the same report, for whoever did not get the answer.

    BadRecord if there is no entity type ``kind``; Conflict if somebody else goes on with it at the same time.
    """
    if kind and kind not in config.entities:
        raise BadRecord(f"there is no entity type {kind!r}: {', '.join(sorted(config.entities))}", field="type")
    salt = await _salt(services)
    name = f"erasure/{services.settings.tenant}/{digest(salt, f'{kind}/{key}').hex()}"
    document = await services.registry.get(name)
    request, etag = (_request(document.value), document.etag) if document else (None, None)
    if request is None or (request.phase == "done" and now_us > request.done_us + AGAIN_US):
        subject = _bounded(await subject_of(services, config, key, kind), key)
        identity = hash_id(services.settings.tenant, name, str(now_us))
        request = Request(id=identity, at_us=now_us, subject=subject, records=len(subject.records))
        etag = await services.registry.put(name, msgspec.json.encode(request), etag)
    if request.phase == "done":
        return _shown(request, repeated=True)
    going = _Going(services, request, name, etag or "", salt, time.monotonic() + within_s)
    return await going.on(now_us)


class _Going:
    """One call's part of an erasure."""

    def __init__(self, services: Services, request: Request, name: str, etag: str, salt: bytes, until: float) -> None:
        self.services, self.request, self.name = services, request, name
        self._etag, self._salt, self._until = etag, salt, until

    async def on(self, now_us: int) -> Erasure:
        """Go on until the time is over."""
        while self.request.phase == "letters":
            await self._store()
            if self.request.phase == "letters":
                return _shown(self.request)
        for hub in FUNCTIONS:
            if self.request.phase == hub and not await self._owners(hub, now_us):
                return _shown(self.request)
        while self.request.phase == "stores":
            await self._store()
            if time.monotonic() > self._until:
                break
        return _shown(self.request)

    async def _save(self) -> None:
        self._etag = await self.services.registry.put(self.name, msgspec.json.encode(self.request), self._etag)

    async def _owners(self, hub: str, now_us: int) -> bool:
        """Have the owners of a hub's partitions forget; whether all have."""
        request, registry = self.request, self.services.registry
        if now_us > request.sent_us + AGAIN_US:
            await self._send(hub)
            request.sent_us = now_us
            await self._save()
        partitions = await self.services.events.partition_count(hub)
        prefix = f"{RECEIPTS}/{self.services.settings.tenant}/{request.id}/{FUNCTIONS[hub]}/"
        while len(receipts := await registry.list(prefix)) < partitions:
            if time.monotonic() > self._until:
                return False
            await asyncio.sleep(_LOOK_S)
        counts: dict[str, int] = {}
        for document in receipts.values():
            for what, count in msgspec.json.decode(document.value, type=dict[str, int]).items():
                counts[what] = counts.get(what, 0) + count
        lingers = erasing.lingers_at(self.services.state)
        request.lines += [Line(f"state of {FUNCTIONS[hub]}", what, count, lingers) for what, count in counts.items()]
        unknown = counts.get("records", 0) - request.records
        if unknown > 0:
            remains = (
                f"raw history, key sets and dead letters may hold {unknown:,} records that the owners knew and the "
                "history does not tell of (yet): erase them as source/stream/key, or ask again once it does"
            )
            request.lines.append(Line("blobs", "records without a history", 0, remains))
        request.phase = "resolved" if hub == "changes" else "stores"
        request.sent_us = 0
        await self._save()
        return True

    async def _send(self, hub: str) -> None:
        request, tenant = self.request, self.services.settings.tenant
        subject = _bounded(request.subject, "it")  # dead letters may have brought more records
        names = _names(subject)
        known = Erased(
            request=request.id,
            at_us=request.at_us,
            salt=self._salt.hex(),
            names=[digest(self._salt, name).hex() for name in names],
        )
        await remember(self.services, known)
        await send(self.services, hub, known.line(tenant, subject.entities))

    async def _store(self) -> None:
        """The next step of the stores; after the last, nothing of the request is left but its report."""
        request, steps = self.request, list(erasing.STEPS)
        if not request.step:
            await self._end()
            return
        work = Work(self.services, request.subject, request.at_us, self._until, request.scan)
        lines = await erasing.taken(erasing.STEPS[request.step], request.step, work)
        if lines is not None:
            request.lines += lines
            request.scan = Scan()
            request.step = next(iter(steps[steps.index(request.step) + 1 :]), "")
            if request.phase == "letters":
                request.phase = "changes"
        await self._save()

    async def _end(self) -> None:
        request, registry = self.request, self.services.registry
        subject, request.subject = request.subject, msgspec.structs.replace(_NOTHING, known=request.subject.known)
        prefix = f"{RECEIPTS}/{self.services.settings.tenant}/{request.id}/"
        for receipt in await registry.list(prefix):
            await registry.delete(receipt)
        await self._save()
        work = Work(self.services, subject, request.at_us, self._until, Scan())
        request.lines += await erasing.taken(erasing.scrub, "files", work) or []
        request.phase, request.done_us = "done", time.time_ns() // 1000
        await self._save()


def _names(subject: Subject) -> list[str]:
    return [*subject.entities, *("/".join(record) for record in subject.records)]


def _bounded(subject: Subject, key: str) -> Subject:
    """The subject, if one line can tell of all of it. BadRecord if not: nothing is erased in part without a word."""
    entities, names = len(subject.entities), len(_names(subject))
    if entities > wire.MAX_ERASED or names > wire.MAX_ERASED_NAMES:
        raise BadRecord(
            f"{key} stands for {entities:,} entities with {names - entities:,} records; one erasure takes "
            f"{wire.MAX_ERASED:,} and {wire.MAX_ERASED_NAMES:,} together. Erase its records one by one, as "
            "source/stream/key",
            field="key",
        )
    return subject


async def _salt(services: Services) -> bytes:
    """The key of this FlockIQ's hashes, made at the first erasure."""
    key = f"erasure-salt/{services.settings.tenant}"
    while (document := await services.registry.get(key)) is None:
        try:
            await services.registry.put(key, secrets.token_bytes(32), None)
        except Conflict:  # another was first
            continue
    return document.value


def _shown(request: Request, *, repeated: bool = False) -> Erasure:
    return Erasure(
        id=request.id,
        at=rfc3339(request.at_us),
        phase=request.phase,
        part=_part(request),
        found=request.subject.known,
        removed=sum(line.removed for line in request.lines if line.store != "files"),
        lines=request.lines,
        done=request.phase == "done",
        done_at=rfc3339(request.done_us) if request.done_us else "",
        repeated=repeated,
        failed=any(line.failed for line in request.lines),
    )


def _part(request: Request) -> float:
    """How much is behind: its steps, the owners of each hub among them, and the end."""
    steps = list(erasing.STEPS)
    whole = len(steps) + len(FUNCTIONS) + 1
    match request.phase:
        case "letters":
            behind = 0
        case "changes" | "resolved":
            behind = 1 + list(FUNCTIONS).index(request.phase)
        case "stores":
            behind = len(FUNCTIONS) + (steps.index(request.step) if request.step else len(steps))
        case "done":
            behind = whole
    return behind / whole
