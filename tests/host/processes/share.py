"""A host over Event Hubs in a process of its own: its functions write what they see to a file.

Arguments: the app's folder, the data folder, the registry that hosts share. It runs until it is told to stop.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from flockiq.local.host import hubs
from flockiq.local.host.host import Host, run_until_stopped
from flockiq.shared.adapters.azure.events.namespace import Namespace
from flockiq.shared.adapters.azure.events.stream import HubEvents
from flockiq.shared.adapters.embedded.blobs import FolderBlobs
from flockiq.shared.adapters.embedded.registry import SqliteRegistry


def nobody() -> None:
    """A peer asks for no token."""
    raise AssertionError


async def main(app: Path, data: Path, registry: Path) -> None:
    """Run the host."""
    hubs.BALANCE_S, hubs.EXPIRES_S = 0.3, 2.0
    events = HubEvents(Namespace(os.environ, nobody), {}, FolderBlobs(data / "blobs"))
    kept = SqliteRegistry(registry)
    await run_until_stopped(Host(app, events=events, data=data, port=0, grace_s=5, checkpoints=lambda: kept), None)
    await events.close()
    await kept.close()


if __name__ == "__main__":
    asyncio.run(main(*map(Path, sys.argv[1:])))
