"""Kontor is connected by YAML alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from starlette.responses import JSONResponse, Response

from flockiq.cli.main import main
from flockiq.shared import wire
from tests.unseen.conftest import CONFIG, Served, source
from tests.unseen.kontor import Kontor


@pytest.mark.parametrize("version", ["4.0", "4.01"])
async def test_everything_is_read_page_by_page_in_either_version(kontor: Served[Kontor], version: str) -> None:
    """Every partner, voucher and store once, at the instant its warehouse wrote, whatever its offset."""
    peer = kontor.peer
    peer.newest_version = version
    async with kontor.open() as it:
        await it.poll()
        changes = await it.changes()
        for stream in ("partners", "vouchers", "stores", "north"):
            assert (await it.status("kontor", stream)).error == ""
        found = {
            stream: sorted(change.data.key for change in changes if change.data.stream == stream)
            for stream in ("partners", "vouchers", "stores", "north")
        }
    assert found["partners"] == [f"100/P%2F{number}" for number in range(1, 8)]
    assert found["vouchers"] == ["1", "2", "3", "4"]
    assert found["stores"] == ["L1", "L2", "L3", "L4", "L5"]
    assert found["north"] == [f"100/P%2F{number}" for number in (1, 3, 5, 7)]
    first = next(change for change in changes if change.data.key == "100/P%2F1" and change.data.stream == "partners")
    assert first.time == "2026-03-01T10:01:00.000250Z"
    assert not any(name.startswith("@") for name in msgspec.json.decode(first.data.after))


@pytest.mark.parametrize("version", ["4.0", "4.01"])
async def test_changes_and_removals_come_by_delta_link(kontor: Served[Kontor], version: str) -> None:
    """A removed entity is told by its reference, or by its key alone; composite keys, and numbers."""
    peer = kontor.peer
    peer.newest_version = version
    async with kontor.open("partners", "vouchers") as it:
        await it.poll()
        before = len(await it.changes())
        asked = len(peer.requests)
        peer.put("Partner", 30, Mandant="100", Nummer="P/2", Bezeichnung="Umbenannt", Region="Nord")
        for number in (1, 4, 5, 6):
            peer.remove("Partner", Mandant="100", Nummer=f"P/{number}")
        peer.remove("Belege", id=2)
        peer.remove("Belege", id=3)
        await it.poll()
        changes = (await it.changes())[before:]
        assert await it.letters() == []
    told = {(change.data.stream, change.data.key): change.data.op for change in changes}
    assert told == {
        ("partners", "100/P%2F2"): "r",
        **{("partners", f"100/P%2F{number}"): "d" for number in (1, 4, 5, 6)},
        ("vouchers", "2"): "d",
        ("vouchers", "3"): "d",
    }
    assert all("token" in str(request.url) for request in peer.requests[asked:])


async def test_what_is_not_tracked_is_read_by_time_and_counted(kontor: Served[Kontor]) -> None:
    """From the greatest time seen less the look back; deletions are found at every second read."""
    peer = kontor.peer
    async with kontor.open("stores") as it:
        await it.poll()
        peer.put("Lagerorte", 40, Code="L2", Bestand=20)
        peer.remove("Lagerorte", Code="L4")
        await it.poll()
        asked = peer.requests[-1].query_params["$filter"]
        assert [(c.data.op, c.data.key) for c in (await it.changes())[5:]] == [("r", "L2")]
        await it.poll()
        await it.poll()
        final = await it.final()
        status = await it.status("kontor", "stores")
    assert asked.startswith("GeaendertAm ge 2026-03-01T10:03:00.000250Z and GeaendertAm le ")
    assert status.error == ""
    assert sorted(final) == ["L1", "L2", "L3", "L5"]
    assert final["L2"]["Bestand"] == 20


async def test_a_stream_that_asks_for_tracking_and_gets_none_says_so(
    kontor: Served[Kontor], world: Callable[..., Any]
) -> None:
    """Without Preference-Applied a delta link would lose changes: what its config asks for is refused, with advice."""
    stores = source("kontor", "stores")
    stores["streams"]["stores"] |= {"incremental": {"kind": "delta"}, "query": {}}
    async with world(stores, environment=dict(os.environ)) as it:
        await it.poll()
        assert "does not confirm change tracking" in (await it.status("kontor", "stores")).error
    assert kontor.peer.requests[0].headers["prefer"].startswith("odata.track-changes")


async def test_an_expired_delta_link_is_a_full_read_that_finds_what_was_deleted(kontor: Served[Kontor]) -> None:
    """410: announced, and nothing stays that is not there."""
    peer = kontor.peer
    async with kontor.open("partners") as it:
        await it.poll()
        peer.remove("Partner", Mandant="100", Nummer="P/3")
        peer.oldest = 10_000
        await it.poll()
        status = await it.status("kontor", "partners")
        assert status.outcome == "resynced"
        assert sorted(await it.final()) == [f"100/P%2F{number}" for number in (1, 2, 4, 5, 6, 7)]
        peer.oldest = 0
        peer.put("Partner", 50, Mandant="100", Nummer="P/9", Bezeichnung="Neu", Region="Nord")
        await it.poll()
        assert "100/P%2F9" in await it.final()


async def test_being_told_to_wait_is_heeded(kontor: Served[Kontor]) -> None:
    """429 with Retry-After in seconds: soon is waited for, later is left alone until then."""
    peer = kontor.peer
    error = {"error": {"code": "429", "message": "Zu viele Anfragen"}}
    peer.answers = [
        None,
        JSONResponse(error, 429, {"Retry-After": "0"}),
        None,
        JSONResponse(error, 429, {"Retry-After": "120"}),
    ]
    async with kontor.open("partners") as it:
        await it.poll()
        status = await it.status("kontor", "partners")
        assert status.outcome == "unavailable"
        assert status.retry_at_us - it.capture.now_us() > 100_000_000
        assert len(peer.requests) == 4


async def test_pages_that_run_in_a_circle_are_seen(kontor: Served[Kontor]) -> None:
    """A next link that was followed before ends the read with an error, not never."""
    peer = kontor.peer
    peer.circle = True
    async with kontor.open("partners") as it:
        await it.poll()
        assert "run in a circle" in (await it.status("kontor", "partners")).error
    assert len(peer.requests) <= 4


async def test_a_truncated_count_is_not_believed(kontor: Served[Kontor]) -> None:
    """$count says five and the pages hold four: said, and read again."""
    peer = kontor.peer
    row = {"Code": "L1", "Bestand": 1, "GeaendertAm": "2026-03-01T15:31:00+05:30"}
    peer.answers = [JSONResponse({"@count": 5, "value": [row]}, headers={"OData-Version": "4.01"})]
    async with kontor.open("stores") as it:
        await it.poll()
        assert "the source says there are 5" in (await it.status("kontor", "stores")).error


@pytest.mark.usefixtures("kontor")
async def test_the_commands_work_on_it(sources: Callable[..., Any], tmp_path: Path) -> None:
    """check, read, and discover from a file with the connection and one made up stream."""
    code, said = await sources("check", "kontor")
    assert (code, "FAIL" in said) == (0, False), said
    assert said.count("records read") == 4
    code, said = await sources("read", "kontor", "partners", "--limit", "5")
    changes = [msgspec.json.decode(line, type=wire.Change) for line in said.splitlines()]
    assert (code, len(changes)) == (0, 5)
    config = tmp_path / "config"
    shutil.copytree(CONFIG, config)
    stub = yaml.safe_load((CONFIG / "sources" / "kontor.yaml").read_text("utf-8"))
    made_up = {"path": "Nothing", "primary_key": ["x"], "entity": "company", "fields": {"name": "x"}}
    (config / "sources" / "kontor.yaml").write_text(yaml.safe_dump(stub | {"streams": {"x": made_up}}))
    code, said = await sources("discover", "kontor", config=config)
    assert (code, "# Belege: key id; 5 columns" in said) == (0, True), said
    for part in said[said.index("# config/sources/") :].split("---\n"):
        place = part.splitlines()[0].removeprefix("# config/")
        (config / place).write_text(part)
    assert main(["check", "--config", str(config)]) == 0
    code, said = await sources("check", "kontor", config=config)
    assert (code, said.count("records read")) == (0, 3), said


async def test_a_refusal_says_what_the_service_said(kontor: Served[Kontor]) -> None:
    """In the words of its error's message."""
    kontor.peer.answers = [Response('{"error":{"code":"X","message":"Wartung bis 14 Uhr"}}', 400)]
    async with kontor.open("partners") as it:
        await it.poll()
        assert "Wartung bis 14 Uhr" in (await it.status("kontor", "partners")).error
