"""``flockiq run``: the whole app on one machine, with the sample systems, until told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

import flockiq
from flockiq.capture.sources import close as close_capture
from flockiq.cli import summary as summaries
from flockiq.cli.address import announced
from flockiq.cli.hold import data_folder, free_port
from flockiq.cli.report import Ended, report
from flockiq.cli.samples import Samples, Verdict, sample_systems
from flockiq.cli.show import logged, show, tell
from flockiq.cli.summary import Runtime, Summary
from flockiq.cli.watch import Watch
from flockiq.local.history import OF_WORKERS, Taking
from flockiq.local.host.host import Host
from flockiq.local.host.settings import read_local_settings
from flockiq.shared.config.load import load
from flockiq.shared.services import close, services
from flockiq.shared.settings import read

APP = Path(flockiq.__file__).resolve().parent
INTERRUPTED = 130


class Options(NamedTuple):
    """What ``flockiq run`` was asked to do."""

    config: Path
    data: Path
    port: int  # 0: any that is free
    seed: int | None  # None: the one that the data folder's sample systems were made from
    samples: bool
    duration_s: float | None
    summary: Path | None


def run(options: Options) -> int:
    """Run until told to stop; the exit code: 0 if all went well, 1 if the story was not told right."""
    if options.summary is not None:
        summaries.writable(options.summary)
    console = Console()
    config = load(options.config, os.environ)
    with data_folder(options.data) as data, logged(data, console) as log:
        options = options._replace(port=free_port(options.port))
        given = {"FLOCKIQ_DATA": str(data.absolute()), "FLOCKIQ_CONFIG": str(options.config.absolute())}
        if not options.samples:
            for name in config.unset:
                tell(console, f"The setting {name} is not set: sources that need it can't be read.")
        with _environment(given):
            ended = asyncio.run(_run(options, console))
    if options.summary is not None:
        summaries.write(options.summary, ended.summary)
    for line in report(ended, data=data, log=log, written=options.summary):
        tell(console, line)
    return 0 if ended.well else 1


async def _run(options: Options, console: Console) -> Ended:
    stop = asyncio.Event()
    began, started = datetime.now(UTC), time.monotonic()
    async with AsyncExitStack() as stack:
        stack.enter_context(_signals(stop))
        samples: Samples | None = None
        if options.samples:
            tell(console, "Starting the sample systems")
            url = f"http://127.0.0.1:{options.port}"
            samples = await stack.enter_async_context(sample_systems(options.data, options.seed, url))
            stack.enter_context(_environment(samples.environment))
        stack.push_async_callback(close)
        history = Taking()
        stack.push_async_callback(history.stop)
        stack.push_async_callback(close_capture)
        host = Host(
            APP,
            events=lambda: services().events,
            checkpoints=lambda: services().registry,
            blobs=lambda: services().blobs,
            data=options.data,
            port=options.port,
            workers=OF_WORKERS,
            open_on_loopback=read({**read_local_settings(APP), **os.environ}).access != "keys",
        )
        stack.push_async_callback(host.stop)
        await host.start()
        history.start(services())
        stack.enter_context(announced(options.data, host.url))
        watch = Watch(host, duration_s=options.duration_s, seed=samples.seed if samples else None)
        stack.push_async_callback(watch.close)
        await _until(options.duration_s, stop.wait(), host.ended(), show(watch, console))
        verdict = await samples.verdict() if samples else Verdict()
        numbers = await watch.numbers(since=began)
    summary = Summary(
        runtime=Runtime(host.runtime.name, host.runtime.version),
        functions=watch.calls(),
        captured=numbers.captured,
        entities=numbers.entities,
        deltas=numbers.deltas,
        alerts=numbers.alerts,
        dead_letters=numbers.dead_letters,
        duplicates_absorbed=numbers.duplicates_absorbed,
        too_late=numbers.too_late,
        latency_ms=numbers.latency_ms,
        story=verdict.story,
    )
    return Ended(summary, time.monotonic() - started, verdict.faults)


async def _until(duration_s: float | None, *ends: Coroutine[Any, Any, Any]) -> None:
    """Wait for the first of ``ends``, or for the time given; then cancel the others. What one raised is raised."""
    tasks = {asyncio.create_task(end) for end in ends}
    try:
        done, _ = await asyncio.wait(tasks, timeout=duration_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in done:
        task.result()


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
def _environment(given: Mapping[str, str]) -> Iterator[None]:
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
