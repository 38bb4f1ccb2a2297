"""``flockiq state export|import``: the whole state of a system in one file, and back.

Export may run beside the app. Import wants it stopped: the file is checked first, then brought in, state logs last;
one that was interrupted is gone on with by the same command.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import flockiq
from flockiq.cli import checkpoints
from flockiq.cli.bars import bar
from flockiq.cli.hold import data_folder
from flockiq.local.host.settings import read_local_settings
from flockiq.shared import settings
from flockiq.shared.archive import Archive, Manifest, Step, Writing
from flockiq.shared.errors import FlockIQError
from flockiq.shared.instants import rfc3339
from flockiq.shared.services import Services, connect
from flockiq.shared.transfer import admit, export, restore

APP: Final = Path(flockiq.__file__).resolve().parent


class Options(NamedTuple):
    """Which system, and which file."""

    data: Path
    config: Path
    file: Path
    force: bool = False


@asynccontextmanager
async def stores(data: Path, config: Path) -> AsyncIterator[Services]:
    """The stores that the settings name; on one machine, those of a data folder."""
    environment = _environment(data, config)
    services = connect(settings.read(environment), environment)
    try:
        yield services
    finally:
        await services.close()


def export_to(options: Options) -> int:
    """Write the archive, and say what it holds."""
    with bar("exporting") as show:
        manifest = asyncio.run(_export(options, show))
    size = options.file.stat().st_size
    _print(f"{options.file}: {size:,} bytes, as of {rfc3339(manifest.exported_us)[:19]}Z")
    _print(_told(manifest))
    return 0


def import_from(options: Options) -> int:
    """Bring an archive in, and say what it held."""
    with bar("checking the file") as show:
        archive = Archive(options.file)
        manifest, erased = asyncio.run(_import(options, archive, show))
    _print(f"{options.file} is imported, as of {rfc3339(manifest.exported_us)[:19]}Z")
    _print(_told(manifest))
    if erased:
        dates = ", ".join(dict.fromkeys(f"{rfc3339(at)[:19]}Z" for at in erased))
        _print(f"It brought back what was erased since then. Erase the same keys again: those of {dates}.")
    _print("What happened since then comes from the hubs, and from the sources, when the app starts.")
    return 0


async def _export(options: Options, step: Step) -> Manifest:
    async with stores(existing(options.data), options.config) as services:
        with Writing(options.file) as archive:
            return await export(services, archive, step)


async def _import(options: Options, archive: Archive, step: Step) -> tuple[Manifest, Sequence[int]]:
    """What was brought in, and when something was erased that it holds."""
    with ExitStack() as held:
        held.enter_context(data_folder(options.data))  # no app may start meanwhile
        async with stores(options.data, options.config) as services:
            environment = _environment(options.data, options.config)
            erased = await admit(services, archive, force=options.force)
            await checkpoints.forget(services, environment)  # first, so that no state is brought in which they overtake
            return await restore(services, archive, step), erased


def _environment(data: Path, config: Path) -> dict[str, str]:
    given = {"FLOCKIQ_DATA": str(data.absolute()), "FLOCKIQ_CONFIG": str(config.absolute())}
    return {**read_local_settings(APP), **os.environ, **given}


def existing(data: Path) -> Path:
    """A data folder that is there; FlockIQError if the embedded adapters would only make an empty one."""
    if os.environ.get("FLOCKIQ_ADAPTERS", "embedded") == "embedded" and not data.is_dir():
        raise FlockIQError(f"There is no data folder {data}: name the one of the app with --data DIR.")
    return data


def _told(manifest: Manifest) -> str:
    partitions = ", ".join(f"{count} partitions of {hub}" for hub, count in manifest.partitions.items())
    counts = manifest.counts
    return (
        f"  state of {partitions}; {counts['documents']:,} cursors and notes, {counts['alerts']:,} alerts, "
        f"{counts['waiting']:,} events that waited, {counts['keys']:,} segments of key sets"
    )


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
