"""Compiled functions, where they are ready: loaded in the background, so that nothing waits for a compiler.

Machine code is kept in the user's own cache folder, one folder for each version of what it is made
from. Where numba is not installed, or until it has loaded, pipeline/rounds.py and pipeline/decode.py
do the same without.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

_log = logging.getLogger("flockiq.compiled")

Mode = Literal["background", "wait", "off"]
Function = Callable[..., Any]

_NAMES = (
    "flockiq.pipeline.machine",
    "flockiq.pipeline.rowwise",
    "flockiq.pipeline.rowread",
    "flockiq.pipeline.rowlog",
)
_WARM = "flockiq.pipeline.warm"
_MADE_FROM = (
    "compare/anomalies.py",
    "compare/drift.py",
    "merge/golden.py",
    "merge/survivorship.py",
    "pipeline/codes.py",
    "pipeline/machine.py",
    "pipeline/rowlog.py",
    "pipeline/rowread.py",
    "pipeline/rowscore.py",
    "pipeline/rowwise.py",
    "shared/instants.py",
    "shared/lanes.py",
    "shared/lanetable.py",
    "shared/rows.py",
    "shared/wire.py",
)


class Functions(NamedTuple):
    """The compiled functions that Python calls."""

    insert: Function
    fold_rows: Function
    scan: Function
    which: Function
    ids: Function
    known: Function
    missing: Function
    keys_of: Function
    read_fields: Function
    logged: Function
    sort_out: Function
    chain: Function


class _Loading:
    """One load of the compiled functions in this process."""

    def __init__(self) -> None:
        self.mode: Mode = "background"
        self.module: Functions | None = None
        self.error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def ready(self) -> Functions | None:
        """The functions, or None while they are not there."""
        if self.mode == "off" or threading.current_thread() is self._thread:
            return None
        if self.module is None and self.error is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._load, name="compiling", daemon=True)
                    self._thread.start()
            if self.mode == "wait":
                self._thread.join()
        return self.module

    def _load(self) -> None:
        try:
            module = _imported()
            importlib.import_module(_WARM).warm(module)
        except Exception as error:  # noqa: BLE001  # whatever is wrong with a compiler, numpy does the same work
            self.error = error
            _log.warning("Machine code can't be loaded, so folding is several times slower than it could be: %s", error)
            return
        self.module = module


_loading = _Loading()


def ready() -> Functions | None:
    """The compiled functions, or None while they are not there; the first call begins to load them."""
    return _loading.ready()


def use(mode: Mode) -> None:
    """How to load: in the background, waited for, or not at all."""
    _loading.mode = mode


def failure() -> BaseException | None:
    """Why there is no compiled pass, where loading it failed."""
    return _loading.error


def _imported() -> Functions:
    numba = importlib.import_module("numba")
    root = Path(__file__).parents[1]
    made_from = b"".join((root / part).read_bytes() for part in _MADE_FROM) + str(numba.__version__).encode()
    numba.config.CACHE_DIR = str(_kept_in(hashlib.sha256(made_from).hexdigest()[:16]))
    functions: dict[str, Any] = {}
    for name in _NAMES:
        functions |= vars(importlib.import_module(name))
    return Functions._make(functions[name] for name in Functions._fields)


def _kept_in(version: str) -> Path:
    """The folder for machine code of this version: of this user alone, or of this process where there is none."""
    own = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flockiq" / version
    try:
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        if own.stat().st_uid == os.getuid() and os.access(own, os.W_OK):  # what others can write is not to be run
            return own
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="flockiq-"))
