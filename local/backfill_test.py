"""Kill the app again and again in the middle of a backfill, and compare what it ends with, record for record.

A sample system (``local/archive.py``) holds years of records, refuses queries that match too many,
and is edited all the while. The app polls it and backfills it, is killed (-9) N times at moments
spread over the backfill, started again each time, and comes to rest. Then every record of the
source is looked for downstream: in exactly one entity, with exactly its values.

``python -m flockiq backfill-test`` prints records, kills and differences; 1 if there is any.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import yaml
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from flockiq.capture.turn import Turns
from flockiq.local import outcome
from flockiq.local.archive import Archive, served
from flockiq.local.compared import SHOWN, differences
from flockiq.local.lives import PATIENCE_S, App
from flockiq.local.settled import QUIET_S
from flockiq.serve.backfills import BackfillShown
from flockiq.shared.errors import FlockIQError
from flockiq.shared.services import Services, connect
from flockiq.shared.settings import Settings

SOURCE, STREAM = "archive", "records"
EDITS_A_SECOND = 2.0
LOOK_S = 0.1
LATEST_S = 0.3  # after the moment chosen for a kill it comes at random, at most so late
KEY_SETTING = "FLOCKIQ_SECRET_ARCHIVE_TOKEN"


class Options(NamedTuple):
    """What a backfill test was asked to do."""

    kills: int
    records: int
    data: Path
    port: int
    seed: int


@dataclass
class Report:
    """What a backfill test found."""

    kills: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    differences: dict[str, list[str]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many differences there are."""
        return sum(map(len, self.differences.values()))


class _Answer(msgspec.Struct):
    backfills: list[BackfillShown]


def run(options: Options) -> int:
    """Run it and print what came of it; 0 without differences, if every kill met the backfill in its middle."""
    console = Console()
    shutil.rmtree(options.data, ignore_errors=True)
    options.data.mkdir(parents=True)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), console=console
    ) as progress:
        report = asyncio.run(_run(options, progress))
    console.print(f"kills in the middle of the backfill {report.kills}")
    for what, count in report.counts.items():
        console.print(f"{what} {count:,}")
    for what, found in report.differences.items():
        console.print(f"{what} {len(found)}")
        for line in found[:SHOWN]:
            console.print(f"  {line}", markup=False, highlight=False)
    if report.kills < options.kills:
        console.print(f"That tested too little: the backfill ended after {report.kills} of {options.kills} kills.")
    return int(bool(report.total) or report.kills < options.kills)


