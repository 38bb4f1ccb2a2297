"""Which records of a read need no telling, because they are as they were last told.

A stream that is only read whole has a baseline: the fingerprints of its key sets. One read by
watermark looks back over the same minutes again and again: the newest fingerprints, in memory,
spare downstream what it would drop anyway, so a bound and a restart cost nothing.

A version counts as told once the hub acknowledged it. What was under way when a process died is
not known; it is noted as unknown beforehand (``unsure``), so that it is told again rather than missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from xxhash import xxh3_64_intdigest

from flockiq.capture.cursor import Cursor
from flockiq.capture.keys import KeySets
from flockiq.capture.records import Taken
from flockiq.shared.config.sources import Stream

REMEMBERED: Final = 20_000  # records of a stream read by watermark
UNKNOWN: Final = 0
_OTHER: Final = 1  # a content that is none, of a key that is there


def fingerprint(taken: Taken) -> int:
    """A record's content in 64 bits, never UNKNOWN."""
    return max(xxh3_64_intdigest(taken.after, seed=ord(taken.op)), _OTHER + 1)


class Lately(dict[str, int]):
    """Key → fingerprint of the records of a stream most recently told of in this process."""

    def trim(self) -> None:
        """Forget the longest untold beyond the bound."""
        for key in list(self)[: max(len(self) - REMEMBERED, 0)]:
            del self[key]


class Unchanged:
    """What one run knows of what was told before it, and of what it told itself."""

    def __init__(self, stream: Stream, lately: Lately) -> None:
        alone = stream.webhook is None  # what a webhook told meanwhile is not known here
        self.whole = stream.incremental.kind == "full" and alone
        self.by_time = stream.incremental.kind == "watermark" and alone
        self._lately = lately
        self._told: dict[str, int] = lately if self.by_time else {}
        self._telling: dict[str, int] = {}  # not acknowledged yet; UNKNOWN for a deletion
        self._complete = False  # whether a key that was not told is known not to have been

    async def load(self, key_sets: KeySets, cursor: Cursor) -> None:
        """Read the baseline: the last whole read, and what the one in progress told since."""
        if self.whole:
            self._complete = bool(cursor.known)
            self._told = await key_sets.read(cursor.known) if cursor.known else {}
            self._told.update(await key_sets.read(cursor.keys))

    def untold(self, records: Sequence[Taken]) -> Sequence[Taken]:
        """Those records that were not last told as they are; they are taken note of, for they must be told."""
        if not (self.whole or self.by_time):
            return records
        told, telling, whole = self._told, self._telling, self.whole
        found: list[Taken] = []
        for taken in records:
            key = taken.key
            before = telling.get(key)
            if before is None:
                before = told.get(key)
            after = fingerprint(taken)
            if before == after:
                continue
            if whole and taken.op == "d":
                if before is None and self._complete:
                    continue  # it was never told of
                after = UNKNOWN
            telling.pop(key, None)  # the newest stands last
            telling[key] = after
            found.append(taken)
        return found

    def deleted(self, key: str) -> None:
        """A deletion is being told."""
        self._telling[key] = UNKNOWN

    def last(self, key: str) -> int:
        """The fingerprint of what was last told of a key; of nothing it can be, if that is not known."""
        return (self._told.get(key, UNKNOWN) or _OTHER) if self.whole else UNKNOWN

    def stands(self, key: str) -> bool:
        """Whether a known record was not told to be deleted in this very run."""
        return not self.whole or key in self._told

    def unsure(self) -> dict[str, int]:
        """What must be noted before it is told: whether it was can't be known if this process dies."""
        return dict.fromkeys(self._telling, UNKNOWN) if self.whole else {}

    def acknowledged(self) -> None:
        """What was being told is told."""
        for key, value in self._telling.items():
            self._told.pop(key, None)
            if value != UNKNOWN:
                self._told[key] = value
        self._telling.clear()
        self._lately.trim()
