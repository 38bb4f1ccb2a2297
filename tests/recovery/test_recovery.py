"""After a disaster: state brought back from an export, or worked out again from raw history, is what it would be."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flockiq.cli.main import main
from flockiq.local import outcome
from flockiq.local.outcome import Outcome
from flockiq.shared import erasure, rawhistory
from flockiq.shared.archive import Archive
from flockiq.shared.errors import StateCorrupt
from flockiq.shared.instants import rfc3339
from flockiq.shared.keeping import forget_old, keep
from flockiq.shared.replaying import replay
from flockiq.shared.services import connect
from flockiq.shared.settings import Settings
from tests.erasure.world import MAIL, People, fill, holding, now_us, write_config

DAY_US = 86_400_000_000


@pytest.fixture
async def people(tmp_path: Path) -> AsyncIterator[People]:
    """A small world of people in two systems, filled."""
    write_config(tmp_path / "config")
    world = opened(tmp_path, "data")
    await fill(world)
    yield world
    await world.services.close()


def opened(tmp_path: Path, data: str) -> People:
    """The world over a data folder."""
    return People(connect(Settings(data=tmp_path / data)), tmp_path / "config")


async def run(tmp_path: Path, data: str, *arguments: str) -> int:
    """A command over a data folder, in a thread of its own, since it runs a loop of its own."""
    given = [*arguments, "--data", str(tmp_path / data), "--config", str(tmp_path / "config")]
    return await asyncio.to_thread(main, given)


async def more(world: People, number: int) -> None:
    """Something happens: a new person, and one who is known spends more."""
    at = now_us() - 1_000_000 + number
    await world.tell("crm", f"n{number}", at, mail=f"n{number}@example.org", name="New", city="Turin", spent=150)
    await world.tell("shop", "e1", at, mail="eve@example.org", name=f"Eve {number}", city="Lyon", spent=number)


async def ended(world: People) -> Outcome:
    """What the world ends with, once everything is worked off."""
    await world.work()
    return await outcome.read(world.services)


def lose(folder: Path, *names: str) -> None:
    """Some stores of a data folder are gone."""
    for name in names:
        for path in folder.glob(f"{name}*"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


async def test_state_comes_back_over_other_hubs(people: People, tmp_path: Path) -> None:
    """Nothing that waited to be folded is lost or doubled, and both systems go on to the same end."""
    await more(people, 1)  # captured, and waiting
    await people.services.close()
    assert await run(tmp_path, "data", "state", "export", str(tmp_path / "state.zip")) == 0
    (tmp_path / "other").mkdir()
    for file in (tmp_path / "data").glob("analytics.duckdb*"):  # the history is a store of its own
        shutil.copy(file, tmp_path / "other")
    assert await run(tmp_path, "other", "state", "import", str(tmp_path / "state.zip")) == 0
    ends: list[Outcome] = []
    for data in ("data", "other"):
        world = opened(tmp_path, data)
        await world.work()
        await more(world, 1)  # again
        await world.tell("shop", "e1", now_us() - 500_000, mail="eve@example.org", name="Eve 2", city="Lyon", spent=2)
        ends.append(await ended(world))
        assert len((await outcome.versions_captured(world.services)).keys()) > 0
        await world.services.close()
    names = [{key: value[1] for key, value in end.golden_records.items()} for end in ends]  # type: ignore[index]
    assert names[0] == names[1]
    assert ends[0].open_alerts.keys() == ends[1].open_alerts.keys()
    assert ends[0].open_alerts


async def test_an_old_export_catches_up_from_the_hubs(people: People, tmp_path: Path) -> None:
    """Brought in over what went on meanwhile, and folded on, it ends where the system was that never failed."""
    await people.services.close()
    assert await run(tmp_path, "data", "state", "export", str(tmp_path / "state.zip")) == 0
    world = opened(tmp_path, "data")
    await more(world, 1)
    await more(world, 2)
    right = await ended(world)
    await world.services.close()
    refused = await run(tmp_path, "data", "state", "import", str(tmp_path / "state.zip"))
    assert refused == 1
    assert await run(tmp_path, "data", "state", "import", str(tmp_path / "state.zip"), "--force") == 0
    world = opened(tmp_path, "data")
    assert await ended(world) == right
    await world.services.close()


async def test_a_replay_of_raw_history_ends_where_the_system_was(people: People, tmp_path: Path) -> None:
    """State, hubs, alerts, cursors and history are gone: golden records, deltas and open alerts are as they were."""
    await more(people, 1)
    assert await keep(people.services)
    right = await ended(people)
    assert right.open_alerts
    await people.services.close()
    lose(tmp_path / "data", "state", "events.db", "alerts.db", "registry.db", "analytics")
    since = rfc3339(now_us() - DAY_US)
    assert await run(tmp_path, "data", "replay", "--from", since) == 0
    world = opened(tmp_path, "data")
    assert await ended(world) == right
    assert any(record[1]["city"] == "Turin" for record in right.golden_records.values())  # type: ignore[index]
    await world.services.close()
    assert await run(tmp_path, "data", "replay", "--from", since) == 0
    world = opened(tmp_path, "data")
    assert await ended(world) == right
    await world.services.close()


async def test_an_export_from_before_an_erasure_is_no_way_back(
    people: People, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused; whoever insists is told what to erase again, and then nothing of her is left."""
    await people.services.close()
    assert await run(tmp_path, "data", "state", "export", str(tmp_path / "state.zip")) == 0
    assert await run(tmp_path, "data", "erase", MAIL) == 0
    lose(tmp_path / "data", "state", "alerts.db")
    assert await run(tmp_path, "data", "state", "import", str(tmp_path / "state.zip")) == 1
    assert "older than 1 erasures" in capsys.readouterr().err
    assert await run(tmp_path, "data", "state", "import", str(tmp_path / "state.zip"), "--force") == 0
    assert "Erase the same keys again" in capsys.readouterr().out
    monkeypatch.setattr(erasure, "AGAIN_US", 0)
    assert await run(tmp_path, "data", "erase", MAIL) == 0
    assert set(holding(tmp_path / "data")) <= {"events.db", "events.db-wal"}
    world = opened(tmp_path, "data")
    await world.work()
    assert set(await world.golden()) == {"eve@example.org"}
    await world.services.close()


