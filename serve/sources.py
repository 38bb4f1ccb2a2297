"""Every stream of every source: how fresh it is, how much it brings, what went wrong last."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, cast

import msgspec

from flockiq.serve.queries import Row, ask
from flockiq.shared.config.durations import UNITS
from flockiq.shared.config.load import Config, config
from flockiq.shared.services import Services
from flockiq.shared.status import StreamStatus, statuses

State = Literal["fresh", "late", "failing", "waiting"]

MINUTES = 15
LATE_AFTER_S = 60.0  # a polled stream is late when not read for so long, or for ten of its intervals
_LATE_INTERVALS = 10


class Configured(NamedTuple):
    """A stream that config names."""

    source: str
    stream: str
    connector: str
    entity: str
    every_s: float  # 0: it is told (webhook, files), not polled


class Stream(msgspec.Struct, frozen=True):
    """One stream as it stands."""

    source: str
    stream: str
    connector: str
    entity: str
    state: State
    means: str  # the state in a sentence, with what to do
    last_record_us: int  # when any record last arrived, µs; 0 for never
    last_read_us: int
    records: int
    per_minute: list[int]  # changes captured, oldest minute first, the current one last
    error: str
    retry_at_us: int


def configured(config: Config) -> list[Configured]:
    """The enabled streams of a config, by source and stream."""
    return [
        Configured(
            source=source.source,
            stream=name,
            connector=source.connector,
            entity=stream.entity,
            every_s=source.interval(name) / UNITS["s"] if source.polled else 0.0,
        )
        for source in config.sources.values()
        if source.enabled
        for name, stream in source.streams.items()
    ]


async def streams(services: Services, now_us: int) -> list[Stream]:
    """Every configured stream, and any that has a status without being configured any more."""
    minute = dt.datetime.fromtimestamp(now_us / 1e6, dt.UTC).replace(second=0, microsecond=0)
    since = minute - dt.timedelta(minutes=MINUTES - 1)
    told, activity = await asyncio.gather(statuses(services), ask(services, "activity", since=since.isoformat()))
    named = {(each.source, each.stream): each for each in configured(config())}
    rates = _per_minute(activity, since)
    return [
        _stream(
            named.get(key, Configured(*key, connector="", entity="", every_s=0.0)),
            told.get(key),
            rates.get(key, [0] * MINUTES),
            now_us,
        )
        for key in sorted(named.keys() | told.keys())
    ]


def _per_minute(rows: Sequence[Row], since: dt.datetime) -> Mapping[tuple[str, str], list[int]]:
    rates: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        minute = int((dt.datetime.fromisoformat(str(row["Minute"])) - since).total_seconds() // 60)
        if 0 <= minute < MINUTES:
            rate = rates.setdefault((str(row["Source"]), str(row["Stream"])), [0] * MINUTES)
            rate[minute] = cast("int", row["Records"])
    return rates


def _stream(named: Configured, status: StreamStatus | None, rate: list[int], now_us: int) -> Stream:
    state, means = _state(named, status, now_us)
    return Stream(
        source=named.source,
        stream=named.stream,
        connector=named.connector,
        entity=named.entity,
        state=state,
        means=means,
        last_record_us=status.last_record_us if status else 0,
        last_read_us=status.last_run_us if status else 0,
        records=status.records if status else 0,
        per_minute=rate,
        error=status.error if status and named.connector else "",
        retry_at_us=status.retry_at_us if status and named.connector else 0,
    )


def _state(named: Configured, status: StreamStatus | None, now_us: int) -> tuple[State, str]:
    if not named.connector:
        return "waiting", "Not read: its source is disabled or no longer in the config. What it brought is kept."
    if status is not None and status.error:
        return "failing", "The last reading failed; it is tried again by itself. The error says what to look at."
    if status is None or not (status.last_run_us or status.last_record_us):
        if named.every_s:
            return "waiting", "Not read yet; the first reading starts by itself."
        return "waiting", "Nothing has arrived yet; it is told of changes, so this is normal until the first one."
    late_s = max(LATE_AFTER_S, named.every_s * _LATE_INTERVALS)
    if named.every_s and now_us - status.last_run_us > late_s * 1e6:
        return "late", f"Not read for over {late_s:.0f} s; see whether the schedule runs and hub work is worked off."
    if named.every_s:
        return "fresh", "Read on time."
    return "fresh", "Told of changes as they happen."
