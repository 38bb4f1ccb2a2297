"""Salesforce, which is a YAML file over the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from flockiq.shared.config.sources import SourceFile
from tests.capture.conftest import Open
from tests.capture.peers.salesforce import Salesforce
from tests.capture.peers.server import serve


def salesforce(url: str, **stream: Any) -> dict[str, Any]:
    """An org as a source: all that a person writes of it."""
    return {
        "source": "sf",
        "connector": "salesforce",
        "connection": {"base_url": url, "allow_private": True},
        "every": "2s",
        "streams": {
            "accounts": {"path": "Account", "select": ["Name"], "entity": "company", "fields": {"name": "Name"}}
            | stream
        },
    }


@pytest.fixture
async def org() -> AsyncIterator[tuple[Salesforce, str]]:
    """Ten accounts, seven of one time, at most three a batch; and the org's address."""
    peer = Salesforce(cap=3)
    for number in range(1, 11):
        peer.put(number, minute=5 if number < 8 else number)
    async with serve(peer.app) as url:
        yield peer, url


async def test_every_record_is_read_once_by_time_and_id(world: Open, org: tuple[Salesforce, str]) -> None:
    """More records of one time than a batch holds do not loop, and none is left out."""
    peer, url = org
    async with world(salesforce(url)) as it:
        await it.poll()
        status = await it.status("sf", "accounts")
        changes = await it.changes()
    assert status.error == ""
    assert [change.data.key for change in changes] == sorted(peer.rows)
    assert changes[0].time == "2026-03-01T10:05:00.123000Z"
    assert len(peer.queries) == 4


async def test_a_poll_asks_from_the_last_time_on_and_soft_deletes_are_deletions(
    world: Open, org: tuple[Salesforce, str]
) -> None:
    """A soft-deleted record is shown as such; what the look back brings again is not told again."""
    peer, url = org
    async with world(salesforce(url)) as it:
        await it.poll()
        peer.put(2, minute=30, IsDeleted=True)
        peer.put(3, minute=31, Name="Renamed")
        await it.poll()
        changes = (await it.changes())[10:]
        final = await it.final()
    assert "SystemModstamp >= 2026-03-01T10:05:00.123Z" in peer.queries[4]
    assert [(change.data.op, change.data.key[-1]) for change in changes] == [("d", "2"), ("r", "3")]
    assert len(final) == 9


async def test_the_allowance_is_watched_and_left_to_others(world: Open, org: tuple[Salesforce, str]) -> None:
    """Nine tenths used: reading stops, and status says so."""
    peer, url = org
    peer.used = 13_499
    async with world(salesforce(url)) as it:
        await it.poll()
        status = await it.status("sf", "accounts")
    assert (status.quota_left, status.quota_of, status.outcome) == (1_500, 15_000, "unavailable")
    assert len(peer.queries) == 1


async def test_an_allowance_used_up_by_others_is_waited_for(world: Open, org: tuple[Salesforce, str]) -> None:
    """403 REQUEST_LIMIT_EXCEEDED is no lack of rights."""
    peer, url = org
    peer.used = 15_000
    async with world(salesforce(url)) as it:
        await it.poll()
        status = await it.status("sf", "accounts")
    assert status.outcome == "unavailable"
    assert status.retry_at_us - it.capture.now_us() > 800_000_000


async def test_a_refused_query_says_what_salesforce_said(world: Open, org: tuple[Salesforce, str]) -> None:
    """A field that does not exist."""
    _, url = org
    async with world(salesforce(url, select=["Nmae"])) as it:
        await it.poll()
        assert "MALFORMED_QUERY" in (await it.status("sf", "accounts")).error


def test_what_people_write_goes_before_the_connectors_defaults() -> None:
    """Key by key; a part of another kind replaces the default's whole."""
    source = SourceFile.model_validate(
        salesforce(
            "https://x.my.salesforce.com",
            modified="LastModifiedDate",
            paginate={"kind": "next_url", "next": "nextRecordsUrl"},
            incremental={"kind": "watermark", "lookback": "1h"},
        )
        | {"limits": {"quota": {"header": "Sforce-Limit-Info", "tells": "used_of_limit", "floor": 0.5}}}
    )
    stream = source.streams["accounts"]
    assert (stream.modified, stream.primary_key, stream.paginate.kind) == ("LastModifiedDate", ("Id",), "next_url")
    assert stream.incremental.model_dump()["lookback"] == 3_600_000_000
    assert "{since}" in stream.incremental.model_dump()["query"]["q"]
    assert source.limits.exhausted == ("REQUEST_LIMIT_EXCEEDED",)
    assert source.limits.quota is not None
    assert source.limits.quota.floor == 0.5


def test_a_stream_without_fields_to_ask_for_is_refused() -> None:
    """SOQL has no *."""
    with pytest.raises(ValidationError, match="lacks select"):
        SourceFile.model_validate(salesforce("https://x.my.salesforce.com", select=[]))
