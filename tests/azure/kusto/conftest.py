"""The history in an Eventhouse, over the peer; what it does not take waits in a folder."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from azure.core.credentials_async import AsyncTokenCredential

from flockiq.shared.adapters.azure.kusto.analytics import KustoAnalytics
from flockiq.shared.adapters.azure.kusto.cluster import Cluster
from flockiq.shared.adapters.embedded.blobs import FolderBlobs
from tests.peers.kusto.peer import Eventhouse
from tests.peers.storage.azurite import Missing, azurite

type Opens = Callable[..., KustoAnalytics]


def nobody() -> AsyncTokenCredential:
    """No identity: an emulator asks for none."""
    raise AssertionError("an emulator was asked for a token")


def rows(first: int, count: int, **more: object) -> bytes:
    """Rows of table Deltas as NDJSON, numbered."""
    return b"".join(
        msgspec.json.encode({"DeltaId": f"d{n}", "Tenant": "t", **more}) + b"\n" for n in range(first, first + count)
    )


@pytest.fixture
def peer() -> Iterator[Eventhouse]:
    """A database with the app's tables."""
    with Eventhouse(slow_s=3.0) as peer:
        yield peer


@pytest.fixture
def queue() -> None:
    """What queued ingestion needs."""
    try:
        azurite()
    except Missing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


@pytest.fixture
async def blobs(tmp_path: Path) -> AsyncIterator[FolderBlobs]:
    """Where rows wait."""
    blobs = FolderBlobs(tmp_path / "blobs")
    yield blobs
    await blobs.close()


@pytest.fixture
async def opens(peer: Eventhouse, blobs: FolderBlobs) -> AsyncIterator[Opens]:
    """Opens the history once more, with times of a test's size; all are closed at the end."""
    opened: list[KustoAnalytics] = []

    def over(**given: Any) -> KustoAnalytics:
        within_s, try_s = given.pop("within_s", 1.0), given.pop("try_s", 5.0)
        cluster = Cluster(peer.environment, nobody, within_s=within_s, stream_within_s=within_s, try_s=try_s)
        opened.append(KustoAnalytics(cluster, blobs, **{"linger_s": 0.005, **given}))
        return opened[-1]

    yield over
    for analytics in opened:
        await analytics.close()
