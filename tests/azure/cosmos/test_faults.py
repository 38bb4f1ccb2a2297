"""What goes wrong at Cosmos DB, one by one and all together: everything comes through, once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence

import pytest
from azure.cosmos.exceptions import CosmosBatchOperationError

from flockiq.shared.adapters.azure import alert_documents as documents
from flockiq.shared.adapters.azure.alerts import CosmosAlerts
from flockiq.shared.adapters.azure.cosmos import CONTAINERS, Cosmos
from flockiq.shared.adapters.azure.registry import CosmosRegistry
from flockiq.shared.alerts import AlertQuery, AlertTransition
from flockiq.shared.errors import ConfigError, Conflict, StoreUnavailable
from tests.azure.cosmos.conftest import Opens
from tests.azure.cosmos.told import fold, lives, step
from tests.peers.cosmos.peer import KINDS, CosmosDB
from tests.peers.cosmos.signatures import KEY

OF_WRITES = ("throttled", "batch_throttled", "retry_with", "unavailable", "timed_out", "dropped", "unanswered", "slow")
OF_READS = ("throttled", "unavailable", "timed_out", "dropped", "unanswered", "slow", "expired")


@pytest.mark.parametrize("kind", [*OF_WRITES, "expired"])
async def test_transitions_are_applied_once_whatever_happens_to_a_batch(
    kind: str, alerts: CosmosAlerts, peer: CosmosDB
) -> None:
    """The alerts, their histories and the number of changes are what they are on a quiet day."""
    told = lives(4)
    peer.faults.plan(kind, where="alerts/batch", times=2, after=1)
    assert sum([await alerts.apply("t", told[:8]), await alerts.apply("t", told[4:])]) == len(told)
    assert peer.faults.injected == {kind: 2}
    expected, history = fold(told)
    assert {alert.id: alert for alert in (await alerts.query("t", AlertQuery())).alerts} == expected
    assert {name: await alerts.history("t", name) for name in expected} == history
    assert {kept["tenant"] for kept in peer.documents("alerts")} == {"t"}


async def test_a_batch_throttled_in_part_is_one_throttled(alerts: CosmosAlerts, peer: CosmosDB) -> None:
    """It is counted and charged as one."""
    peer.faults.plan("batch_throttled", where="alerts/batch")
    await alerts.apply("t", [step("a", 1, "fire")])
    charges = alerts._cosmos.charges
    assert (charges.throttled, charges.requests) == ({"alerts.apply": 1}, {"alerts.apply": 2})


async def test_what_the_service_will_never_take_is_not_tried_again(alerts: CosmosAlerts, peer: CosmosDB) -> None:
    """A batch that is wrong in itself comes back as the SDK's error, at once."""
    plan = documents.plan("t", "e1", [step("a", 1, "fire")], 0, {})
    with pytest.raises(CosmosBatchOperationError):
        await alerts._commit("t", "another", plan, "alerts.apply")
    assert [asked.place for asked in peer.asked] == ["alerts/batch"]


@pytest.mark.parametrize("kind", [*OF_READS, "short", "moved"])
async def test_questions_are_answered_whatever_happens_to_them(kind: str, alerts: CosmosAlerts, peer: CosmosDB) -> None:
    """Nothing is missing, nothing is there twice."""
    told = lives(8)
    await alerts.apply("t", told)
    expected, history = fold(told)

    def strike() -> None:
        peer.faults.plan(kind, where="alerts/query")

    strike()
    assert {alert.id: alert for alert in (await alerts.query("t", AlertQuery())).alerts} == expected
    assert await alerts.history("t", "a3") == history["a3"]
    strike()
    assert await alerts.counts("t") == {"limit": {"resolved": 8}}
    assert await alerts.get("t", "a5") == expected["a5"]
    assert peer.faults.injected == {kind: 2}


@pytest.mark.parametrize("kind", [*OF_WRITES, "expired"])
async def test_a_person_s_action_is_kept_once(kind: str, alerts: CosmosAlerts, peer: CosmosDB) -> None:
    """Though its answer was lost, it is in the history once."""
    await alerts.apply("t", [step("a", 1, "fire")])
    peer.faults.plan(kind, where="alerts/batch")
    assert (await alerts.act("t", "a", "acknowledge", "ann", 2_000)).acknowledged_by == "ann"
    assert [entry.change for entry in await alerts.history("t", "a")] == ["fire", "acknowledge"]
    assert peer.faults.injected == {kind: 1}


