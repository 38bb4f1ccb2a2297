"""The processes of the sample systems: started out of the terminal's reach, ended only if ours."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from flockiq.local.samples.serve import SECRETS
from flockiq.local.samples.truth import folder

ROOT = Path(__file__).resolve().parents[2]
MODULE = "flockiq.local.samples.serve"
STOP_S = 5.0


def spawn(data: Path, name: str, port: int, key: str, arguments: list[str]) -> int:
    """Start a system in a session of its own, its secret in its environment; the process id."""
    command = [sys.executable, "-m", MODULE, name, "--data", str(data), "--port", str(port), *arguments]
    kept = {variable: value for variable, value in os.environ.items() if not variable.startswith("FLOCKIQ_")}
    # The name flockiq is a module in the root; the working directory must lend nothing.
    environment = {**kept, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1", SECRETS[name]: key}
    log = str(folder(data) / f"{name}.log")
    # Not subprocess: its objects expect that a process ends before the one that started it.
    return os.posix_spawn(
        sys.executable,
        command,
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


async def end(data: Path, name: str, pid: int) -> None:
    """End this system of this folder: asked first, then made to. Nothing if the process is another."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not is_ours(pid, data, name):
            break
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + STOP_S
        while time.monotonic() < deadline and not is_over(pid):  # noqa: ASYNC110 - nobody tells of another's child
            await asyncio.sleep(0.02)
    is_over(pid)


def is_over(pid: int) -> bool:
    """Whether the process has ended; one that we started is then laid to rest."""
    with contextlib.suppress(ChildProcessError):
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return True  # a number used again, by somebody else's process
    return False


def is_ours(pid: int, data: Path, name: str) -> bool:
    """Whether the process is this system of this folder, and not another that got its number."""
    if pid <= 0 or is_over(pid):
        return False
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        command = ["ps", "-ww", "-o", "command=", "-p", str(pid)]  # where there is no /proc
        shown = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - nothing given is in it
        words = shown.stdout.split()
    return MODULE in words and name in words and str(data) in words


def is_free(port: int) -> bool:
    """Whether a server may listen there."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port
