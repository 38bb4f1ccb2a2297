"""What the embedded adapters do beyond their ports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import pytest


class Closable(Protocol):
    """Anything with a port's close."""

    def close(self) -> Awaitable[None]:
        """Release what is held."""
        ...


@pytest.fixture
async def closing() -> AsyncIterator[Callable[..., Closable]]:
    """Passes an adapter through, and closes it at the end of the test."""
    opened: list[Closable] = []

    def keep(adapter: Closable) -> Closable:
        opened.append(adapter)
        return adapter

    yield keep
    for adapter in opened:
        await adapter.close()
