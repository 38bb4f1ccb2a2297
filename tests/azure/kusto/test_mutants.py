"""The Eventhouse's adapter broken on purpose (``tests.azure.mutants``)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from flockiq.shared.adapters.azure.kusto.cluster import Cluster
from flockiq.shared.adapters.azure.kusto.lanes import Lane
from flockiq.shared.adapters.azure.kusto.verdicts import Refused
from flockiq.shared.adapters.azure.kusto.waiting import Waiting
from flockiq.shared.adapters.embedded.blobs import FolderBlobs
from flockiq.shared.errors import StoreUnavailable
from tests.azure.kusto.conftest import Opens, rows
from tests.azure.mutants import Behaviour, Kind, Mutant, broken, sound
from tests.peers.kusto.peer import Eventhouse

pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")  # the SDK's own
DISTINCT = "Deltas | summarize dcount(DeltaId)"

type Given = tuple[Opens, Eventhouse, FolderBlobs]


@pytest.fixture
def given(opens: Opens, peer: Eventhouse, blobs: FolderBlobs) -> Given:
    """The database, and where rows wait."""
    return opens, peer, blobs


async def loses_nothing(opens: Opens, peer: Eventhouse, _blobs: FolderBlobs) -> None:
    """The service is away, then back."""
    peer.faults.plan("dropped", times=100_000)
    await opens().ingest("Deltas", rows(0, 5))
    peer.faults.clear()
    await opens().sweep()
    assert peer.rows(DISTINCT) == [[5]]


async def returns_when_rows_are_safe(opens: Opens, peer: Eventhouse, _blobs: FolderBlobs) -> None:
    """Whoever is told so may move on."""
    await opens(linger_s=0.2).ingest("Deltas", rows(0, 5))
    assert peer.rows(DISTINCT) == [[5]]


async def forgets_only_what_was_sent(opens: Opens, peer: Eventhouse, _blobs: FolderBlobs) -> None:
    """A sweep fails, the next one does not."""
    peer.faults.plan("dropped", times=100_000)
    analytics = opens()
    await analytics.ingest("Deltas", rows(0, 5))
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await analytics.sweep()
    peer.faults.clear()
    assert await analytics.sweep() == 1
    assert peer.rows(DISTINCT) == [[5]]


async def keeps_what_is_refused(opens: Opens, peer: Eventhouse, blobs: FolderBlobs) -> None:
    """A mapping was never deployed: its rows wait until it is, through every sweep."""
    analytics = opens()
    peer.forget_mapping("Deltas")
    await analytics.ingest("Deltas", rows(0, 5))
    await analytics.sweep()
    assert len(await blobs.list("analytics/")) == 1


async def says_what_is_kept_nowhere(opens: Opens, peer: Eventhouse, blobs: FolderBlobs) -> None:
    """Neither the service nor the blobs take the rows: the batch must come again."""

    async def put(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("the blobs are away")

    blobs.put = put  # type: ignore[method-assign]
    peer.faults.plan("dropped", times=100_000)
    with pytest.raises(StoreUnavailable):
        await opens().ingest("Deltas", rows(0, 5))


async def asks_for_nothing_but_reading(opens: Opens, peer: Eventhouse, _blobs: FolderBlobs) -> None:
    """Every query says so of itself."""
    await opens().query("Deltas | count")
    assert peer.options[-1].get("request_readonly") is True
    assert peer.options[-1].get("request_callout_disabled") is True


def rows_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the service did not take is dropped."""

    async def drop(*_: Any) -> None:
        return

    monkeypatch.setattr(Waiting, "keep", drop)


def acknowledgements_assumed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the service did not answer is taken for stored."""
    stream = Cluster.stream

    async def assume(self: Cluster, table: str, given: bytes) -> None:
        try:
            await stream(self, table, given)
        except StoreUnavailable:
            return

    monkeypatch.setattr(Cluster, "stream", assume)


def batches_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """``ingest`` returns when its rows are in a buffer."""
    put = Lane.put
    tasks = []

    async def soon(self: Lane, given: bytes) -> None:
        tasks.append(asyncio.create_task(put(self, given)))

    monkeypatch.setattr(Lane, "put", soon)


def forgotten_before_it_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is deleted when it is read."""
    get = FolderBlobs.get

    async def once(self: FolderBlobs, path: str) -> bytes:
        body = await get(self, path)
        await self.delete(path)
        return body

    monkeypatch.setattr(FolderBlobs, "get", once)


def what_waits_forgotten_unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep forgets what it has looked at, sent or not."""

    async def sweep(self: Waiting, send: Any) -> int:
        for name in await self._blobs.list("analytics/"):
            with contextlib.suppress(Refused):
                await send("Deltas", rows(0, 5))
            await self._blobs.delete(name)
        return 0

    monkeypatch.setattr(Waiting, "sweep", sweep)


def kept_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the blobs took it is not looked at."""
    keep = Waiting.keep

    async def careless(self: Waiting, table: str, given: bytes) -> None:
        try:
            await keep(self, table, given)
        except StoreUnavailable:
            return

    monkeypatch.setattr(Waiting, "keep", careless)


def queries_sent_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is said of what a query may do."""
    monkeypatch.setattr("flockiq.shared.adapters.azure.kusto.cluster._READS", {})


MUTANTS = [
    Mutant("analytics", Kind.ANSWER_ASSUMED, acknowledgements_assumed, loses_nothing),
    Mutant("analytics", Kind.ANSWER_ASSUMED, acknowledgements_assumed, forgets_only_what_was_sent),
    Mutant("analytics", Kind.ANSWER_ASSUMED, kept_without_asking, says_what_is_kept_nowhere),
    Mutant("analytics", Kind.OTHER, rows_not_kept, loses_nothing),
    Mutant("analytics", Kind.OTHER, batches_not_waited_for, returns_when_rows_are_safe),
    Mutant("analytics", Kind.OTHER, forgotten_before_it_was_sent, forgets_only_what_was_sent),
    Mutant("analytics", Kind.OTHER, what_waits_forgotten_unsent, keeps_what_is_refused),
    Mutant("analytics", Kind.OTHER, queries_sent_as_they_are, asks_for_nothing_but_reading),
]


@sound(MUTANTS)
async def test_it_holds_of_the_adapter(behaviour: Behaviour, given: Given) -> None:
    """As it is."""
    await behaviour(*given)


@broken(MUTANTS)
async def test_a_broken_adapter_is_found(mutant: Mutant, given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what holds of a sound one."""
    await mutant.is_found(monkeypatch, *given)
