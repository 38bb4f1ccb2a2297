"""What a run amounts to, in numbers: what ``--summary`` writes."""

from __future__ import annotations

from pathlib import Path

import msgspec

from flockiq.shared.errors import FlockIQError


class Runtime(msgspec.Struct, frozen=True):
    """The worker library that called the functions."""

    name: str
    version: str


class Calls(msgspec.Struct, frozen=True):
    """How often a function was called, and how often that failed."""

    invocations: int
    failures: int


class Standing(msgspec.Struct, frozen=True):
    """A rule's alerts by status."""

    firing: int = 0
    acknowledged: int = 0
    resolved: int = 0


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds from a change's commit in its source to its golden record or alert; None: nothing measured."""

    p50: float | None = None
    p99: float | None = None


class Numbers(msgspec.Struct, frozen=True):
    """What the app itself tells at ``GET /api/summary``."""

    captured: dict[str, int] = {}  # records by source
    entities: int = 0
    deltas: int = 0
    alerts: dict[str, Standing] = {}  # by rule
    dead_letters: int = 0
    duplicates_absorbed: int = 0
    too_late: int = 0
    latency_ms: Latency = Latency()


class Story(msgspec.Struct, frozen=True):
    """What the sample systems planted, and what the app made of it."""

    planted: int = 0
    found: int = 0
    missed: int = 0
    unexpected: int = 0


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Everything, in the order it is written."""

    runtime: Runtime
    functions: dict[str, Calls]
    captured: dict[str, int]
    entities: int
    deltas: int
    alerts: dict[str, Standing]
    dead_letters: int
    duplicates_absorbed: int
    too_late: int
    latency_ms: Latency
    story: Story


def writable(path: Path) -> None:
    """FlockIQError if a summary could not be written to ``path``: said before a run, not after it."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise FlockIQError(f"The summary can't be written to {path}: it must be a file in a folder that exists.")


def write(path: Path, summary: Summary) -> None:
    """Write it as indented JSON, whole or not at all."""
    writable(path)
    draft = path.with_name(path.name + ".part")
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n")
    draft.replace(path)
