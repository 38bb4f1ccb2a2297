"""Cosmos DB's adapters, of alerts and of the registry, broken on purpose (``tests.azure.mutants``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from flockiq.shared.adapters.azure import alert_documents as documents
from flockiq.shared.adapters.azure.alert_documents import Plan, Stored
from flockiq.shared.adapters.azure.alerts import CosmosAlerts
from flockiq.shared.adapters.azure.cosmos import Cosmos
from flockiq.shared.adapters.azure.registry import CosmosRegistry
from flockiq.shared.errors import Conflict, StoreUnavailable
from flockiq.shared.ports import Lease
from tests.azure.cosmos.told import step
from tests.azure.mutants import Behaviour, Kind, Mutant, broken, sound
from tests.peers.cosmos.peer import CosmosDB
from tests.peers.cosmos.signatures import KEY

type Given = tuple[Cosmos, Cosmos, CosmosDB]


@pytest.fixture
def given(cosmos: Cosmos, other: Cosmos, peer: CosmosDB) -> Given:
    """The database, as two processes have it."""
    return cosmos, other, peer


async def keeps_what_a_person_did_meanwhile(one: Cosmos, other: Cosmos, _peer: CosmosDB) -> None:
    """A person acknowledges after the engine has read the alert, and before it writes."""
    engine, person = CosmosAlerts(one), CosmosAlerts(other)
    await engine.apply("t", [step("a", 1, "fire")])
    commit = engine._commit
    acted: list[str] = []

    async def late(*batch: Any) -> list[str] | None:
        if not acted:
            acted.append((await person.act("t", "a", "acknowledge", "ann", 2_000)).status)
        return await commit(*batch)

    engine._commit = late  # type: ignore[method-assign]
    assert await engine.apply("t", [step("a", 2, "update")]) == 1
    kept = await person.get("t", "a")
    assert (kept.acknowledged_by, kept.revision) == ("ann", 2)
    assert [entry.change for entry in await person.history("t", "a")] == ["fire", "update", "acknowledge"]


async def tells_a_transition_once(one: Cosmos, _other: Cosmos, peer: CosmosDB) -> None:
    """A batch is written and its answer lost."""
    alerts = CosmosAlerts(one)
    await alerts.apply("t", [step("a", 1, "fire")])
    peer.faults.plan("unanswered", where="alerts/batch")
    assert await alerts.apply("t", [step("a", 2, "update")]) == 1
    assert [entry.change for entry in await alerts.history("t", "a")] == ["fire", "update"]


async def says_what_was_not_told(_one: Cosmos, _other: Cosmos, peer: CosmosDB) -> None:
    """The service takes nothing for longer than is tried: the batch must come again."""
    hasty = Cosmos(peer.endpoint, KEY, within_s=0.3)
    try:
        alerts = CosmosAlerts(hasty)
        peer.faults.plan("throttled", where="alerts/batch", times=1_000)
        with pytest.raises(StoreUnavailable):
            await alerts.apply("t", [step("a", 1, "fire")])
    finally:
        await hasty.close()


async def conflicts_where_another_wrote_first(one: Cosmos, other: Cosmos, _peer: CosmosDB) -> None:
    """A cursor is written at an etag that is no longer its own."""
    etag = await CosmosRegistry(one).put("cursor", b"1", None)
    await CosmosRegistry(other).put("cursor", b"2", etag)
    with pytest.raises(Conflict):
        await CosmosRegistry(one).put("cursor", b"stale", etag)
    found = await CosmosRegistry(one).get("cursor")
    assert found is not None
    assert found.value == b"2"


async def gives_a_lease_to_one(one: Cosmos, other: Cosmos, _peer: CosmosDB) -> None:
    """Another takes a lease after it was seen to be free, and before it is taken."""
    registry, rival = CosmosRegistry(one), CosmosRegistry(other)
    first = await registry.acquire("slice", "one", 30.0)
    assert first is not None
    await registry.release(first)
    hold = registry._hold
    rivals: list[Lease | None] = []

    async def late(*held: Any) -> bool:
        if not rivals:
            rivals.append(await rival.acquire("slice", "rival", 30.0))
        return await hold(*held)

    registry._hold = late  # type: ignore[method-assign]
    assert await registry.acquire("slice", "two", 30.0) is None
    assert rivals[0] is not None
    assert (await rival.renew(rivals[0], 30.0)).owner == "rival"


def etags_of_alerts_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is there is written over."""

    def anyway(item: Mapping[str, Any], _etag: str) -> tuple[Any, ...]:
        return ("upsert", (item,))

    happened = documents._happened

    def again(*given: Any) -> tuple[Any, ...]:
        return ("upsert", happened(*given)[1])

    monkeypatch.setattr(documents, "condition", anyway)
    monkeypatch.setattr(documents, "_happened", again)


