"""What goes on in a sample system by itself: people editing records, and its part of the story.

Both begin a moment after every stream of every system has been read whole for the first time, so
that what follows is seen as change. Everything done is durable: a system that was killed goes on
where it was.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from flockiq.local.samples import truth
from flockiq.local.samples.store import Store
from flockiq.local.samples.truth import Truth, folder
from flockiq.local.samples.universe import rng

TICK_S = 0.2
SETTLE_S = 6.0
"""How long after the first whole reading people begin: the reader has to digest it."""

READ = ("crm", "erp")
"""The systems that are read; marketing tells by itself."""

BURST = 5  # edits in one tick at most: a system that slept does not make up for it all at once

log = logging.getLogger("flockiq.samples")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a sample system is to behave."""

    data: Path
    seed: int
    secret: str
    born_us: int  # its history ends here
    app_url: str = ""
    rate: float = 1.0  # times the business's own edits a second
    pace: float = 1.0  # what the seconds of the story are multiplied by
    story: bool = True
    idle_s: float = 1_800.0  # ends by itself after so long without a request

    def __repr__(self) -> str:
        return f"Options(data={str(self.data)!r}, seed={self.seed}, rate={self.rate}, pace={self.pace})"


def _inode(path: Path) -> int:
    """Which folder this is, whatever its name; 0 for none."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


class Step(NamedTuple):
    """One thing that happens once: ``act`` runs within a transaction and says what is to be noticed."""

    name: str
    after_s: float
    act: Callable[[], Truth | None]
    ready: Callable[[], bool] = lambda: True


class Business(Protocol):
    """What a system is about."""

    name: str
    streams: tuple[str, ...]
    edits_a_second: float

    def fill(self) -> None:
        """Write everything there is at first."""
        ...

    def edit(self, number: int, draw: random.Random) -> None:
        """One ordinary edit, the ``number``-th."""
        ...

    def steps(self) -> Sequence[Step]:
        """Its part of the story."""
        ...

    def waiting(self) -> int:
        """How many events it has yet to send."""
        ...


class Life:
    """Runs a business. All in one thread; ``run`` ends when ``stopping`` is set."""

    def __init__(self, business: Business, store: Store, options: Options) -> None:
        self.business, self.store, self.options = business, store, options
        self.stopping = asyncio.Event()
        self._last_request = time.monotonic()
        self.asked = False  # by anybody, since this process began
        self._owed = 0.0
        if not store.fact("filled"):
            with store.transaction():
                business.fill()
                store.remember("filled", value=True)
        self._tell()
        self._steps = [step for step in business.steps() if store.fact(f"step/{step.name}") is None]

    @property
    def frozen(self) -> bool:
        """Whether nothing changes by itself for now."""
        return bool(self.store.fact("frozen", default=False))

    @property
    def read_us(self) -> int | None:
        """When every stream had been read whole for the first time."""
        found = self.store.fact("read_us")
        return None if found is None else int(found)

    def requested(self) -> None:
        """Somebody is still interested."""
        self._last_request = time.monotonic()
        self.asked = True

    def noticed(self, stream: str) -> None:
        """A reader was given a delta link for ``stream``: it has read all of it."""
        if self.read_us is not None:
            return
        with self.store.transaction():
            self.store.remember(f"read/{stream}", value=True)
            if len(self.store.facts("read/")) == len(self.business.streams):
                self.store.remember("read_us", time.time_ns() // 1_000)
                (folder(self.options.data) / f"{self.business.name}.read").touch()

    @property
    def since_read_us(self) -> int | None:
        """When this system, and CRM and ERP, had all been read whole for the first time."""
        known = self.store.fact("since_read_us")
        if known is None and self.read_us is not None:
            home = folder(self.options.data)
            if all((home / f"{name}.read").exists() for name in READ):
                known = time.time_ns() // 1_000
                self.store.remember("since_read_us", known)
        return None if known is None else int(known)

    @property
    def age_s(self) -> float:
        """Seconds since then; negative before."""
        since_us = self.since_read_us
        return -1.0 if since_us is None else (time.time_ns() // 1_000 - since_us) / 1e6

    @property
    def begun(self) -> bool:
        """Whether people edit."""
        # A system that was just started again waits until its reader is there as well.
        return self.asked and not self.frozen and self.age_s >= SETTLE_S * self.options.pace

    def edit(self, times: int = 1) -> None:
        """So many ordinary edits, now."""
        for _ in range(times):
            with self.store.transaction():
                number = int(self.store.fact("edits", default=0)) + 1
                self.store.remember("edits", number)
                self.business.edit(number, rng(self.options.seed, self.business.name, "edit", number))

    async def run(self) -> None:
        """Live until ``stopping`` is set, nobody has asked anything for ``idle_s``, or the folder is gone."""
        before = time.monotonic()
        home = folder(self.options.data)
        born_in = _inode(home)
        while not self.stopping.is_set():
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            if _inode(home) != born_in:  # removed to begin afresh: nobody can find this system any more
                log.info("%s is gone: stopping", self.options.data)
                self.stopping.set()
                return
            if now - self._last_request > self.options.idle_s:
                log.info("nobody has asked anything for %.0f s: stopping; start again to go on", self.options.idle_s)
                self.stopping.set()
                return
            if self.begun:
                a_second = self.options.rate * self.business.edits_a_second
                if self.options.story:
                    self._play(self.age_s)
                self._owed = min(self._owed + (now - before) * a_second, BURST)
                self.edit(int(self._owed))
                self._owed %= 1
            before = now

    def _play(self, age_s: float) -> None:
        for step in [step for step in self._steps if age_s >= step.after_s * self.options.pace and step.ready()]:
            with self.store.transaction():
                told = step.act()
                self.store.remember(f"step/{step.name}", time.time_ns() // 1_000)
                if told is not None:
                    self.store.remember(f"told/{told.id}", told)
            self._steps.remove(step)
            log.info("story: %s", step.name)
            self._tell()

    def _tell(self) -> None:
        # After the commit, and again after a crash in between: the reader of the file drops repeats.
        for name, value in self.store.facts("told/").items():
            truth.append(self.options.data, msgspec.convert(value, Truth))
            self.store.forget(name)
