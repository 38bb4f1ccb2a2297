"""The run numbers of a webhook's deliveries, and which events were told lately."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from flockiq.capture.cursor import Cursor, Cursors
from flockiq.capture.keys import KeySets
from flockiq.capture.unchanged import UNKNOWN
from flockiq.shared.config.sources import Source
from flockiq.shared.errors import Conflict, StoreUnavailable
from flockiq.shared.ports import Registry
from flockiq.shared.positions import hash64
from flockiq.shared.status import StreamStatus, arrived

REMEMBERED: Final = 500  # event ids, newest last; older repeats lose to their own position downstream
TRUSTED_AHEAD_US: Final = 86_400_000_000  # a source's clock is believed this far ahead of ours
NOTED: Final = 10_000  # keys of a stream; one noted again costs a write, no more
_TRIES: Final = 20
_PART: Final = 999_999  # of a run's segments of keys: no reading has so many


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the registry keeps of a stream's deliveries."""

    run: int = 0
    run_us: int = 0
    recent: list[int] = []
    greatest_us: int = 0  # the greatest source time told


_decode = msgspec.json.Decoder(Told).decode


class Deliveries:
    """One stream's deliveries. Numbers come from the registry, so they count up across processes.

    Ids told are remembered in this process at once and written along with the next number: one
    write a delivery. Where the stream is polled as well, each side begins after the other's last
    run, so that of two versions with one source time the later told one wins.
    """

    def __init__(self, registry: Registry, tenant: str, source: str, stream: str, *, polled: bool = False) -> None:
        self._registry = registry
        self._cursors = Cursors(registry, tenant, source, stream) if polled else None
        self._greatest_us = 0
        self._key_set = 0
        self._noted: dict[str, int] = {}  # key → the set that it was last noted in
        self._key = _key(tenant, source, stream)
        self._lock = asyncio.Lock()
        self._recent: dict[int, None] = {}

    async def begin(self, now_us: int) -> Told:
        """The next run: its number and start, stored. StoreUnavailable if others keep winning."""
        async with self._lock:
            for _ in range(_TRIES):
                document = await self._registry.get(self._key)
                told = _decode(document.value) if document else Told()
                self._remember(told.recent)
                cursor = await self._cursors.load() if self._cursors else Cursor()
                greatest_us = max(told.greatest_us, self._greatest_us)
                # What has no time of its own comes after all that has, even if the source's clock runs ahead.
                ahead = greatest_us + 1 if greatest_us - now_us < TRUSTED_AHEAD_US else 0
                following = Told(
                    run=max(told.run, cursor.run) + 1,
                    run_us=max(now_us, told.run_us + 1, ahead),
                    recent=list(self._recent),
                    greatest_us=greatest_us,
                )
                try:
                    await self._registry.put(
                        self._key, msgspec.json.encode(following), document.etag if document else None
                    )
                except Conflict:
                    continue
                # A read in progress may have passed by what is new; the next one compares with its set.
                self._key_set = cursor.keys or cursor.known
                return following
        raise StoreUnavailable(f"{self._key}: {_TRIES} writes in a row met another; the sender will try again")

    def is_new(self, event: str) -> bool:
        """Whether an event was not told lately. Call after ``begin``, which reads what others told."""
        return hash64(event) not in self._recent

    async def note(self, key_sets: KeySets, run: int, keys: Iterable[str]) -> None:
        """Let the stream's next whole read know of keys that were told. Call once their events are acknowledged."""
        new = {key: UNKNOWN for key in keys if self._noted.get(key) != self._key_set}
        if not self._key_set or not new:
            return
        await key_sets.note(self._key_set, run, _PART, new, ())
        self._noted |= dict.fromkeys(new, self._key_set)
        for key in list(self._noted)[: max(len(self._noted) - NOTED, 0)]:
            del self._noted[key]

    def told(self, events: Iterable[str], greatest_us: int = 0) -> None:
        """Remember events whose changes are acknowledged, the newest of them from ``greatest_us``."""
        self._greatest_us = max(self._greatest_us, greatest_us)
        self._remember(hash64(event) for event in events)

    def _remember(self, hashes: Iterable[int]) -> None:
        for value in hashes:
            self._recent.setdefault(value)
        for value in list(self._recent)[: max(len(self._recent) - REMEMBERED, 0)]:
            del self._recent[value]


async def last_told(registry: Registry, tenant: str, source: str, stream: str) -> int:
    """The run number of a stream's last delivery; 0 if there was none."""
    document = await registry.get(_key(tenant, source, stream))
    return _decode(document.value).run if document else 0


def _key(tenant: str, source: str, stream: str) -> str:
    return f"deliveries/{tenant}/{source}/{stream}"


def heard(source: Source, now_us: int, records: int, source_us: int) -> Callable[[StreamStatus], StreamStatus]:
    """The change of status that says what was told. Of a stream that is polled too, the poll tells how it does."""
    if not source.polled:
        return arrived(now_us, records, source_us)

    def change(status: StreamStatus) -> StreamStatus:
        return msgspec.structs.replace(
            status,
            last_record_us=max(status.last_record_us, now_us) if records else status.last_record_us,
            last_source_us=max(status.last_source_us, source_us),
            records=status.records + records,
        )

    return change
