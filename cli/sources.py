"""``flockiq sources``: for the person who adds one: does it work, what does it hold, how does it stand."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import httpx
import msgspec

from flockiq.capture.cursor import Cursor, Cursors
from flockiq.capture.sources import Capture
from flockiq.capture.subscriptions import PUBLIC_URL, held_by
from flockiq.capture.told import at
from flockiq.cli.address import running
from flockiq.cli.discover import discovered, suggestion
from flockiq.cli.hold import InUse, data_folder
from flockiq.cli.metadata import Shape
from flockiq.cli.peek import Peeked, events, find, opened, peek, secret_names, stream_of
from flockiq.cli.view import plain
from flockiq.shared.backfills import OPEN, Backfills
from flockiq.shared.circuits import WAY_OUT, Circuit, circuits
from flockiq.shared.config.connection import with_settings
from flockiq.shared.config.load import load
from flockiq.shared.config.sources import Source
from flockiq.shared.errors import ConfigError, FlockIQError, NotFound
from flockiq.shared.status import StreamStatus, statuses

RECENT = 5  # minutes that a rate is taken over
SAMPLE = 5  # records that a check reads of each stream
_C1 = re.compile("[\x7f-\x9f]")  # JSON escapes other control characters; terminals obey these too


class Options(NamedTuple):
    """Where config and data are."""

    config: Path
    data: Path


class Verdict(NamedTuple):
    """What one look found: good, bad, or worth knowing."""

    mark: str  # "ok", "FAIL", "note"
    about: str
    says: str


def check(options: Options, name: str) -> int:
    """Reach a source, authenticate, read a few records of every stream; 1 if anything fails."""
    found = find(options.config, name)
    verdicts = [Verdict("ok", "config", f"{found.path} is valid")]
    if not found.source.enabled:
        verdicts.append(Verdict("note", "config", "it is not read yet: set enabled: true"))
    verdicts += asyncio.run(_check(options, found.source))
    for verdict in verdicts:
        _out(f"{verdict.mark:<5}{verdict.about:<16} {verdict.says}")
    return int(any(verdict.mark == "FAIL" for verdict in verdicts))


async def _check(options: Options, source: Source) -> list[Verdict]:
    async with opened(options.data, source) as capture:
        verdicts = _settings(capture, source) + await _secrets(capture, source) + _webhook(capture, source)
        if any(verdict.mark == "FAIL" for verdict in verdicts):
            return verdicts  # without them it can't be reached
        for stream, config in source.streams.items():
            if not source.polled and source.files is None:
                continue
            try:
                peeked = await peek(capture, source, stream, SAMPLE)
                verdicts += _judged(capture, source, stream, peeked)
            except FlockIQError as error:
                verdicts.append(Verdict("FAIL", stream, f"{error}"))
                continue
            named = [f if isinstance(f, str) else f.from_ for f in config.fields.values()]
            verdicts += _unmapped(stream, peeked, [*named, config.modified] if config.modified else named)
        return verdicts


def _settings(capture: Capture, source: Source) -> list[Verdict]:
    verdicts: list[Verdict] = []
    if source.connection is not None:
        for field in ("base_url", "allowed_origins"):
            given = getattr(source.connection, field)
            for url in (given,) if isinstance(given, str) else given:
                try:
                    with_settings(url, capture.environment, file=source.source, field=f"connection.{field}")
                except ConfigError as error:
                    verdicts.append(Verdict("FAIL", "setting", str(error)))
    return verdicts


async def _secrets(capture: Capture, source: Source) -> list[Verdict]:
    verdicts: list[Verdict] = []
    for name in dict.fromkeys(secret_names(source)):
        try:
            await capture.services.secrets.get(name)
            verdicts.append(Verdict("ok", "secret", f"{name} is set"))
        except (NotFound, ConfigError) as error:
            verdicts.append(Verdict("FAIL", "secret", str(error)))
    return verdicts


def _webhook(capture: Capture, source: Source) -> list[Verdict]:
    if source.webhook is None:
        return []
    public = capture.environment.get(PUBLIC_URL, "").rstrip("/")
    if not public:
        return [Verdict("note", "webhook", f"{PUBLIC_URL} is not set: signatures that cover the address need it")]
    return [Verdict("ok", "webhook", f"senders post to {public}/api/webhooks/{source.source}")]


def _judged(capture: Capture, source: Source, stream: str, peeked: Peeked) -> list[Verdict]:
    lines, refused = events(capture, source, stream, peeked)
    where = f" in {peeked.place}" if peeked.place else ""
    verdicts = [Verdict("FAIL", stream, reason) for reason in dict.fromkeys(refused)]
    if lines:
        verdicts.append(Verdict("ok", stream, f"{len(lines)} of {len(peeked.records)} records read{where}"))
    elif not refused:
        verdicts.append(Verdict("note", stream, f"it is reached, and holds no records{where}"))
    return verdicts


def _unmapped(stream: str, peeked: Peeked, paths: list[str]) -> list[Verdict]:
    """Fields that the mapping names and no record has: a typing error, or empty in all of them."""
    if not peeked.records:
        return []
    missing = [path for path in paths if all(at(dict(record), path) is None for record in peeked.records)]
    said = f"no record read has {', '.join(missing)}; is it written so in the source?"
    return [Verdict("note", stream, said)] if missing else []


def discover(options: Options, name: str) -> int:
    """List a source's streams with their keys and columns, and print config that reads them."""
    found = find(options.config, name)
    known = load(options.config, os.environ).entities
    shapes = asyncio.run(_discovered(options, found.source))
    for shape in shapes:
        _out(f"# {shape.name}: key {', '.join(shape.keys) or '(none found)'}; {len(shape.columns)} columns")
        for column in shape.columns:
            _out(f"#   {column.name}: {column.type or column.written}")
    _out(suggestion(found.document.data, found.source, shapes, known))
    return 0


