"""Streams followed by delta link: Dataverse (OData V4) and SAP (OData V2)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from flockiq.shared.instants import rfc3339
from tests.capture.conftest import Open
from tests.capture.peers.server import serve
from tests.capture.peers.tables import DataversePeer, GatewayPeer, Peer, raw

Source = Callable[..., dict[str, Any]]


def account(number: int, name: str = "", minute: int = 0) -> dict[str, Any]:
    """A row of the CRM."""
    return {
        "accountid": f"a{number:04}",
        "name": name or f"Company {number}",
        "creditlimit": 12345678901234567.89,
        "modifiedon": f"2026-03-01T10:{minute:02}:00Z",
    }


@pytest.fixture
async def crm() -> AsyncIterator[tuple[DataversePeer, str]]:
    """A Dataverse with 25 accounts, ten a page, and its address."""
    peer = DataversePeer("accountid", page=10)
    for number in range(25):
        peer.table.put(account(number))
    async with serve(peer.app) as url:
        yield peer, url


def names(peer: Peer, field: str = "name") -> dict[str, str]:
    """What the source itself holds."""
    return {key: row[field] for key, (_, row) in peer.table.rows.items() if row is not None}


async def test_the_first_read_takes_every_page_in_order(
    world: Open, crm: tuple[DataversePeer, str], accounts: Source
) -> None:
    """All 25 accounts arrive once, numbered by row, with their source time and without protocol noise."""
    _, url = crm
    async with world(accounts(url)) as it:
        assert await it.poll() == 1
        changes = await it.changes()
    assert [change.data.key for change in changes] == [f"a{number:04}" for number in range(25)]
    assert [change.data.row for change in changes] == list(range(25))
    first = changes[0]
    assert (first.data.op, first.data.ts_us, first.time) == ("r", 1772359200000000, "2026-03-01T10:00:00.000000Z")
    assert set(msgspec.json.decode(first.data.after)) == {"accountid", "name", "creditlimit", "modifiedon"}


async def test_numbers_keep_every_digit_the_source_wrote(
    world: Open, crm: tuple[DataversePeer, str], accounts: Source
) -> None:
    """A number travels as its own text, not through a float."""
    peer, url = crm
    row = '{"accountid": "x", "creditlimit": 12345678901234567890.12345, "modifiedon": null}'
    link = f'"@odata.deltaLink": "{url}/api/data/v9.2/accounts?$deltatoken=1"'
    peer.answers = [raw(f'{{"value": [{row}], {link}}}')]
    async with world(accounts(url)) as it:
        await it.poll()
        (change,) = await it.changes()
    assert b"12345678901234567890.12345" in bytes(change.data.after)


async def test_a_poll_brings_only_what_changed(world: Open, crm: tuple[DataversePeer, str], accounts: Source) -> None:
    """After the first read, one edit is one change; a poll without edits is none."""
    peer, url = crm
    async with world(accounts(url)) as it:
        await it.poll()
        peer.table.put(account(3, "Renamed", minute=5))
        await it.poll()
        await it.poll()
        changes = await it.changes()
    assert len(changes) == 26
    assert changes[-1].data.key == "a0003"
    assert b"Renamed" in bytes(changes[-1].data.after)


async def test_a_deletion_is_later_than_anything_told_of_the_record(
    world: Open, crm: tuple[DataversePeer, str], accounts: Source
) -> None:
    """A tombstone has no time; it wins even over a version from a source whose clock is an hour ahead."""
    peer, url = crm
    async with world(accounts(url)) as it:
        await it.poll()
        ahead = rfc3339(it.capture.now_us() + 3_600_000_000)
        peer.table.put({"accountid": "a0001", "name": "late", "modifiedon": ahead})
        await it.poll()
        peer.table.delete("a0001")
        await it.poll()
        changes = await it.changes()
        final = await it.final()
    assert [change.data.op for change in changes[-2:]] == ["r", "d"]
    assert "a0001" not in final
    assert len(final) == 24


async def test_an_expired_link_is_a_full_read_that_finds_what_was_deleted(
    world: Open, crm: tuple[DataversePeer, str], accounts: Source
) -> None:
    """Deletions that the expired link would have told of are found by comparing keys, and it is said aloud."""
    peer, url = crm
    async with world(accounts(url)) as it:
        await it.poll()
        peer.table.put(account(99, minute=1))
        await it.poll()
        for gone in ("a0002", "a0099"):
            del peer.table.rows[gone]  # without a trace, as after the tombstones' own expiry
        peer.table.put(account(30, minute=2))
        peer.oldest = 10_000
        await it.poll()
        status = await it.status("crm", "accounts")
        deleted = [change.data.key for change in await it.changes() if change.data.op == "d"]
        final = await it.final()
        peer.oldest = 0
        await it.poll()
        after = await it.status("crm", "accounts")
    assert deleted == ["a0002", "a0099"]
    assert {key: row["name"] for key, row in final.items()} == names(peer)
    assert status.outcome == "resynced"
    assert after.outcome == "read"


async def test_a_full_read_that_lacks_most_records_is_not_believed(
    world: Open, crm: tuple[DataversePeer, str], accounts: Source
) -> None:
    """A source that suddenly shows almost nothing (a lost permission) deletes nothing, and may recover."""
    peer, url = crm
    async with world(accounts(url)) as it:
        await it.poll()
        kept = dict(peer.table.rows)
        peer.oldest = 10_000
        peer.table.rows = {key: row for key, row in kept.items() if key < "a0003"}
        await it.poll()
        status = await it.status("crm", "accounts")
        peer.table.rows = kept
        await it.poll(600)
        recovered = await it.status("crm", "accounts")
        final = await it.final()
    assert "lacks 22 of 25" in status.error
    assert recovered.error == ""
    assert len(final) == 25


async def test_a_source_that_ignores_change_tracking_is_found_out_at_once(
    world: Open, crm: tuple[DataversePeer, str], accounts: Source
) -> None:
    """Without Preference-Applied nothing is published: its delta links would lose changes."""
    peer, url = crm
    peer.confirms = False
    async with world(accounts(url)) as it:
        await it.poll()
        status = await it.status("crm", "accounts")
        changes = await it.changes()
    assert changes == []
    assert "Preference-Applied" in status.error
    assert status.outcome == "unusable"


async def test_a_read_that_ends_without_a_delta_link_is_an_error(
    world: Open, crm: tuple[DataversePeer, str], accounts: Source
) -> None:
    """Neither a next nor a delta link means that something was cut off."""
    peer, url = crm
    peer.answers = [raw('{"value": []}')]
    async with world(accounts(url)) as it:
        await it.poll()
        status = await it.status("crm", "accounts")
    assert "without a delta link" in status.error


async def test_a_changed_definition_reads_the_stream_again(
    world: Open, crm: tuple[DataversePeer, str], accounts: Source
) -> None:
    """Asking for other fields makes the old delta link useless."""
    peer, url = crm
    async with world(accounts(url)) as it:
        await it.poll()
    async with world(accounts(url, select=["accountid", "name"])) as it:
        await it.poll(300)
        changes = await it.changes()
    assert len(changes) == 50
    assert peer.requests[-1].query_params.get("$select") or "$skiptoken" in peer.requests[-1].query_params


async def test_a_moved_base_url_keeps_the_cursor(world: Open, crm: tuple[DataversePeer, str], accounts: Source) -> None:
    """Links are kept without base_url's origin: the same system at another address goes on where it was."""
    peer, url = crm
    source = accounts(url)
    source["connection"]["base_url"] = "{CRM_URL}/api/data/v9.2"
    async with world(source, environment={"CRM_URL": url}) as it:
        await it.poll()
    peer.table.put(account(7, "Moved", minute=9))
    async with serve(peer.app) as elsewhere, world(source, environment={"CRM_URL": elsewhere}) as it:
        await it.poll(300)
        changes = await it.changes()
    assert [change.data.key for change in changes[25:]] == ["a0007"]


