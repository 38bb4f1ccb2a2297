"""The adapter broken on purpose: what holds of it does not hold of any mutant, and so is held by something."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from flockiq.shared.adapters.azure.kusto.analytics import KustoAnalytics
from flockiq.shared.adapters.azure.kusto.verdicts import Refused
from flockiq.shared.adapters.azure.kusto.waiting import Waiting
from flockiq.shared.adapters.embedded.blobs import FolderBlobs
from flockiq.shared.errors import FlockIQError, StoreUnavailable
from tests.azure.kusto.conftest import Opens, rows
from tests.peers.kusto.peer import Eventhouse

type Plant = Callable[[pytest.MonkeyPatch], None]
type Behaviour = Callable[[Opens, Eventhouse, FolderBlobs], Awaitable[None]]
COUNT = "Deltas | count"


async def keeps_what_was_not_taken(opens: Opens, peer: Eventhouse, blobs: FolderBlobs) -> None:
    """The service is away, comes back, and the clock sweeps."""
    analytics = opens(hold_s=0.0)
    peer.faults.plan("dropped", times=100_000)
    await analytics.ingest("Deltas", rows(0, 5))
    assert len(await blobs.list("analytics/")) == 1
    peer.faults.clear()
    await analytics.sweep()
    assert peer.rows(COUNT) == [[5]]


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
    await opens().query(COUNT)
    assert peer.options[-1]["request_readonly"] is True
    assert peer.options[-1]["request_callout_disabled"] is True


def acknowledgements_assumed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that the service did not take are taken for stored."""

    async def deliver(self: KustoAnalytics, table: str, given: bytes) -> None:
        try:
            await self._cluster.stream(table, given)
        except StoreUnavailable:
            return

    monkeypatch.setattr(KustoAnalytics, "_deliver", deliver)


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


MUTANTS: list[tuple[Plant, Behaviour]] = [
    (acknowledgements_assumed, keeps_what_was_not_taken),
    (what_waits_forgotten_unsent, keeps_what_is_refused),
    (kept_without_asking, says_what_is_kept_nowhere),
    (queries_sent_as_they_are, asks_for_nothing_but_reading),
]


@pytest.mark.parametrize("behaviour", list(dict.fromkeys(behaviour for _, behaviour in MUTANTS)))
async def test_it_holds_of_the_adapter(
    behaviour: Behaviour, opens: Opens, peer: Eventhouse, blobs: FolderBlobs
) -> None:
    """As it is."""
    await behaviour(opens, peer, blobs)


@pytest.mark.parametrize(("plant", "behaviour"), MUTANTS)
async def test_a_broken_adapter_is_found(
    plant: Plant,
    behaviour: Behaviour,
    opens: Opens,
    peer: Eventhouse,
    blobs: FolderBlobs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By what holds of a sound one."""
    plant(monkeypatch)
    with pytest.raises((AssertionError, KeyError, FlockIQError, pytest.fail.Exception)):
        await behaviour(opens, peer, blobs)
