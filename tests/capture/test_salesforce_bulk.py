"""Salesforce's Bulk API 2.0: reads that the source prepares as a job."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.responses import JSONResponse, Response

from flockiq.capture import cursor as steps
from flockiq.capture.protocols.prepared import Preparation
from flockiq.shared.config.sources import SourceFile
from flockiq.shared.services import Services
from tests.capture.conftest import Ledger, Open, World
from tests.capture.peers.salesforce_bulk import SalesforceBulk
from tests.capture.peers.server import serve
from tests.capture.test_crash import Killed, doom

Org = tuple[SalesforceBulk, str]


def bulk(url: str, *, job: dict[str, Any] | None = None, **stream: Any) -> dict[str, Any]:
    """An org as a source: what a person writes of it, and impatience."""
    return {
        "source": "sf",
        "connector": "salesforce_bulk",
        "connection": {"base_url": url, "allow_private": True, "request_timeout": "2s"},
        "auth": {"kind": "bearer", "token": {"secret": "token"}},
        "limits": {"attempts": 2, "longest_wait": "100ms", "missing_share": 1},
        "every": "2s",
        "streams": {
            "accounts": {
                "path": "Account",
                "select": ["Name"],
                "job": {"first_look": "2ms", "longest_pause": "5s"} | (job or {}),
                "entity": "company",
                "fields": {"name": "Name"},
            }
            | stream
        },
    }


@pytest.fixture
async def org() -> AsyncIterator[Org]:
    """Eight accounts, at most three a page; and the org's address."""
    peer = SalesforceBulk()
    for number in range(1, 9):
        peer.put(number, minute=number)
    async with serve(peer.app) as url:
        yield peer, url


async def test_a_job_is_submitted_waited_for_read_page_by_page_and_removed(world: Open, org: Org) -> None:
    """Every record once, at its SystemModstamp; nothing is left behind at the source."""
    peer, url = org
    async with world(bulk(url)) as it:
        await it.poll()
        status = await it.status("sf", "accounts")
        changes = await it.changes()
    assert status.error == ""
    assert [change.data.key for change in changes] == sorted(peer.rows)
    assert changes[0].time == "2026-03-01T10:01:00.123000Z"
    assert peer.calls == ["POST", "GET 1", "GET 1", *["GET 1/results"] * 3, "DELETE 1"]
    assert peer.submitted[0]["query"] == "SELECT Id,SystemModstamp,IsDeleted,Name FROM Account"
    assert (status.quota_left, status.quota_of) == (14_982, 15_000)
    assert not peer.jobs


async def test_later_jobs_ask_for_what_changed_and_see_deletions(world: Open, org: Org) -> None:
    """From the greatest SystemModstamp less the look back; queryAll shows soft-deleted records."""
    peer, url = org
    async with world(bulk(url)) as it:
        await it.poll()
        peer.put(2, minute=30, deleted=True)
        peer.put(3, minute=31, name="Renamed")
        await it.poll()
        changes = (await it.changes())[8:]
        final = await it.final()
    assert peer.submitted[1]["query"].endswith(" WHERE SystemModstamp >= 2026-03-01T10:03:00.123Z")
    assert peer.submitted[1]["operation"] == "queryAll"
    assert [(change.data.op, change.data.key[-1]) for change in changes] == [("d", "2"), ("r", "3")]
    assert len(final) == 7


async def test_quoted_delimiters_line_breaks_and_quotes_are_values(world: Open, org: Org) -> None:
    """In any delimiter and line ending that the job asks for."""
    peer, url = org
    name = 'Ac^me, "Söhne"\r\nund Co'
    peer.put(1, minute=1, name=name)
    told = {"operation": "queryAll", "contentType": "CSV", "query": "SELECT {select} FROM {path}"}
    written = {"columnDelimiter": "CARET", "lineEnding": "CRLF"}
    source = bulk(url, query=told | written, format={"kind": "csv", "delimiter": "^"})
    async with world(source) as it:
        await it.poll()
        final = await it.final()
    assert len(final) == 8
    assert final[f"001{1:015}"]["Name"] == name


@pytest.mark.parametrize("headerless", [False, True])
async def test_a_job_without_records_is_an_empty_read(world: Open, org: Org, *, headerless: bool) -> None:
    """Whether its results have a header or nothing at all."""
    peer, url = org
    peer.rows.clear()
    peer.headerless = headerless
    async with world(bulk(url)) as it:
        await it.poll()
        status = await it.status("sf", "accounts")
        assert await it.changes() == []
    assert (status.error, status.outcome) == ("", "read")


async def test_a_slow_job_holds_nobody_and_is_gone_on_with(world: Open, org: Org) -> None:
    """The slice ends while the job runs; the next one asks for the same job, and not before its pause is over."""
    peer, url = org
    peer.takes = 3
    async with world(bulk(url, job={"first_look": "10s", "longest_pause": "20s"})) as it:
        await it.poll()
        assert peer.calls == ["POST", "GET 1"]
        assert (await it.status("sf", "accounts")).error == ""
        assert await it.poll(seconds=5) == 0
        assert await it.poll(seconds=6) == 1
        assert peer.calls == ["POST", "GET 1", "GET 1"]
        assert await it.poll(seconds=21) == 1
        assert peer.calls[3:] == ["GET 1", *["GET 1/results"] * 3, "DELETE 1"]
        assert len(await it.final()) == 8


