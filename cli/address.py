"""Where a running app is reached: ``app.json`` in its data folder, for commands that must ask it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

_FILE = "app.json"


class Address(msgspec.Struct, frozen=True):
    """The running app's address and process."""

    url: str
    pid: int


@contextmanager
def announced(data: Path, url: str) -> Iterator[None]:
    """Tell in ``data`` that this process answers at ``url``, until left. The file is there whole or not at all."""
    path = data / _FILE
    incoming = path.with_suffix(".new")
    incoming.write_bytes(msgspec.json.encode(Address(url, os.getpid())))
    incoming.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def running(data: Path, holder: str) -> Address | None:
    """The address of the app that runs as process ``holder``; None if it has not told one, or another was killed."""
    try:
        address = msgspec.json.decode((data / _FILE).read_bytes(), type=Address)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return address if str(address.pid) == holder else None
