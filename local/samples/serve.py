"""``python -m flockiq.local.samples.serve SYSTEM --data DIR --seed N --port P``: one sample system.

Its secret comes from the environment, never from the command line. It listens on 127.0.0.1 only.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

from flockiq.local.samples.control import Control
from flockiq.local.samples.life import Business, Life, Options
from flockiq.local.samples.store import Store
from flockiq.local.samples.truth import folder
from flockiq.local.samples.universe import DAY_US

SECRETS = {
    "crm": "FLOCKIQ_SECRET_SAMPLE_CRM_TOKEN",
    "erp": "FLOCKIQ_SECRET_SAMPLE_ERP_PASSWORD",
    "marketing": "FLOCKIQ_SECRET_SAMPLE_HUBSPOT_SECRET",
}
LOCKED_S = 2.0

Work = Callable[[], Coroutine[Any, Any, None]]


class System(NamedTuple):
    """What a process runs: its life, what it serves, and what else goes on."""

    life: Life
    routes: Sequence[Route]
    work: Sequence[Work]


def build(name: str, store: Store, options: Options) -> System:
    """The system called ``name``; only its own protocol is imported."""
    match name:
        case "crm":
            from flockiq.local.samples.crm import Crm  # noqa: PLC0415 - see above
            from flockiq.local.samples.dataverse import Dataverse  # noqa: PLC0415

            crm = Crm(store, options)
            life, control = _alive(crm, store, options)
            return System(life, Dataverse(life, crm, control).routes(), ())
        case "erp":
            from flockiq.local.samples.erp import Erp  # noqa: PLC0415
            from flockiq.local.samples.gateway import Gateway  # noqa: PLC0415

            erp = Erp(store, options)
            life, control = _alive(erp, store, options)
            return System(life, Gateway(life, erp, control).routes(), ())
        case _:
            from flockiq.local.samples.bureau import Bureau  # noqa: PLC0415
            from flockiq.local.samples.hubspot import Sender  # noqa: PLC0415
            from flockiq.local.samples.marketing import Marketing  # noqa: PLC0415

            marketing = Marketing(store, options)
            life, control = _alive(marketing, store, options)
            sender = Sender(life, marketing, control)
            return System(life, sender.routes(), (sender.run, Bureau(life).run))


def _alive(business: Business, store: Store, options: Options) -> tuple[Life, Control]:
    life = Life(business, store, options)
    return life, Control(life)


async def serve(name: str, store: Store, options: Options, port: int) -> None:
    """Serve until told to stop; a fault in any part ends the whole, with its traceback."""
    system = build(name, store, options)
    stopping = system.life.stopping
    app = Starlette(routes=list(system.routes))
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        lifespan="off",
        ws="none",
        access_log=False,
        log_config=None,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn takes these over while it serves, and raises them again when it is done.
        loop.add_signal_handler(number, stopping.set)

    async def listen() -> None:
        await server.serve()
        stopping.set()

    async def end() -> None:
        await stopping.wait()
        server.should_exit = True

    async with asyncio.TaskGroup() as group:
        for work in (listen, end, system.life.run, *system.work):
            group.create_task(work())


def _locked(file: IO[str]) -> bool:
    """Whether this process alone has the lock; one that was just killed has a moment to let go of it."""
    deadline = time.monotonic() + LOCKED_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
        else:
            return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="flockiq.local.samples.serve", description="One sample system.")
    parser.add_argument("system", choices=sorted(SECRETS))
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    parser.add_argument("--seed", type=int, required=True, help="what it holds")
    parser.add_argument("--port", type=int, required=True, help="where it listens, on 127.0.0.1")
    parser.add_argument("--app-url", default="", help="where webhooks go")
    parser.add_argument("--rate", type=float, default=1.0, help="how busy people are (%(default)s)")
    parser.add_argument("--pace", type=float, default=1.0, help="what the seconds of the story are multiplied by")
    parser.add_argument("--no-story", dest="story", action="store_false", help="nothing goes wrong")
    parser.add_argument("--idle", type=float, default=1_800.0, help="seconds without a request after which it ends")
    given = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    secret = os.environ.get(SECRETS[given.system], "")
    if not secret:
        parser.error(f"set {SECRETS[given.system]} to the secret that callers must know")
    options = Options(
        data=given.data.resolve(),
        seed=given.seed,
        secret=secret,
        born_us=time.time_ns() // 1_000 // DAY_US * DAY_US,
        app_url=given.app_url,
        rate=given.rate,
        pace=given.pace,
        story=given.story,
        idle_s=given.idle,
    )
    home = folder(options.data)
    home.mkdir(parents=True, exist_ok=True)
    with (home / f"{given.system}.lock").open("w") as lock:
        if not _locked(lock):
            parser.error(f"another {given.system} runs on {options.data}")
        store = Store(home / f"{given.system}.sqlite")
        try:
            asyncio.run(serve(given.system, store, options, given.port))
        finally:
            store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