async def _run(options: Options, progress: Progress) -> Report:
    report = Report()
    rng = random.Random(options.seed)  # noqa: S311 - moments to die at, not secrets
    archive = Archive(options.records, options.seed, cap=max(options.records // 10, 150))
    async with served(archive) as url:
        config = _configured(options.data / "config", url)
        secret = {KEY_SETTING: archive.token}
        app = App(options.data, config, options.port, ("--no-samples",), secret)
        editing = asyncio.create_task(archive.edited(EDITS_A_SECOND))
        bar = progress.add_task("backfilling", total=1.0)
        try:
            for number in range(options.kills):
                async with app.alive():
                    if not await _reached(options, (number + 1) / (options.kills + 1), progress, bar):
                        break
                    await asyncio.sleep(rng.uniform(0.0, LATEST_S))
                    report.kills += 1
            async with app.alive() as process:
                await _reached(options, 2.0, progress, bar)
                progress.update(bar, completed=1.0)
                editing.cancel()
                ended = await _look(options)
                await _quiet(options, process)
                await app.end(process)
        finally:
            editing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await editing
    services = connect(Settings(data=options.data, config=config))
    try:
        await _compare(services, archive, report)
    finally:
        await services.close()
    report.counts |= {"slices": ended.slices, "pages asked for": archive.pages, "edits meanwhile": archive.edits}
    return report


def _configured(folder: Path, url: str) -> Path:
    """Config with the one source and its one entity type."""
    source = {
        "source": SOURCE,
        "connector": "rest",
        "connection": {"base_url": url, "allow_private": True, "read_timeout": "4s"},
        "auth": {"kind": "bearer", "token": {"secret": "archive-token"}},
        "every": "2s",
        "streams": {
            STREAM: {
                "path": "records",
                "records": "records",
                "paginate": {"kind": "cursor", "next": "next", "parameter": "after"},
                "primary_key": ["id"],
                "modified": "updated_at",
                "incremental": {
                    "kind": "watermark",
                    "query": {"since": "{since}"},
                    "lookback": "5s",
                    "start": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                },
                "backfill": {
                    "kind": "time",
                    "query": {"since": "{since}", "until": "{until}"},
                    "start": "2020-01-01",
                    "slice": "365d",
                    "too_many": ["QUERY_TOO_LARGE"],
                },
                "entity": "record",
                "fields": {"name": "name", "city": "city", "amount": "amount"},
            }
        },
    }
    entity = {
        "entity": "record",
        "fields": {
            "name": {"type": "string"},
            "city": {"type": "string"},
            "amount": {"type": "decimal", "scale": 2},
        },
        "survivorship": {"default": ["recent"]},
    }
    for name, document in (("sources/archive", source), ("entities/record", entity)):
        path = folder / f"{name}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(yaml.safe_dump(document), "utf-8")
    (folder / "rules").mkdir()
    return folder


async def _reached(options: Options, part: float, progress: Progress, bar: TaskID) -> bool:
    """Wait until so much of the backfill is published, beginning it if nobody has; False once it has ended."""
    deadline = time.monotonic() + PATIENCE_S
    last = -1
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            now = await _look(options, begin=last < 0)
            if now.state not in ("asked", "running"):
                return False
            if now.records >= part * options.records:
                return True
            if now.records > last:
                last, deadline = now.records, time.monotonic() + PATIENCE_S
                progress.update(bar, completed=now.part)
        await asyncio.sleep(LOOK_S)
    raise FlockIQError(f"the backfill does not move for {PATIENCE_S:.0f} s: see {options.data / 'app.log'}")


async def _look(options: Options, *, begin: bool = False) -> BackfillShown:
    """How the backfill stands; asked for if there was none yet. httpx.HTTPError while the app can't say."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{options.port}", trust_env=False, timeout=10.0) as app:
        answer = await app.get("/api/backfills")
        told = msgspec.json.decode(answer.raise_for_status().content, type=_Answer).backfills
        if not told and begin:
            answer = await app.post(f"/api/sources/{SOURCE}/backfill")
            told = msgspec.json.decode(answer.raise_for_status().content, type=_Answer).backfills
    if not told:
        raise httpx.RequestError("nothing is known of the backfill")
    return told[0]


async def _quiet(options: Options, process: asyncio.subprocess.Process) -> None:
    """Wait until the source has been polled since its last edit, and everything has gone through."""
    settings = Settings(data=options.data)
    frozen_us = time.time_ns() // 1000
    watching = connect(settings)
    try:
        last, since = -1, time.monotonic()
        deadline = since + PATIENCE_S
        while time.monotonic() < deadline:
            if process.returncode is not None:
                raise FlockIQError(f"the app ended by itself; {options.data / 'app.log'} says why")
            moved = 0
            for hub in ("changes", "deltas", "entities"):
                for partition in range(settings.partitions[hub]):
                    moved += (await watching.events.bounds(hub, partition)).end
            turn = (await Turns(watching.registry, settings.tenant).all())[SOURCE, STREAM]
            if moved != last or turn.failures or turn.read_us < frozen_us:
                last, since = moved, time.monotonic()
            if time.monotonic() - since > QUIET_S:
                return
            await asyncio.sleep(0.25)
    finally:
        await watching.close()
    raise FlockIQError(f"the app does not come to rest within {PATIENCE_S:.0f} s")


async def _compare(services: Services, archive: Archive, report: Report) -> None:
    held = (await outcome.held_by_app(services)).get((SOURCE, STREAM), {})
    places = await outcome.entities_of_records(services)
    versions = await outcome.versions_captured(services)
    expected = {key: _told(row) for key, row in archive.rows.items()}
    given = {str(key): _comparable(fields) for key, fields in held.items()}
    report.counts = {
        "records in the source": len(expected),
        "records downstream": len(given),
        "versions captured": len(versions),
        "lines that told them": versions.total(),
    }
    report.differences = {
        "missing": sorted(f"{key} {expected[key]}" for key in expected.keys() - given.keys()),
        "doubled": sorted(f"{key} is in {count} entities" for (*_, key), count in places.items() if count > 1),
        "not in the source": sorted(map(str, given.keys() - expected.keys())),
        "different": differences(
            {key: expected[key] for key in expected.keys() & given.keys()},
            {key: given[key] for key in expected.keys() & given.keys()},
        ),
    }


def _told(row: Mapping[str, Any]) -> tuple[object, ...]:
    return row["name"], row["city"], f"{row['amount']:.2f}"


def _comparable(fields: Any) -> tuple[object, ...]:
    return fields.get("name"), fields.get("city"), f"{float(fields.get('amount', 'nan')):.2f}"