def test_a_job_is_looked_at_ever_less_often() -> None:
    """The older, the longer the pause; within the bounds that are set."""
    source = SourceFile.model_validate(bulk("https://x", job={"first_look": "1s", "longest_pause": "60s"}))
    stream = source.streams["accounts"]
    assert stream.job is not None
    preparation = Preparation(source, stream, stream.job)
    pauses = [preparation.pause_us(age * 1_000_000) / 1e6 for age in (0, 3, 8, 100, 10_000)]
    assert pauses == [1, 1, 2, 25, 60]


def test_a_job_keeps_the_bounds_of_the_read_that_it_was_submitted_for() -> None:
    """However long it takes: what is written meanwhile is for the next read."""
    stream = SourceFile.model_validate(bulk("https://x")).streams["accounts"]
    began = steps.begin(steps.Cursor(), stream, 1_000_000_000)
    waiting = steps.submitted(began, "750R1", 1_000_000_000)
    later = steps.begin(waiting, stream, 9_000_000_000)
    assert (later.job, later.until_us) == ("750R1", began.until_us)
    assert steps.begin(began, stream, 9_000_000_000).until_us > began.until_us


async def test_a_job_that_failed_is_said_and_another_submitted(world: Open, org: Org, ledger: Ledger) -> None:
    """With the source's own reason; the failed one is removed."""
    peer, url = org
    peer.failing = "InternalServerError: retried more than 15 times"
    async with world(bulk(url)) as it:
        await it.poll()
        status = await it.status("sf", "accounts")
        assert "Failed: InternalServerError: retried more than 15 times" in status.error
        assert "another is submitted" in status.error
        assert not peer.jobs
        peer.failing = ""
        await it.poll()
        assert (await it.status("sf", "accounts")).error == ""
        assert len(await it.final()) == 8
    assert [row["Outcome"] for row in ledger.rows["Runs"]] == ["unusable", "read"]


async def test_a_job_that_takes_too_long_is_aborted_and_removed(world: Open, org: Org) -> None:
    """And another is submitted at the next try."""
    peer, url = org
    peer.takes = 99
    async with world(bulk(url, job={"give_up": "30s"})) as it:
        await it.poll()
        assert (await it.status("sf", "accounts")).error == ""
        await it.poll()
        assert "has no results after" in (await it.status("sf", "accounts")).error
        assert peer.calls[-3:] == ["DELETE 1", "PATCH 1", "DELETE 1"]
        assert not peer.jobs
        peer.takes = 1
        await it.poll()
        assert len(await it.final()) == 8


async def test_a_job_that_was_removed_while_it_ran_is_submitted_again(world: Open, org: Org, ledger: Ledger) -> None:
    """404 for its state: a new one at once, and the run says why."""
    peer, url = org
    peer.takes = 99
    async with world(bulk(url)) as it:
        await it.poll()
        peer.jobs.clear()
        peer.takes = 1
        await it.poll()
        assert len(await it.final()) == 8
        assert (await it.status("sf", "accounts")).error == ""
    assert any("job 750R00000000000001 is gone" in row["Error"] for row in ledger.rows["Runs"])


