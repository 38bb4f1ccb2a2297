"""How sources stand, for ``flockiq sources status``: from what the registry keeps, whether the app runs or not."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
import msgspec

from flockiq.capture.cursor import Cursor, Cursors
from flockiq.capture.sources import Capture
from flockiq.capture.subscriptions import held_by
from flockiq.cli.address import running
from flockiq.cli.hold import InUse, data_folder
from flockiq.cli.peek import opened
from flockiq.cli.view import plain
from flockiq.shared.backfills import OPEN, Backfills
from flockiq.shared.circuits import WAY_OUT, Circuit, circuits
from flockiq.shared.config.sources import Source
from flockiq.shared.status import StreamStatus, statuses

RECENT = 5  # minutes that a rate is taken over


async def standing(data: Path, sources: Sequence[Source]) -> list[str]:
    """Lines that tell how every stream stands, what is left of allowances, and which sources are left alone."""
    rates = await _rates(data)
    rows: list[tuple[str, ...]] = [("stream", "read", "last record", "records", "per minute", "cursor", "state")]
    async with opened(data, *sources) as capture:
        told = await statuses(capture.services)
        for source, stream in [(each, stream) for each in sources for stream in each.streams]:
            store = Cursors(capture.services.registry, capture.tenant, source.source, stream)
            how = told.get((source.source, stream), StreamStatus())
            renewal = (await held_by(capture, source.source, stream)).error
            wrong = (f"; subscription: {renewal}" if renewal else "") + await _past(capture, source, stream)
            rate = rates.get((source.source, stream), "")
            rows.append(_row(source, stream, how, await store.load() if source.polled else None, rate, wrong))
        held = await circuits(capture.services)
    quotas = [note for source in sources if (note := _quota(source, told))]
    return [*_table(rows), *quotas, *(_circuit(name, each) for name, each in sorted(held.items()))]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with their columns below each other; the last one as wide as it is."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=False)] for row in rows]
    return ["  ".join([*cells, row[-1]]).rstrip() for cells, row in zip(padded, rows, strict=True)]


def _quota(source: Source, told: Mapping[tuple[str, str], StreamStatus]) -> str:
    """What a source last said is left of its allowance; "" if it says nothing."""
    said = [each for (name, _), each in told.items() if name == source.source and each.quota_left >= 0]
    if not said:
        return ""
    last = max(said, key=lambda status: status.last_run_us)
    of = f" of {last.quota_of:,}" if last.quota_of else ""
    floor = source.limits.quota.floor if source.limits.quota is not None else 0.0
    stops = f"; reading stops at {last.quota_of * floor:,.0f}, which are left to others" if floor and of else ""
    return f"{source.source}: {last.quota_left:,}{of} requests are left of its allowance{stops} (limits.quota)"


def _circuit(source: str, held: Circuit) -> str:
    since, left = _span(_now_us() - held.opened_us), _span(held.free_us - _now_us())
    return plain(f"{source}: left alone for {since}, {left} more: {held.error}. {WAY_OUT}")


async def _past(capture: Capture, source: Source, stream: str) -> str:
    """How a stream's backfill stands, if one goes on."""
    keeper = Backfills(capture.services.registry, capture.tenant)
    backfill = await keeper.get(source.source, stream)
    if backfill is None or backfill.state not in OPEN:
        return ""
    told = await keeper.progress(source.source, stream, backfill)
    failing = f", {told.failing:,} failing: {told.error}" if told.failing else ""
    return f"; backfill: {told.done:,} of {told.slices:,} slices, {told.records:,} records{failing}"


class _Rate(msgspec.Struct):
    source: str
    stream: str
    per_minute: list[int] = []


class _Rates(msgspec.Struct):
    sources: list[_Rate]


async def _rates(data: Path) -> dict[tuple[str, str], str]:
    """Records a minute of late, as the running app tells; nothing while none runs on ``data``."""
    try:
        with data_folder(data):
            return {}
    except InUse as error:
        address = running(data, error.holder)
    if address is None:
        return {}
    try:
        async with httpx.AsyncClient(timeout=5.0, trust_env=False) as client:
            answer = await client.get(f"{address.url}/api/sources")
        told = msgspec.json.decode(answer.raise_for_status().content, type=_Rates).sources
    except (httpx.HTTPError, msgspec.DecodeError):
        return {}
    return {
        (each.source, each.stream): f"{sum(each.per_minute[-RECENT:]) / len(each.per_minute[-RECENT:]):,.0f}"
        for each in told
        if each.per_minute
    }


def _row(
    source: Source, stream: str, how: StreamStatus, cursor: Cursor | None, rate: str, wrong: str
) -> tuple[str, ...]:
    if how.error:
        state = f"failing ({how.failures} in a row): {how.error}"
        state += f"; again in {_span(how.retry_at_us - _now_us())}" if how.retry_at_us > _now_us() else ""
    else:
        state = how.outcome or "not read yet"
    return (
        f"{source.source}/{stream}",
        _ago(how.last_run_us),
        _ago(how.last_record_us),
        f"{how.records:,}",
        rate or "-",
        _stands(cursor) if cursor is not None else "told",
        plain(state + wrong),
    )


def _stands(cursor: Cursor) -> str:
    """Where a cursor stands, in words."""
    if not cursor.run:
        return "at the start"
    if cursor.job and not cursor.next:
        return f"{cursor.reading} read, waiting for job {cursor.job}"
    if cursor.next or cursor.resync:
        return f"{cursor.reading} read, page {cursor.pages + 1}"
    return f"{cursor.reading}, run {cursor.run}"


def _ago(us: int) -> str:
    return f"{_span(_now_us() - us)} ago" if us else "never"


def _span(us: int) -> str:
    seconds = max(us, 0) / 1e6
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _now_us() -> int:
    return time.time_ns() // 1_000
