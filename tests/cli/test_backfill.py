"""``flockiq sources backfill`` and ``status`` from outside, and the app killed in the middle of a real backfill."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from flockiq.cli import backfill as command
from flockiq.cli.main import main
from flockiq.local import backfill_test
from flockiq.serve.app import application
from flockiq.shared.config.load import config as process_config
from flockiq.shared.services import connect
from flockiq.shared.settings import Settings
from tests.capture.conftest import World
from tests.capture.past import BY_TIME, Past
from tests.capture.peers.server import serve
from tests.capture.peers.shop import Shop, orders

ROOT = Path(__file__).parents[2]
Capsys = pytest.CaptureFixture[str]
MINUTES = 30


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for the shop's file, which the API of this process reads."""
    folder = tmp_path / "config"
    for name in ("sources", "entities", "rules"):
        (folder / name).mkdir(parents=True)
    (folder / "entities" / "order.yaml").write_text("{entity: order, fields: {name: {type: string}}}")
    monkeypatch.setenv("FLOCKIQ_CONFIG", str(folder))
    process_config.cache_clear()
    yield folder
    process_config.cache_clear()


@asynccontextmanager
async def app(
    tmp_path: Path, config: Path, *, broken: bool = False, pause_s: float = 0.05
) -> AsyncIterator[tuple[str, Past]]:
    """The API over real services, and capture working off what it is asked for; its address."""
    shop = Shop(cap=4)
    for minute in range(MINUTES):
        shop.put(minute, minute)
    async with serve(shop.app) as url:
        way = "no-such-way" if broken else "cursor"
        source = orders(url, "cursor", backfill=BY_TIME | {"slice": "365d"}) | {"every": "1h"}
        source["streams"]["orders"]["path"] = way
        (config / "sources" / "shop.yaml").write_text(yaml.safe_dump(source))
        services = connect(Settings(data=tmp_path / "data", config=config))
        world = World(services, source)
        past = Past(world, "shop", "orders")

        async def work() -> None:
            while True:
                await past.step(0.2)
                await asyncio.sleep(pause_s)

        working = asyncio.create_task(work())
        try:
            async with serve(application(lambda: services)) as address:
                yield address, past
        finally:
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await working
            await world.capture.close()
            await services.close()


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    """Wait for what must come soon."""
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - the registry tells nobody
            await asyncio.sleep(0.02)


async def run(*arguments: str) -> int:
    """``flockiq sources …`` in a thread, as a process beside the app; its exit code."""
    return await asyncio.to_thread(main, ["sources", *arguments])


async def test_it_begins_watches_and_ends_when_every_record_is_read(
    tmp_path: Path, config: Path, capsys: Capsys
) -> None:
    """The last line counts what was read; asked for again with a date, it leaves older records alone."""
    async with app(tmp_path, config) as (url, past):
        assert await run("backfill", "shop", "orders", "--url", url) == 0
        told = capsys.readouterr()
        assert f"shop/orders: {MINUTES} records in " in told.out
        assert "100%" in told.err
        await until(lambda: ended(past))
        assert await run("backfill", "shop", "--since", "2026-03-01T10:20:00Z", "--url", url) == 0
        assert "shop/orders: 10 records in" in capsys.readouterr().out
        assert len({change.id for change in await past.world.changes()}) == MINUTES


async def test_slices_that_only_fail_end_the_watching_with_their_reason(
    tmp_path: Path, config: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says why, that the app goes on trying, and how it stands in status; cancelling ends it."""
    monkeypatch.setattr(command, "STUCK_S", 0.5)
    async with app(tmp_path, config, broken=True) as (url, past):
        assert await run("backfill", "shop", "--url", url) == 1
        told = capsys.readouterr().out
        assert re.search(r"shop/orders: \d of \d slices fail: the source answers 404", told)
        assert "goes on trying" in told
        where = ("--config", str(config), "--data", str(tmp_path / "data"))
        await asyncio.to_thread(main, ["sources", "status", *where])
        assert re.search(
            r"backfill: 0 of \d slices, 0 records, \d failing: the source answers 404", capsys.readouterr().out
        )
        assert await run("backfill", "shop", "--cancel", "--url", url) == 0
        assert "shop/orders: cancelled (cancelled by operator) after 0 records" in capsys.readouterr().out
        assert (await past.now()).state == "cancelled"


async def test_ctrl_c_ends_the_watching_and_not_the_backfill(tmp_path: Path, config: Path) -> None:
    """The command says so and how to come back; the app reads on."""
    async with app(tmp_path, config, pause_s=1.0) as (url, past):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "flockiq", "sources", "backfill", "shop", "--url", url),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        await until(past.keeper.all)
        await asyncio.sleep(0.5)  # it watches by now
        process.send_signal(signal.SIGINT)
        out, _ = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 130
        assert "goes on in the app" in out.decode()
        assert (await past.now()).state != "done"
        await until(lambda: ended(past))
        assert (await past.now()).state == "done"


async def ended(past: Past) -> bool:
    """Whether the backfill has, and its slices are gone."""
    return (await past.now()).cleared


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("shop", "--data", "nowhere"), "No FlockIQ runs on nowhere, and a backfill is read by the app: start it"),
        (("shop", "--url", "http://127.0.0.1:9"), "does FlockIQ run there?"),
    ],
)
def test_without_an_app_it_says_how_to_start_one(arguments: tuple[str, ...], says: str, capsys: Capsys) -> None:
    """A sentence, not a traceback."""
    assert main(["sources", "backfill", *arguments]) == 1
    assert says in capsys.readouterr().err


def test_a_date_that_is_none_is_refused(capsys: Capsys) -> None:
    """Before anything is asked."""
    with pytest.raises(SystemExit):
        main(["sources", "backfill", "shop", "--since", "spring"])
    assert "write 2024-01-31" in capsys.readouterr().err


def test_killed_in_the_middle_of_a_backfill_every_record_is_there_once(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real app, killed -9 twice between the first and the last of three thousand records."""
    monkeypatch.setattr(backfill_test, "QUIET_S", 3.0)
    monkeypatch.setenv("FLOCKIQ_LEASE_S", "2")  # what the dead were reading is read again sooner
    assert main(["backfill-test", "--kills", "2", "--records", "3000", "--data", str(tmp_path / "data")]) == 0
    told = capsys.readouterr().out
    assert "kills in the middle of the backfill 2" in told
    assert "records downstream 3,000" in told
    for what in ("missing", "doubled", "not in the source", "different"):
        assert f"{what} 0" in told