async def test_results_that_expired_half_read_are_asked_for_anew(
    world: Open, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first read begins again with a new job, and is announced."""
    peer, url = org
    monkeypatch.setattr("flockiq.capture.reading.FLUSH_AFTER_S", 0.0)
    gone = JSONResponse([{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}], 404)
    peer.answers = [None, None, None, None, gone]
    async with world(bulk(url)) as it:
        await it.poll()
        status = await it.status("sf", "accounts")
        final = await it.final()
    assert status.outcome == "resynced"
    assert len(peer.submitted) == 2
    assert set(final) == set(peer.rows)
    assert not peer.jobs


async def test_a_locator_that_is_refused_begins_the_read_again(world: Open, org: Org) -> None:
    """400 Invalid locator in a later read: a new job from the same time on."""
    peer, url = org
    async with world(bulk(url)) as it:
        await it.poll()
        for number in range(1, 9):
            peer.put(number, minute=40 + number)
        refused = JSONResponse([{"errorCode": "API_ERROR", "message": "Invalid locator: L0003"}], 400)
        peer.answers = [None, None, None, None, refused]
        await it.poll()
        assert (await it.status("sf", "accounts")).error == ""
        assert len(await it.changes()) == 16
    assert peer.submitted[1] == peer.submitted[2]
    assert not peer.jobs


async def test_throttling_is_waited_out(world: Open, org: Org) -> None:
    """429 and 503 with Retry-After, at every kind of request."""
    peer, url = org
    busy = {"Retry-After": "0"}
    peer.answers = [
        Response(status_code=429, headers=busy), None, Response(status_code=503, headers=busy), None, None,
        Response(status_code=429, headers=busy), None,
    ]  # fmt: skip
    async with world(bulk(url)) as it:
        await it.poll()
        assert (await it.status("sf", "accounts")).error == ""
        assert len(await it.changes()) == 8


async def test_results_with_fewer_records_than_the_job_counted_are_refused(world: Open, org: Org) -> None:
    """Nothing is cut short in silence; what there was is kept."""
    peer, url = org
    peer.lost = 1
    async with world(bulk(url)) as it:
        await it.poll()
        assert "7 records, and the source says there are 8" in (await it.status("sf", "accounts")).error
        peer.lost = 0
        await it.poll()
        assert (await it.status("sf", "accounts")).error == ""
        assert len(await it.final()) == 8


async def test_a_refused_query_says_what_salesforce_said(world: Open, org: Org) -> None:
    """A field that does not exist."""
    _, url = org
    async with world(bulk(url, select=["Nmae"])) as it:
        await it.poll()
        assert "MALFORMED_QUERY" in (await it.status("sf", "accounts")).error


@pytest.mark.parametrize("name", ["../../secret", "", "a b", "x" * 300])
async def test_an_id_that_would_lead_elsewhere_is_refused(world: Open, org: Org, name: str) -> None:
    """It becomes a part of paths."""
    peer, url = org
    peer.answers = [JSONResponse({"id": name, "state": "UploadComplete"})]
    async with world(bulk(url)) as it:
        await it.poll()
        assert "has no id" in (await it.status("sf", "accounts")).error
    assert peer.calls == ["POST"]


async def test_a_changed_query_ends_the_job_of_the_old_one(world: Open, org: Org) -> None:
    """The job that nobody will ask for is aborted and removed."""
    peer, url = org
    peer.takes = 99
    async with world(bulk(url)) as it:
        await it.poll()
    peer.takes = 1
    async with world(bulk(url, select=["Name", "Id"])) as it:
        await it.poll(seconds=120)
        assert len(await it.final()) == 8
    assert "PATCH 1" in peer.calls
    assert not peer.jobs


async def test_a_successor_goes_on_with_the_same_job_at_the_next_locator(world: Open, org: Org) -> None:
    """A reader for each step: one job, and every page asked for once."""
    peer, url = org
    peer.takes = 3
    source = bulk(url, job={"first_look": "10s"})
    source["limits"] |= {"slice_time": "1ms"}
    seen: list[tuple[int, int]] = []
    for step in range(5):
        async with world(source) as it:
            it.ahead_us = step * 60_000_000
            await it.poll()
            assert (await it.status("sf", "accounts")).error == ""
            seen.append((len(peer.calls), len(await it.changes())))
    assert peer.calls == ["POST", *["GET 1"] * 3, *["GET 1/results"] * 3, "DELETE 1"]
    assert peer.locators == ["L0000", "L0003", "L0006"]
    assert seen == [(2, 0), (3, 0), (5, 3), (6, 6), (8, 8)]


@pytest.mark.parametrize("fatal", range(1, 13))
async def test_killed_at_any_write_it_goes_on_with_the_same_job_and_locator(
    services: Services, org: Org, monkeypatch: pytest.MonkeyPatch, fatal: int
) -> None:
    """Job and locator are stored before the next request: at most one job is lost, and every record is told."""
    monkeypatch.setattr("flockiq.capture.reading.FLUSH_AFTER_S", 0.0)  # every page is a checkpoint
    peer, url = org
    killed = World(doom(services, fatal, done=fatal % 2 == 0), bulk(url))
    killed.ahead_us = 600_000_000
    with contextlib.suppress(Killed):
        await killed.poll()
    await killed.capture.close()
    healthy = World(services, bulk(url))
    healthy.ahead_us = 1_200_000_000
    await healthy.poll()
    await healthy.poll()
    changes = await healthy.changes()
    await healthy.capture.close()
    assert {change.data.key for change in changes} == set(peer.rows)
    assert len({change.id for change in changes}) == 8  # a page told twice is told in the same words
    assert len(peer.submitted) <= 3  # the first read's, the second's, and one whose id was not yet stored
    assert peer.calls.count("GET 1/results") <= 3 + 1  # the page that was being read, once more


def test_what_a_job_needs_is_named() -> None:
    """Mistakes that would only show at run time."""
    mistakes: dict[str, dict[str, Any]] = {
        "no {job} in status": {"job": {"status": "jobs"}},
        "needs one of results": {"job": {"results_at": "url"}},
        "both done and failed": {"job": {"done": ["Failed"]}},
        "lacks select": {"select": []},
        "not JSON": {"records": "data"},
    }
    for said, stream in mistakes.items():
        with pytest.raises(ValidationError, match=said):
            SourceFile.model_validate(bulk("https://x.my.salesforce.com", **stream))
