"""Runs small function apps in a real host on a real port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from flockiq.local.host.host import Host
from flockiq.shared.adapters.embedded.events import SqliteEvents
from tests.host.apps import HUBS, Running, Start, write_app


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The host's data folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
async def events(data: Path) -> AsyncIterator[SqliteEvents]:
    """An event stream that outlives the hosts of a test."""
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
