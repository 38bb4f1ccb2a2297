"""One batch of changes: judged stream by stream, and forwarded where they are new."""

from __future__ import annotations

from flockiq.merge.arrived import Arrived
from flockiq.merge.book import Stream
from flockiq.merge.codes import (
    BY_HAND,
    DONE,
    DUPLICATES,
    FULL,
    HEAP,
    UNCHANGED,
    VERSIONS,
    scratch,
)
from flockiq.merge.compiled import Functions
from flockiq.merge.forward import Forwarded
from flockiq.merge.judging import Judging
from flockiq.merge.records import Records
from flockiq.merge.rounds import in_rounds
from flockiq.merge.stored import Following
from flockiq.merge.versions import NOTHING, content

_NOTHING = content(NOTHING)
_SPARE = 4096  # bytes of the heap that are there beside those of what came


class Batch:
    """What one batch does to the records and forwards."""

    def __init__(self, records: Records, forwarded: Forwarded, now_us: int, functions: Functions | None) -> None:
        self.records = records
        self.forwarded = forwarded
        self.now_us = now_us
        self.duplicates = 0
        self.unchanged = 0
        self.following = Following()
        self._functions = functions
        self._redone: set[int] = set()

    @property
    def redone(self) -> list[int]:
        """The records whose versions were worked out again, by name."""
        return sorted(self._redone, key=self.records.names.__getitem__)

    def stream(self, stream: Stream, arrived: Arrived) -> None:
        """One stream's changes, at least one."""
        self.records.odd |= arrived.odd
        judging = Judging(self.records, stream, arrived, self.now_us)
        if self._functions is None:
            in_rounds(judging)
        else:
            _by_machine(judging, self._functions)
        self.duplicates += int(judging.out.counts[DUPLICATES])
        self.unchanged += int(judging.out.counts[UNCHANGED])
        self.following.add(*judging.kept)
        self._redone |= judging.redone
        self.forwarded.news(self.records, judging.news(), self._functions)


def _by_machine(judging: Judging, functions: Functions) -> None:
    """Judge all rows, one after the other, by compiled functions as far as they are as most are."""
    records, stream, arrived = judging.records, judging.stream, judging.arrived
    room, counts = scratch(), judging.out.counts
    row, why, spare = 0, FULL, len(arrived.said) + _SPARE
    while why != DONE:
        records.room(arrived.size - row, spare)
        counts[VERSIONS], counts[HEAP] = records.count, records.size
        row, why = functions.judge(
            row, arrived.text, arrived.rows, arrived.said, stream.shape, stream.placings.table(functions.learn),
            stream.place_of, records.head, records.depth, records.versions, records.heap, judging.now_us, _NOTHING,
            room, judging.out,
        )  # fmt: skip
        records.count, records.size = int(counts[VERSIONS]), int(counts[HEAP])
        if why == BY_HAND:
            judging.row(row, learn=True)
            row += 1
            spare = 0
        elif why == FULL:
            spare = len(records.heap) + int(arrived.rows.end[row] - arrived.rows.begin[row])
