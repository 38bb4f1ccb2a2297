"""A Functions host for one machine: runs any v2-model Python app as Azure's host would.

The functions run in Microsoft's own worker library (``runtime.py``); what that library leaves to
the host is here: settings, HTTP, timers, Event Hub batches, retries, checkpoints, time limits. The
library keeps one app per process, so there is one running ``Host`` per process.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from flockiq.local.host import keys as access
from flockiq.local.host import settings as app_settings
from flockiq.local.host.errors import HostError
from flockiq.local.host.files import HUB as FILES_HUB
from flockiq.local.host.files import Watcher
from flockiq.local.host.functions import EventHubTrigger, Function, TimerTrigger, declared
from flockiq.local.host.hubs import Feed, feeding
from flockiq.local.host.invoker import Invoker
from flockiq.local.host.ledger import Ledger
from flockiq.local.host.pumps import Pump
from flockiq.local.host.routes import Router
from flockiq.local.host.runtime import VERSION, Runtime, RuntimeVersion
from flockiq.local.host.server import LOOPBACK, WebServer, listen
from flockiq.local.host.stats import FunctionStats, PartitionStats
from flockiq.local.host.timers import Timer
from flockiq.local.host.web import WebApp
from flockiq.local.host.workers import Workers, started
from flockiq.shared.ports import Blobs, EventStream, Registry

log = logging.getLogger("flockiq.host")


class Host:
    """One function app, running.

    ``events`` is the stream Event Hub triggers read, or a callable that gives it once the app is
    indexed (so that the app and the host share one). ``data`` is the folder of what the host keeps.
    App settings come from ``settings``, then the environment, then local.settings.json.
    ``workers`` are settings of the worker processes alone, if the settings ask for more than one.
    ``checkpoints`` gives the registry that hosts of one Event Hubs namespace share.
    ``blobs`` gives what the app reads files from, where that is not ``data``'s own folder.
    ``open_on_loopback`` lets callers on this machine in without a key. Port 0 takes a free one.
    """

    def __init__(
        self,
        app: Path,
        *,
        events: EventStream | Callable[[], EventStream],
        data: Path,
        port: int = 7071,
        settings: Mapping[str, str] | None = None,
        workers: Mapping[str, str] | None = None,
        open_on_loopback: bool = True,
        grace_s: float = 30,
        checkpoints: Callable[[], Registry] | None = None,
        blobs: Callable[[], Blobs] | None = None,
    ) -> None:
        self._app = app.resolve()
        self._events = events
        self._data = data
        self._port = port
        self._settings = dict(settings or {})
        self._of_workers = dict(workers or {})
        self._open = open_on_loopback
        self._grace_s = grace_s
        self._checkpoints = checkpoints
        self._blobs = blobs
        self._stopping = asyncio.Event()
        self._closing = asyncio.Lock()
        self._ended: asyncio.Future[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._pumps: list[Pump | Feed] = []
        self._closers: list[Callable[[], object]] = []
        self._server: WebServer | None = None
        self._invoker: Invoker | None = None
        self._processes: Workers | None = None

    @property
    def url(self) -> str:
        """Where HTTP functions are reached."""
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def runtime(self) -> RuntimeVersion:
        """The library the functions run in."""
        return VERSION

    @property
    def workers(self) -> Sequence[int]:
        """The worker processes, by id; none when functions run in this one."""
        return self._processes.pids if self._processes else []

    @property
    def functions(self) -> Mapping[str, FunctionStats]:
        """What every function has done so far, by name."""
        return self._invoker.stats if self._invoker else {}

    async def lag(self) -> Mapping[str, int]:
        """Events not yet checkpointed, per hub; with several functions on a hub, the slowest one's."""
        behind: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for partition in await self.partitions():
            behind[partition.hub][partition.function] += partition.lag
        return {hub: max(functions.values()) for hub, functions in behind.items()}

    async def partitions(self) -> Sequence[PartitionStats]:
        """How far every function is in every partition it reads."""
        return [stats for pump in self._pumps for stats in await pump.stats()]

    async def start(self) -> None:
        """Index the app, open HTTP, start timers and pumps. HostError, with nothing left open, if it can't run."""
        try:
            await self._start()
        except BaseException:
            await self._close()
            raise

    async def stop(self) -> None:
        """Take no new work, let what is under way finish within the grace, cancel the rest, close."""
        self._stopping.set()
        async with self._closing:  # a second caller waits for the first, and closes nothing under its feet
            await self._close()

    async def ended(self) -> None:
        """Wait until the host has stopped. An error that ends part of it, and so ought to end it, is raised."""
        if self._ended is None:
            raise HostError("the host has not started.")
        await asyncio.shield(self._ended)

    async def _start(self) -> None:
        self._ended = asyncio.get_running_loop().create_future()
        host_json = app_settings.read_host_json(self._app)
        listener = listen(self._port)  # a port that is taken should not cost an indexing first
        self._closers.append(listener.close)
        self._port = listener.getsockname()[1]
        ledger = Ledger(self._data)
        self._closers.append(ledger.close)
        settings = self._apply_settings()
        runtime = Runtime()
        self._closers.append(runtime.close)
        functions = await self._index(runtime, settings)
        self._processes = await started(self._app, settings, self._of_workers)
        self._invoker = Invoker(runtime, functions, host_json.timeout_s, self._stopping, self._processes)
        router = Router(list(functions.values()), host_json.extensions.http.route_prefix)
        events = self._events() if callable(self._events) else self._events
        timers, pumps, watchers = await self._workers(functions, events, ledger, host_json.extensions.event_hubs)
        web = WebApp(
            router,
            self._invoker,
            access.read(self._data),
            port=self._port,
            open_on_loopback=self._open,
            body_limit=app_settings.body_limit(settings),
            most=host_json.extensions.http.max_outstanding_requests,
        )
        server = WebServer(web, listener, self._grace_s)
        await server.start()
        self._server = server
        self._pumps = pumps
        for work in [*(t.run() for t in timers), *(p.run() for p in pumps), *(w.run() for w in watchers)]:
            self._supervise(work)
        log.info("%d functions run at %s", len(functions), self.url)

    async def _index(self, runtime: Runtime, settings: Mapping[str, str]) -> Mapping[str, Function]:
        functions: dict[str, Function] = {}
        for metadata in await runtime.index(self._app):
            function = declared(metadata, settings, is_async=runtime.is_async(metadata.function_id))
            if function is None:
                log.warning("%s is disabled by an app setting", metadata.name)
            else:
                functions[function.name] = function
        return functions

    async def _workers(
        self,
        functions: Mapping[str, Function],
        events: EventStream,
        ledger: Ledger,
        limits: app_settings.EventHubs,
    ) -> tuple[list[Timer], list[Pump | Feed], list[Watcher]]:
        assert self._invoker is not None  # noqa: S101 - made just before
        invoker, stopping = self._invoker, self._stopping
        timers: list[Timer] = []
        pumps: list[Pump | Feed] = []
        readers: dict[tuple[str, str], str] = {}
        for function in functions.values():
            trigger = function.trigger
            if isinstance(trigger, TimerTrigger):
                timers.append(Timer(function, trigger, ledger=ledger, invoker=invoker, stopping=stopping))
            elif isinstance(trigger, EventHubTrigger):
                other = readers.setdefault((trigger.hub, trigger.consumer_group), function.name)
                if other != function.name:
                    raise HostError(
                        f"functions {other} and {function.name} read hub {trigger.hub} in the same consumer group, "
                        "where each event goes to one of them only; give each a group of its own."
                    )
                pumps += await feeding(
                    function,
                    trigger,
                    events=events,
                    ledger=ledger,
                    registry=self._checkpoints,
                    invoker=invoker,
                    limits=limits,
                    stopping=stopping,
                )
        hears_of_files = any(hub == FILES_HUB for hub, _ in readers)
        blobs = self._blobs() if self._blobs and hears_of_files else None
        watchers = [Watcher(self._data, events, ledger, stopping, blobs)] if hears_of_files else []
        return timers, pumps, watchers

    def _apply_settings(self) -> Mapping[str, str]:
        """Put the app settings where the app reads them: the environment, until the host stops."""
        before = dict(os.environ)
        given = {**app_settings.read_local_settings(self._app), **before, **self._settings}
        changed = {name: value for name, value in given.items() if before.get(name) != value}
        os.environ.update(changed)

        def restore() -> None:
            for name in changed:
                if name in before:
                    os.environ[name] = before[name]
                else:
                    os.environ.pop(name, None)

        self._closers.append(restore)
        return given

    def _supervise(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.append(task)

        def ended(task: asyncio.Task[None]) -> None:
            error = None if task.cancelled() else task.exception()
            if error is not None and self._ended is not None and not self._ended.done():
                log.error("part of the host ended on an error: %s: %s", type(error).__name__, error)
                self._ended.set_exception(error)

        task.add_done_callback(ended)

    async def _close(self) -> None:
        tasks, self._tasks, self._pumps = self._tasks, [], []
        server, self._server = self._server, None
        http = [asyncio.create_task(server.stop())] if server else []
        if tasks or http:
            _, late = await asyncio.wait({*tasks, *http}, timeout=self._grace_s)
            for name, stats in self.functions.items():
                if stats.running:
                    log.warning("%s is still running after %g s of grace: it is given up", name, self._grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, *http, return_exceptions=True)
        if self._processes is not None:
            await self._processes.stop()
        while self._closers:
            self._closers.pop()()
        if self._ended is not None:
            if not self._ended.done():
                self._ended.set_result(None)
            self._ended.exception()  # seen: whoever waits in ended() gets it, nobody is warned of it


async def run_until_stopped(host: Host, duration_s: float | None) -> None:
    """Run ``host`` until SIGTERM, Ctrl-C, the end of ``duration_s`` or an error of its own; then stop it.

    The batch in hand is finished; a second Ctrl-C ends the process at once.
    """
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()

    def stop() -> None:
        if asked.is_set():
            os._exit(130)  # 128 + SIGINT, a shell's way of saying so
        asked.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        await host.start()
        waits = {asyncio.ensure_future(asked.wait()), asyncio.ensure_future(host.ended())}
        done, left = await asyncio.wait(waits, timeout=duration_s, return_when=asyncio.FIRST_COMPLETED)
        for wait in left:
            wait.cancel()
        for wait in done:
            await wait  # raises what ended the host
    finally:
        asked.set()
        await host.stop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
