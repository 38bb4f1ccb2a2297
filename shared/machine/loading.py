"""Machine code, where it is ready: loaded in the background, so that nothing waits for a compiler.

Machine code is kept in the user's own cache folder, one folder for each version of what it is made
from. Where numba is not installed, or until it has loaded, whoever asks does the same work without.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.metadata
import logging
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from flockiq.shared.machine import apart

_log = logging.getLogger("flockiq.compiled")

Mode = Literal["background", "wait", "off"]

Function = Callable[..., Any]

SHARED = (
    "shared/instants.py",
    "shared/laneindex.py",
    "shared/lanes.py",
    "shared/lanetable.py",
    "shared/machine/code.py",
    "shared/machine/dates.py",
    "shared/machine/memory.py",
    "shared/machine/stretches.py",
    "shared/machine/tokens.py",
    "shared/rows.py",
    "shared/stored_texts.py",
    "shared/wire.py",
)
"""Modules that machine code of more than one stage is made from."""

_ROOT = Path(__file__).parents[2]
_OWN = "flockiq-"  # how the folder of one process alone begins
_one_by_one = threading.Lock()  # where numba keeps code is the process's setting


class _How:
    """How this process loads machine code."""

    mode: Mode = "background"


_how = _How()


def use(mode: Mode) -> None:
    """How to load: in the background, waited for, or not at all."""
    _how.mode = mode


class Loading[F]:
    """One load of a stage's compiled functions in this process.

    ``functions``: a NamedTuple of them, by name; ``modules``: those that hold them; ``made_from``: every file of
    ours that they are made from; ``warm``: the module whose ``warm`` calls each of them once; ``where``: the module
    that has this as its ``loading``, so that another process can make them.
    """

    def __init__(
        self, functions: type[F], modules: Sequence[str], made_from: Sequence[str], warm: str, where: str
    ) -> None:
        self.modules = modules
        self.made_from = made_from
        self.error: BaseException | None = None
        self._functions: Any = functions
        self._warm, self._where = warm, where
        self._loaded: F | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def ready(self) -> F | None:
        """The functions, or None while they are not there; the first call begins to load them."""
        if _how.mode == "off" or threading.current_thread() is self._thread:
            return None
        if self._loaded is None and self.error is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._begin, name="compiling", daemon=True)
                    self._thread.start()
            if _how.mode == "wait":
                self._thread.join()
        return self._loaded

    def waited(self) -> F | None:
        """The functions, made by this very thread; None if they can't be."""
        self._load()
        return self._loaded

    def _begin(self) -> None:
        """Load them; where nobody waits and they are still to be made, have them made apart first."""
        try:
            if _how.mode == "background" and self.kept and not apart.made(self.folder).exists():
                apart.make(self._where)
        except (ImportError, OSError, subprocess.SubprocessError) as error:
            _log.info("Machine code can't be made by a process of its own, so it is made in this one: %s", error)
        self._load()

    def _load(self) -> None:
        try:
            functions = self.imported()
            importlib.import_module(self._warm).warm(functions)
        except Exception as error:  # noqa: BLE001  # whatever is wrong with a compiler, numpy does the same work
            self.error = error
            _log.warning("Machine code can't be loaded, so folding is several times slower than it could be: %s", error)
            return
        self._loaded = functions
        with contextlib.suppress(OSError):
            apart.made(self.folder).touch()

    def imported(self) -> F:
        """The functions, to be compiled, or read from where they are kept, when they are first called."""
        numba = importlib.import_module("numba")
        found: dict[str, Any] = {}
        with _one_by_one:
            numba.config.CACHE_DIR = str(self.folder)
            for name in self.modules:
                found |= vars(importlib.import_module(name))
        made: F = self._functions._make(found[name] for name in self._functions._fields)
        return made

    @cached_property
    def folder(self) -> Path:
        """Where the machine code of this version is, or will be."""
        made_from = b"".join((_ROOT / part).read_bytes() for part in (*SHARED, *self.made_from))
        version = importlib.metadata.version("numba").encode()
        return kept_in(hashlib.sha256(made_from + version).hexdigest()[:16])

    @property
    def kept(self) -> bool:
        """Whether other processes find it there too."""
        return not self.folder.name.startswith(_OWN)


def kept_in(version: str) -> Path:
    """The folder for machine code of this version: of this user alone, or of this process where there is none."""
    own = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flockiq" / version
    try:
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        if own.stat().st_uid == os.getuid() and os.access(own, os.W_OK):  # what others can write is not to be run
            return own
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix=_OWN))
