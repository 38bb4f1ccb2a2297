"""Cosmos DB's adapters over the peer; tenant ``t`` spans both of its physical partitions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from flockiq.shared.adapters.azure.alerts import CosmosAlerts
from flockiq.shared.adapters.azure.cosmos import CONTAINERS, Cosmos
from flockiq.shared.adapters.azure.registry import CosmosRegistry
from tests.peers.cosmos.peer import CosmosDB
from tests.peers.cosmos.signatures import KEY

type Opens = Callable[[CosmosDB], Cosmos]


@pytest.fixture
def peer() -> Iterator[CosmosDB]:
    """An account with the app's database."""
    with CosmosDB(CONTAINERS, within={"alerts": ["t"]}, slow_s=0.1) as peer:
        yield peer


@pytest.fixture
async def opens() -> AsyncIterator[Opens]:
    """Opens a database at a peer, with waits of a test's size; all are closed at the end."""
    opened: list[Cosmos] = []

    def over(peer: CosmosDB) -> Cosmos:
        opened.append(Cosmos(peer.endpoint, KEY, within_s=3.0, answer_s=2.0))
        return opened[-1]

    yield over
    for cosmos in opened:
        await cosmos.close()


@pytest.fixture
def cosmos(opens: Opens, peer: CosmosDB) -> Cosmos:
    """The database."""
    return opens(peer)


@pytest.fixture
def other(opens: Opens, peer: CosmosDB) -> Cosmos:
    """The database, as another process has it."""
    return opens(peer)


@pytest.fixture
def alerts(cosmos: Cosmos) -> CosmosAlerts:
    """The alert store over it."""
    return CosmosAlerts(cosmos)


@pytest.fixture
def others(other: Cosmos) -> CosmosAlerts:
    """The alert store of another process."""
    return CosmosAlerts(other)


@pytest.fixture
def registry(cosmos: Cosmos) -> CosmosRegistry:
    """The registry over it."""
    return CosmosRegistry(cosmos)


@pytest.fixture
def another(other: Cosmos) -> CosmosRegistry:
    """The registry of another process."""
    return CosmosRegistry(other)
