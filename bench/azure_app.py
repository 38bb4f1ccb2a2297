"""The app's two functions over Azure's adapters, what that costs, and their stores; run in a process of its own.

What is counted is this process's CPU alone (``process_time``, every thread of it), and the peers' aside. Request units
are the Cosmos DB peer's model.
"""

from __future__ import annotations

import asyncio
import time
from asyncio import gather
from collections.abc import Callable, Mapping, Sequence
from itertools import batched
from pathlib import Path
from typing import Final, NamedTuple

from flockiq.bench.azure_hubs import Environment, Hub, held, opened
from flockiq.bench.history import Size
from flockiq.bench.peers_part import session_cpu_s
from flockiq.bench.workload import config, workload
from flockiq.local.folding import BATCH
from flockiq.merge.changes import Changes
from flockiq.merge.mapping import stream_plans
from flockiq.pipeline.plans import plans
from flockiq.pipeline.resolved import Resolved
from flockiq.shared import owner
from flockiq.shared.adapters.azure.connect import Azure
from flockiq.shared.adapters.azure.cosmos import Charges
from flockiq.shared.alerts import AlertTransition
from flockiq.shared.owner import Input, Owned, Owner
from flockiq.shared.ports import OutgoingEvent, StateStore
from flockiq.shared.services import Services

HUBS: Final = ("changes", "resolved", "entities", "deltas")
APPENDS: Final = 48  # at least, for a figure of one


class Logs(NamedTuple):
    """Appending commits to state logs, and reading the logs again."""

    records: int
    appends: int
    append_bytes: int
    append_s: float
    load_s: float
    peer_s: float


class Told(NamedTuple):
    """Telling the alert store; requests and units are its charges."""

    steps: int
    cpu_s: float
    requests: int
    units: float
    peer_s: float


class App(NamedTuple):
    """What the app did with so many records, and what it costs to do it.

    ``note`` and ``turn`` are request units of one note of a partition's progress, and of one turn at a stream.
    """

    records: int
    hubs: Mapping[str, Hub]
    commits: int
    commit_bytes: int
    steps: int
    logs: Logs
    told: Told
    note: float
    turn: float


def app(environment: Environment, session: int, size: Size, folder: Path) -> App:
    """The app's two functions over Azure's adapters, its history in ``folder``; then what they wrote again, timed."""
    return asyncio.run(_app(environment, session, size, folder))


async def _app(environment: Environment, session: int, size: Size, folder: Path) -> App:
    records = workload(size, "changes").facts.lines
    async with opened(environment, "events", "state", "alerts", "registry", folder=folder) as services:
        for some in batched(workload(size, "changes").timed(), 64, strict=False):
            await services.events.publish("changes", [OutgoingEvent(one.partition, one.body) for one in some])
        mapped, plan = stream_plans(config()), plans(config())
        await _fold(services, "changes", "merge_changes", lambda: Changes(mapped, services.settings))
        await _fold(services, "resolved", "process_resolved", lambda: Resolved(plan, services.settings))
        given = await gather(*(held(services.events, hub) for hub in HUBS))
        commits = {log: (await services.state.read(log)).entries for log in await services.state.logs()}
    outboxes = [owner._unpack(entry).outbox for entries in commits.values() for entry in entries]  # noqa: SLF001 - what a commit holds is the owner's
    steps = [outbox.transitions for outbox in outboxes if outbox.transitions]
    del outboxes
    number = sum(map(len, commits.values()))
    # Opened anew: what the run left to do in other threads must not be counted here.
    async with opened(environment, "state", "alerts", "registry", folder=folder / "none") as services:
        await services.state.logs("none/")
        logs = await _logs(services.state, session, commits, records, -(-APPENDS // number))
        told = await _told(services, session, steps)
        note, turn = await _clock_units(services)
    return App(
        records,
        dict(zip(HUBS, given, strict=True)),
        number,
        sum(len(entry) for entries in commits.values() for entry in entries),
        sum(map(len, steps)),
        logs,
        told,
        note,
        turn,
    )


async def _fold(services: Services, hub: str, function: str, make: Callable[[], Owned]) -> None:
    """Every partition by its owner, as several instances do it."""

    async def fold(partition: int) -> None:
        mine = Owner(services, f"{function}/{partition}", make())
        at = 0
        while batch := await services.events.read(hub, partition, at, BATCH):
            await mine.process([Input(event.sequence, event.body) for event in batch])
            at = batch[-1].sequence + 1

    await gather(*map(fold, range(await services.events.partition_count(hub))))


async def _logs(
    state: StateStore, session: int, commits: Mapping[str, Sequence[bytes]], records: int, times: int
) -> Logs:
    """Append commits to logs of their own, so many times over; then read the logs as a new owner does."""
    versions = {log: (await state.read(f"bench/{log}")).version for log in commits}
    appends = size = 0
    peer_s = session_cpu_s(session)
    began = time.process_time()
    for log, entries in commits.items():
        for entry in [*entries] * times:
            versions[log] = await state.append(f"bench/{log}", entry, versions[log])
            appends += 1
            size += len(entry)
    appended = time.process_time() - began
    began = time.process_time()
    found = [(await state.read(f"bench/{log}")).entries for log in commits]
    loaded = time.process_time() - began
    if found != [[*entries] * times for entries in commits.values()]:
        raise AssertionError("the logs do not hold what was appended")
    return Logs(records * times, appends, size, appended, loaded, session_cpu_s(session) - peer_s)


async def _told(services: Services, session: int, steps: Sequence[Sequence[AlertTransition]]) -> Told:
    """Tell a tenant's alerts that has none of them, the steps of one commit after another."""
    charges = _charges(services)
    requests, units = charges.requests["alerts.apply"], charges.units["alerts.apply"]
    peer_s = session_cpu_s(session)
    began = time.process_time()
    for some in steps:
        await services.alerts.apply("another", some)
    return Told(
        sum(map(len, steps)),
        time.process_time() - began,
        charges.requests["alerts.apply"] - requests,
        charges.units["alerts.apply"] - units,
        session_cpu_s(session) - peer_s,
    )


async def _clock_units(services: Services) -> tuple[float, float]:
    """Request units of what the app does by the clock: a note of progress, a turn at a stream (lease and cursor)."""
    progress, cursor = "progress/another/process_resolved/0", "cursor/another/crm/accounts"
    note, told = b'{"sequence":123456,"at_us":1700000000000000}', b'{"at":"2026-01-01T00:00:00Z","run":1,"keys":[]}'
    registry, charges = services.registry, _charges(services)
    noted, kept = await registry.put(progress, note, None), await registry.put(cursor, told, None)
    await _lease(services)
    before = charges.units.total()
    await registry.get(progress)
    await registry.put(progress, note, noted)
    between = charges.units.total()
    await registry.get(cursor)
    await registry.put(cursor, told, kept)
    await _lease(services)
    return between - before, charges.units.total() - between


async def _lease(services: Services) -> None:
    """A lease, taken and given back."""
    lease = await services.registry.acquire("slice/another/crm/accounts", "me", 10.0)
    if lease is None:
        raise AssertionError("nobody else takes it")
    await services.registry.release(lease)


def _charges(services: Services) -> Charges:
    return next(family.cosmos.charges for family in services.families if isinstance(family, Azure))
