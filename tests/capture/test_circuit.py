"""A source that fails again and again is left alone by everybody, tried once in a while, and read on where it stood."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from starlette.responses import Response

from flockiq.capture import slice  # noqa: A004 - the design's word
from flockiq.capture.http.circuit import Breaker, CircuitOpen
from flockiq.shared import wire
from flockiq.shared.circuits import PROBE_US, circuits
from flockiq.shared.config.connection import Limits
from flockiq.shared.services import Services
from tests.capture.conftest import Open, World
from tests.capture.peers.server import serve
from tests.capture.peers.tables import DataversePeer

Crm = tuple[DataversePeer, str]
SECOND = 1_000_000


@pytest.fixture
async def crm() -> AsyncIterator[Crm]:
    """A Dataverse with five accounts on three pages, and its address."""
    peer = DataversePeer("accountid", page=2)
    for number in range(5):
        peer.table.put({"accountid": f"a{number}", "name": f"C{number}", "modifiedon": "2026-03-01T10:00:00Z"})
    async with serve(peer.app) as url:
        yield peer, url


@pytest.fixture
def source(accounts: Callable[..., dict[str, Any]]) -> Callable[[str], dict[str, Any]]:
    """Two streams of one source that is left alone after two failed requests, for a minute at first."""

    def made(url: str) -> dict[str, Any]:
        limits = {"circuit": {"failures": 2, "pause": "1m"}, "attempts": 1, "back_off": "2m"}
        given = accounts(url, limits=limits)
        given["streams"]["others"] = given["streams"]["accounts"]
        return given

    return made


def down(peer: DataversePeer, times: int = 100) -> None:
    """Let the peer answer 503 to so many requests."""
    peer.answers = [Response(status_code=503) for _ in range(times)]


async def opened(it: World, peer: DataversePeer) -> None:
    """Read half of the source, then fail until its circuit is open."""
    peer.answers = [None, None]
    peer.answers += [Response(status_code=503) for _ in range(100)]
    await it.poll()
    assert "crm" in await circuits(it.services)
    peer.requests.clear()


async def test_a_source_that_keeps_failing_is_left_alone_and_loses_nothing(
    world: Open, crm: Crm, source: Callable[[str], dict[str, Any]]
) -> None:
    """No slices pile up while it is; one goes first afterwards; then all go on and every record is there once."""
    peer, url = crm
    async with world(source(url)) as it:
        await opened(it, peer)
        assert [await it.poll(5) for _ in range(3)] == [0, 0, 0]
        assert peer.requests == []
        down(peer, 0)
        assert await it.poll(60) == 1
        assert await circuits(it.services) == {}
        await it.poll(600)
        for stream in ("accounts", "others"):
            status = await it.status("crm", stream)
            assert (status.error, status.circuit, status.failures) == ("", "closed", 0)
        changes = [(change.data.stream, change.data.key) for change in await it.changes()]
        assert len(changes) == len(set(changes)) == 10


async def test_a_slice_that_was_sent_before_is_told_why_and_when(
    world: Open, crm: Crm, source: Callable[[str], dict[str, Any]]
) -> None:
    """It asks nothing, counts as no failure of its stream, and its status has the cause and the way out."""
    peer, url = crm
    async with world(source(url)) as it:
        await opened(it, peer)
        failures = (await it.status("crm", "others")).failures
        now_us = it.capture.now_us()
        await slice.read_slice(it.capture, wire.WorkData(source="crm", stream="others", sent_us=now_us))
        status = await it.status("crm", "others")
        assert peer.requests == []
        assert (status.circuit, status.failures) == ("open", failures)
        assert "answers 503" in status.error
        assert "nothing is lost" in status.error
        assert 0 < status.retry_at_us - now_us <= 61 * SECOND


async def test_the_pause_grows_while_the_one_request_fails(
    world: Open, crm: Crm, source: Callable[[str], dict[str, Any]]
) -> None:
    """One request each time, and a pause of twice the length, up to back_off."""
    peer, url = crm
    async with world(source(url)) as it:
        await opened(it, peer)
        pauses = []
        for number in range(3):
            it.ahead_us += 130 * SECOND
            sent_us = it.capture.now_us()
            stream = ("accounts", "others")[number % 2]
            await slice.read_slice(it.capture, wire.WorkData(source="crm", stream=stream, sent_us=sent_us))
            pauses.append((await circuits(it.services))["crm"].until_us - sent_us)
        assert len(peer.requests) == 3
        assert all(60 * SECOND <= pause <= 125 * SECOND for pause in pauses)  # of two minutes, half is by lot


async def test_other_instances_neither_ask_nor_try_twice(
    world: Open, services: Services, crm: Crm, source: Callable[[str], dict[str, Any]]
) -> None:
    """What one found out the other knows, and of both together one request is let through."""
    peer, url = crm
    async with world(source(url)) as one, world(source(url)) as other:
        await opened(one, peer)
        other.ahead_us = one.ahead_us
        assert await other.poll(5) == 0
        with pytest.raises(CircuitOpen):
            await Breaker(limits(), services.registry, "default", "crm", other.capture.now_us).admit()
        assert peer.requests == []
    minute = [one.capture.now_us() + 61 * SECOND]
    breakers = [Breaker(limits(), services.registry, "default", "crm", lambda: minute[0]) for _ in range(3)]
    await breakers[0].admit()
    for breaker in breakers[1:]:
        with pytest.raises(CircuitOpen) as waiting:
            await breaker.admit()
        assert 0 < (waiting.value.retry_after_s or 0) <= 5  # the one soon tells how it went


def limits() -> Limits:
    """Open after one failure, for a minute."""
    return Limits.model_validate({"circuit": {"failures": 1, "pause": "1m"}})


async def test_a_try_that_nobody_told_the_end_of_is_followed_by_another(services: Services) -> None:
    """The process that was let through died: another takes its place, in time."""
    now = [1_700_000_000 * SECOND]
    one, other = (Breaker(limits(), services.registry, "default", "crm", lambda: now[0]) for _ in range(2))
    await one.failed("answers 503")
    now[0] += 61 * SECOND
    await one.admit()
    now[0] += PROBE_US - SECOND
    with pytest.raises(CircuitOpen):
        await other.admit()
    now[0] += 2 * SECOND
    await other.admit()
    await other.answered()
    assert await circuits(services) == {}


async def test_a_try_that_was_not_sent_is_given_back(services: Services) -> None:
    """A rate that is used up says nothing of the source: the next request is let through instead."""
    now = [1_700_000_000 * SECOND]
    breaker = Breaker(limits(), services.registry, "default", "crm", lambda: now[0])
    await breaker.failed("answers 503")
    now[0] += 61 * SECOND
    await breaker.admit()
    with pytest.raises(CircuitOpen):
        await breaker.admit()
    await breaker.not_asked()
    await breaker.admit()


@pytest.mark.parametrize(
    "answer",
    [
        Response(status_code=429),
        Response(status_code=503, headers={"retry-after": "0"}),
        Response(status_code=403),
        Response("no JSON"),
    ],
)
async def test_a_source_that_answers_is_not_broken(
    world: Open, crm: Crm, source: Callable[[str], dict[str, Any]], answer: Response
) -> None:
    """Being asked for patience, refused, or told nonsense is for the stream to deal with."""
    peer, url = crm
    peer.answers = [answer] * 20
    async with world(source(url)) as it:
        for _ in range(4):
            await it.poll(600)
        assert len(peer.requests) >= 4
        assert await circuits(it.services) == {}


async def test_an_issuer_that_does_not_answer_counts_as_well(
    world: Open, crm: Crm, source: Callable[[str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a token nothing can be asked, so its issuer is left alone with its source."""
    peer, url = crm
    monkeypatch.setenv("FLOCKIQ_SECRET_CLIENT", "x")
    given = source(url)
    token_url = f"{url}/nowhere".replace("127.0.0.1", "127.0.0.2")
    given["auth"] = {"kind": "client_credentials", "token_url": token_url, "client_id": "f"} | {
        "client_secret": {"secret": "client"}
    }
    async with world(given) as it:
        for _ in range(3):
            await it.poll(600)
        assert "crm" in await circuits(it.services)
        assert peer.requests == []
