"""What is remembered of records so that a line that says again what it said need not be read.

A record is what one source says of an entity: number ``entity * tellers + source``. Its print is a hash over
the bytes of a line's key and fields and over the lanes that they were read as. A line is known
where its bytes and the lanes that its record has now give the print again: then these are its lanes.
So a print that has been overtaken, by a late row or an erasure, is no danger; it fits nothing.

Prints are no state: they are not written, and a process that begins anew reads each record once.
"""

from __future__ import annotations

import os

import numpy as np

from flockiq.shared.arrays import roomier
from flockiq.shared.layout import Layout
from flockiq.shared.stretching import stretch

SECRET = np.array(np.frombuffer(os.urandom(16), np.uint64))
"""What prints are keyed with, so that nobody can make two records that have one. It changes no outcome."""


NAME, NAME_SIZE, SOURCES, SOURCE_BOUNDS, SOURCE_COUNT = range(5)
PLACES, LANES, COUNTS, REST, MASK = range(5, 10)
PRINTS, VALUE, KEYS, STEP, MOST, TELLERS, FIELD_COUNT, READ = range(10, 18)
HOMES = 18
"""The columns of int64 [T, HOMES], what lines are known by for each entity type, as addresses and counts: its name; the
names of its sources; the index of its entities' ids; prints; ``Golden.value`` and ``key``, and the bytes from one
entity's to the next's; of how many entities and tellers; how many fields there are; and where the lanes of a line
that is known are put, int64 [lines, F]."""


class Prints:
    """The prints of records; ``of``: int64 [n, S], 0 where nothing is remembered."""

    def __init__(self, layout: Layout) -> None:
        self.of = np.zeros((0, len(layout.tellers)), np.int64)

    def room(self, entities: int) -> None:
        """Make room for at least so many entities."""
        there = len(self.of)
        if entities > there:
            stretch(self, "of", roomier(entities, there))
            self.of[there:] = 0
