"""Tidewater is connected by YAML alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from flockiq.cli.main import main
from flockiq.shared import wire
from tests.unseen.conftest import CONFIG, Served
from tests.unseen.tidewater import Tidewater


async def test_everything_is_read_page_by_page(tidewater: Served[Tidewater], tmp_path: Path) -> None:
    """Every client once, at the instant it was changed; the archived one is a deletion; the token is exchanged once."""
    peer = tidewater.peer
    async with tidewater.open() as it:
        await it.poll()
        assert (await it.status("tidewater", "clients")).error == ""
        changes = await it.changes()
    assert [(change.data.key, change.data.op) for change in changes] == [
        *[(f"c_{number}", "r") for number in range(1, 9)],
        ("c_9", "d"),
    ]
    assert changes[0].time == "2026-03-01T10:19:00.000000Z"
    assert (peer.exchanges, len(peer.requests)) == (1, 3)
    assert json.loads((tmp_path / "secrets.json").read_text()) == {"tidewater-refresh": "rt-1"}


async def test_later_reads_ask_from_the_greatest_time_on(tidewater: Served[Tidewater]) -> None:
    """Pages come by id, so the greatest time is not the last; archiving is a deletion."""
    peer = tidewater.peer
    async with tidewater.open() as it:
        await it.poll()
        peer.put(5, minute=40, legal={"title": "Renamed", "vat": "US5"})
        peer.put(2, minute=41, archived=True)
        await it.poll()
        changes = (await it.changes())[9:]
        final = await it.final()
    asked = peer.requests[3].query_params
    assert (asked["filter[changed_from]"], asked["filter[archived]"]) == ("2026-03-01T10:17:00Z", "include")
    assert [(change.data.key, change.data.op) for change in changes] == [("c_2", "d"), ("c_5", "r")]
    assert final["c_5"]["attributes"]["legal"]["title"] == "Renamed"
    assert len(final) == 7


async def test_an_access_token_that_ran_out_is_exchanged_once(tidewater: Served[Tidewater]) -> None:
    """401 in the middle: the next refresh token is kept, and the read goes on."""
    peer = tidewater.peer
    async with tidewater.open() as it:
        await it.poll()
        peer.access_token = "withdrawn"
        peer.put(1, minute=50)
        await it.poll()
        assert (await it.status("tidewater", "clients")).error == ""
        assert (await it.changes())[-1].data.key == "c_1"
    assert peer.exchanges == 2


async def test_a_cursor_that_expired_begins_the_read_again(tidewater: Served[Tidewater]) -> None:
    """In the first read, half of it done: nothing is lost or told twice."""
    peer = tidewater.peer
    async with tidewater.open() as it:
        peer.oldest_cursor = 2
        await it.poll()
        status = await it.status("tidewater", "clients")
        assert status.outcome == "resynced"
        assert len(await it.final()) == 8
        await it.poll()
        assert (await it.status("tidewater", "clients")).error == ""


async def test_reading_stops_before_the_allowance_is_used_up(tidewater: Served[Tidewater]) -> None:
    """A tenth is left to others, until the reset that its header names."""
    peer = tidewater.peer
    peer.left = 100
    async with tidewater.open() as it:
        await it.poll()
        status = await it.status("tidewater", "clients")
        assert (status.outcome, status.quota_left, status.quota_of) == ("unavailable", 100, 1_000)
        assert status.retry_at_us - it.capture.now_us() > 20_000_000
        assert len(peer.requests) == 1


async def test_being_told_to_wait_until_a_date_is_heeded(tidewater: Served[Tidewater]) -> None:
    """429 with Retry-After as a date."""
    peer = tidewater.peer
    peer.left = 0
    async with tidewater.open() as it:
        it.capture.sources["tidewater"] = it.capture.sources["tidewater"].model_copy(
            update={"limits": it.capture.sources["tidewater"].limits.model_copy(update={"quota": None})}
        )
        await it.poll()
        status = await it.status("tidewater", "clients")
    assert status.outcome == "unavailable"
    assert "answers 429" in status.error
    assert status.retry_at_us - it.capture.now_us() > 20_000_000


async def test_pages_that_run_in_a_circle_are_seen(tidewater: Served[Tidewater]) -> None:
    """A cursor that was followed before ends the read with an error, not never."""
    tidewater.peer.circle = True
    async with tidewater.open() as it:
        await it.poll()
        assert "run in a circle" in (await it.status("tidewater", "clients")).error
    assert len(tidewater.peer.requests) <= 3


@pytest.mark.parametrize("attributes", [{"changed_at": "gestern"}, {"changed_at": {"at": 1}}])
async def test_a_client_without_a_usable_time_is_set_aside_alone(
    tidewater: Served[Tidewater], attributes: dict[str, Any]
) -> None:
    """The others are told."""
    tidewater.peer.clients["c_4"] |= attributes
    async with tidewater.open() as it:
        await it.poll()
        assert len(await it.changes()) == 8
        letters = await it.letters()
    assert [letter["Field"] for letter in letters] == ["attributes.changed_at"]


@pytest.mark.usefixtures("tidewater")
async def test_the_commands_work_on_it(sources: Callable[..., Any], tmp_path: Path) -> None:
    """check, read, and discover from a stub that knows no fields."""
    code, said = await sources("check", "tidewater")
    assert (code, "FAIL" in said, "5 of 5 records read" in said) == (0, False, True), said
    code, said = await sources("read", "tidewater", "clients", "--limit", "3")
    changes = [msgspec.json.decode(line, type=wire.Change) for line in said.splitlines()]
    assert (code, [change.data.key for change in changes]) == (0, ["c_1", "c_2", "c_3"])
    assert changes[0].time == "2026-03-01T10:19:00.000000Z"
    config = tmp_path / "config"
    shutil.copytree(CONFIG, config)
    written = yaml.safe_load((CONFIG / "sources" / "tidewater.yaml").read_text("utf-8"))
    for name in ("modified", "incremental", "deleted_when"):
        del written["streams"]["clients"][name]
    written["streams"]["clients"] |= {"primary_key": ["number"], "fields": {"name": "title"}}
    (config / "sources" / "tidewater.yaml").write_text(yaml.safe_dump(written))
    code, said = await sources("discover", "tidewater", config=config)
    assert (code, "# clients: key id; " in said) == (0, True), said
    for part in said[said.index("# config/sources/") :].split("---\n"):
        place = part.splitlines()[0].removeprefix("# config/")
        (config / place).write_text(part)
    assert main(["check", "--config", str(config)]) == 0
    code, said = await sources("check", "tidewater", config=config)
    assert (code, "FAIL" in said) == (0, False), said
