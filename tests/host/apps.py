"""Small function apps to write into a folder, and what a test sees of one that runs."""

from __future__ import annotations

import asyncio
import json
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

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
        self.app: ModuleType = sys.modules["function_app"]  # to see what its functions saw, also after the stop


class Start(Protocol):
    """Write an app and run it; every host is stopped when the test ends."""

    async def __call__(
        self,
        source: str,
        *,
        host: Mapping[str, Any] | None = None,
        files: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Running:
        """``options`` are the Host's."""
        ...


async def eventually(condition: Callable[[], bool | Awaitable[bool]], timeout_s: float = 15) -> None:
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
