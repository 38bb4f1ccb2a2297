"""Publishing to Event Hubs when things go wrong: what is acknowledged is there, and nobody else is told it is."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any

import pytest
from azure.eventhub.aio import EventHubProducerClient

from flockiq.shared.adapters.azure.events import sender
from flockiq.shared.adapters.azure.events.namespace import Namespace
from flockiq.shared.adapters.azure.events.sender import Lane, Room
from flockiq.shared.adapters.azure.events.stream import HubEvents
from flockiq.shared.errors import ConfigError, HubUnavailable, NotFound
from flockiq.shared.ports import OutgoingEvent
from tests.azure.event_hubs.conftest import HUB, SDK_LEAVES_SOCKETS, Opens, Site, never
from tests.peers.event_hubs.peer import EventHubs

pytestmark = [
    pytest.mark.usefixtures("hasty"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings(SDK_LEAVES_SOCKETS),
]


def once_each(found: Sequence[bytes]) -> list[bytes]:
    """``found`` without repeats, in the order of the first of each."""
    return list(dict.fromkeys(found))


async def comes_through(kind: str, site: Site) -> None:
    """Three publications, of which ``kind`` strikes the second."""
    site.peer.faults.plan(kind, where=f"send/{HUB}/{site.partition}", after=1)
    for first in range(3):
        await site.publish(*(b"%d.%d" % (first, n) for n in range(3)))
    assert once_each(site.bodies()) == [b"%d.%d" % (first, n) for first in range(3) for n in range(3)], kind
    assert len(site.bodies()) == (12 if kind == "unacknowledged" else 9), kind


async def test_a_publication_comes_through_whatever_happens_once(site: Site) -> None:
    """Every event is there, in order; twice at most where the service kept it and could not say so."""
    kinds = ("throttled", "unavailable", "detached", "dropped", "unacknowledged", "slow")
    await asyncio.gather(*(comes_through(kind, site.beside(n)) for n, kind in enumerate(kinds)))
    assert site.peer.faults.injected == dict.fromkeys(kinds, 1)


async def test_what_is_not_acknowledged_is_not_published(site: Site) -> None:
    """A hub that is busy for longer than the adapter tries: its caller hears of it and publishes all again."""
    site.peer.faults.plan("throttled", times=1_000, where="send")
    with pytest.raises(HubUnavailable, match=r"hub changes .*server-busy"):
        await site.publish(b"0", b"1")
    assert site.bodies() == []
    site.peer.faults.clear()
    await site.publish(b"0", b"1")
    assert site.bodies() == [b"0", b"1"]


async def test_a_slow_acknowledgement_is_not_waited_for_without_end(
    opens: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A try that takes too long is given up and made anew; the event may be there twice then, never not at all."""
    monkeypatch.setattr(sender, "SEND_S", 0.7)  # a new link takes the client half a second
    monkeypatch.setattr(sender, "WITHIN_S", 5.0)
    with EventHubs({HUB: 1}, slow_s=60.0) as peer:
        site = Site(opens(peer), peer, 0, 0)
        await site.publish(b"0")
        peer.faults.plan("slow")
        await site.publish(b"1")
        assert once_each(site.bodies()) == [b"0", b"1"]
        await site.events.close()


