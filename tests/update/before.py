"""What a version leaves for the next one to be tried against: its code, and a system in the middle of its work.

``python -m tests.update.before`` writes both into tests/update/before, of the version that is checked out. Run it
when a version is released, on the released commit, and commit what it wrote: from then on the tests here hold
every later commit against that version.

- ``app.tar.xz``: the app as it runs, its local host and tools included, without tests and documents.
- ``left.tar.xz``: the data folder of a system that was stopped half-way: snapshots and entries of every partition of
  both functions, events on the hubs not yet folded, alerts, history; the config it ran with; and ``left.json``.
"""

from __future__ import annotations

import asyncio
import io
import shutil
import subprocess
import tarfile
import tempfile
from itertools import batched, chain
from pathlib import Path
from typing import Final

import msgspec

import flockiq
from flockiq.bench.history import Size
from flockiq.bench.workload import CONFIG, workload
from flockiq.local.folding import Share, shares
from flockiq.shared import wire
from flockiq.shared.config.load import load
from flockiq.shared.owner import STATE_VERSION
from flockiq.shared.services import Services, connect
from flockiq.shared.settings import Settings

ROOT: Final = Path(__file__).resolve().parents[2]
BEFORE: Final = Path(__file__).parent / "before"
APP, LEFT = BEFORE / "app.tar.xz", BEFORE / "left.tar.xz"
ASIDE: Final = ("tests", "docs", "bench", "infra", "typings", ".github", ".ci")  # folders that do not run

SIZE: Final = Size(1_200, 120, seed=5)
LINES: Final = 8  # of an event
BATCH: Final = 3  # events
ENTRIES: Final = 8  # after which a log is rolled
SHARE: Final = 0.6  # of a partition's events that were folded


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """What was left, as ``left.json`` has it: the sequence that each owner had folded, by its name."""

    version: str
    state_version: int
    wire_version: str
    inputs: dict[str, int]


def settings_of(data: Path) -> Settings:
    """The settings of the system that was left."""
    return Settings(data=data, state_snapshot_entries=ENTRIES)


async def fold(services: Services, share: Share, first: int, end: int) -> None:
    """Fold the events of a partition from ``first`` to before ``end``."""
    while first < end:
        first = await share.fold(services.events, first, min(BATCH, end - first))


async def _leave(folder: Path) -> Left:
    """A system that is stopped half-way, in ``folder``."""
    shutil.copytree(CONFIG, folder / "config")
    services = connect(settings_of(folder / "data"))
    inputs: dict[str, int] = {}
    try:
        await _publish(services)
        for share in chain(*(await shares(services, load(folder / "config", {}))).values()):
            bounds = await services.events.bounds(share.hub, share.partition)
            await fold(services, share, bounds.first, bounds.first + int((bounds.end - bounds.first) * SHARE))
            inputs[share.owner.name] = share.owner.input
        await services.analytics.flush()
    finally:
        await services.close()
    return Left(version=flockiq.__version__, state_version=STATE_VERSION, wire_version=wire.WIRE_VERSION, inputs=inputs)


async def _publish(services: Services) -> None:
    """Everything that the sources told, on hub ``changes``."""
    for packed in workload(SIZE, "changes").timed():
        lines = wire.unpack(packed.body).split(b"\n")
        for some in batched(lines, LINES, strict=False):
            await services.events.publish("changes", [*wire.pack(packed.partition, wire.CHANGE, some)])


def _code() -> list[Path]:
    """The committed files that run, relative to the root."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607 - the developer's git
    paths = [Path(name) for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.parts[0] not in ASIDE]


def main() -> None:
    """Write both."""
    BEFORE.mkdir(exist_ok=True)
    with tarfile.open(APP, "w:xz", preset=9) as archive:
        for path in _code():
            archive.add(ROOT / path, path, filter=_nobodys)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        left = msgspec.json.format(msgspec.json.encode(asyncio.run(_leave(folder))))
        with tarfile.open(LEFT, "w:xz", preset=9) as archive:
            about = tarfile.TarInfo("left.json")
            about.size = len(left)
            archive.addfile(about, io.BytesIO(left))
            for name in ("config", "data"):
                archive.add(folder / name, name, filter=_nobodys)
    for path in (APP, LEFT):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e3:,.0f} kB")  # noqa: T201 - its answer


def _nobodys(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without whose it was, and when."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    main()
