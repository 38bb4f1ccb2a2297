"""What every Registry promises."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable

import pytest

from flockiq.shared.errors import Conflict, LeaseLost
from flockiq.shared.ports import Document, Registry
from flockiq.shared.services import Services

type Start = Callable[..., subprocess.Popen[str]]


async def test_a_document_is_read_as_it_was_written(registry: Registry) -> None:
    """Any bytes, with the etag that writing gave."""
    assert await registry.get("cursor/crm/accounts") is None
    etag = await registry.put("cursor/crm/accounts", bytes(range(256)), None)
    assert await registry.get("cursor/crm/accounts") == Document(bytes(range(256)), etag)


async def test_each_write_gives_another_etag(registry: Registry) -> None:
    """Also when the value stays the same."""
    one = await registry.put("k", b"same", None)
    two = await registry.put("k", b"same", one)
    assert one != two
    assert await registry.get("k") == Document(b"same", two)


async def test_making_a_document_that_exists_conflicts(registry: Registry) -> None:
    """No etag means: there must be none yet."""
    etag = await registry.put("k", b"first", None)
    with pytest.raises(Conflict, match="k"):
        await registry.put("k", b"second", None)
    assert await registry.get("k") == Document(b"first", etag)


async def test_writing_over_another_s_write_conflicts(registry: Registry) -> None:
    """And changes nothing."""
    old = await registry.put("k", b"1", None)
    new = await registry.put("k", b"2", old)
    with pytest.raises(Conflict, match="k"):
        await registry.put("k", b"3", old)
    assert await registry.get("k") == Document(b"2", new)


async def test_writing_over_a_removed_document_conflicts(registry: Registry) -> None:
    """Even when one of the same content has been made again."""
    old = await registry.put("k", b"1", None)
    await registry.delete("k")
    with pytest.raises(Conflict):
        await registry.put("k", b"2", old)
    await registry.put("k", b"1", None)
    with pytest.raises(Conflict):
        await registry.put("k", b"2", old)


async def test_deleting_is_harmless_when_there_is_nothing(registry: Registry) -> None:
    """Once, twice, and never made."""
    await registry.put("k", b"1", None)
    await registry.delete("k")
    await registry.delete("k")
    assert await registry.get("k") is None


async def test_documents_are_listed_by_prefix(registry: Registry) -> None:
    """No other that only shares some of it; wildcards are plain characters."""
    for key in ("cursor/crm/a", "cursor/crm/b", "cursor/crmx", "cursor%", "run/crm/a", "cursor/crm/ü"):
        await registry.put(key, key.encode(), None)
    found = await registry.list("cursor/crm/")
    assert {key: document.value for key, document in found.items()} == {
        key: key.encode() for key in ("cursor/crm/a", "cursor/crm/b", "cursor/crm/ü")
    }
    assert found["cursor/crm/a"] == await registry.get("cursor/crm/a")
    assert len(await registry.list("")) == 6
    assert await registry.list("cursor_") == {}


async def test_of_two_that_write_at_one_etag_one_conflicts(another: Callable[[], Services]) -> None:
    """Whoever is first wins."""
    writers = [another().registry, another().registry]
    etag = await writers[0].put("k", b"0", None)
    for round_ in range(10):
        outcomes = await asyncio.gather(
            *(writer.put("k", f"{round_}".encode(), etag) for writer in writers), return_exceptions=True
        )
        (etag,) = [outcome for outcome in outcomes if isinstance(outcome, str)]
        assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 1


async def test_processes_counting_up_one_document_lose_no_count(
    another: Callable[[], Services], process: Start
) -> None:
    """Optimistic concurrency holds between processes."""
    registry = another().registry
    await registry.put("count", b"0", None)
    counters = [process("contend.py", "document", "count", "30") for _ in range(3)]
    for counter in counters:
        counter.communicate(timeout=60)
    document = await registry.get("count")
    assert document is not None
    assert document.value == b"90"


async def test_a_lease_is_held_by_one(another: Callable[[], Services]) -> None:
    """None for another owner, until it is given up."""
    one, two = another().registry, another().registry
    lease = await one.acquire("slice", "one", 30.0)
    assert lease is not None
    assert (lease.name, lease.owner) == ("slice", "one")
    assert await two.acquire("slice", "two", 30.0) is None
    await one.release(lease)
    taken = await two.acquire("slice", "two", 30.0)
    assert taken is not None
    assert taken.token > lease.token


async def test_an_owner_acquires_its_own_lease_again(registry: Registry) -> None:
    """It is the same holder: the token stays, the end moves."""
    first = await registry.acquire("slice", "one", 5.0)
    again = await registry.acquire("slice", "one", 30.0)
    assert first is not None
    assert again is not None
    assert again.token == first.token
    assert again.expires_us > first.expires_us


async def test_an_expired_lease_passes_on_with_a_greater_token(registry: Registry) -> None:
    """The old holder can't renew it, and its release changes nothing."""
    old = await registry.acquire("slice", "one", 0.05)
    await asyncio.sleep(0.1)
    new = await registry.acquire("slice", "two", 30.0)
    assert old is not None
    assert new is not None
    assert new.token > old.token
    with pytest.raises(LeaseLost, match="slice"):
        await registry.renew(old, 30.0)
    await registry.release(old)
    assert await registry.acquire("slice", "three", 30.0) is None