async def _discovered(options: Options, source: Source) -> list[Shape]:
    async with opened(options.data, source) as capture:
        return await discovered(capture, source)


def show(options: Options, name: str, stream: str, limit: int) -> int:
    """Print records as the change events they would become, one a line, publishing nothing; 1 if none would."""
    source = find(options.config, name).source
    lines, refused = asyncio.run(_shown(options, source, stream_of(source, stream), limit))
    for line in lines:
        sys.stdout.write(_C1.sub(lambda found: f"\\u{ord(found[0]):04x}", line.decode()) + "\n")
    for reason in refused:
        sys.stderr.write(plain(f"{name}/{stream}: {reason}") + "\n")
    return int(bool(refused) and not lines)


async def _shown(options: Options, source: Source, stream: str, limit: int) -> tuple[list[bytes], list[str]]:
    async with opened(options.data, source) as capture:
        return events(capture, source, stream, await peek(capture, source, stream, limit))


def status(options: Options) -> int:
    """Print how every stream stands: how far it is read, how fresh it is, how much it brought, what fails."""
    config = load(options.config, os.environ)
    if not options.data.is_dir():
        raise FlockIQError(f"Nothing has run in {options.data} yet: start the app, or name its folder with --data DIR.")
    rows, notes = asyncio.run(_status(options, list(config.sources.values())))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        _out("  ".join([*cells, row[-1]]).rstrip())
    for note in notes:
        _out(note)
    return 0


async def _status(options: Options, sources: list[Source]) -> tuple[list[tuple[str, ...]], list[str]]:
    rates = await _rates(options.data)
    rows: list[tuple[str, ...]] = [("stream", "read", "last record", "records", "per minute", "cursor", "state")]
    async with opened(options.data, *sources) as capture:
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
    return rows, [*quotas, *(_circuit(name, each) for name, each in sorted(held.items()))]


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


def _out(text: str) -> None:
    """Print lines as they are, without what a terminal would obey."""
    for line in text.split("\n"):
        sys.stdout.write("".join(each if each.isprintable() else "\ufffd" for each in line) + "\n")
