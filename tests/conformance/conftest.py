"""Each port's suite runs over every family of adapters that has the port.

A family makes a place for data and opens adapters over it, as often as a test asks: two opened
adapters are two owners, one opened after another was closed is a restart. A new family is one
more entry of FAMILIES; it says of which ports it is. With FLOCKIQ_TEST_PLACE (``tests.endpoints``) the suites
run over the endpoints named there, and over nothing else.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar, Protocol

import pytest

from flockiq.shared.ports import AlertStore, Analytics, Blobs, EventStream, Registry, Secrets, StateStore
from flockiq.shared.services import Services, connect
from flockiq.shared.settings import PORTS, read
from tests.azure.identities import find_here, trust
from tests.endpoints.family import AtPlace
from tests.endpoints.place import named
from tests.peers.key_vault.peer import HOST as VAULT_HOST
from tests.peers.peers import Peers
from tests.peers.storage.azurite import Missing

ROOT = Path(__file__).resolve().parents[2]
PARTITIONS = {"FLOCKIQ_PARTITIONS_CHANGES": "4", "FLOCKIQ_PARTITIONS_FILES": "1"}


class Family(Protocol):
    """What a family of adapters gives its suites."""

    ports: ClassVar[Collection[str]]
    """The ports whose suites run over it."""

    def environment(self) -> Mapping[str, str]:
        """The settings that choose these adapters over this test's data."""
        ...

    async def begin(self) -> None:
        """Called before a test's first adapter is opened."""
        ...

    def apart(self, services: Services) -> Services:
        """Opened services as the test is to see them."""
        ...

    async def set_secret(self, name: str, value: str) -> None:
        """Set a secret as an operator would."""
        ...


class Alone:
    """What is a test's alone from the start."""

    async def begin(self) -> None:
        """See ``Family.begin``."""

    def apart(self, services: Services) -> Services:
        """See ``Family.apart``."""
        return services


class Embedded(Alone):
    """sqlite, DuckDB and folders in a temporary folder."""

    ports: ClassVar[Collection[str]] = PORTS

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, _stack: ExitStack, _port: str) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch
        kept = folder / "secrets.json"
        kept.write_text("{}")
        kept.chmod(0o600)
        monkeypatch.setenv("FLOCKIQ_SECRETS_FILE", str(kept))

    def environment(self) -> Mapping[str, str]:
        """See ``Family.environment``."""
        return {"FLOCKIQ_ADAPTERS": "embedded", "FLOCKIQ_DATA": str(self._folder), **PARTITIONS}

    async def set_secret(self, name: str, value: str) -> None:
        """See ``Family.set_secret``."""
        self._monkeypatch.setenv(f"FLOCKIQ_SECRET_{name.upper().replace('-', '_')}", value)


class Azure(Alone):
    """Microsoft's SDK for one port, against its peer; the other ports are embedded."""

    ports: ClassVar[Collection[str]] = PORTS

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack, port: str) -> None:
        self._embedded = Embedded(folder, monkeypatch, stack, port)
        self._port = port
        self._peers = peers = stack.enter_context(Peers())
        try:
            settings = peers.environment([port])
        except Missing as missing:
            if os.environ.get("CI") == "true":
                pytest.fail(str(missing), pytrace=False)
            pytest.skip(str(missing))
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        if port == "secrets":
            find_here(VAULT_HOST, monkeypatch, port=peers.key_vault.port)
            trust(peers.authority, monkeypatch)

    def environment(self) -> Mapping[str, str]:
        """See ``Family.environment``."""
        return {**self._embedded.environment(), f"FLOCKIQ_ADAPTERS_{self._port.upper()}": "azure"}

    async def set_secret(self, name: str, value: str) -> None:
        """See ``Family.set_secret``."""
        self._peers.key_vault.set(name, value)


FAMILIES: Mapping[str, type[Embedded | Azure]] = {"embedded": Embedded, "azure": Azure}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the suite in test_PORT.py over the families that have that port."""
    if "family" in metafunc.fixturenames:
        port = _port(metafunc.module.__name__)
        place = named()
        if place is not None:
            having = ["place"] if port in place.ports else []
        else:
            having = [name for name, family in FAMILIES.items() if port in family.ports]
        metafunc.parametrize("family", having, indirect=True)


def _port(module: str) -> str:
    return module.rpartition("test_")[2]


@pytest.fixture
def family(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Family]:
    """One family of adapters over data of this test alone."""
    port = _port(request.module.__name__)
    place = named()
    with ExitStack() as stack:
        if place is not None:
            embedded = Embedded(tmp_path, monkeypatch, stack, port).environment()
            yield AtPlace(place, port, embedded, monkeypatch)
        else:
            yield FAMILIES[request.param](tmp_path, monkeypatch, stack, port)


@pytest.fixture
async def another(family: Family) -> AsyncIterator[Callable[[], Services]]:
    """Opens the adapters over the test's data once more; all are closed at the end."""
    opened: list[Services] = []
    await family.begin()

    def open_services() -> Services:
        opened.append(family.apart(connect(read(family.environment()))))
        return opened[-1]

    yield open_services
    for services in opened:
        await services.close()


@pytest.fixture
def set_secret(family: Family) -> Callable[[str, str], Awaitable[None]]:
    """Sets a secret as an operator would."""
    return family.set_secret


@pytest.fixture
def process(family: Family) -> Callable[..., subprocess.Popen[str]]:
    """Starts a script of processes/ over the test's data; its output is a pipe of text."""

    def start(script: str, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(  # noqa: S603 - our own scripts
            [sys.executable, str(Path(__file__).parent / "processes" / script), *arguments],
            env={**os.environ, **family.environment(), "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def events(another: Callable[[], Services]) -> EventStream:
    """An event stream."""
    return another().events


@pytest.fixture
def state(another: Callable[[], Services]) -> StateStore:
    """A state store."""
    return another().state


@pytest.fixture
def alerts(another: Callable[[], Services]) -> AlertStore:
    """An alert store."""
    return another().alerts


@pytest.fixture
def registry(another: Callable[[], Services]) -> Registry:
    """A registry."""
    return another().registry


@pytest.fixture
def analytics(another: Callable[[], Services]) -> Analytics:
    """The analytics."""
    return another().analytics


@pytest.fixture
def secrets(another: Callable[[], Services]) -> Secrets:
    """The secrets."""
    return another().secrets


@pytest.fixture
def blobs(another: Callable[[], Services]) -> Blobs:
    """The blobs."""
    return another().blobs
