"""The Event Hubs peer, held by Microsoft's client to what its page says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from azure.core.credentials import AccessToken
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.exceptions import ConnectError, EventHubError

from tests.peers.event_hubs.peer import EventHubs
from tests.peers.leftovers import swept

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),  # the SDK's way with broken connections
]
ONCE = {"retry_total": 0, "retry_backoff_factor": 0.0}


@pytest.fixture(scope="module")
def peer() -> Iterator[EventHubs]:
    """A namespace."""
    with swept(), EventHubs({"a": 4, "b": 2}, tokens=["a-bearer-token"]) as peer:
        yield peer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def producer(peer: EventHubs) -> AsyncIterator[EventHubProducerClient]:
    """A sender to hub ``a``."""
    async with EventHubProducerClient.from_connection_string(
        peer.connection_string, eventhub_name="a", **ONCE
    ) as client:
        yield client


def reader(peer: EventHubs, group: str = "$Default") -> EventHubConsumerClient:
    """A reader of hub ``a``."""
    return EventHubConsumerClient.from_connection_string(peer.connection_string, group, eventhub_name="a", **ONCE)


async def first(client: EventHubConsumerClient, count: int, partition: int, position: Any, **given: Any) -> list[Any]:
    """The first events from a position; what went wrong, if something did before they came."""
    found: list[Any] = []
    enough = asyncio.Event()

    async def on_batch(_context: Any, events: list[EventData]) -> None:
        found.extend(events)
        if len(found) >= count:
            enough.set()

    async def on_error(_context: Any, error: Exception) -> None:
        found.append(error)
        enough.set()

    given = {"starting_position": position, "on_error": on_error, **given}
    receiving = asyncio.create_task(client.receive_batch(on_batch, partition_id=str(partition), **given))
    async with asyncio.timeout(10):
        await enough.wait()
    receiving.cancel()
    await asyncio.gather(receiving, return_exceptions=True)
    return found


async def send(producer: EventHubProducerClient, *bodies: str, **place: str) -> None:
    """One publication."""
    batch = await producer.create_batch(**place)
    for body in bodies:
        batch.add(EventData(body))
    await producer.send_batch(batch)


def said(found: list[Any]) -> list[str]:
    """The bodies."""
    return [event.body_as_str() for event in found]


async def test_a_reader_begins_where_it_asks_to(peer: EventHubs, producer: EventHubProducerClient) -> None:
    """By offset, sequence number or time, inclusive or not, at the beginning or at the end."""
    await send(producer, "0", "1", "2", partition_id="0")
    await asyncio.sleep(0.01)
    later = datetime.now(UTC)
    await asyncio.sleep(0.01)
    await send(producer, "3", "4", partition_id="0")
    offset = str(peer.events("a", 0)[2].offset)
    asked: list[tuple[Any, bool, list[str]]] = [
        ("-1", False, ["0", "1", "2", "3", "4"]),
        (offset, False, ["3", "4"]),
        (offset, True, ["2", "3", "4"]),
        (1, False, ["2", "3", "4"]),
        (1, True, ["1", "2", "3", "4"]),
        (later, False, ["3", "4"]),
    ]
    found = await asyncio.gather(
        *(
            first(reader(peer, f"g{n}"), len(want), 0, position, starting_position_inclusive=inclusive)
            for n, (position, inclusive, want) in enumerate(asked)
        )
    )
    assert [said(each) for each in found] == [want for _, _, want in asked]
    assert [event.sequence_number for event in found[0]] == [0, 1, 2, 3, 4]
    assert [event.offset for event in found[0]] == [str(event.offset) for event in peer.events("a", 0)]


async def test_a_partition_key_holds_its_events_together(peer: EventHubs, producer: EventHubProducerClient) -> None:
    """And comes back with them; a publication is kept whole."""
    before = [len(peer.events("a", n)) for n in range(4)]
    for _ in range(3):
        await send(producer, "x", "y", partition_key="somebody")
    grown = [len(peer.events("a", n)) - before[n] for n in range(4)]
    assert sorted(grown) == [0, 0, 0, 6]
    partition = grown.index(6)
    (event,) = await first(reader(peer), 1, partition, before[partition] + 4)
    assert event.partition_key == b"somebody"


async def test_a_message_over_the_limit_ends_its_link(peer: EventHubs, producer: EventHubProducerClient) -> None:
    """Nothing of it is kept; the client, which does not pass the reason on, can send again."""
    before = len(peer.events("a", 1))
    with pytest.raises(EventHubError, match="unknown-error"):
        await producer.send_event(EventData(b"x" * 1_100_000), partition_id="1")
    await send(producer, "x", partition_id="1")
    assert len(peer.events("a", 1)) == before + 1


async def test_a_higher_epoch_takes_over_and_a_lower_one_is_refused(
    peer: EventHubs, producer: EventHubProducerClient
) -> None:
    """With ``amqp:link:stolen`` either way; so is a receiver without an epoch."""
    await send(producer, "x", partition_id="2")
    low = asyncio.create_task(first(reader(peer, "epochs"), 2, 2, "-1", owner_level=1))
    await until(lambda: peer.receivers("a", 2, "epochs") == 1)
    high = asyncio.create_task(first(reader(peer, "epochs"), 3, 2, "-1", owner_level=2))
    found = await low
    assert said(found[:1]) == ["x"]
    assert "link:stolen" in str(found[1])
    for level in (1, None):
        (refused,) = await first(reader(peer, "epochs"), 1, 2, "-1", owner_level=level)
        assert "link:stolen" in str(refused)
    await send(producer, "y", "z", partition_id="2")
    assert said(await high) == ["x", "y", "z"]


async def test_five_readers_without_an_epoch_are_let_in_and_no_sixth(
    peer: EventHubs, producer: EventHubProducerClient
) -> None:
    """Of a partition, for a consumer group. The SDK does not say why it waits: it asks again until one leaves."""
    five = [asyncio.create_task(first(reader(peer, "many"), 2, 3, "@latest")) for _ in range(5)]
    await until(lambda: peer.receivers("a", 3, "many") == 5)
    sixth = asyncio.create_task(first(reader(peer, "many"), 1, 3, "-1"))
    await send(producer, "x", partition_id="3")
    await asyncio.sleep(1.5)
    assert peer.receivers("a", 3, "many") == 5
    assert not sixth.done()
    await send(producer, "y", partition_id="3")
    assert [said(found) for found in await asyncio.gather(*five)] == [["x", "y"]] * 5
    assert "x" in said(await sixth)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what the peer sees."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the peer's thread sets no event of this loop
            await asyncio.sleep(0.02)


class Bearer:
    """Somebody with a token."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def get_token(self, *_scopes: str, **_given: Any) -> AccessToken:
        """The token."""
        return AccessToken(self._token, int(datetime.now(UTC).timestamp()) + 3600)


@pytest.mark.parametrize(("token", "let_in"), [("a-bearer-token", True), ("another", False)])
async def test_a_bearer_is_let_in_by_a_token_that_is_known(token: str, let_in: bool, peer: EventHubs) -> None:  # noqa: FBT001 - a parameter
    """As an identity is."""
    where = peer.connection_string.split(";")[0].removeprefix("Endpoint=sb://")
    client = EventHubProducerClient(where, "a", Bearer(token), use_tls=False, **ONCE)  # type: ignore[arg-type]
    if let_in:
        assert await client.get_partition_ids() == ["0", "1", "2", "3"]
    else:
        with pytest.raises(ConnectError, match="InvalidToken"):
            await client.get_partition_ids()
    await client.close()


async def test_a_wrong_key_is_refused(peer: EventHubs) -> None:
    """Signatures are verified."""
    text = peer.connection_string.replace("a-key-of-the-peer", "another")
    client = EventHubProducerClient.from_connection_string(text, eventhub_name="a", **ONCE)
    with pytest.raises(ConnectError, match="InvalidSignature"):
        await client.get_partition_ids()
    await client.close()
