"""All seven adapters at once, as the app opens them in Azure."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from flockiq.shared.errors import NotFound
from flockiq.shared.services import connect
from flockiq.shared.settings import HUBS, PORTS, read
from tests.azure.identities import find_here, trust
from tests.peers.event_hubs.peer import HOST as HUBS_HOST
from tests.peers.key_vault.peer import HOST as VAULT_HOST
from tests.peers.peers import Peers
from tests.peers.storage.azurite import Missing

COUNTS = {f"FLOCKIQ_PARTITIONS_{hub.upper()}": str(count) for hub, count in HUBS.items()}


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Peers]:
    """Every service, found and trusted by this process."""
    try:
        with Peers(hubs_by_identity=True) as peers:
            for name, value in peers.environment(PORTS).items():
                monkeypatch.setenv(name, value)
            find_here(VAULT_HOST, monkeypatch, port=peers.key_vault.port)
            find_here(HUBS_HOST, monkeypatch, port=peers.event_hubs.port)
            trust(peers.authority, monkeypatch)
            yield peers
    except Missing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


async def test_one_setting_chooses_them_all(peers: Peers) -> None:
    """Each answers; opening them reaches nobody."""
    services = connect(read({**os.environ, **COUNTS, "FLOCKIQ_ADAPTERS": "azure"}))
    reached = [*peers.storage.asked, *peers.key_vault.asked, *peers.eventhouse.asked, *peers.cosmos.asked]
    assert reached == []
    try:
        assert await services.events.partition_count("resolved") == HUBS["resolved"]
        assert (await services.state.read("resolved/0")).snapshot == b""
        assert await services.alerts.counts("t") == {}
        assert await services.registry.get("nothing") is None
        assert await services.blobs.list("") == []
        assert (await services.analytics.query("print x = 1")).rows == [[1]]
        with pytest.raises(NotFound):
            await services.secrets.get("nothing")
    finally:
        await services.close()


def test_the_settings_of_each_port_are_its_own(peers: Peers) -> None:
    """No two services are named by one setting."""
    ours = peers.key_vault.identity.keys()
    named = [set(peers.environment([port])) - ours for port in ("events", "state", "alerts", "analytics", "secrets")]
    assert sum(map(len, named)) == len(set().union(*named))
