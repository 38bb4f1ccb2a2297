"""What a source may do wrong: each gets a clear error or dead letters, and nothing else suffers."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import time
from collections.abc import AsyncIterator, Callable
from email.utils import format_datetime
from typing import Any

import msgspec
import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from flockiq.capture import schedule, slice  # noqa: A004 - the design's word
from flockiq.shared import wire
from tests.capture.conftest import Open, World
from tests.capture.peers.server import serve
from tests.capture.peers.tables import DataversePeer, raw

Source = Callable[..., dict[str, Any]]


@pytest.fixture
async def crm() -> AsyncIterator[tuple[DataversePeer, str]]:
    """A Dataverse with three accounts, and its address."""
    peer = DataversePeer("accountid", page=2)
    for number in range(3):
        peer.table.put({"accountid": f"a{number}", "name": f"C{number}", "modifiedon": "2026-03-01T10:00:00Z"})
    async with serve(peer.app) as url:
        yield peer, url


async def error_of(it: World) -> str:
    """Why the stream's last run failed."""
    return (await it.status("crm", "accounts")).error


async def test_a_short_retry_after_is_waited_out_within_the_run(
    world: Open, crm: tuple[DataversePeer, str], accounts: Source
) -> None:
    """429 with a Retry-After that fits: the same run goes on after it."""
    peer, url = crm
    peer.answers = [None, Response(status_code=429, headers={"Retry-After": "0.2"})]
    async with world(accounts(url)) as it:
        began = time.monotonic()
        await it.poll()
        assert time.monotonic() - began >= 0.2
        assert len(await it.changes()) == 3
        assert await error_of(it) == ""


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_a_long_retry_after_is_left_till_then(
    world: Open, crm: tuple[DataversePeer, str], accounts: Source, form: str
) -> None:
    """Nothing is asked before the time the source named, and the run does not sit it out."""
    peer, url = crm
    at = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=500)
    wait = "500" if form == "seconds" else format_datetime(at, usegmt=True)
    peer.answers = [Response(status_code=429, headers={"Retry-After": wait})]
    async with world(accounts(url)) as it:
        await it.poll()
        status = await it.status("crm", "accounts")
        assert 490e6 <= status.retry_at_us - it.capture.now_us() <= 501e6
        assert await it.poll(400) == 0
        assert len(peer.requests) == 1


async def test_one_stream_told_to_wait_holds_back_its_source(
    world: Open, crm: tuple[DataversePeer, str], accounts: Source
) -> None:
    """A limit is the user's, not the stream's: the other streams of the source wait too."""
    peer, url = crm
    peer.answers = [Response(status_code=429, headers={"Retry-After": "500"})]
    source = accounts(url)
    source["streams"]["more"] = source["streams"]["accounts"]
    source["limits"]["concurrency"] = 1
    async with world(source) as it:
        await it.poll()
        await it.poll(20)
    assert len(peer.requests) <= 2


async def test_a_failing_source_is_asked_less_and_less_and_recovers(
    world: Open, crm: tuple[DataversePeer, str], accounts: Source
) -> None:
    """500s open the circuit after three runs, each later than the one before; the first success closes it."""
    peer, url = crm
    async with world(accounts(url)) as it:
        waits = []
        for _ in range(4):
            peer.answers = [Response(status_code=500)] * 2
            await it.poll(600)
            status = await it.status("crm", "accounts")
            waits.append(status.retry_at_us - it.capture.now_us())
            assert len(peer.answers) == 0
        assert "answers 500" in status.error
        assert (status.circuit, status.failures) == ("open", 4)
        assert waits[3] > 2 * waits[0]
        await it.poll(600)
        status = await it.status("crm", "accounts")
        assert (status.error, status.circuit, status.failures, status.records) == ("", "closed", 0, 3)