async def test_an_alert_read_from_a_replica_that_lags_is_read_again(alerts: CosmosAlerts, peer: CosmosDB) -> None:
    """What was worked out from it is refused by the service, and worked out anew."""
    await alerts.apply("t", [step("a", 1, "fire"), step("a", 2, "update")])
    await alerts.act("t", "a", "acknowledge", "ann", 2_000)
    peer.faults.plan("stale", where="alerts/read", times=3)
    assert await alerts.apply("t", [step("a", 2, "update"), step("a", 3, "update")]) == 1
    kept = await alerts.get("t", "a")
    assert (kept.acknowledged_by, kept.revision) == ("ann", 3)
    assert peer.faults.injected["stale"] == 3


async def test_a_document_no_replica_has_yet_is_not_taken_for_none(registry: CosmosRegistry, peer: CosmosDB) -> None:
    """Whoever believed that would begin a cursor anew. Also when several read it at once."""
    etag = await registry.put("cursor", b"1", None)
    for readers in (1, 4):
        peer.faults.plan("behind", where="documents/read", times=readers + 1)
        found = await asyncio.gather(*(registry.get("cursor") for _ in range(readers)))
        assert found == [(b"1", etag)] * readers
        peer.faults.clear()
        etag = await registry.put("cursor", b"1", etag)
    assert peer.faults.injected["behind"] >= 3


@pytest.mark.parametrize("kind", [kind for kind in OF_WRITES if kind != "batch_throttled"])
async def test_cursors_and_leases_come_through(kind: str, registry: CosmosRegistry, peer: CosmosDB) -> None:
    """Made, replaced, read, listed, held, renewed, given up and removed; no conflict but a real one."""
    of_writes = kind in ("retry_with", "unavailable", "timed_out")  # the SDK itself waits long before it reads again

    def strike(where: str) -> None:
        if not (of_writes and where.endswith(("read", "query"))):
            peer.faults.plan(kind, where=where)

    strike("documents/create")
    etag = await registry.put("cursor/a", b"1", None)
    strike("documents/replace")
    etag = await registry.put("cursor/a", b"2", etag)
    strike("documents/read")
    assert await registry.get("cursor/a") == (b"2", etag)
    strike("documents/query")
    assert await registry.list("cursor/") == {"cursor/a": (b"2", etag)}
    strike("documents/delete")
    await registry.delete("cursor/a")
    assert await registry.get("cursor/a") is None
    strike("leases/create")
    lease = await registry.acquire("slice", "one", 30.0)
    assert lease is not None
    strike("leases/replace")
    assert (await registry.renew(lease, 60.0)).token == lease.token
    strike("leases/replace")
    await registry.release(lease)
    strike("leases/read")
    taken = await registry.acquire("slice", "two", 30.0)
    assert taken is not None
    assert taken.token == lease.token + 1
    assert peer.faults.injected[kind] == (6 if of_writes else 9)


async def test_a_storm_of_everything_leaves_what_a_quiet_day_leaves(
    alerts: CosmosAlerts, registry: CosmosRegistry, peer: CosmosDB
) -> None:
    """Every kind strikes at least once, and a counter that many count up loses no count."""
    peer.faults.storm(7, dict.fromkeys(KINDS, 0.04) | {"unavailable": 0.01, "timed_out": 0.01})
    for kind in KINDS:
        peer.faults.plan(kind, after=2)
    told = lives(9)
    told += [step("long", n, "update", subject="e1") for n in range(1, 60)]

    async def count_up(times: int) -> None:
        for _ in range(times):
            while True:
                found = await registry.get("count")
                try:
                    value = str(int(found.value) + 1 if found else 1).encode()
                    await registry.put("count", value, found.etag if found else None)
                    break
                except Conflict:
                    continue

    changed, *_ = await asyncio.gather(_in_parts(alerts, told), *(count_up(8) for _ in range(3)))
    for _ in range(8):
        await alerts.query("t", AlertQuery(limit=5))
        await registry.list("")
    peer.faults.clear()
    assert changed == len(told)
    expected, history = fold(told)
    assert {alert.id: alert for alert in (await alerts.query("t", AlertQuery())).alerts} == expected
    assert {name: await alerts.history("t", name) for name in expected} == history
    found = await registry.get("count")
    assert found is not None
    assert found.value == b"24"
    assert set(peer.faults.injected) == set(KINDS)


