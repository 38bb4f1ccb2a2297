"""``flockiq erase``: what was known of somebody is gone from everywhere, and stays gone."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from flockiq.cli.main import main
from flockiq.shared import rawhistory, wire
from flockiq.shared.alerts import AlertQuery
from flockiq.shared.services import connect
from flockiq.shared.settings import Settings
from tests.erasure.world import HER, MAIL, MARK, TENANT, People, fill, holding, now_us, write_config

HUBS = ["events.db"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The config of the world."""
    return write_config(tmp_path / "config")


@pytest.fixture
async def people(tmp_path: Path, config: Path) -> AsyncIterator[People]:
    """The world, filled."""
    services = connect(Settings(data=tmp_path / "data"))
    world = People(services, config)
    await fill(world)
    yield world
    await services.close()


def run(tmp_path: Path, *arguments: str) -> int:
    """The command, over this test's folders."""
    return main(["erase", *arguments, "--data", str(tmp_path / "data"), "--config", str(tmp_path / "config")])


async def reopened(people: People, tmp_path: Path) -> People:
    """The world again, after a restart."""
    await people.services.close()
    again = People(connect(Settings(data=tmp_path / "data")), tmp_path / "config")
    again.told = people.told
    return again


async def in_thread(*given: object) -> int:
    """The command in a thread, as it runs a loop of its own."""
    import asyncio  # noqa: PLC0415 - one use

    return await asyncio.to_thread(run, *given)  # type: ignore[arg-type]  # as ``run`` takes them


async def test_no_byte_of_her_is_left_in_any_file_but_the_hubs(
    people: People, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """State, alerts, dead letters, raw history, key sets, large bodies and history; the others keep all of theirs."""
    data, services = tmp_path / "data", people.services
    await services.analytics.flush()
    before = set(holding(data))
    assert {"state/logs.db", "alerts.db", "analytics.duckdb", "events.db"} <= {
        name.removesuffix("-wal").removesuffix(".wal") for name in before
    }
    assert sum(name.startswith("blobs/") for name in before) >= 6
    eve = (await people.golden())["eve@example.org"]
    assert eve["city"] == "Turin"
    await services.close()
    assert await in_thread(tmp_path, MAIL, "--json") == 0
    (erasure,) = msgspec.json.decode(capsys.readouterr().out)
    assert set(holding(data)) <= {*HUBS, "events.db-wal"}
    assert erasure["done"]
    assert not erasure["failed"]
    assert erasure["found"] == [f"person {HER}"]
    removed = {(line["store"], line["what"]): line["removed"] for line in erasure["lines"]}
    assert removed["state of merge_changes", "records"] == 2
    assert removed["state of process_resolved", "entities"] == 1
    assert removed["state of process_resolved", "overrides"] == 1
    assert removed["alerts", "alerts with their histories"] >= 1
    assert removed["blobs", "dead letters"] == 2
    assert removed["blobs", "lines of raw history"] == 14 + 1
    assert removed["blobs", "bodies too large for an event"] == 1
    assert removed["blobs", "keys of key sets"] == 2
    assert all(removed["history", f"rows of table {table}"] for table in ("Changes", "Entities", "Deltas", "Alerts"))
    assert next(line for line in erasure["lines"] if line["store"] == "hubs")["remains"]

    again = People(connect(Settings(data=data)), tmp_path / "config")
    await again.work()
    golden = await again.golden()
    assert golden == {"eve@example.org": eve}
    alerts = (await again.services.alerts.query(TENANT, AlertQuery())).alerts
    assert {alert.match_key for alert in alerts} == {"eve@example.org"}
    blobs = [name async for name in rawhistory.blobs_from(again.services.blobs, TENANT, "changes")]
    kept = [line for name in blobs for line in rawhistory.unpacked(name, await again.services.blobs.get(name))]
    assert len(kept) == 2 * (len(people.told) - 14)
    await again.services.close()


async def test_what_is_from_before_does_not_come_back(people: People, tmp_path: Path) -> None:
    """Neither by repetition, nor captured again, nor by a record unknown till then; deletions are dropped as well."""
    before = await people.golden()
    await people.services.close()
    assert await in_thread(tmp_path, MAIL) == 0
    again = await reopened(people, tmp_path)
    await again.publish(people.told)
    old = now_us() - 7_200_000_000
    await again.tell("crm", f"{MARK}-1", old, captured_us=now_us(), mail=MAIL, name=f"{MARK} again", city="x", spent=1)
    await again.tell("shop", f"{MARK}-9", old, mail=MAIL, name=f"{MARK} unknown", city="x", spent=1)
    await again.tell("shop", f"{MARK}-1", now_us(), op="d")
    await again.work()
    assert await again.golden() == {"eve@example.org": before["eve@example.org"]}
    await again.services.close()
    assert await in_thread(tmp_path, MAIL) in (0, 1)
    assert set(holding(tmp_path / "data")) <= {*HUBS, "events.db-wal"}


async def test_what_happens_to_her_afterwards_is_new(people: People, tmp_path: Path) -> None:
    """A later version makes her known again, with what it says and nothing of before; then she can be erased again."""
    await people.services.close()
    assert await in_thread(tmp_path, MAIL) == 0
    again = await reopened(people, tmp_path)
    await again.tell("crm", f"{MARK}-1", now_us(), mail=MAIL, name="Somebody else", city="Porto", spent=1)
    await again.publish(people.told[:4])
    await again.work()
    golden = await again.golden()
    assert golden[MAIL]["name"] == "Somebody else"
    assert golden[MAIL]["city"] == "Porto"
    await again.services.close()
    assert await in_thread(tmp_path, f"crm/people/{MARK}-1") == 0
    assert set(holding(tmp_path / "data")) <= {*HUBS, "events.db-wal"}


async def test_an_unknown_key_is_said_to_be_one(
    people: People, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is removed, and the exit code is 1."""
    before = await people.golden()
    await people.services.close()
    assert await in_thread(tmp_path, "nobody@example.org") == 1
    assert "Nothing was known under this key" in capsys.readouterr().out
    again = await reopened(people, tmp_path)
    await again.work()
    assert await again.golden() == before
    await again.services.close()


async def test_what_the_history_does_not_tell_of_is_said_to_remain(
    people: People, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without it nobody knows by which names raw history and key sets have her; erased by those, nothing is left."""
    await people.services.close()
    for path in (tmp_path / "data").glob("analytics*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert await in_thread(tmp_path, MAIL) == 0
    assert "may hold 2 records" in " ".join(capsys.readouterr().out.split())
    assert any(name.startswith("blobs/raw/") for name in holding(tmp_path / "data"))
    names = (f"crm/people/{MARK}-1", f"shop/people/{MARK}-1")
    assert await in_thread(tmp_path, *names) == 0
    assert set(holding(tmp_path / "data")) <= {*HUBS, "events.db-wal"}


async def test_what_is_too_much_for_one_erasure_is_refused_whole(
    people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A part of it would look like all of it: nothing is erased, and the message says how to go on."""
    monkeypatch.setattr(wire, "MAX_ERASED_NAMES", 1)
    await people.services.close()
    assert await in_thread(tmp_path, MAIL) != 0
    told = " ".join(capsys.readouterr().err.split())
    assert "Erase its records one by one, as source/stream/key" in told
    again = await reopened(people, tmp_path)
    assert MAIL in await again.golden()
    await again.services.close()
