"""Event Hub triggers over Event Hubs: partitions are shared between hosts, and nothing is lost on the way."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.eventhub.aio import EventHubConsumerClient

from flockiq.local.host import hubs
from flockiq.local.host.checkpoints import RegistryCheckpoints
from flockiq.local.host.errors import HostError
from flockiq.shared.adapters.azure.events.namespace import Namespace
from flockiq.shared.adapters.azure.events.stream import HubEvents
from flockiq.shared.adapters.embedded.blobs import FolderBlobs
from flockiq.shared.adapters.embedded.registry import SqliteRegistry
from flockiq.shared.ports import OutgoingEvent
from tests.host.apps import Running, Start, eventually, write_app
from tests.peers.event_hubs.peer import EventHubs
from tests.peers.leftovers import swept

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # the SDK's way with broken connections

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 30  # two processes begin, and balance, on a machine that may be busy
COLLECT = """
@hub("wide")
async def wide(events: Events) -> None:
    seen.extend((int(event.metadata["PartitionContext"]["PartitionId"]), event.get_body()) for event in events)
"""
GATED = """
gate = asyncio.Event()

@hub("wide")
async def wide(events: Events) -> None:
    seen.extend(event.get_body() for event in events)
    await gate.wait()
"""


@pytest.fixture
def peer() -> Iterator[EventHubs]:
    """A namespace with a hub of three partitions."""
    with swept(), EventHubs({"wide": 3}) as peer:
        yield peer


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[SqliteRegistry]:
    """Where hosts see each other."""
    registry = SqliteRegistry(tmp_path / "registry.db")
    yield registry
    await registry.close()


@pytest.fixture
async def events(peer: EventHubs, tmp_path: Path) -> AsyncIterator[HubEvents]:
    """The stream, for the test and its host."""
    events = HubEvents(Namespace(peer.environment, lambda: None), {}, FolderBlobs(tmp_path / "blobs"))  # type: ignore[arg-type,return-value]
    yield events
    await events.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Partitions are looked after as often as a test needs."""
    monkeypatch.setattr(hubs, "BALANCE_S", 0.2)
    monkeypatch.setattr(hubs, "EXPIRES_S", 2.0)
    monkeypatch.setattr(hubs, "BOUNDS_S", 0.0)


class Hosted:
    """Starts hosts over the peer, one after another: a process has one at a time."""

    def __init__(self, start: Start, events: HubEvents, registry: SqliteRegistry) -> None:
        self._start = start
        self._events = events
        self._registry = registry

    async def __call__(self, source: str, **options: Any) -> Running:
        """Run ``source``."""
        given = {"events": self._events, "checkpoints": lambda: self._registry, **options}
        return await self._start(source, **given)


@pytest.fixture
def hosted(start: Start, events: HubEvents, registry: SqliteRegistry, quick: None) -> Hosted:
    """See ``Hosted``."""
    del quick
    return Hosted(start, events, registry)


def bodies(*numbers: int) -> list[bytes]:
    """Numbers as bodies."""
    return [b"%d" % number for number in numbers]


async def publish(events: HubEvents, count: int, first: int = 0, partitions: int = 3) -> None:
    """Numbered events to every partition."""
    await events.publish(
        "wide",
        [OutgoingEvent(each, body) for body in bodies(*range(first, first + count)) for each in range(partitions)],
    )


def by_partition(seen: list[tuple[int, bytes]]) -> dict[int, list[bytes]]:
    """What each partition brought, in order."""
    found: dict[int, list[bytes]] = defaultdict(list)
    for partition, body in seen:
        found[partition].append(body)
    return found


async def test_events_reach_the_function_in_order_and_a_restart_goes_on_at_the_checkpoint(
    hosted: Hosted, events: HubEvents, registry: SqliteRegistry
) -> None:
    """What was done is not done again, and what came meanwhile is not missed."""
    await publish(events, 20)
    first = await hosted(COLLECT)
    assert await first.host.lag() == {"wide": 60}
    await eventually(lambda: len(first.app.seen) == 60)
    await publish(events, 5, first=20)
    await eventually(lambda: len(first.app.seen) == 75)

    async def caught_up() -> bool:
        return await first.host.lag() == {"wide": 0}

    await eventually(caught_up)
    assert [stats.handled for stats in await first.host.partitions()] == [25] * 3
    assert by_partition(first.app.seen) == {partition: bodies(*range(25)) for partition in range(3)}
    await first.host.stop()
    assert {each.sequence for each in (await RegistryCheckpoints(registry).read("wide", "$Default")).values()} == {24}
    await publish(events, 2, first=25)
    second = await hosted(COLLECT)
    await eventually(lambda: len(second.app.seen) == 6)
    assert by_partition(second.app.seen) == {partition: bodies(25, 26) for partition in range(3)}


async def test_a_batch_that_fails_is_tried_again_before_the_next(hosted: Hosted, events: HubEvents) -> None:
    """The checkpoint waits for it, and so does the partition."""
    running = await hosted(
        """
        fails = [True, True]

        @app.retry(strategy="fixed_delay", max_retry_count="-1", delay_interval="00:00:00")
        @hub("wide")
        async def wide(events: Events) -> None:
            seen.append([event.get_body() for event in events])
            if fails:
                fails.pop()
                raise RuntimeError("not now")
        """,
        host={"extensions": {"http": {"routePrefix": ""}, "eventHubs": {"maxEventBatchSize": 2}}},
    )
    await events.publish("wide", [OutgoingEvent(0, body) for body in bodies(*range(4))])
    await eventually(lambda: len(running.app.seen) >= 4)
    assert [body for batch in running.app.seen[2:] for body in batch] == bodies(*range(4))
    assert running.app.seen[:3] == [running.app.seen[0]] * 3


