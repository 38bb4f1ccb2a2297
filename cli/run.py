"""``flockiq run``: the whole app on one machine, with the sample systems, until told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import flockiq
from flockiq.cli import summary as summaries
from flockiq.cli.hold import data_folder, free_port
from flockiq.cli.report import report
from flockiq.cli.show import logged, show
from flockiq.cli.summary import Runtime, Story, Summary
from flockiq.cli.watch import Watch
from flockiq.local.host.host import Host
from flockiq.local.samples import check, systems
from flockiq.shared.config.load import load
from flockiq.shared.services import services
from rich.console import Console

APP = Path(flockiq.__file__).resolve().parent
STORY_WITHIN_S = 5.0  # what has just happened may need a moment to be told everywhere
INTERRUPTED = 130


class Options(NamedTuple):
    """What ``flockiq run`` was asked to do."""

    config: Path
    data: Path
    port: int  # 0: any that is free
    seed: int
    samples: bool
    duration_s: float | None
    summary: Path | None


def run(options: Options) -> int:
    """Run until told to stop; the exit code: 0 if all went well, 1 if the story was not told right."""
    if options.summary is not None:
        summaries.writable(options.summary)
    console = Console()
    with data_folder(options.data) as data, logged(data, console) as log:
        port = free_port(options.port)
        return asyncio.run(_run(options._replace(port=port), console, log))


async def _run(options: Options, console: Console, log: Path) -> int:
    stop = asyncio.Event()
    url = f"http://127.0.0.1:{options.port}"
    started = time.monotonic()
    async with AsyncExitStack() as stack:
        stack.enter_context(_signals(stop))
        given = {"FLOCKIQ_DATA": str(options.data.absolute()), "FLOCKIQ_CONFIG": str(options.config.absolute())}
        if options.samples:
            console.print("Starting the sample systems …", style="dim")
            sampled = await systems.start(options.data, options.seed, url)
            stack.push_async_callback(systems.stop, options.data)
            given |= sampled.env
        stack.enter_context(_environment(given))
        load(options.config, os.environ)
        stack.push_async_callback(close)
        host = Host(APP, events=lambda: services().events, data=options.data, port=options.port)
        stack.push_async_callback(host.stop)
        await host.start()
        watch = Watch(host, duration_s=options.duration_s, seed=options.seed if options.samples else None)
        stack.push_async_callback(watch.close)
        await _until(stop, options.duration_s, asyncio.create_task(show(watch, console)))
        verdict = await _verdict(options.data, url) if options.samples else None
        numbers = await watch.numbers()
    summary = Summary(
        runtime=Runtime(host.runtime.name, host.runtime.version),
        functions=watch.calls(),
        captured=numbers.captured,
        entities=numbers.entities,
        deltas=numbers.deltas,
        alerts=numbers.alerts,
        dead_letters=numbers.dead_letters,
        duplicates_absorbed=numbers.duplicates_absorbed,
        latency_ms=numbers.latency_ms,
        story=story(verdict),
    )
    if options.summary is not None:
        summaries.write(options.summary, summary)
    elapsed_s = time.monotonic() - started
    for line in report(...):
        console.print(line, markup=False, highlight=False)
    return 0


async def _until(stop: asyncio.Event, duration_s: float | None, showing: asyncio.Task[None]) -> None:
    """Wait for a signal or the end of the time given; then stop showing. What broke the showing is raised."""
    told = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({told, showing}, timeout=duration_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        told.cancel()
        showing.cancel()
        with suppress(asyncio.CancelledError):
            await showing


@contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """Ctrl-C and SIGTERM ask to stop, which finishes what is in hand; a second one ends at once."""

    def asked() -> None:
        if stop.is_set():
            sys.stderr.write("\nEnding at once; what was in hand is done again at the next start.\n")
            sys.stderr.flush()
            os._exit(INTERRUPTED)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


@contextmanager
def _environment(given: dict[str, str]) -> Iterator[None]:
    """Add ``given`` to this process's environment for a while: app settings are read from there."""
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