async def test_renewing_extends(registry: Registry) -> None:
    """The token stays; another can't take it when the first end has passed."""
    lease = await registry.acquire("slice", "one", 0.1)
    assert lease is not None
    renewed = await registry.renew(lease, 30.0)
    assert renewed.token == lease.token
    assert renewed.expires_us > lease.expires_us
    await asyncio.sleep(0.15)
    assert await registry.acquire("slice", "two", 30.0) is None


async def test_a_lease_that_ran_out_but_was_taken_by_nobody_can_be_renewed(registry: Registry) -> None:
    """Only its passing to another loses it."""
    lease = await registry.acquire("slice", "one", 0.05)
    assert lease is not None
    await asyncio.sleep(0.1)
    renewed = await registry.renew(lease, 30.0)
    assert await registry.acquire("slice", "two", 30.0) is None
    assert renewed.token == lease.token


async def test_a_lease_given_up_can_not_be_renewed(registry: Registry) -> None:
    """Nor does giving it up twice take it from the next holder."""
    lease = await registry.acquire("slice", "one", 30.0)
    assert lease is not None
    await registry.release(lease)
    with pytest.raises(LeaseLost):
        await registry.renew(lease, 30.0)
    assert await registry.acquire("slice", "two", 30.0) is not None
    await registry.release(lease)
    assert await registry.acquire("slice", "three", 30.0) is None


async def test_leases_are_kept_apart(registry: Registry) -> None:
    """One name's holder has nothing to do with another's."""
    assert await registry.acquire("a", "one", 30.0) is not None
    assert await registry.acquire("b", "two", 30.0) is not None


async def test_processes_taking_turns_at_a_lease_never_hold_one_token(process: Start) -> None:
    """Every holding has a token of its own, and each process's count up."""
    takers = [process("contend.py", "lease", "slice", "20") for _ in range(3)]
    tokens = [[int(line) for line in taker.communicate(timeout=60)[0].splitlines()] for taker in takers]
    assert all(own == sorted(own) for own in tokens)
    assert len({token for own in tokens for token in own}) == 60


async def test_documents_and_leases_survive_a_restart(another: Callable[[], Services]) -> None:
    """A holder that starts again still holds its lease; others still do not."""
    before = another()
    etag = await before.registry.put("k", b"1", None)
    lease = await before.registry.acquire("slice", "one", 30.0)
    await before.close()
    after = another().registry
    assert lease is not None
    assert await after.get("k") == Document(b"1", etag)
    assert await after.acquire("slice", "two", 30.0) is None
    assert (await after.renew(lease, 30.0)).token == lease.token