async def test_a_client_that_gets_stuck_is_replaced(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of the SDK's waits have no end; a publication's have."""
    monkeypatch.setattr(sender, "TRY_S", 2.0)
    monkeypatch.setattr(sender, "WITHIN_S", 8.0)
    await site.publish(b"0")
    send, stuck = EventHubProducerClient.send_batch, [True]

    async def hangs(client: EventHubProducerClient, *batch: Any, **given: Any) -> None:
        if stuck:
            stuck.pop()
            await asyncio.Event().wait()
        await send(client, *batch, **given)

    monkeypatch.setattr(EventHubProducerClient, "send_batch", hangs)
    await site.publish(b"1")
    assert site.bodies() == [b"0", b"1"]


async def test_a_connection_that_broke_while_idle_is_made_anew(site: Site) -> None:
    """The publication that finds it broken comes through."""
    await site.publish(b"0")
    site.peer.cut()
    await site.publish(b"1")
    assert once_each(site.bodies()) == [b"0", b"1"]


async def test_a_token_that_ended_is_replaced(site: Site) -> None:
    """The link is opened anew with a new one."""
    await site.publish(b"0")
    site.peer.revoke()
    await site.publish(b"1")
    assert site.bodies() == [b"0", b"1"]


async def test_who_is_not_let_in_is_told_what_to_do(site: Site) -> None:
    """The error names the hub, the identity's setting and the roles; nothing secret."""
    site.peer.faults.plan("expired", times=1_000)
    with pytest.raises(HubUnavailable, match=r"hub changes .*AZURE_CLIENT_ID.*Event Hubs Data Sender") as caught:
        await site.publish(b"0")
    assert "SharedAccess" not in str(caught.value)
    assert site.bodies() == []


async def test_a_token_refused_once_is_asked_for_again(site: Site) -> None:
    """Roles take a moment to arrive."""
    site.peer.faults.plan("expired")
    await site.publish(b"0")
    assert site.peer.faults.injected == {"expired": 1}
    assert site.bodies() == [b"0"]


async def test_one_failing_partition_does_not_hold_up_another(site: Site) -> None:
    """The call fails as a whole, once the others are done."""
    site.peer.faults.plan("throttled", times=1_000, where=f"send/{HUB}/{site.partition}")
    with pytest.raises(HubUnavailable):
        await site.events.publish(HUB, [OutgoingEvent(site.partition, b"0"), OutgoingEvent(site.other, b"1")])
    assert site.bodies() == []
    assert site.bodies(site.other) == [b"1"]


async def test_everybody_who_waits_behind_a_failure_hears_of_it(site: Site) -> None:
    """Nothing that came after a gap is written, so order holds when all publish again."""
    await site.publish(b"0")
    site.peer.faults.plan("throttled", times=1_000, where="send")
    outcomes = await asyncio.gather(*(site.publish(b"%d" % n) for n in range(1, 6)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {HubUnavailable}
    assert site.bodies() == [b"0"]


async def test_publications_that_wait_together_go_together(site: Site) -> None:
    """One is under way; what comes meanwhile shares the next, in order."""
    await site.publish(b"0")
    await asyncio.gather(*(site.publish(b"%d" % n) for n in range(1, 41)))
    assert site.bodies() == [b"%d" % n for n in range(41)]
    assert len(site.peer.publications(HUB, site.partition)) <= 4


async def test_a_publication_is_cut_where_the_service_says_it_is_full(site: Site) -> None:
    """Thirty events of 100 KB are three publications of at most a megabyte."""
    await site.publish(*(bytes([n]) * 100_000 for n in range(30)))
    assert [body[0] for body in site.bodies()] == list(range(30))
    assert site.peer.publications(HUB, site.partition) == [10, 10, 10]


async def test_a_caller_who_gives_up_takes_nobody_along(site: Site) -> None:
    """Its events may be written; others' are."""
    await site.publish(b"0")
    site.peer.faults.plan("slow")
    calls = [asyncio.create_task(site.publish(b"%d" % n)) for n in range(1, 5)]
    await asyncio.sleep(0.1)
    calls[1].cancel()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), asyncio.CancelledError, type(None), type(None)]
    assert [body for body in site.bodies() if body != b"2"] == [b"0", b"1", b"3", b"4"]


async def test_closing_ends_what_is_under_way_and_refuses_the_rest(opens: Opens, site: Site) -> None:
    """Nobody is left waiting."""
    site = site._replace(events=opens(site.peer))
    await site.publish(b"0")
    site.peer.faults.plan("slow")
    first = asyncio.create_task(site.publish(b"1"))
    await asyncio.sleep(0.1)
    second = asyncio.create_task(site.publish(b"2"))
    await asyncio.sleep(0.05)
    await site.events.close()
    outcomes = await asyncio.gather(first, second, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), HubUnavailable]
    assert site.bodies() == [b"0", b"1"]