async def test_a_hanging_source_holds_nobody(
    world: Open, crm: tuple[DataversePeer, str], accounts: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch of work returns while one source still hangs, and the other's records are there."""
    peer, url = crm
    monkeypatch.setattr(slice, "PATIENCE_S", 0.3)
    hanging = DataversePeer("accountid", page=2)
    hanging.answers = [hang] * 10
    async with serve(hanging.app) as other:
        slow = accounts(other) | {"source": "slow"}
        slow["connection"] |= {"read_timeout": "1s", "request_timeout": "1s"}
        async with world(accounts(url), slow) as it:
            began = time.monotonic()
            it.ahead_us += 1
            await it.poll()
            assert time.monotonic() - began > 1
            assert len(await it.changes()) == 3
            assert "does not answer" in (await it.status("slow", "accounts")).error
            assert (await it.status("crm", "accounts")).last_record_us < (
                await it.status("slow", "accounts")
            ).retry_at_us
    assert len(peer.requests) == 2


async def hang(request: Request) -> Response:
    """Answers never, or when the caller has gone."""
    for _ in range(100):
        if await request.is_disconnected():
            break
        await asyncio.sleep(0.05)
    return Response()


async def test_a_batch_of_work_does_not_wait_for_a_hanging_source(
    world: Open, accounts: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``work_off`` returns after its patience; the slice goes on by itself."""
    monkeypatch.setattr(slice, "PATIENCE_S", 0.2)
    peer = DataversePeer("accountid", page=2)
    peer.answers = [hang] * 10
    async with serve(peer.app) as url, world(accounts(url)) as it:
        await schedule.send_due(it.capture)
        work = wire.Work(
            id="1",
            source="crm",
            type=wire.WORK,
            time="",
            tenant="default",
            data=wire.WorkData(source="crm", stream="accounts", sent_us=it.capture.now_us()),
        )
        began = time.monotonic()
        await slice.work_off(it.capture, [work])
        assert time.monotonic() - began < 0.45
        assert list(it.capture.running) == [("crm", "accounts")]


BAD_ANSWERS = {
    "no JSON": (raw("<html>Sign in</html>"), "is not a page of records"),
    "cut off": (raw('{"value": [{"accountid": "1"'), "is not a page of records"),
    "not UTF-8": (raw(b'{"value": [{"accountid": "\xff"}]}'), "is not a page of records"),
    "another shape": (raw('{"items": []}'), "is not a page of records"),
    "nested without end": (raw(b'{"value": [{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}"), "is not a page"),
    "announced 50 MB": (raw(b"", Content_Length="50000000"), "too large"),
    "another coding": (raw(b"abc", Content_Encoding="br"), "not asked for"),
    "bad gzip": (raw(b"abc", Content_Encoding="gzip"), "not valid gzip"),
    "cut gzip": (raw(gzip.compress(b'{"value": []}')[:-6], Content_Encoding="gzip"), "middle of its gzip"),
    "gzip bomb": (raw(gzip.compress(bytes(300_000_000), 1), Content_Encoding="gzip"), "too large"),
    "a redirect": (raw(b"", 302, Location="https://example.com/"), "redirects are not followed"),
    "wrong credentials": (raw(b"", 401), "credentials are refused"),
    "no permission": (raw(b"", 403), "may not read"),
    "not found": (
        raw('{"error": {"code": "0x1", "message": "No such\\nthing"}}', 404),
        "answers 404: 0x1 No such thing",
    ),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
async def test_an_unusable_answer_is_a_clear_error(
    world: Open, crm: tuple[DataversePeer, str], accounts: Source, name: str
) -> None:
    """The error says what was wrong, nothing is published or moved, and the next run reads it all."""
    peer, url = crm
    answer, said = BAD_ANSWERS[name]
    peer.answers = [answer] * (2 if answer.status_code == 401 else 1)
    async with world(accounts(url)) as it:
        await it.poll()
        assert said in await error_of(it)
        assert "correct horse" not in await error_of(it)
        assert await it.changes() == []
        await it.poll(600)
        assert await error_of(it) == ""
        assert len(await it.changes()) == 3


async def test_a_page_without_end_is_cut_off_at_the_limit(
    world: Open, crm: tuple[DataversePeer, str], accounts: Source
) -> None:
    """Without an announced length, reading stops at the limit, not at the time limit."""
    peer, url = crm

    async def endless(_: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            while True:
                await asyncio.sleep(0)
                yield b" " * 100_000

        return StreamingResponse(chunks(), media_type="application/json")

    peer.answers = [endless]
    async with world(accounts(url, limits={"page_bytes": "1MB"})) as it:
        await it.poll()
        assert "too large: more came" in await error_of(it)


async def test_a_link_to_another_origin_is_not_called(
    world: Open, crm: tuple[DataversePeer, str], accounts: Source
) -> None:
    """Credentials go to declared origins only; declaring one admits it."""
    peer, url = crm
    other = DataversePeer("accountid", page=2)
    async with serve(other.app) as elsewhere:
        link = f"{elsewhere}/api/data/v9.2/accounts?$skiptoken=0-0~"
        page = raw(msgspec.json.encode({"value": [], "@odata.nextLink": link}))
        peer.answers = [page, page]
        async with world(accounts(url)) as it:
            await it.poll()
            assert "which is not declared" in await error_of(it)
            assert other.requests == []
        source = accounts(url)
        source["connection"]["allowed_origins"] = [elsewhere]
        async with world(source) as it:
            await it.poll(600)
            assert await error_of(it) == ""
            assert other.requests[0].headers["authorization"] == "Bearer correct horse"


async def test_pages_in_a_circle_are_noticed(world: Open, crm: tuple[DataversePeer, str], accounts: Source) -> None:
    """A next link that was followed before ends the run."""
    peer, url = crm
    link = f"{url}/api/data/v9.2/accounts?$skiptoken=0-3~a0"
    peer.answers = [raw(msgspec.json.encode({"value": [], "@odata.nextLink": link}))] * 5
    async with world(accounts(url)) as it:
        await it.poll()
        assert "in a circle" in await error_of(it)
    assert len(peer.requests) == 2


async def test_a_read_has_no_more_pages_than_allowed(
    world: Open, crm: tuple[DataversePeer, str], accounts: Source
) -> None:
    """limits.pages bounds a read whose links never repeat."""
    peer, url = crm

    async def onward(_: Request) -> Response:
        link = f"{url}/api/data/v9.2/accounts?$skiptoken=0-0~{len(peer.requests)}"
        return raw(msgspec.json.encode({"value": [], "@odata.nextLink": link}))

    peer.answers = [onward] * 50
    async with world(accounts(url, limits={"pages": 7})) as it:
        await it.poll()
        assert "over 7 pages" in await error_of(it)
    assert len(peer.requests) == 7


async def test_records_of_the_wrong_types_become_dead_letters(
    world: Open, crm: tuple[DataversePeer, str], accounts: Source
) -> None:
    """Each bad record is kept with its reason; the good one on the same page arrives."""
    peer, url = crm
    deep = "[" * 40 + "]" * 40
    values = [
        '{"accountid": "good", "modifiedon": "2026-03-01T10:00:00Z"}',
        '{"accountid": null}',
        '{"accountid": {"a": 1}}',
        '{"accountid": "a\\u0000b"}',
        '{"accountid": "b", "modifiedon": "yesterday"}',
        '{"accountid": "c", "modifiedon": [1]}',
        f'{{"accountid": "d", "deep": {deep}}}',
        "7",
        '"text"',
    ]
    body = f'{{"value": [{",".join(values)}], "@odata.deltaLink": "{url}/api/data/v9.2/accounts?$deltatoken=3"}}'
    peer.answers = [raw(body)]
    async with world(accounts(url)) as it:
        await it.poll()
        letters = await it.letters()
        assert [change.data.key for change in await it.changes()] == ["good"]
        assert await error_of(it) == ""
    assert len(letters) == 8
    reasons = " ".join(sorted(f"{letter['Field']}: {letter['Reason']}" for letter in letters))
    for reason in ("accountid: is missing", "is not a time", "nested deeper than the 32", "is no JSON object"):
        assert reason in reasons
    assert {letter["Record"] for letter in letters} >= {"7", '"text"', '{"accountid":null}'}


async def test_a_page_of_mostly_bad_records_is_held_instead(
    world: Open, crm: tuple[DataversePeer, str], accounts: Source
) -> None:
    """A misnamed key is a mistake in the config: one clear error, not a thousand dead letters."""
    peer, url = crm
    rows = [{"id": number} for number in range(50)]
    peer.answers = [raw(msgspec.json.encode({"value": rows, "@odata.deltaLink": f"{url}/api/data/v9.2/accounts?d"}))]
    async with world(accounts(url)) as it:
        await it.poll()
        assert "50 of 50 records can't be taken" in await error_of(it)
        assert "accountid: is missing" in await error_of(it)
        assert await it.letters() == []


async def test_a_private_address_is_refused_unless_declared(
    world: Open, crm: tuple[DataversePeer, str], accounts: Source
) -> None:
    """Neither an address nor a name that resolves to one is connected to."""
    peer, url = crm
    port = url.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "169.254.169.254"):
        source = accounts(f"https://{host}:{port}")
        source["connection"]["allow_private"] = False
        async with world(source | {"source": f"at-{len(host)}"}) as it:
            await it.poll()
            assert "private, loopback or link-local" in (await it.status(f"at-{len(host)}", "accounts")).error
    assert peer.requests == []


async def test_a_missing_setting_is_named_and_the_others_go_on(
    world: Open, crm: tuple[DataversePeer, str], accounts: Source
) -> None:
    """{NAME} without a setting fails its own source only."""
    _, url = crm
    lost = accounts("{LOST_URL}") | {"source": "lost"}
    async with world(lost, accounts(url)) as it:
        await it.poll()
        status = await it.status("lost", "accounts")
        assert "there is no setting LOST_URL" in status.error
        assert status.outcome == "misconfigured"
        assert len(await it.changes()) == 3


async def test_a_missing_secret_is_named(world: Open, crm: tuple[DataversePeer, str], accounts: Source) -> None:
    """The error names the secret, and the source is not called."""
    peer, url = crm
    source = accounts(url)
    source["auth"] = {"kind": "api_key", "header": "X-Key", "key": {"secret": "nowhere"}}
    async with world(source) as it:
        await it.poll()
        assert "nowhere" in await error_of(it)
    assert peer.requests == []
