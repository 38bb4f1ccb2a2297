"""Machine code made by a process of its own, at the lowest priority.

Compiling takes more than a minute of CPU, and in the process that works it would hold the interpreter for much of that.

``python -m flockiq.shared.machine.apart MODULE`` makes what ``MODULE.loading`` loads and keeps it;
of several that begin at once the first does it. Its process may be ended at any time: it is begun again.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[2]
_LOWEST: Final = 19
_PATIENCE_S: Final = 600.0


def made(folder: Path) -> Path:
    """The file that says that all of it is in ``folder``, for the code that lies where this does."""
    return folder / f"{hashlib.sha256(str(_ROOT).encode()).hexdigest()[:16]}.made"


def make(module: str) -> None:
    """Wait until it is made. OSError or subprocess.SubprocessError if it can't be, or takes too long."""
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", "flockiq.shared.machine.apart", module],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    atexit.register(process.kill)
    try:
        if code := process.wait(_PATIENCE_S):
            raise subprocess.CalledProcessError(code, "compiling")
    finally:
        process.kill()
        atexit.unregister(process.kill)


def main(module: str) -> int:
    """Make it, unless another has meanwhile; 1 if that fails."""
    os.nice(_LOWEST)
    stage = importlib.import_module(module)
    stage.use("off")  # what is called to be compiled asks for machine code as well
    folder: Path = stage.loading.folder
    with made(folder).with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made(folder).exists():  # who makes it says so
            return int(stage.loading.waited() is None)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