def alerts_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a conflict, what was read before it is trusted."""
    read = CosmosAlerts._read
    seen: dict[tuple[str, ...], dict[str, Stored | None]] = {}

    async def once(self: CosmosAlerts, tenant: str, entity: str, ids: Any) -> dict[str, Stored | None]:
        key = (tenant, entity, *sorted(ids))
        if key not in seen:
            seen[key] = await read(self, tenant, entity, ids)
        return dict(seen[key])

    monkeypatch.setattr(CosmosAlerts, "_read", once)


def stale_alerts_resubmitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a conflict, what was worked out before it is written at the new etag."""
    commit = CosmosAlerts._commit

    async def resubmit(self: CosmosAlerts, tenant: str, entity: str, plan: Plan, operation: str) -> list[str] | None:
        etags = await commit(self, tenant, entity, plan, operation)
        if etags is not None:
            return etags
        anew = [("upsert", arguments[-1:]) for _, arguments, *_ in plan.operations]
        return await commit(self, tenant, entity, plan._replace(operations=anew), operation)

    monkeypatch.setattr(CosmosAlerts, "_commit", resubmit)


def own_batches_not_known_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A conflict is always taken for another's."""

    async def never(*_: Any) -> bool:
        return False

    monkeypatch.setattr(CosmosAlerts, "_done", never)


def etags_of_the_registry_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is there is written over."""

    async def anyway(self: CosmosRegistry, container: str, operation: str, item: dict[str, Any], _etag: str) -> str:
        async def write(proxy: Any, note: Any) -> str:
            return str((await proxy.upsert_item(item, response_hook=note))["_etag"])

        return await self._cosmos.do(operation, container, write)

    monkeypatch.setattr(CosmosRegistry, "_write", anyway)


def conflicts_assumed_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease is held without asking whether its write was taken."""
    hold = CosmosRegistry._hold

    async def held(self: CosmosRegistry, operation: str, lease: Lease, etag: str | None, ttl_s: float) -> bool:
        await hold(self, operation, lease, etag, ttl_s)
        return True

    monkeypatch.setattr(CosmosRegistry, "_hold", held)


def answers_of_batches_assumed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the service did not answer is taken for written."""
    commit = CosmosAlerts._commit

    async def assume(self: CosmosAlerts, tenant: str, entity: str, plan: Plan, operation: str) -> list[str] | None:
        try:
            return await commit(self, tenant, entity, plan, operation)
        except StoreUnavailable:
            return [""] * len(plan.operations)

    monkeypatch.setattr(CosmosAlerts, "_commit", assume)


def stale_leases_resubmitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a conflict, what was worked out before it is written at the new etag."""
    hold = CosmosRegistry._hold

    async def resubmit(self: CosmosRegistry, operation: str, lease: Lease, etag: str | None, ttl_s: float) -> bool:
        if await hold(self, operation, lease, etag, ttl_s):
            return True
        _, now = await self._lease(operation, lease.name)
        return await hold(self, operation, lease, now, ttl_s)

    monkeypatch.setattr(CosmosRegistry, "_hold", resubmit)


MUTANTS = [
    Mutant("alerts", Kind.FENCE_IGNORED, etags_of_alerts_ignored, keeps_what_a_person_did_meanwhile),
    Mutant("alerts", Kind.ANSWER_ASSUMED, answers_of_batches_assumed, says_what_was_not_told),
    Mutant("alerts", Kind.NOT_READ_AGAIN, alerts_not_read_again, keeps_what_a_person_did_meanwhile),
    Mutant("alerts", Kind.NOT_READ_AGAIN, stale_alerts_resubmitted, keeps_what_a_person_did_meanwhile),
    Mutant("alerts", Kind.NOT_READ_AGAIN, own_batches_not_known_again, tells_a_transition_once),
    Mutant("registry", Kind.FENCE_IGNORED, etags_of_the_registry_ignored, conflicts_where_another_wrote_first),
    Mutant("registry", Kind.FENCE_IGNORED, etags_of_the_registry_ignored, gives_a_lease_to_one),
    Mutant("registry", Kind.ANSWER_ASSUMED, conflicts_assumed_away, gives_a_lease_to_one),
    Mutant("registry", Kind.NOT_READ_AGAIN, stale_leases_resubmitted, gives_a_lease_to_one),
]


@sound(MUTANTS)
async def test_it_holds_of_the_adapters(behaviour: Behaviour, given: Given) -> None:
    """As they are."""
    await behaviour(*given)


@broken(MUTANTS)
async def test_a_broken_adapter_is_found(mutant: Mutant, given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what holds of a sound one."""
    await mutant.is_found(monkeypatch, *given)
