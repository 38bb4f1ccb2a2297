"""Ctrl-C at a chosen moment of a command that runs in this process."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest


def pressing(call: Callable[..., Any], nth: int, *, after: bool) -> Callable[..., Any]:
    """An async function as it is, but that Ctrl-C is pressed as its ``nth`` call begins, or ``after`` it is done."""
    calls = count(1)

    async def pressed(*given: Any, **named: Any) -> Any:
        if next(calls) == nth:
            if after:
                await call(*given, **named)
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(5)  # where it is cancelled
            pytest.fail("Ctrl-C did not end it")
        return await call(*given, **named)

    return pressed


@contextmanager
def ctrl_c(where: object, name: str, nth: int = 1, *, after: bool = False) -> Iterator[None]:
    """Ctrl-C at the ``nth`` call of an attribute, or of an item of a mapping; or ``after`` it.

    A shell has what it runs in the background ignore Ctrl-C; a command that somebody waits for does not.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.MonkeyPatch.context() as patch:
            if isinstance(where, MutableMapping):
                patch.setitem(where, name, pressing(where[name], nth, after=after))
            else:
                patch.setattr(where, name, pressing(getattr(where, name), nth, after=after))
            yield
    finally:
        signal.signal(signal.SIGINT, before)
