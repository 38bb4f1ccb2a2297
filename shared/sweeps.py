"""What waits somewhere for a service that was away, and is taken there by the clock."""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol, runtime_checkable


class Left(NamedTuple):
    """How much waits."""

    batches: int  # as far as they were looked at: ``all_seen`` says whether that is all
    oldest_us: int  # since when the oldest of those waits; 0 when there is none
    all_seen: bool


NOTHING: Final = Left(0, 0, all_seen=True)


@runtime_checkable
class Sweeps(Protocol):
    """An adapter that keeps aside what could not be delivered."""

    async def sweep(self) -> int:
        """Deliver what waits; how much was delivered. StoreUnavailable if it still can't be: it goes on waiting."""
        ...

    async def left(self) -> Left:
        """How much waits."""
        ...
