"""Small function apps, written into a folder and run by a real host on a real port."""

from __future__ import annotations

import asyncio
import json
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import pytest
from flockiq.local.host.host import Host
from flockiq.shared.adapters.embedded.events import SqliteEvents

HUBS = {"orders": 1, "wide": 3, "files": 1}
HEAD = """\
from __future__ import annotations

import asyncio, os, time, typing
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
Events = typing.List[func.EventHubEvent]


def hub(name="orders", data_type="binary", **more):
    return app.event_hub_message_trigger(
        arg_name="events", event_hub_name=name, connection="EventHub", cardinality="many", data_type=data_type, **more
    )


seen = []
"""


def write_app(
    folder: Path, source: str, *, host: Mapping[str, Any] | None = None, files: Mapping[str, str] | None = None
) -> Path:
    """Write a function app: ``source`` after HEAD, and a host.json without route prefix."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "function_app.py").write_text(HEAD + textwrap.dedent(source))
    settings = {"version": "2.0", "extensions": {"http": {"routePrefix": ""}}, **(host or {})}
    (folder / "host.json").write_text(json.dumps(settings))
    for name, text in (files or {}).items():
        (folder / name).write_text(text)
    return folder


class Running:
    """A host and the module its functions live in."""

    def __init__(self, host: Host, events: SqliteEvents) -> None:
        self.host = host
        self.events = events

    @property
    def app(self) -> ModuleType:
        """The app's module, to see what its functions saw."""
        return sys.modules["function_app"]


class Start(Protocol):
    """Write an app and run it; every host is stopped when the test ends."""

    async def __call__(
        self,
        source: str,
        *,
        host: Mapping[str, Any] | None = None,
        files: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Running: ...


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The host's data folder."""
    return tmp_path / "data"


@pytest.fixture
async def events(data: Path) -> AsyncIterator[SqliteEvents]:
    """An event stream that outlives the hosts of a test."""
    data.mkdir()
    stream = SqliteEvents(data / "events.db", HUBS)
    yield stream
    await stream.close()


@pytest.fixture
async def start(tmp_path: Path, data: Path, events: SqliteEvents) -> AsyncIterator[Start]:
    """See ``Start``."""
    hosts: list[Host] = []

    async def run(
        source: str,
        *,
        host: Mapping[str, Any] | None = None,
        files: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Running:
        app = write_app(tmp_path / f"app{len(hosts)}", source, host=host, files=files)
        given: dict[str, Any] = {"events": events, "data": data, "port": 0, "grace_s": 5, **options}
        running = Host(app, **given)
        hosts.append(running)
        await running.start()
        return Running(running, events)

    yield run
    for running in hosts:
        await running.stop()


async def eventually(condition: Callable[[], bool | Awaitable[bool]], timeout_s: float = 5) -> None:
    """Return once ``condition`` holds; fail the test after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while True:
        holds = condition()
        if not isinstance(holds, bool):
            holds = await holds
        if holds:
            return
        assert time.monotonic() < deadline, "it did not come about in time"
        await asyncio.sleep(0.01)


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., Awaitable[None]]:
    """See ``eventually``."""
    return eventually


@pytest.fixture(name="write_app")
def write_app_fixture() -> Callable[..., Path]:
    """See ``write_app``."""
    return write_app
