"""What keeps the bytes of removed rows for a while, and can be made not to."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Scrubs(Protocol):
    """An adapter over files in which what was removed stays readable until it is overwritten."""

    async def scrub(self) -> None:
        """Leave nothing of what was removed in the files. StoreUnavailable if somebody else holds them too long."""
        ...


@runtime_checkable
class Lingers(Protocol):
    """An adapter over a service that keeps what was removed for a while, for whoever restores it."""

    lingers: str
    """How long, and where, in words."""
