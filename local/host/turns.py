"""Whose batch is next, where several partitions are worked on by one process.

A process folds one batch after another, so a batch that is handed to it early only waits there, as it is, while more
comes for its partition; and two at once take longer than one after the other, since Python runs in one thread at a
time. So a pump waits for its turn first, and takes what has come by then: larger batches, and none of what they hold
older than need be. Two kinds of batches gain nothing by waiting:

- *full* ones, which can't grow: of a backlog one is folded while another is committed and told;
- *little* ones, which are soon done or make the process wait for something else, as a slow source may.

A batch that takes long gives its turn up meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import deque
from enum import Enum

AT_ONCE = 2  # batches, if the second is full
LONGEST_S = 0.25  # that a batch counts among them
LITTLE_BYTES = 2_048  # of a batch's events: a dozen packed changes, or some messages


class Load(Enum):
    """What a batch is to the process that works on it."""

    LITTLE = 0
    GROWING = 1
    FULL = 2


class Turn:
    """The right to be worked on; over when it is said to be, or after LONGEST_S."""

    def __init__(self, turns: Turns | None) -> None:
        self._turns = turns
        self._late = asyncio.get_running_loop().call_later(LONGEST_S, self.over) if turns else None

    def over(self) -> None:
        """Let the next one in. Saying so twice is harmless."""
        turns, self._turns = self._turns, None
        if self._late is not None:
            self._late.cancel()
        if turns is not None:
            turns.one_is_over()


class Turns:
    """The turns at one process, in the order in which they are asked for."""

    def __init__(self) -> None:
        self._going = 0
        self._asking: deque[tuple[asyncio.Future[Turn], Load]] = deque()

    async def next(self, load: Load) -> Turn:
        """Wait for a turn; what is little has it at once, and counts for nothing."""
        if load is Load.LITTLE:
            return Turn(None)
        granted: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        self._asking.append((granted, load))
        self._grant()
        try:
            return await granted
        except asyncio.CancelledError:
            if not granted.cancelled():  # it came just before
                granted.result().over()
            raise

    def one_is_over(self) -> None:
        """A turn has ended."""
        self._going -= 1
        self._grant()

    def _grant(self) -> None:
        while self._asking:
            granted, load = self._asking[0]
            if not granted.done():  # else nobody waits for it any more
                if self._going >= (AT_ONCE if load is Load.FULL else 1):
                    return
                self._going += 1
                granted.set_result(Turn(self))
            self._asking.popleft()