async def test_room_bounds_what_is_under_way_and_is_given_in_turn() -> None:
    """Who comes later does not pass who waits; what is over the whole is let in alone."""
    room, entered, held, most = Room(100), [], 0, 0

    async def take(name: str, size: int) -> None:
        nonlocal held, most
        async with room.of(size):
            entered.append(name)
            held += min(size, 100)
            most = max(most, held)
            await asyncio.sleep(0.01)
            held -= min(size, 100)

    sizes = {"a": 60, "b": 60, "c": 10, "d": 500, "e": 10, "f": 90}
    waiting = [asyncio.create_task(take(name, size)) for name, size in sizes.items()]
    await asyncio.sleep(0)
    given_up = asyncio.create_task(take("g", 100))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.gather(*waiting)
    assert entered == list(sizes)
    assert most == 100
    async with asyncio.timeout(1), room.of(100):
        assert held == 0


async def test_publishers_wait_while_too_much_is_under_way(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow hub holds them up, rather than fill memory."""
    monkeypatch.setattr(site.events, "_room", Room(1_000))
    under_way, most = 0, 0
    send = Lane.send

    async def counted(lane: Lane, some: Sequence[Any]) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await send(lane, some)
        under_way -= 1

    monkeypatch.setattr(Lane, "send", counted)
    large = [OutgoingEvent(site.partition, b"x" * 900), OutgoingEvent(site.other, b"y" * 900)]
    await asyncio.gather(*(site.events.publish(HUB, [event]) for event in large))
    assert most == 1


async def test_another_partition_count_than_the_settings_say_is_refused(peer: EventHubs) -> None:
    """Buckets would move; the error names the setting, both counts and the way out."""
    events = HubEvents(Namespace(peer.environment, never), {HUB: 4}, None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"FLOCKIQ_PARTITIONS_CHANGES.*320 partitions.*say 4.*set it to 320"):
        await events.publish(HUB, [OutgoingEvent(0, b"0")])
    await events.close()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "EventHub__fullyQualifiedNamespace: it is not set"),
        (
            {"EventHub": "Endpoint=sb://prod.servicebus.windows.net/;SharedAccessKeyName=n;SharedAccessKey=hush"},
            "only an emulator's is taken",
        ),
    ],
)
async def test_a_namespace_that_is_not_named_as_it_should_be_is_refused(environment: dict[str, str], said: str) -> None:
    """And the key is not shown."""
    events = HubEvents(Namespace(environment, never), {}, None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=said) as caught:
        await events.publish(HUB, [OutgoingEvent(0, b"0")])
    assert "hush" not in str(caught.value)
    await events.close()


async def test_a_hub_there_is_not_is_not_tried_for_again(site: Site) -> None:
    """It takes no time to say so."""
    async with asyncio.timeout(1.5):
        with pytest.raises(NotFound, match="nowhere"):
            await site.events.publish("nowhere", [OutgoingEvent(0, b"0")])


async def test_the_certificates_to_trust_are_read_once(
    opens: Opens, peer: EventHubs, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many connections there are: reading them costs more than a connection does otherwise."""
    read: list[str] = []
    load = ssl.SSLContext.load_verify_locations

    def noted(context: ssl.SSLContext, file: str) -> None:
        read.append(file)
        load(context, file)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", noted)
    events = opens(peer)
    partitions = (site.partition, site.other)
    await events.publish(HUB, [OutgoingEvent(partition, b"0") for partition in partitions])
    for partition in partitions:
        assert [one.body for one in await events.read(HUB, partition, 0, 1)] == [b"0"]
    assert len(read) == 1
