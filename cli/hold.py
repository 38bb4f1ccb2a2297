"""What one run holds for itself: its data folder and its port."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flockiq.shared.errors import FlockIQError


class InUse(FlockIQError):
    """Another process holds what this run needs for itself; ``holder`` is its id, "" if it did not say."""

    def __init__(self, message: str, holder: str = "") -> None:
        self.holder = holder
        super().__init__(message)


@contextmanager
def data_folder(folder: Path) -> Iterator[Path]:
    """Hold ``folder`` (made if missing, for this user only) by a lock on ``run.lock`` inside.

    The kernel gives the lock back however the process ends. InUse names the process that holds it.
    """
    path = folder / "run.lock"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise FlockIQError(
            f"The data folder {folder} can't be used: {error.strerror}. Choose another with --data DIR."
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            raise InUse(
                f"FlockIQ is already running on the data folder {folder}, as process {holder or '(starting)'}. "
                f"Stop it first (kill {holder or 'PID'}), or run on another folder and port: --data DIR --port N.",
                holder,
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        yield folder
    finally:
        os.close(descriptor)


def free_port(port: int) -> int:
    """``port`` if it can be listened on at 127.0.0.1, any free one for 0. InUse says the way out."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise InUse(
                f"Port {port} can't be used ({error.strerror}): is another program, or another FlockIQ, listening "
                f"on it? Stop that, or choose another port with --port N (0: any that is free)."
            ) from error
        return int(probe.getsockname()[1])
