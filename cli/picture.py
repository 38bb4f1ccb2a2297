"""What the terminal shows at one moment: plain values, ready to draw. Times are in seconds."""

from __future__ import annotations

from typing import Literal

import msgspec

type State = Literal["fresh", "late", "failing", "waiting"]


class Feed(msgspec.Struct, frozen=True, kw_only=True):
    """One source."""

    source: str
    records: int
    rate: float  # records a second
    age_s: float | None  # since something was last heard of it; None: never
    state: State
    error: str = ""


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """One function of the app."""

    function: str
    waiting: int | None  # events on its hub that it has not had; None: no hub feeds it
    calls: int
    rate: float  # calls a second
    failures: int


class Fired(msgspec.Struct, frozen=True, kw_only=True):
    """One alert."""

    id: str
    at: str  # wall clock, HH:MM:SS
    severity: str
    status: str
    title: str


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """The app's own numbers."""

    captured: int = 0
    entities: int = 0
    deltas: int = 0
    alerts: int = 0  # open
    dead_letters: int = 0
    p99_s: float | None = None


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at one moment."""

    address: str
    elapsed_s: float
    duration_s: float | None = None
    seed: int | None = None  # None: no sample systems
    feeds: list[Feed] = []
    stages: list[Stage] = []
    alerts: list[Fired] = []  # newest first
    totals: Totals = Totals()
    note: str = ""  # why the numbers are not moving, if they are not
