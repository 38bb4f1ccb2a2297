"""The core of the stages: columns in, columns out, without I/O, clock or chance; time comes in as an argument.

The core is every module of merge/, compare/, signal/ and pipeline/ but the four that are its shell: the functions'
entry modules, and the clock that the timer drives.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

ROOT = Path(__file__).parents[2]
CORE: Final = ("merge", "compare", "signal", "pipeline")

SHELL: Final[Mapping[str, str]] = {
    "merge/functions.py": "the function that hub changes triggers",
    "pipeline/functions.py": "the functions that hub resolved and a timer trigger",
    "signal/functions.py": "the function that a timer triggers",
    "signal/clock.py": "what that timer does: it reads alerts and streams, runs query rules and sends ticks",
}
"""Modules that are there to do I/O, and for what."""

EXCEPTIONS: Final[Mapping[tuple[str, str], str]] = {
    ("merge/changes.py", "time"): "the clock where its owner gives no other",
    ("pipeline/resolved.py", "time"): "the clock where its owner gives no other",
    ("pipeline/prints.py", "os"): "what prints are keyed with; it changes no outcome",
    ("merge/compiled.py", "flockiq.shared.machine.loading.Loading"): "machine code is loaded in a thread of its own",
    ("pipeline/compiled.py", "flockiq.shared.machine.loading.Loading"): "machine code is loaded in a thread of its own",
    ("merge/compiled.py", "flockiq.shared.machine.loading.use"): "how it is loaded is said in one place for all",
    ("pipeline/compiled.py", "flockiq.shared.machine.loading.use"): "how it is loaded is said in one place for all",
}
"""What else a module of the core takes, by module and name, and why."""

PLAIN: Final = frozenset({
    "__future__", "collections", "contextlib", "dataclasses", "datetime", "flockiq", "functools", "itertools", "json",
    "msgspec", "numpy", "operator", "re", "typing", "xxhash",
})  # fmt: skip
"""What may be imported: it only computes, but for IMPURE."""

SHARED_TYPES: Final[Mapping[str, frozenset[str]]] = {
    "archive": frozenset(),
    "deadletters": frozenset({"DeadLetter"}),
    "erasing": frozenset(),
    "erasure": frozenset(),
    "keeping": frozenset(),
    "machine.loading": frozenset({"Function", "Mode"}),
    "outbox": frozenset({"Outbox"}),
    "owner": frozenset({"Folded"}),
    "ports": frozenset({"OutgoingEvent"}),
    "progress": frozenset(),
    "replaying": frozenset(),
    "services": frozenset(),
    "status": frozenset(),
    "sweeps": frozenset(),
    "telemetry": frozenset(),
    "transfer": frozenset(),
    "triggers": frozenset(),
}
"""Modules of shared/ that do I/O, and the types that the core takes from them to say what is to be done."""

BUILTINS: Final = frozenset({"__import__", "breakpoint", "eval", "exec", "input", "open", "print"})
CLOCKS: Final = frozenset({"now", "today", "utcnow"})
DATES: Final = frozenset({"date", "datetime", "dt"})
IMPURE: Final = frozenset({
    "DataSource", "fromfile", "genfromtxt", "load", "loadtxt", "memmap", "random", "save", "savetxt", "savez",
    "savez_compressed",
})  # fmt: skip
"""What numpy has that reads, writes or draws."""


def outside(source: str) -> Iterator[tuple[int, str]]:
    """What ``source`` takes that does I/O or asks a clock or chance: line and name, inside functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if not _plain(alias.name))
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from ((node.lineno, name) for name in names if not _plain(name))
        elif isinstance(node, ast.Name) and node.id in BUILTINS:
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            of = node.value.attr if isinstance(node.value, ast.Attribute) else ast.unparse(node.value)
            if (of in DATES and node.attr in CLOCKS) or (of in {"np", "numpy"} and node.attr in IMPURE):
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.AsyncFunctionDef):
            yield node.lineno, f"async def {node.name}"


def _plain(name: str) -> bool:
    first, _, rest = name.partition(".")
    if first not in PLAIN:
        return False
    if first == "numpy":
        return IMPURE.isdisjoint(rest.split("."))
    if name.startswith("flockiq.shared."):
        return _taken(rest.removeprefix("shared."))
    return True


def _taken(name: str) -> bool:
    """Whether the core may take a name of shared/."""
    if name.startswith("adapters"):
        return False
    inside = next((one for one in SHARED_TYPES if name == one or name.startswith(f"{one}.")), None)
    return inside is None or name.removeprefix(f"{inside}.") in SHARED_TYPES[inside]


def modules() -> Iterator[Path]:
    """The modules of the core."""
    found = (path for folder in CORE for path in sorted((ROOT / folder).rglob("*.py")))
    yield from (path for path in found if str(path.relative_to(ROOT)) not in SHELL)


def test_the_core_does_no_io_and_asks_neither_a_clock_nor_chance() -> None:
    """But for what is named above; and what is named there is still taken."""
    found = {
        (str(path.relative_to(ROOT)), name): f"{path.relative_to(ROOT)}, line {line}: {name}"
        for path in modules()
        for line, name in outside(path.read_text())
    }
    assert [told for what, told in found.items() if what not in EXCEPTIONS] == []
    assert sorted(EXCEPTIONS.keys() - found.keys()) == []


def test_the_shell_is_there_to_do_io() -> None:
    """A module that does none belongs to the core."""
    assert [name for name in SHELL if not list(outside((ROOT / name).read_text()))] == []


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "import numpy as np, time",
        "def f():\n    from pathlib import Path",
        "from concurrent.futures import ThreadPoolExecutor",
        "import duckdb",
        "from azure.functions import FunctionApp",
        "import numpy.random",
        "from numpy import memmap",
        "from numpy.random import default_rng",
        "rng = np.random.default_rng()",
        "rows = np.load(path)",
        "at = dt.datetime.now(dt.UTC)",
        "def f(clock=datetime.now): ...",
        "text = open(path).read()",
        "say = print",
        "async def f(): ...",
        "from flockiq.shared.services import services",
        "from flockiq.shared.deadletters import bury",
        "from flockiq.shared import telemetry as told",
        "from flockiq.shared.adapters.embedded.spool import Spool",
    ],
)
def test_what_does_io_is_seen(source: str) -> None:
    """The check above finds each way of reaching for it."""
    assert len(list(outside(source))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "import datetime as dt\nday = dt.date.fromordinal(1)",
        "now = scratch.now[0]",
        "from flockiq.shared.owner import Folded",
        "from flockiq.shared import wire",
        "from flockiq.pipeline import compiled",
        "rows = partition.load(body, [])",
        "at_us = self.now_us()",
    ],
)
def test_what_only_computes_is_let_through(source: str) -> None:
    """Time that comes in as an argument, and types that say what the shell is to do."""
    assert list(outside(source)) == []
