"""What the sample systems really did that somebody should be told of: ``<data>/samples/truth.jsonl``.

Written by the systems, each line in one append; read by the checker. The app never sees it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec


class Truth(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One planted event, and what is expected of whoever watches."""

    id: str  # the same when told again
    kind: str
    rule: str
    expects: Literal["firing", "resolved"]
    subject_type: str  # company, order or feed
    match_key: str = ""  # a company's nine digits
    key: str = ""  # an order's number, or source/stream of a feed
    keys: dict[str, str] = {}  # source/stream: the record's key there
    name: str = ""
    values: dict[str, str | int | float] = {}
    committed_us: int
    due_by_us: int  # seen by then, or missed


def folder(data: Path) -> Path:
    """Where the sample systems keep everything of theirs."""
    return data / "samples"


def append(data: Path, truth: Truth) -> None:
    """Tell of it: one write to a file opened for appending, so that several processes may."""
    path = folder(data) / "truth.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, msgspec.json.encode(truth) + b"\n")
    finally:
        os.close(descriptor)


def read(data: Path) -> list[Truth]:
    """Everything told so far, oldest first, each once; a line that is still being written is left out."""
    path = folder(data) / "truth.jsonl"
    if not path.exists():
        return []
    told: dict[str, Truth] = {}
    for line in path.read_bytes().split(b"\n")[:-1]:
        truth = msgspec.json.decode(line, type=Truth)
        told.setdefault(truth.id, truth)
    return sorted(told.values(), key=lambda truth: truth.committed_us)
