"""Updates: this version goes on where the one before stopped, and beside it while both are alive."""

from __future__ import annotations

import asyncio
import tarfile
import time
from collections.abc import Awaitable, Callable
from itertools import chain
from pathlib import Path

import msgspec
import pytest
import zstandard

from flockiq.cli.hold import free_port
from flockiq.local import outcome
from flockiq.local.compared import Report, compared
from flockiq.local.folding import shares
from flockiq.local.host.checkpoints import RegistryCheckpoints
from flockiq.local.lives import LOG, ROOT, App
from flockiq.local.outcome import Outcome
from flockiq.local.replay import replay
from flockiq.local.samples import systems
from flockiq.local.samples.serve import SECRETS
from flockiq.local.settled import opened, settled
from flockiq.shared.alerts import OPEN, AlertQuery
from flockiq.shared.config.load import load
from flockiq.shared.errors import TransientError
from flockiq.shared.owner import NO_INPUT, OLDEST_READ, STATE_VERSION, Frame, Input
from flockiq.shared.services import Services, connect
from flockiq.shared.settings import CONSUMER_GROUP, HUBS, PORTS
from tests.azure.storm.weather import Weather, weather
from tests.peers.storage.azurite import Missing, azurite
from tests.update.before import APP, LEFT, Left, fold, settings_of

SEED = 11
ALONE_S, TOGETHER_S, PATIENCE_S = 6.0, 12.0, 120.0


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """What the version before left when it was stopped half-way."""
    with tarfile.open(LEFT) as archive:
        archive.extractall(tmp_path / "left", filter="data")
    return tmp_path / "left"


def about(left: Path) -> Left:
    """What the version before says of what it left."""
    return msgspec.json.decode((left / "left.json").read_bytes(), type=Left)


async def finish(services: Services, left: Path) -> None:
    """Fold what the version before had not."""
    inputs = about(left).inputs
    for share in chain(*(await shares(services, load(left / "config", {}))).values()):
        end = (await services.events.bounds(share.hub, share.partition)).end
        await fold(services, share, inputs[share.owner.name] + 1, end)
        assert share.owner.input == end - 1


async def right(left: Path, services: Services, target: Path) -> Outcome:
    """What a clean replay of all that is on the hub ends with."""
    clean = await replay(services.events, load(left / "config", {}), services.settings, target)
    try:
        return await outcome.read(clean)
    finally:
        await clean.close()


async def test_what_the_version_before_left_is_carried_on(left: Path, tmp_path: Path) -> None:
    """Its snapshots, entries, events, alerts, history and config are read: the end is that of a clean replay."""
    services = connect(settings_of(left / "data"))
    try:
        await finish(services, left)
        found = await outcome.read(services)
        expected = await right(left, services, tmp_path / "clean")
    finally:
        await services.close()
    assert all(expected)
    for what in Outcome._fields:
        assert getattr(found, what) == getattr(expected, what), what


async def test_without_the_state_that_was_left_alerts_would_open_twice(left: Path) -> None:
    """So that the test above means something."""
    (left / "data" / "state" / "logs.db").unlink()
    services = connect(settings_of(left / "data"))
    try:
        await finish(services, left)
        with pytest.raises(AssertionError, match="two open alerts"):
            await outcome.read(services)
    finally:
        await services.close()


async def test_state_of_a_newer_version_is_left_to_it(left: Path) -> None:
    """The older one, while both are alive, folds nothing and says why; its batch comes again."""
    services = connect(settings_of(left / "data"))
    try:
        owner = (await shares(services, load(left / "config", {})))["changes"][0].owner
        read = await services.state.read(owner.name)
        newer = Frame(version=STATE_VERSION + 1, commit=1, input=0, published=0, body=b"what only a newer one can read")
        await services.state.append(owner.name, zstandard.compress(msgspec.msgpack.encode(newer)), read.version)
        event = (await services.events.read("changes", 0, 0, 1))[0]
        with pytest.raises(TransientError, match=f"state of version {STATE_VERSION + 1}, .*finish the update"):
            await owner.process([Input(event.sequence, event.body)])
        assert owner.input == NO_INPUT
    finally:
        await services.close()