async def test_sap_pages_deltas_deletions_and_dates_are_understood(world: Open) -> None:
    """V2: relative __next and __delta, /Date(ms)/, no __metadata or deferred links, ODQ_CHANGEMODE, 410."""
    peer = GatewayPeer("Customer", page=2)
    for number in range(5):
        peer.table.put({"Customer": f"{number}", "CustomerName": f"C{number}", "LastChange": "/Date(1772359200000)/"})
    async with serve(peer.app) as url, world(sap(url)) as it:
        await it.poll()
        peer.table.put({"Customer": "1", "CustomerName": "New", "LastChange": "/Date(1772359260000+0060)/"})
        peer.table.delete("2")
        await it.poll()
        changes = await it.changes()
        del peer.table.rows["3"]
        peer.oldest = 10_000
        await it.poll()
        final = await it.final()
    assert [change.data.key for change in changes[:5]] == ["0", "1", "2", "3", "4"]
    assert changes[0].data.ts_us == 1772359200000000
    assert set(msgspec.json.decode(changes[0].data.after)) == {"Customer", "CustomerName", "LastChange"}
    assert [(change.data.op, change.data.key) for change in changes[5:]] == [("r", "1"), ("d", "2")]
    assert {key: row["CustomerName"] for key, row in final.items()} == names(peer, "CustomerName")


def sap(url: str) -> dict[str, Any]:
    """An SAP source with one stream."""
    return {
        "source": "erp",
        "connector": "odata_v2",
        "connection": {"base_url": f"{url}/sap/opu/odata/sap/ZFLOCK_SRV", "allow_private": True},
        "auth": {"kind": "basic", "username": "FLOCKIQ", "password": {"secret": "token"}},
        "every": "2s",
        "streams": {
            "customers": {
                "path": "CustomerSet",
                "primary_key": ["Customer"],
                "modified": "LastChange",
                "incremental": {"kind": "delta"},
                "entity": "company",
                "fields": {"name": "CustomerName"},
            }
        },
    }
