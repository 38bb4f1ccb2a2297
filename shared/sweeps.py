"""What waits somewhere for a service that was away, and is taken there by the clock."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Sweeps(Protocol):
    """An adapter that keeps aside what could not be delivered."""

    async def sweep(self) -> int:
        """Deliver what waits; how much was delivered. StoreUnavailable if it still can't be: it goes on waiting."""
        ...
