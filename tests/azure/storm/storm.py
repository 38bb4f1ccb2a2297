"""The whole app on Azure's adapters, in a storm: faults at every port, and the process killed again and again.

The peers are a process of their own, the sample systems are theirs, and the app is the one of ``make run``. Once it
has been killed as often as asked and everything that the systems had planned has happened, the weather clears, the
app comes to rest, and what it holds is compared with a clean replay of its own log and with the systems' records.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from flockiq.cli.hold import free_port
from flockiq.local.compared import Report, compared
from flockiq.local.lives import App
from flockiq.local.samples import systems, truth
from flockiq.local.samples.check import Verdict, check
from flockiq.local.samples.serve import SECRETS
from flockiq.local.settled import opened, settled, unread_since
from flockiq.shared.config.load import load
from flockiq.shared.errors import FlockIQError
from tests.azure.storm.weather import Weather, weather

SHORTEST_S, LONGEST_S = 4.0, 30.0  # of the app's life between two kills; it waits 12 s for a dead one's partitions
STORY_S: Final = 180.0  # within which everything planned has happened
PLANTED: Final = 10
PACE: Final = 2.0  # what the seconds of the story are multiplied by: in a storm everything takes longer
POLLED: Final = ("crm", "erp")
LOOK_S: Final = 0.5
VERDICT_S: Final = 120.0  # for what waits for the partitions and leases of those that were killed


class Options(NamedTuple):
    """What a storm was asked to be."""

    ports: Sequence[str]
    kills: int
    data: Path
    config: Path
    port: int
    seed: int
    story: bool = True  # wait until everything planned has happened, and look for it
    hosts: int = 1  # 2: another host joins in each life, takes its share of the partitions, and is killed first


class Outcome(NamedTuple):
    """What came of it."""

    struck: Mapping[str, Mapping[str, int]]
    never: Sequence[str]  # kinds of faults that did not strike, by port
    verdict: Verdict | None
    report: Report
    kills: int = 0


async def run(options: Options, say: Callable[[str], None]) -> Outcome:
    """Run the storm; ``say`` takes a line for each thing that happens."""
    shutil.rmtree(options.data, ignore_errors=True)
    options.data.mkdir(parents=True)
    async with weather(options.ports, options.data / "peers.log") as sky:
        chosen = {f"FLOCKIQ_ADAPTERS_{port.upper()}": "azure" for port in options.ports}
        given = ("--seed", str(options.seed))
        app = App(options.data, options.config, options.port, given, {**sky.environment, **chosen})
        if "secrets" in options.ports:
            secrets = systems.secrets_of(options.data)
            await sky.keep({_name(SECRETS[system]): secret for system, secret in secrets.items()})
        try:
            await systems.start(options.data, options.seed, f"http://127.0.0.1:{options.port}", pace=PACE)
            kills = await _storm(options, app, sky, say)
            struck, never = await sky.struck(), await sky.never()
            await sky.calm()
            say("calm: the systems stop editing, the app comes to rest")
            verdict = await _rest(options, app)
        finally:
            await systems.stop(options.data)
        say("comparing with a clean replay and with the systems")
        return Outcome(struck, never, verdict, await compared(app, lambda: None), kills)


def _name(variable: str) -> str:
    """The secret that an environment variable holds."""
    return variable.removeprefix("FLOCKIQ_SECRET_").lower().replace("_", "-")


async def _storm(options: Options, app: App, sky: Weather, say: Callable[[str], None]) -> int:
    """Live and be killed in it; how often."""
    rng = random.Random(options.seed)
    await sky.storm(options.seed)
    for kill in range(options.kills):
        life_s = rng.uniform(SHORTEST_S, LONGEST_S)
        async with app.alive():
            if options.hosts > 1:
                await _joined(options, app, rng.uniform(SHORTEST_S, LONGEST_S))
            await asyncio.sleep(life_s)
            await _safe_to_die(app)
        alone = "" if options.hosts == 1 else " without another host"
        say(f"killed {kill + 1} of {options.kills}, after {life_s:.1f} s{alone}")
    if not options.story:
        return options.kills * options.hosts
    async with app.alive():
        say("it lives on in the storm until everything planned has happened")
        deadline = time.monotonic() + STORY_S
        while len(truth.read(options.data)) < PLANTED or await sky.never():
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(LOOK_S)
        await _safe_to_die(app)
    return options.kills * options.hosts + 1


async def _joined(options: Options, app: App, seconds: float) -> None:
    """Another host beside the one that lives, on the same services, for so long; then it is killed."""
    data = options.data / "other"
    data.mkdir(exist_ok=True)
    environment = {**app.environment, **systems.environment_of(options.data)}
    other = App(data, options.config, free_port(0), ("--no-samples",), environment)
    async with other.alive():
        await asyncio.sleep(seconds)


async def _safe_to_die(app: App) -> None:
    """Wait while a death would take what was planted from an app that could not have told it.

    What was read whole, which the systems begin their story by, must have been published, or nobody ever knew how it
    was before; and a feed that has fallen silent must speak again, for an app that is down blames nobody.
    """
    deadline = time.monotonic() + STORY_S
    services, config = opened(app), load(app.config, os.environ)
    try:
        while time.monotonic() < deadline:
            read = [(await systems.control(app.data, name))["read_us"] for name in POLLED]
            unpublished = all(read) and await unread_since(1, services, config)
            silences = [event.expects for event in truth.read(app.data) if event.subject_type == "feed"]
            if not unpublished and silences.count("firing") <= silences.count("resolved"):
                return
            await asyncio.sleep(LOOK_S)
    finally:
        await services.close()


async def _rest(options: Options, app: App) -> Verdict | None:
    async with app.alive() as process:
        verdict = await _verdict(options) if options.story else None  # first: a feed that edits no more is silent
        await settled(app, process)
        await app.end(process)
    return verdict


async def _verdict(options: Options) -> Verdict:
    """What the systems' checker makes of the app, once nothing is due any more."""
    deadline = time.monotonic() + VERDICT_S
    while True:
        late = time.monotonic() > deadline
        try:
            found = await check(options.data, f"http://127.0.0.1:{options.port}")
        except FlockIQError:  # it has just been started: on a machine with much to do, its page takes its time
            if late:
                raise
        else:
            if late or not (found.missed or found.waiting):
                return found
        await asyncio.sleep(LOOK_S)