async def test_an_export_and_a_replay_make_up_for_lost_hubs(people: People, tmp_path: Path) -> None:
    """Last night's export, and what was captured since: nothing is missing, nothing is twice."""
    await people.services.close()
    assert await run(tmp_path, "data", "state", "export", str(tmp_path / "state.zip")) == 0
    exported = Archive(tmp_path / "state.zip").manifest.exported_us
    world = opened(tmp_path, "data")
    await more(world, 1)
    assert await keep(world.services)
    right = await ended(world)
    await world.services.close()
    lose(tmp_path / "data", "state", "events.db", "alerts.db", "registry.db")
    assert await run(tmp_path, "data", "state", "import", str(tmp_path / "state.zip")) == 0
    assert await run(tmp_path, "data", "replay", "--from", rfc3339(exported - 10_000_000)) == 0
    world = opened(tmp_path, "data")
    assert await ended(world) == right
    await world.services.close()


async def test_a_damaged_or_unfitting_export_is_refused(people: People, tmp_path: Path) -> None:
    """Before anything is touched: bytes that changed, another number of partitions, a file that is none."""
    await people.services.close()
    file = tmp_path / "state.zip"
    assert await run(tmp_path, "data", "state", "export", str(file)) == 0
    assert Archive(file).manifest.counts["alerts"] > 0
    body = bytearray(file.read_bytes())
    body[len(body) // 3] ^= 1
    (tmp_path / "damaged.zip").write_bytes(body)
    with pytest.raises(StateCorrupt):
        Archive(tmp_path / "damaged.zip")
    (tmp_path / "none.zip").write_bytes(b"PK nothing")
    for name in ("damaged.zip", "none.zip", "missing.zip"):
        assert await run(tmp_path, "empty", "state", "import", str(tmp_path / name)) == 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLOCKIQ_PARTITIONS_CHANGES", "3")
        assert await run(tmp_path, "fewer", "state", "import", str(file)) == 1
    fewer = connect(Settings(data=tmp_path / "fewer", partitions={"changes": 3, "resolved": 4}))
    assert not await fewer.state.logs()
    await fewer.close()


async def test_raw_history_is_kept_once_and_for_its_days(people: People) -> None:
    """Looking again keeps nothing twice; what is older than the days it is kept for goes."""
    assert await keep(people.services)
    names = await people.services.blobs.list("raw/")
    assert await keep(people.services)
    assert await people.services.blobs.list("raw/") == names
    assert await forget_old(people.services, now_us()) == 0
    assert await forget_old(people.services, now_us() + 32 * DAY_US) == len(names)
    assert await people.services.blobs.list("raw/") == []


async def test_a_replay_beside_the_app_ends_and_is_not_kept_once_more(people: People) -> None:
    """Although what comes onto the hubs is kept all the while, and more comes: that is folded as it comes."""
    assert await keep(people.services)
    before = await lines_kept(people)
    paces, parts = 0, list[float]()

    async def pace(_hub: str, _waiting: int) -> None:
        nonlocal paces
        paces += 1
        assert paces < 20
        await more(people, paces)
        await people.work()
        assert await keep(people.services)

    done = await replay(people.services, now_us() - DAY_US, pace, lambda _going, part: parts.append(part))
    assert done.lines == before
    assert parts == sorted(parts)
    assert parts[-1] == 1
    assert await lines_kept(people) == before + 2 * paces


async def lines_kept(people: People) -> int:
    """How many lines raw history holds."""
    blobs = people.services.blobs
    return sum([len(rawhistory.unpacked(name, await blobs.get(name))) for name in await blobs.list(rawhistory.PREFIX)])


async def test_a_replay_brings_back_nothing_that_was_erased(
    people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although the state that refused it is lost, and the hubs still hold it.

    An event of which nothing can be read is a dead letter once more, which erasing once more removes.
    """
    await people.services.close()
    assert await run(tmp_path, "data", "erase", MAIL) == 0
    lose(tmp_path / "data", "state")
    assert await run(tmp_path, "data", "replay", "--from", rfc3339(now_us() - DAY_US)) == 0
    world = opened(tmp_path, "data")
    await world.work()
    assert set(await world.golden()) == {"eve@example.org"}
    await world.services.close()
    left = [name for name in holding(tmp_path / "data") if not name.startswith("events.db")]
    assert all(name.startswith("blobs/dead-letters/default/merge/") for name in left)
    monkeypatch.setattr(erasure, "AGAIN_US", 0)  # how long a second request is answered with the report of the first
    assert await run(tmp_path, "data", "erase", MAIL) == 0
    assert set(holding(tmp_path / "data")) <= {"events.db", "events.db-wal"}
