"""Part ``azure``: Microsoft's SDKs through the app's adapters, over peers on this machine, and what Azure bills for it.

The peers (tests/peers) speak as the services do and run in a process of their own: what is told of the client is
its CPU alone, and the peers' is told aside. Request units are the Cosmos DB peer's model of the service's charges.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec

from flockiq.bench import azure_app, azure_hubs
from flockiq.bench.azure_app import App
from flockiq.bench.azure_hubs import TENANT, Way
from flockiq.bench.engine_part import Say
from flockiq.bench.fresh import fresh
from flockiq.bench.history import Size
from flockiq.bench.workload import CACHE, ROOT

EMULATOR = ROOT / "tests" / "peers" / "storage" / "emulator"
MILLION = 1_000_000
EACH = 10  # packed records to one that is sent in an event of its own
FOLDED = 8  # packed records to one that goes through the app's functions


class Peers(NamedTuple):
    """Peers that are served: the settings that name them, and their session."""

    environment: Mapping[str, str]
    session: int


class _Served(msgspec.Struct):
    environment: dict[str, str]


def azure_part(records: int, reps: int, say: Say) -> dict[str, object]:
    """Every figure of the adapters, by key."""
    if lacks := missing():
        say(f"azure is skipped: {lacks}")
        return {"skipped": lacks}
    CACHE.mkdir(exist_ok=True)
    each, folded = max(records // EACH, 1), max(records // FOLDED, 1)
    with peers("events") as served:
        say(f"azure: {records:,} records packed and {each:,} one an event, {reps} times")
        taken = fresh(azure_hubs.ways, *served, _size(records), _size(each), reps)
    with peers("events", "state", "alerts", "registry") as served, tempfile.TemporaryDirectory(dir=CACHE) as folder:
        say(f"azure: {folded:,} records through the app's two functions, for what they commit, tell and cost")
        app = fresh(azure_app.app, *served, _size(folded), Path(folder))
    return {
        "reps": reps,
        "packed": _way([one for one, _ in taken]),
        "record_an_event": _way([one for _, one in taken]),
        "send_times": round(median(one.send_rate / other.send_rate for one, other in taken), 1),
        "receive_times": round(median(one.receive_rate / other.receive_rate for one, other in taken), 1),
        "state": _state(app),
        "alerts": _alerts(app),
        "per_million": _per_million(app),
    }


def _way(runs: Sequence[Way]) -> dict[str, object]:
    """One way of putting records into events; medians."""
    one = runs[0]
    return {
        "records": one.records,
        "events": one.events,
        "records_per_event": round(one.records / one.events, 1),
        "bytes_per_record": round(one.body_bytes / one.records, 1),
        "billed_events_per_million": round(one.billed / one.records * MILLION),
        "send_records_per_cpu_s": round(median(run.send_rate for run in runs)),
        "receive_records_per_cpu_s": round(median(run.receive_rate for run in runs)),
        "peer_us_per_record": round(median(run.peer_s for run in runs) / one.records * 1e6, 2),
    }


def _state(app: App) -> dict[str, object]:
    logs = app.logs
    return {
        "appends": logs.appends,
        "records_per_commit": round(app.records / app.commits),
        "bytes_per_commit": round(logs.append_bytes / logs.appends),
        "append_cpu_ms": round(logs.append_s / logs.appends * 1e3, 2),
        "commit_records_per_cpu_s": round(logs.records / logs.append_s),
        "load_records_per_cpu_s": round(logs.records / logs.load_s),
        "load_mb_per_cpu_s": round(logs.append_bytes / logs.load_s / 1e6),
        "peer_us_per_record": round(logs.peer_s / logs.records * 1e6, 2),
    }


def _alerts(app: App) -> dict[str, object]:
    told = app.told
    return {
        "steps": told.steps,
        "steps_per_cpu_s": round(told.steps / told.cpu_s),
        "requests_per_step": round(told.requests / told.steps, 2),
        "units_per_step": round(told.units / told.steps, 2),
        "peer_us_per_step": round(told.peer_s / told.steps * 1e6),
    }


def _per_million(app: App) -> dict[str, object]:
    """What a million records through the whole app are billed as, in full batches."""
    hubs = {
        name: {
            "lines": round(hub.lines / app.records * MILLION),
            "billed_events": round(hub.billed / app.records * MILLION),
            "mb": round(hub.body_bytes / app.records, 1),
        }
        for name, hub in app.hubs.items()
    }
    steps = app.steps / app.records * MILLION
    return {
        "records": app.records,
        "hubs": hubs,
        "billed_events": sum(hub["billed_events"] for hub in hubs.values()),
        "billed_events_record_an_event": sum(hub["lines"] for hub in hubs.values()),
        "ingress_mb": round(sum(hub["mb"] for hub in hubs.values()), 1),
        "appends": round(app.commits / app.records * MILLION),
        "append_mb": round(app.commit_bytes / app.records, 1),
        "alert_steps": round(steps),
        "alert_units": round(steps * app.told.units / app.told.steps),
        "units_per_note": round(app.note, 2),
        "units_per_turn": round(app.turn, 2),
    }


def _size(records: int) -> Size:
    return Size(records, max(records // 10, 10))


def missing() -> str:
    """What the peers lack, and the way to get it; "" if nothing."""
    if shutil.which("node") is None or not (EMULATOR / "node_modules").is_dir():
        return "it needs Azurite: tests/peers/storage/emulator/install gets it (with Node and npm)"
    return ""


@contextmanager
def peers(*ports: str) -> Iterator[Peers]:
    """The peers of ``ports``, until left. RuntimeError, with what they said, if they can't be served."""
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "tests.peers.serve", TENANT, *ports],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            start_new_session=True,
        ) as process,
    ):
        if process.stdout is None or process.stdin is None:
            raise AssertionError("the pipes were asked for")
        try:
            line = process.stdout.readline()
            if not line:
                complaints.seek(0)
                raise RuntimeError(f"the peers ended early:\n{complaints.read()[-3000:].decode(errors='replace')}")
            yield Peers(msgspec.json.decode(line, type=_Served).environment, process.pid)
        finally:
            process.stdin.close()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
