"""Indexing an app, its settings, and everything that stops a start with a clear sentence."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import azure_functions_runtime.version
import pytest

from flockiq.local.host.errors import HostError
from flockiq.local.host.host import Host
from flockiq.shared.adapters.embedded.events import SqliteEvents
from tests.host.apps import Start

PING = """
@app.route("ping")
async def ping(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("pong")
"""


async def test_the_functions_run_in_microsofts_library(start: Start) -> None:
    """The host names the library and its version, and every function it indexed."""
    running = await start(PING)
    assert running.host.runtime == ("azure-functions-runtime", azure_functions_runtime.version.VERSION)
    assert running.host.url.startswith("http://127.0.0.1:")
    assert {(stats.name, stats.trigger) for stats in running.host.functions.values()} == {("ping", "http")}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import a_module_nobody_wrote", "a_module_nobody_wrote"),
        ("raise RuntimeError('at import')", r"can't be indexed(.|\n)*at import(.|\n)*function_app.py"),
        (
            """
            @app.route("x")
            async def x(req: func.HttpRequest, extra: str) -> func.HttpResponse: ...
            """,
            "extra",
        ),
        ("", "registers no function"),
        (
            """
            @app.queue_trigger(arg_name="msg", queue_name="q", connection="c")
            async def q(msg: func.QueueMessage) -> None: ...
            """,
            "function q has a queueTrigger; this host runs HTTP, timer and Event Hub",
        ),
        (
            """
            @app.event_hub_message_trigger(arg_name="event", event_hub_name="orders", connection="c")
            async def one(event: func.EventHubEvent) -> None: ...
            """,
            "cardinality one",
        ),
        (
            """
            @hub()
            @app.event_hub_output(arg_name="out", event_hub_name="wide", connection="c")
            async def both(events: Events, out: func.Out[str]) -> None: ...
            """,
            "binds 'out' to 'eventHub'",
        ),
        (
            """
            @app.timer_trigger(arg_name="t", schedule="every day")
            async def tick(t: func.TimerRequest) -> None: ...
            """,
            "its schedule 'every day' can't be read: it has 2 fields",
        ),
        (
            'hub("%NOWHERE_HUB%")\n@hub("%NOWHERE_HUB%")\nasync def o(events: Events) -> None: ...',
            "NOWHERE_HUB is not set",
        ),
        (PING + PING.replace("ping(", "other("), "functions ping and other answer the same route"),
    ],
)
async def test_an_app_that_cant_run_stops_with_the_reason(start: Start, source: str, message: str) -> None:
    """Nothing half runs: the error names the function and what is wrong with it."""
    with pytest.raises(HostError, match=message):
        await start(source)


async def test_after_a_failed_start_another_app_can_run(start: Start) -> None:
    """A failed start leaves nothing behind: no port, no lock, no half-indexed app, no path entry."""
    path = list(sys.path)
    with pytest.raises(HostError):
        await start("raise RuntimeError('at import')")
    assert sys.path == path
    running = await start(PING)
    assert list(running.host.functions) == ["ping"]


async def test_a_second_host_in_the_process_is_refused(start: Start, tmp_path: Path) -> None:
    """The worker library keeps one app a process."""
    await start(PING)
    with pytest.raises(HostError, match="one app per process"):
        await start(PING, data=tmp_path / "other")


async def test_a_data_folder_in_use_is_refused(start: Start, data: Path) -> None:
    """Two hosts on one folder would both run every timer and batch."""
    await start(PING)
    with pytest.raises(HostError, match=f"{data} is in use by another run"):
        await start(PING)


async def test_a_port_in_use_is_refused(start: Start) -> None:
    """The error says which port, and how to choose another."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(HostError, match=f"port {port} on 127.0.0.1 can't be used"):
            await start(PING, port=port)


async def test_a_folder_without_an_app_is_refused(tmp_path: Path, events: SqliteEvents) -> None:
    """The host says what it looked for."""
    with pytest.raises(HostError, match=r"holds no function_app\.py"):
        await Host(tmp_path, events=events, data=tmp_path / "data", port=0).start()


def _values(**values: str) -> str:
    return json.dumps({"IsEncrypted": False, "Values": values})


async def test_settings_come_from_the_file_then_the_environment_then_the_caller(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bindings and code see the same values, and the environment is as before when the host stops."""
    monkeypatch.setenv("FROM_ENVIRONMENT", "environment")
    running = await start(
        """
        at_import = {n: os.environ.get(n) for n in ("FROM_FILE", "FROM_ENVIRONMENT", "FROM_CALLER")}

        @hub("%HUB%")
        async def pump(events: Events) -> None: ...
        """,
        files={
            "local.settings.json": _values(FROM_FILE="file", FROM_ENVIRONMENT="file", FROM_CALLER="file", HUB="wide"),
            "local.settings.example.json": _values(FROM_FILE="example"),
        },
        settings={"FROM_CALLER": "caller"},
    )
    assert running.app.at_import == {"FROM_FILE": "file", "FROM_ENVIRONMENT": "environment", "FROM_CALLER": "caller"}
    assert list(await running.host.lag()) == ["wide"]
    await running.host.stop()
    assert "FROM_FILE" not in os.environ
    assert os.environ["FROM_ENVIRONMENT"] == "environment"


async def test_without_local_settings_the_example_counts(start: Start) -> None:
    """A fresh clone runs: local.settings.json is nobody's to commit."""
    running = await start(
        "mine = os.environ['FROM_FILE']\n" + PING,
        files={"local.settings.example.json": _values(FROM_FILE="example")},
    )
    assert running.app.mine == "example"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"local.settings.json": "{"}, r"local\.settings\.json: Input data was truncated"),
        ({"local.settings.json": '{"Values": {"A": 1}}'}, r"Expected `str`, got `int` - at `\$\.Values"),
        ({"local.settings.json": '{"IsEncrypted": true}'}, "is encrypted"),
        ({"host.json": '{"version": "3.0"}'}, 'apps of version "2.0"'),
        ({"host.json": '{"functionTimeout": "soon"}'}, "functionTimeout is 'soon'; it is a time span"),
        ({"host.json": '{"extensions": {"eventHubs": {"maxEventBatchSize": "many"}}}'}, "maxEventBatchSize"),
        ({"host.json": '{"extensions": {"eventHubs": {"minEventBatchSize": 200}}}'}, "minEventBatchSize must be"),
        (
            {"host.json": '{"extensions": {"eventHubs": {"initialOffsetOptions": {"type": "fromEnd"}}}}'},
            "Invalid enum value 'fromEnd' - at `.*initialOffsetOptions.type",
        ),
        ({"local.settings.json": _values(FUNCTIONS_REQUEST_BODY_SIZE_LIMIT="1 MB")}, "is a number of bytes"),
    ],
)
async def test_a_settings_file_that_is_wrong_is_named(start: Start, files: dict[str, str], message: str) -> None:
    """File, field and what is allowed; the app never starts on a guess."""
    with pytest.raises(HostError, match=message):
        await start(PING, files=files)


async def test_a_function_can_be_disabled_by_its_setting(start: Start) -> None:
    """AzureWebJobs.<name>.Disabled works as in Azure."""
    running = await start(PING + PING.replace("ping", "pang"), settings={"AzureWebJobs.pang.Disabled": "true"})
    assert list(running.host.functions) == ["ping"]


async def test_the_event_stream_can_be_given_once_the_app_is_indexed(start: Start, events: SqliteEvents) -> None:
    """App and host share one stream, opened by the app's own settings."""
    order: list[str] = []

    def opened() -> object:
        order.append("function_app" if "function_app" in sys.modules else "nothing")
        return events

    await start(PING, events=opened)
    assert order == ["function_app"]