async def test_a_receiver_that_is_lost_is_opened_anew(hosted: Hosted, events: HubEvents, peer: EventHubs) -> None:
    """However it was lost: every event is seen, in order but for repeats."""
    kinds = ("stolen", "detached", "dropped")
    running = await hosted(COLLECT)
    await publish(events, 10)
    await eventually(lambda: len(running.app.seen) == 30)
    for partition, kind in enumerate(kinds):
        peer.faults.plan(kind, where=f"receive/wide/{partition}", after=3)
    await publish(events, 10, first=10)
    await eventually(lambda: len(set(running.app.seen)) == 60)
    assert peer.faults.injected == dict.fromkeys(kinds, 1)
    for found in by_partition(running.app.seen).values():
        assert list(dict.fromkeys(found)) == bodies(*range(20))


async def test_what_is_in_hand_is_ended_when_the_host_stops(
    hosted: Hosted, events: HubEvents, registry: SqliteRegistry
) -> None:
    """And checkpointed: the next host does not do it again."""
    await events.publish("wide", [OutgoingEvent(0, b"0")])
    running = await hosted(GATED)
    await eventually(lambda: running.app.seen == [b"0"])
    stopping = asyncio.create_task(running.host.stop())
    await asyncio.sleep(0.2)
    assert not stopping.done()
    running.app.gate.set()
    await stopping
    assert (await RegistryCheckpoints(registry).read("wide", "$Default"))[0].sequence == 0


async def test_who_lost_a_partition_moves_no_checkpoint_of_it(
    hosted: Hosted, events: HubEvents, peer: EventHubs, registry: SqliteRegistry
) -> None:
    """What was in hand is ended; whoever holds the partition now does it again."""
    await events.publish("wide", [OutgoingEvent(0, b"0")])
    running = await hosted(GATED)
    await eventually(lambda: running.app.seen == [b"0"])
    taker = EventHubConsumerClient.from_connection_string(peer.connection_string, "$Default", eventhub_name="wide")
    taken: list[bytes] = []

    async def take(_context: Any, some: Any) -> None:
        taken.extend(b"".join(event.body) for event in some)

    taking = asyncio.create_task(taker.receive_batch(take, partition_id="0", owner_level=9, starting_position="-1"))
    await eventually(lambda: taken == [b"0"])
    feed = running.host._pumps[0]
    assert isinstance(feed, hubs.Feed)
    await eventually(lambda: 0 not in feed.held)
    running.app.gate.set()
    await eventually(lambda: running.host.functions["wide"].running == 0)
    await asyncio.sleep(0.1)
    assert await RegistryCheckpoints(registry).read("wide", "$Default") == {}
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    await taker.close()


async def test_hosts_that_share_a_hub_need_a_registry(start: Start, events: HubEvents) -> None:
    """Without one they would not know of each other."""
    with pytest.raises(HostError, match="registry"):
        await start(COLLECT, events=events)


async def test_two_hosts_share_the_partitions_and_one_takes_over_from_the_other(
    tmp_path: Path, events: HubEvents, peer: EventHubs, registry: SqliteRegistry
) -> None:
    """Under load: nothing is lost in a rebalance or a kill, and each partition's order holds but for repeats."""
    record = textwrap.indent(
        'with open(os.environ["SEEN"], "a") as file:\n    print(*lines, sep="\\n", file=file)', "    "
    )
    source = (
        '@hub("wide")\nasync def wide(events: Events) -> None:\n'
        '    partition = events[0].metadata["PartitionContext"]["PartitionId"]\n'
        '    lines = [f"{partition} {event.get_body().decode()}" for event in events]\n' + record
    )
    app = write_app(tmp_path / "app", source)
    started: dict[str, subprocess.Popen[bytes]] = {}

    def begin(name: str) -> None:
        (tmp_path / name).mkdir()
        environment = {**os.environ, **peer.environment, "SEEN": str(tmp_path / f"{name}.txt"), "PYTHONPATH": str(ROOT)}
        script = Path(__file__).parent / "processes" / "share.py"
        arguments = [str(script), str(app), str(tmp_path / name), str(tmp_path / "registry.db")]
        started[name] = subprocess.Popen([sys.executable, *arguments], env=environment)  # noqa: S603 - our own script

    def saw(name: str) -> list[tuple[int, bytes]]:
        path = tmp_path / f"{name}.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(partition), body.encode()) for partition, body in map(str.split, lines)]

    async def owners() -> set[str]:
        return {each["owner_id"] for each in await RegistryCheckpoints(registry).list_ownership("", "wide", "$Default")}

    async def shared() -> bool:
        return len(await owners()) == 2

    try:
        begin("one")
        await publish(events, 20)
        await eventually(lambda: len(set(saw("one"))) == 60, PATIENCE_S)
        begin("two")
        sent = 20
        async with asyncio.timeout(PATIENCE_S):
            while not (await shared() and saw("two")):  # it owns some, and gets what comes for them
                await publish(events, 5, first=sent)
                sent += 5
        await publish(events, 5, first=sent)
        await eventually(lambda: len({*saw("one"), *saw("two")}) == (sent + 5) * 3, PATIENCE_S)
        started["one"].kill()
        sent += 5
        await publish(events, 20, first=sent)
        await eventually(lambda: len({*saw("one"), *saw("two")}) == (sent + 20) * 3, PATIENCE_S)
        assert len({partition for partition, body in saw("two") if int(body) >= sent}) == 3
        for name in started:
            for found in by_partition(saw(name)).values():
                assert list(dict.fromkeys(found)) == sorted(set(found), key=int)
    finally:
        for process in started.values():
            process.send_signal(signal.SIGTERM)
        for process in started.values():
            process.wait(20)
