"""What a stream is known to hold, as one run sees and changes it: keys, and the content last told of each."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterable

from flockiq.capture.cursor import Cursor
from flockiq.capture.keys import KeySets
from flockiq.capture.records import Record, Taken, joined_key
from flockiq.capture.unchanged import UNKNOWN, Lately, Unchanged, fingerprint
from flockiq.shared.config.sources import Stream
from flockiq.shared.errors import BadRecord


class Known:
    """The key sets of a stream during one run; what the run takes is held until ``told``."""

    def __init__(self, stream: Stream, key_sets: KeySets, lately: Lately) -> None:
        self._primary_key = stream.primary_key
        self._key_sets = key_sets
        self._unchanged = Unchanged(stream, lately)
        self._added: dict[str, int] = {}  # key → fingerprint, UNKNOWN where none is kept
        self._removed: dict[str, None] = {}
        self._set = 0
        self._part = 0
        self.untold = self._unchanged.untold

    async def begin(self, before: Cursor, cursor: Cursor, save: Callable[[], Awaitable[None]]) -> None:
        """Go on with the key set of ``cursor``, which ``save`` stores; leave that of a read begun again.

        What such a half set told is unknown from here on: those records are told again.
        """
        half = before.keys if before.keys not in (cursor.keys, cursor.known) else 0
        if half and cursor.known and self._unchanged.whole:
            unsure = dict.fromkeys(await self._key_sets.read(half), UNKNOWN)
            await self._key_sets.note(cursor.known, cursor.run, self._part, unsure, ())
        self._set = cursor.keys
        await save()
        if half:
            await self._key_sets.forget(half)
        await self._unchanged.load(self._key_sets, cursor)

    def take(self, records: Iterable[Taken | Record]) -> None:
        """Records were read; of some nothing could be taken."""
        added, removed, whole = self._added, self._removed, self._unchanged.whole
        for each in records:
            if not isinstance(each, Taken):
                self.keep(each)
            elif each.op == "d":
                self._gone(each.key)
            else:
                added[each.key] = fingerprint(each) if whole else UNKNOWN
                if removed:
                    removed.pop(each.key, None)

    def keep(self, record: Record) -> None:
        """A record that was set aside is there all the same: a full read must not take it for deleted."""
        with contextlib.suppress(BadRecord):
            key = joined_key(record, self._primary_key)
            self._added[key] = self._unchanged.last(key)

    def delete(self, key: str) -> None:
        """A record is gone, and that is being told."""
        self._unchanged.deleted(key)
        self._gone(key)

    async def before_telling(self, run: int) -> None:
        """Note what is about to be told as unsure, should this process die of it."""
        await self._key_sets.note(self._set, run, self._part, self._unchanged.unsure(), ())

    async def told(self, run: int) -> None:
        """Note what was acknowledged."""
        await self._key_sets.note(self._set, run, self._part, self._added, self._removed)

    def settle(self) -> None:
        """The cursor has moved: the next batch begins."""
        self._unchanged.acknowledged()
        self._part += 1
        self._added.clear()
        self._removed.clear()

    async def missing(self, cursor: Cursor) -> tuple[int, list[str]]:
        """How many records there were before a full read, and the keys of those it did not find."""
        before = await self._key_sets.read(cursor.known)
        there = await self._key_sets.read(cursor.keys)
        if self._unchanged.whole:  # a key that is unknown here was about to be told when a process died
            before |= there
            there = {key: value for key, value in there.items() if value != UNKNOWN}
        return len(before), sorted(key for key in before.keys() - there.keys() if self._unchanged.stands(key))

    async def forget(self, key_set: int) -> None:
        """Remove a set that nothing refers to any more."""
        await self._key_sets.forget(key_set)

    async def fold(self) -> None:
        """Write the set as one, if it has become many."""
        await self._key_sets.fold(self._set)

    def _gone(self, key: str) -> None:
        self._added.pop(key, None)
        self._removed[key] = None
