"""Whose turn it is: slices are sent when due, once, and again when nobody reads them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import azure.functions as func
import pytest

from flockiq.capture import functions, schedule, turn
from flockiq.capture.turn import UNANSWERED_US, Turn
from flockiq.shared import wire
from flockiq.shared.services import Services
from tests.capture.conftest import FROM_HOST, Ledger, World, leased
from tests.capture.peers.server import serve
from tests.capture.peers.tables import DataversePeer

Source = Callable[..., dict[str, Any]]
SECOND = 1_000_000


def test_a_slice_is_due_at_its_time_and_a_little_before() -> None:
    """A timer that is some milliseconds early must not skip a whole interval."""
    read = Turn(due_us=100 * SECOND, sent_us=90 * SECOND, read_us=91 * SECOND)
    assert not turn.is_due(read, 99 * SECOND, 2 * SECOND)
    assert turn.is_due(read, 100 * SECOND - 5_000, 2 * SECOND)


def test_an_outstanding_slice_is_sent_again_later_and_later() -> None:
    """A hub that works nothing off does not fill with slices: 5 s, 10 s, 20 s … up to a bound."""
    began = at = 100 * SECOND
    waiting, sends = Turn(), []
    while at < 86_400 * SECOND:
        if turn.is_due(waiting, at, 2 * SECOND):
            waiting = turn.sent(waiting, at)
            sends.append(at - began)
        at += SECOND
    assert sends[:4] == [0, 5 * SECOND, 15 * SECOND, 35 * SECOND]
    assert len(sends) < 300
    assert max(later - earlier for earlier, later in pairwise(sends)) <= UNANSWERED_US << 6


async def test_what_is_due_is_sent_once(services: Services, accounts: Source) -> None:
    """A second tick before anybody read sends nothing; an unread slice is sent again after a while."""
    it = World(services, accounts("https://a.example"), accounts("https://b.example") | {"source": "other"})
    assert await schedule.send_due(it.capture) == 2
    it.ahead_us += 3 * SECOND
    assert await schedule.send_due(it.capture) == 0
    it.ahead_us += UNANSWERED_US
    assert await schedule.send_due(it.capture) == 2


async def test_disabled_and_told_sources_are_not_sent(services: Services, accounts: Source) -> None:
    """Only what is enabled and polled has turns."""
    disabled = accounts("https://a.example") | {"enabled": False}
    assert await schedule.send_due(World(services, disabled).capture) == 0


async def test_a_slice_of_a_stream_that_was_read_since_is_dropped(services: Services, accounts: Source) -> None:
    """Delivered twice, a slice is read once; so is one delivered after its stream left the config."""
    peer = DataversePeer("accountid", page=2)
    async with serve(peer.app) as url:
        it = World(services, accounts(url))
        await it.poll()
        assert len(peer.requests) == 1
        await it.work()
        assert len(peer.requests) == 1
        await it.capture.close()
        empty = World(services)
        await empty.work()
        assert len(peer.requests) == 1


async def test_the_functions_send_and_read(
    services: Services, accounts: Source, monkeypatch: pytest.MonkeyPatch, ledger: Ledger
) -> None:
    """Timer to hub, hub to source, source to hub; a message that is no work becomes a dead letter."""
    peer = DataversePeer("accountid", page=2)
    peer.table.put({"accountid": "a", "modifiedon": None})
    async with serve(peer.app) as url:
        it = World(services, accounts(url))
        it.serve(monkeypatch)
        await functions.capture_schedule(None)  # type: ignore[arg-type]
        bodies = [
            event.body
            for partition in range(await services.events.partition_count("work"))
            for event in await services.events.read("work", partition, 0, 100)
        ]
        await functions.capture_slice(
            [func.EventHubEvent(body=body, trigger_metadata=FROM_HOST) for body in [*bodies, b"nonsense"]]
        )
        assert [change.data.key for change in await it.changes()] == ["a"]
        assert len(await it.letters()) == 1
        await it.capture.close()
    (run,) = ledger.rows["Runs"]
    assert (run["Source"], run["Stream"], run["Run"], run["Records"], run["Requests"]) == ("crm", "accounts", 1, 1, 1)
    assert (run["Outcome"], run["Error"]) == ("read", "")
    assert run["Bytes"] > 0


async def test_a_slice_out_of_time_makes_room_and_goes_on(services: Services, accounts: Source) -> None:
    """limits.slice_time ends a slice between pages; the next one is due at once and reads the rest."""
    peer = DataversePeer("accountid", page=2)
    for number in range(5):
        peer.table.put({"accountid": f"a{number}", "modifiedon": None})
    async with serve(peer.app) as url:
        it = World(services, accounts(url, limits={"slice_time": "1ms"}))
        for expected in (2, 4, 5):
            assert await it.poll(0.001 if expected > 2 else 60) == 1
            assert len(await it.changes()) == expected
        assert await it.poll(0.001) == 0
        await it.capture.close()


async def test_a_turn_written_by_two_keeps_both_changes(services: Services) -> None:
    """Schedule and reader write the same document; neither undoes the other."""
    keeper = turn.Turns(services.registry, "default")
    await keeper.change("crm", "accounts", partial(turn.sent, now_us=5))
    await keeper.change("crm", "accounts", partial(turn.succeeded, read_us=7, due_us=9))
    assert await keeper.all() == {("crm", "accounts"): Turn(due_us=9, sent_us=5, read_us=7)}


async def test_a_slice_waits_for_the_lease_of_a_killed_reader(services: Services, accounts: Source) -> None:
    """The dead hold a lease until it runs out; the slice is read the moment it does."""
    services = leased(services, 2.0)
    assert await services.registry.acquire("capture/default/crm/accounts", "a reader killed since", 0.6) is not None
    peer = DataversePeer("accountid", page=2)
    peer.table.put({"accountid": "a", "modifiedon": None})
    async with serve(peer.app) as url:
        it = World(services, accounts(url))
        await it.poll()
        assert len(await it.changes()) == 1
        await it.capture.close()


def test_work_is_addressed_to_a_stable_partition() -> None:
    """The wire line of a slice names its stream, and decodes as what it is."""
    line = wire.encode(schedule._work("default", "crm", "accounts", 1_772_359_200_000_000))
    assert b'"time":"2026-03-01T10:00:00.000000Z"' in line
