"""Backfills, as programs see them: begun, looked at, cancelled. Capture reads them; here they are only asked for."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from flockiq.shared.backfills import OPEN, Backfill, Backfills, State
from flockiq.shared.config.backfill import ByTime
from flockiq.shared.config.backfilled import way_of
from flockiq.shared.config.model import Config
from flockiq.shared.config.sources import Source
from flockiq.shared.errors import BadRecord, NotFound
from flockiq.shared.instants import rfc3339
from flockiq.shared.services import Services


class BackfillShown(msgspec.Struct, frozen=True):
    """A stream's last backfill. Times are RFC 3339, "" for none."""

    id: str
    source: str
    stream: str
    state: State
    since: str  # records changed before are left alone
    asked_at: str
    started_at: str
    ended_at: str
    slices: int  # as many as there are by now: those that are too large are split
    done: int  # of them
    part: float  # of the whole that is read, from 0 to 1, as far as can be told
    records: int  # published
    failing: int  # slices whose last reading failed
    error: str  # why one of them did
    retry_at: str  # when that one is tried again
    why: str  # it was cancelled


async def listed(services: Services, source: str = "", stream: str = "") -> list[BackfillShown]:
    """The last backfill of every stream, or of those named."""
    keeper = Backfills(services.registry, services.settings.tenant)
    found = [
        (name, backfill)
        for name, backfill in sorted((await keeper.all()).items())
        if source in ("", name[0]) and stream in ("", name[1])
    ]
    return [await _shown(keeper, *name, backfill) for name, backfill in found]


async def begin(
    services: Services, config: Config, source: str, stream: str, since_us: int, now_us: int
) -> list[BackfillShown]:
    """Ask for a backfill of a stream, or of every stream of a source; those that go on already stay as they are.

    NotFound: there is no such source or stream. BadRecord: it can't be backfilled, or not since a time.
    """
    named, streams = _named(config, source, stream)
    if since_us > now_us:
        raise BadRecord(f"since {rfc3339(since_us)} lies in the future: there is nothing to read.")
    for each in streams:
        way = way_of(named, each)
        if since_us and not isinstance(way, ByTime):
            raise BadRecord(
                f"the slices of {source}/{each} go by {way.kind}, so a time can't limit them: leave since out, name "
                "another stream, or set backfill: {kind: time} in its config."
            )
    keeper = Backfills(services.registry, services.settings.tenant)
    return [await _shown(keeper, source, each, await keeper.ask(source, each, since_us, now_us)) for each in streams]


async def cancel(services: Services, source: str, stream: str, by: str, now_us: int) -> list[BackfillShown]:
    """Cancel what goes on; what was read stays. NotFound if no such stream was ever backfilled."""
    keeper = Backfills(services.registry, services.settings.tenant)
    found = await listed(services, source, stream)
    if not found:
        raise NotFound(f"{'/'.join(filter(None, (source, stream)))} was never backfilled: there is nothing to cancel.")
    for each in found:
        if each.state in OPEN:
            await keeper.cancel(each.source, each.stream, f"cancelled by {by}", now_us)
    return await listed(services, source, stream)


def _named(config: Config, source: str, stream: str) -> tuple[Source, Iterable[str]]:
    named = config.sources.get(source)
    if named is None:
        raise NotFound(f"There is no source {source!r} in config, or it is disabled: enable it and restart.")
    if stream and stream not in named.streams:
        raise NotFound(f"{source} has no stream {stream!r}: it has {', '.join(named.streams)}.")
    if not named.polled:
        raise BadRecord(f"{source} is not read but tells by itself: it has no past that can be asked for.")
    return named, (stream,) if stream else tuple(named.streams)


async def _shown(keeper: Backfills, source: str, stream: str, backfill: Backfill) -> BackfillShown:
    told = await keeper.progress(source, stream, backfill)
    return BackfillShown(
        id=backfill.id,
        source=source,
        stream=stream,
        state=backfill.state,
        since=_time(backfill.since_us),
        asked_at=_time(backfill.asked_us),
        started_at=_time(backfill.started_us),
        ended_at=_time(backfill.ended_us),
        slices=told.slices,
        done=told.done,
        part=told.part,
        records=told.records,
        failing=told.failing,
        error=told.error,
        retry_at=_time(told.retry_us),
        why=backfill.why,
    )


def _time(us: int) -> str:
    return rfc3339(us) if us else ""
