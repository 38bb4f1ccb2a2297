"""Event Hubs as in Azure: over TLS, and by the app's identity."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from flockiq.shared.adapters.azure.events import sender, stream
from flockiq.shared.adapters.azure.events.namespace import NAMESPACE, Namespace
from flockiq.shared.adapters.azure.events.stream import HubEvents
from flockiq.shared.adapters.azure.identity import credential
from flockiq.shared.adapters.embedded.blobs import FolderBlobs
from flockiq.shared.errors import HubUnavailable
from flockiq.shared.ports import OutgoingEvent
from tests.azure.event_hubs.conftest import SDK_LEAVES_SOCKETS, never
from tests.azure.identities import find_here, trust
from tests.peers.event_hubs.peer import HOST, KEY, KEY_NAME
from tests.peers.leftovers import swept
from tests.peers.peers import Peers

pytestmark = pytest.mark.filterwarnings(SDK_LEAVES_SOCKETS)


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Peers]:
    """Event Hubs and the identity endpoint, found by this process; nobody is trusted yet."""
    monkeypatch.setattr(stream, "WITHIN_S", 1.0)
    monkeypatch.setattr(sender, "WITHIN_S", 5.0)
    with swept(), Peers(hubs_by_identity=True) as peers:
        for name, value in peers.environment(["events"]).items():
            monkeypatch.setenv(name, value)
        find_here(HOST, monkeypatch, port=peers.event_hubs.port)
        yield peers


@pytest.fixture
async def events(peers: Peers, tmp_path: Path) -> AsyncIterator[HubEvents]:
    """The hubs, for whoever the identity endpoint says the app is."""
    environment = peers.environment(["events"])
    identity = credential(environment)
    opened = HubEvents(Namespace(environment, lambda: identity), {}, FolderBlobs(tmp_path))
    yield opened
    await opened.close()
    await identity.close()


async def test_the_identity_publishes_and_reads(
    events: HubEvents, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a token from the identity endpoint that is kept: only what begins at the same moment asks twice."""
    trust(peers.authority, monkeypatch)
    assert peers.environment(["events"])[NAMESPACE] == HOST
    await events.publish("changes", [OutgoingEvent(1, b"one"), OutgoingEvent(1, b"two")])
    assert [event.body for event in await events.read("changes", 1, 0, 10)] == [b"one", b"two"]
    assert (await events.bounds("changes", 1)).end == 2
    assert peers.key_vault.asked["identity"] <= 2


async def test_a_server_that_nobody_vouches_for_is_told_nothing(events: HubEvents, peers: Peers) -> None:
    """Its certificate is checked before any token or event leaves."""
    with pytest.raises(HubUnavailable, match="does not answer as it should"):
        await events.publish("changes", [OutgoingEvent(1, b"one")])
    assert peers.event_hubs.events("changes", 1) == []


async def test_a_token_that_has_run_out_is_renewed(
    events: HubEvents, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service ends the link; the app comes back with a token that it did not have before."""
    trust(peers.authority, monkeypatch)
    peers.issuer.lasts_s = 2.0
    await events.publish("changes", [OutgoingEvent(1, b"one")])
    until = time.monotonic() + 3.0
    number = 0
    while time.monotonic() < until:
        number += 1
        await events.publish("changes", [OutgoingEvent(1, b"%d" % number)])
    assert len({event.body for event in peers.event_hubs.events("changes", 1)}) == number + 1
    assert peers.key_vault.asked["identity"] > 1


async def test_who_has_no_token_for_event_hubs_is_kept_out(
    events: HubEvents, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token for another service is no token here, and the error says which roles to give."""
    trust(peers.authority, monkeypatch)
    token = peers.issuer.token
    monkeypatch.setattr(peers.issuer, "token", lambda _resource: token("https://vault.azure.net"))
    with pytest.raises(HubUnavailable, match="Event Hubs Data Sender and Receiver"):
        await events.publish("changes", [OutgoingEvent(1, b"one")])
    assert peers.event_hubs.events("changes", 1) == []


async def test_the_peer_takes_no_key_over_tls(peers: Peers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a namespace whose local auth is off, which is how infra/ makes it; so that the tests above can fail."""
    trust(peers.authority, monkeypatch)
    find_here("localhost", monkeypatch, port=peers.event_hubs.port)
    text = f"Endpoint=sb://localhost/;SharedAccessKeyName={KEY_NAME};SharedAccessKey={KEY}"
    opened = HubEvents(Namespace({"EventHub": text}, never), {}, FolderBlobs(tmp_path))
    with pytest.raises(HubUnavailable, match="LocalAuthDisabled"):
        await opened.partition_count("changes")
    await opened.close()
