"""How documents and leases are kept in Cosmos DB, beyond what every Registry promises."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flockiq.shared.adapters.azure.registry import KEEP_S, CosmosRegistry
from flockiq.shared.errors import Conflict, LeaseLost
from tests.peers.cosmos.peer import CosmosDB


async def test_listing_reads_one_partition_where_the_prefix_says_which(
    registry: CosmosRegistry, peer: CosmosDB
) -> None:
    """Without one, both physical partitions are asked, by the service's plan, and their answers merged in order."""
    keys = [f"{part}/t/{n}" for part in ("cursor", "turn", "pace", "seat") for n in range(3)]
    assert set(peer.partitions_of("documents", *((key.partition("/")[0],) for key in keys))) == {0, 1}
    for key in keys:
        await registry.put(key, key.encode(), None)
    before = len(peer.asked)
    assert list(await registry.list("turn/")) == ["turn/t/0", "turn/t/1", "turn/t/2"]
    assert len(peer.asked) == before + 1
    assert list(await registry.list("")) == sorted(keys)
    assert list(await registry.list("cur")) == ["cursor/t/0", "cursor/t/1", "cursor/t/2"]
    assert peer.scans == set()


async def test_a_long_list_comes_in_pages(registry: CosmosRegistry) -> None:
    """All of it, once each and in order."""
    keys = [f"run/{n:03}" for n in range(230)]
    for some in range(0, 230, 46):
        await asyncio.gather(*(registry.put(key, b"{}", None) for key in keys[some : some + 46]))
    assert list(await registry.list("run/")) == keys
    assert list(await registry.list("r")) == keys


@pytest.mark.parametrize("key", ["a/b?c#d\\e", "..", "é", "~2F", "%2F", " x ", '"', "k" * 300, "/", ""])
async def test_any_key_will_do(registry: CosmosRegistry, key: str) -> None:
    """What the service can't have in an id is written otherwise."""
    etag = await registry.put(key, b"1", None)
    assert etag == (await registry.list(key))[key].etag
    await registry.put(key, b"2", etag)
    found = await registry.get(key)
    assert found is not None
    assert found.value == b"2"
    lease = await registry.acquire(key, "one", 5.0)
    assert lease is not None
    await registry.release(lease)
    await registry.delete(key)
    assert await registry.get(key) is None


async def test_people_can_read_what_is_text(registry: CosmosRegistry, peer: CosmosDB) -> None:
    """And other bytes come back as they were."""
    await registry.put("k", '{"at": "é"}'.encode(), None)
    (item,) = peer.documents("documents")
    assert (item["key"], item["text"]) == ("k", '{"at": "é"}')
    await registry.put("b", b"\xff\x00", None)
    found = await registry.get("b")
    assert found is not None
    assert found.value == b"\xff\x00"


async def test_a_lease_nobody_takes_again_disappears_and_its_token_still_counts_up(
    registry: CosmosRegistry, peer: CosmosDB
) -> None:
    """The service removes it; who held it once is told apart from whoever takes it then."""
    old = await registry.acquire("slice", "one", 1.0)
    assert old is not None
    peer.pass_time(KEEP_S - 60)
    assert len(peer.documents("leases")) == 1
    peer.pass_time(120)
    assert peer.documents("leases") == []
    new = await registry.acquire("slice", "two", 30.0)
    assert new is not None
    assert new.token > old.token
    with pytest.raises(LeaseLost, match="slice"):
        await registry.renew(old, 1.0)


async def test_of_many_that_want_a_free_lease_one_gets_it(registry: CosmosRegistry, another: CosmosRegistry) -> None:
    """Each round with a greater token."""
    last = 0
    for _ in range(5):
        wanting = [(registry if n % 2 else another).acquire("slice", f"w{n}", 30.0) for n in range(8)]
        (lease,) = [lease for lease in await asyncio.gather(*wanting) if lease is not None]
        assert lease.token > last
        last = lease.token
        await registry.release(lease)


@pytest.mark.parametrize("kind", ["unanswered", "timed_out"])
async def test_a_write_whose_answer_was_lost_is_not_taken_for_another_s(
    registry: CosmosRegistry, another: CosmosRegistry, peer: CosmosDB, kind: str
) -> None:
    """It is tried again, and meets itself. When it does meet another's, that is a conflict."""
    peer.faults.plan(kind, where="documents/create")
    etag = await registry.put("k", b"1", None)
    peer.faults.plan(kind, where="documents/replace")
    etag = await registry.put("k", b"2", etag)
    found = await registry.get("k")
    assert found is not None
    assert found == (b"2", etag)
    assert peer.faults.injected == {kind: 2}
    await another.put("k", b"other", etag)
    peer.faults.plan(kind, where="documents/replace")
    with pytest.raises(Conflict, match="k"):
        await registry.put("k", b"3", etag)


async def test_a_write_whose_answer_was_lost_is_known_though_another_has_followed_it(
    registry: CosmosRegistry, another: CosmosRegistry, peer: CosmosDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was written, so nobody writes it twice; its etag is one that no longer matches."""
    etag = await registry.put("count", b"1", None)
    write = registry._write

    async def followed(container: str, operation: str, item: dict[str, Any], etag: str | None) -> str | None:
        assert await write(container, operation, item, etag) is not None
        seen = await another.get("count")
        assert seen is not None
        await another.put("count", str(int(seen.value) + 1).encode(), seen.etag)
        return await write(container, operation, item, etag)  # as after an answer that was lost

    monkeypatch.setattr(registry, "_write", followed)
    peer.faults.plan("stale", where="documents/read", after=1)
    dead = await registry.put("count", b"2", etag)
    monkeypatch.undo()
    found = await registry.get("count")
    assert found is not None
    assert found.value == b"3"
    with pytest.raises(Conflict, match="count"):
        await registry.put("count", b"4", dead)


async def test_a_conflict_is_not_judged_by_a_replica_that_lags(registry: CosmosRegistry, peer: CosmosDB) -> None:
    """One that still has what was written over knows nothing of who wrote."""
    etag = await registry.put("k", b"1", None)
    peer.faults.plan("unanswered", where="documents/replace")
    peer.faults.plan("stale", where="documents/read", times=2)
    etag = await registry.put("k", b"2", etag)
    assert peer.faults.injected == {"unanswered": 1, "stale": 2}
    assert await registry.get("k") == (b"2", etag)


async def test_each_operation_s_charge_is_known(registry: CosmosRegistry, peer: CosmosDB) -> None:
    """Request units by operation, those of refused requests and of queries' pages as well."""
    etag = await registry.put("run/a", b"1", None)
    await registry.get("run/a")
    charges = registry._cosmos.charges
    assert charges.units["registry.get"] == 1.0
    made = charges.units["registry.put"]
    assert made > 5.0
    with pytest.raises(Conflict):
        await registry.put("run/a", b"1", f"x{etag}")
    assert charges.units["registry.put"] > made
    await registry.list("run/")
    assert charges.units["registry.list"] > 2.0
    peer.faults.plan("throttled", where="documents/read")
    await registry.get("run/a")
    assert charges.throttled == {"registry.get": 1}
    assert charges.requests["registry.get"] == 3