async def _in_parts(alerts: CosmosAlerts, told: Sequence[AlertTransition]) -> int:
    return sum([await alerts.apply("t", told[at : at + 9]) for at in range(0, len(told), 9)])


async def test_when_the_service_asks_to_wait_everyone_waits(opens: Opens) -> None:
    """One throttled request holds the others back as well, for as long as was asked."""
    with CosmosDB(CONTAINERS, retry_after_s=0.4) as peer:
        registry = CosmosRegistry(opens(peer))
        await registry.get("warm")
        peer.faults.plan("throttled", where="documents/read")
        asked = len(peer.asked)
        await asyncio.gather(registry.get("a"), _later(0.1, *(registry.get(f"b{n}") for n in range(5))))
        refused, *later = peer.asked[asked:]
        assert len(later) == 6
        assert min(each.at_s for each in later) - refused.at_s > 0.35


async def _later(seconds: float, *work: Awaitable[object]) -> None:
    await asyncio.sleep(seconds)
    await asyncio.gather(*work)


@pytest.mark.parametrize("kind", ["throttled", "unavailable", "retry_with", "dropped", "expired"])
async def test_what_goes_on_too_long_is_given_up_on(kind: str, peer: CosmosDB) -> None:
    """Within the time there is, as something to try later; nothing is left half done."""
    cosmos = Cosmos(peer.endpoint, KEY, within_s=0.5)
    alerts = CosmosAlerts(cosmos)
    peer.faults.plan(kind, where="alerts/batch", times=1_000)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"alerts\.apply"):
        await alerts.apply("t", [step("a", 1, "fire")])
    assert time.monotonic() - began < 3.0
    assert peer.faults.injected[kind] < 50
    assert peer.documents("alerts") == []
    peer.faults.clear()
    assert await alerts.apply("t", [step("a", 1, "fire")]) == 1
    await cosmos.close()


async def test_a_service_that_does_not_answer_is_not_waited_for(peer: CosmosDB) -> None:
    """Longer than a request may take; then it is asked again."""
    cosmos = Cosmos(peer.endpoint, KEY, within_s=5.0, answer_s=0.05)
    registry = CosmosRegistry(cosmos)
    await registry.get("warm")
    peer.faults.plan("slow", where="documents/create")
    etag = await registry.put("k", b"1", None)
    assert await registry.get("k") == (b"1", etag)
    await cosmos.close()


async def test_a_service_that_is_not_there_is_unavailable() -> None:
    """And said so with where it should be, never with the key."""
    with CosmosDB(CONTAINERS) as peer:
        endpoint = peer.endpoint
    cosmos = Cosmos(endpoint, KEY, within_s=0.3)
    with pytest.raises(StoreUnavailable, match=endpoint) as raised:
        await CosmosRegistry(cosmos).get("k")
    assert KEY not in str(raised.value)
    await cosmos.close()


async def test_a_container_that_was_not_deployed_is_named(opens: Opens) -> None:
    """With what makes it."""
    with (
        CosmosDB({"alerts": CONTAINERS["alerts"]}) as peer,
        pytest.raises(StoreUnavailable, match=r"'documents'.*infra"),
    ):
        await CosmosRegistry(opens(peer)).get("k")


async def test_a_wrong_key_is_not_taken(peer: CosmosDB) -> None:
    """The peer verifies every signature."""
    cosmos = Cosmos(peer.endpoint, "d3Jvbmc=", within_s=0.3)
    with pytest.raises(StoreUnavailable, match="401"):
        await CosmosRegistry(cosmos).get("k")
    await cosmos.close()


@pytest.mark.parametrize(
    "endpoint", ["https://a.documents.azure.com:443/", "http://10.0.0.4:8081/", "https://127.0.0.1.evil.net/", "x"]
)
def test_a_key_is_for_this_machine_only(endpoint: str) -> None:
    """Anything else is reached as the app's identity; what is refused shows no key."""
    with pytest.raises(ConfigError, match="emulator") as raised:
        Cosmos(endpoint, KEY)
    assert KEY not in str(raised.value)