async def test_state_of_a_version_that_is_no_longer_read_is_refused(left: Path) -> None:
    """It says what to do, and folds nothing onto it."""
    services = connect(settings_of(left / "data"))
    try:
        owner = (await shares(services, load(left / "config", {})))["changes"][0].owner
        read = await services.state.read(owner.name)
        older = Frame(version=OLDEST_READ - 1, commit=1, input=0, published=0, body=b"what is no longer read")
        await services.state.append(owner.name, zstandard.compress(msgspec.msgpack.encode(older)), read.version)
        event = (await services.events.read("changes", 0, 0, 1))[0]
        with pytest.raises(
            TransientError, match=f"state of version {OLDEST_READ - 1}, .*Deploy the version that wrote"
        ):
            await owner.process([Input(event.sequence, event.body)])
        assert owner.input == NO_INPUT
    finally:
        await services.close()


class Versions:
    """The version before and this one as apps on the same services, each with a data folder and a port of its own."""

    def __init__(self, sky: Weather, folder: Path, port: int) -> None:
        self._folder = folder
        self._sky = sky
        self._port = port
        with tarfile.open(APP) as archive:
            archive.extractall(folder / "before", filter="data")

    def before(self) -> App:
        """The version before: its code, its config, and the port that webhooks go to."""
        root = self._folder / "before"
        given = ("--seed", str(SEED))
        return App(self._folder / "data", root / "config", self._port, given, self._environment, root)

    def this(self, name: str, port: int) -> App:
        """This version, beside it."""
        data = self._folder / name
        data.mkdir()
        environment = {**self._environment, **systems.environment_of(self._folder / "data")}
        return App(data, ROOT / "config", port, ("--no-samples",), environment)

    @property
    def _environment(self) -> dict[str, str]:
        chosen = {f"FLOCKIQ_ADAPTERS_{port.upper()}": "azure" for port in PORTS}
        return {**self._sky.environment, **chosen}


@pytest.mark.slow
@pytest.mark.timeout(420)
async def test_a_running_system_is_updated_under_load(tmp_path: Path) -> None:
    """Both versions are alive for a while and share the partitions; nothing is lost, and nothing is told twice."""
    try:
        azurite()
    except Missing as missing:
        pytest.skip(str(missing))
    report = await updated(tmp_path)
    assert not report.untested
    assert report.total == 0, report.differences


async def updated(folder: Path) -> Report:
    """Update a system that the sample systems keep busy; what it ended with, compared."""
    data, port = folder / "data", free_port(0)
    data.mkdir()
    async with weather(list(PORTS), folder / "peers.log") as sky:
        for system, secret in systems.secrets_of(data).items():
            await sky.keep({SECRETS[system].removeprefix("FLOCKIQ_SECRET_").lower().replace("_", "-"): secret})
        versions = Versions(sky, folder, port)
        before = versions.before()
        await systems.start(data, SEED, f"http://127.0.0.1:{port}", rate=4.0)
        try:
            async with before.alive() as old:
                await _until(before, _folded, "the version before folds nothing")
                beside = versions.this("beside", free_port(0))
                async with beside.alive() as new:
                    await _until(beside, _shared, "the versions never share a hub's partitions")
                    await asyncio.sleep(TOGETHER_S)
                    await before.end(old)
                    successor = before._replace(config=beside.config, root=beside.root)
                    async with successor.alive() as last:
                        await asyncio.sleep(ALONE_S)
                        await beside.end(new)
                        await _until(successor, _alerting, "no alert is open")
                        await settled(successor, last)
                        await successor.end(last)
        finally:
            await systems.stop(data)
        return await compared(successor, lambda: None)


async def _until(app: App, happens: Callable[[Services], Awaitable[bool]], otherwise: str) -> None:
    """Return once it does, for the services of ``app``."""
    services = opened(app)
    deadline = time.monotonic() + PATIENCE_S
    try:
        while not await happens(services):
            assert time.monotonic() < deadline, f"{otherwise}; {app.data / LOG} may say why"
            await asyncio.sleep(0.5)
    finally:
        await services.close()


async def _folded(services: Services) -> bool:
    """Golden records have been told."""
    return any([(await services.events.bounds("entities", one)).end > 0 for one in range(HUBS["entities"])])


async def _shared(services: Services) -> bool:
    """Two hosts hold partitions of one hub."""
    held = await RegistryCheckpoints(services.registry).list_ownership("", "changes", CONSUMER_GROUP)
    return len({one["owner_id"] for one in held} - {""}) > 1


async def _alerting(services: Services) -> bool:
    """An alert is open that the comparison counts."""
    page = await services.alerts.query(services.settings.tenant, AlertQuery(statuses=OPEN, limit=200))
    return any(alert.kind not in outcome.BY_THE_CLOCK for alert in page.alerts)
