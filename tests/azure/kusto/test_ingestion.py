"""Rows on their way to the Eventhouse: in batches, streamed or queued, and none is lost."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from pathlib import Path

import pytest

from flockiq.serve.health import health
from flockiq.shared.adapters.azure.kusto.lanes import Rate
from flockiq.shared.adapters.azure.kusto.waiting import Waiting
from flockiq.shared.adapters.embedded.blobs import FolderBlobs
from flockiq.shared.errors import StoreUnavailable
from flockiq.shared.services import connect
from flockiq.shared.settings import Settings
from flockiq.shared.sweeps import Sweeps
from tests.azure.kusto.conftest import Opens, rows
from tests.peers.kusto.peer import KINDS, Eventhouse

pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")  # the SDK's own
COUNT = "Deltas | count"
DISTINCT = "Deltas | summarize dcount(DeltaId)"
MEND = ("throttled", "unavailable", "dropped", "unanswered", "slow", "expired")


async def seen(peer: Eventhouse, kql: str, expected: int) -> bool:
    """Whether a query finds so many, in time: what was queued comes by and by."""
    until = time.monotonic() + 10.0
    while (found := (await asyncio.to_thread(peer.rows, kql))[0][0]) != expected:
        if time.monotonic() > until:
            raise AssertionError(f"{kql}: {found}, and not {expected}")
        await asyncio.sleep(0.05)
    return True


async def test_ingestions_at_once_are_one_request(opens: Opens, peer: Eventhouse) -> None:
    """Each returns when its rows are stored. The batch goes when it is full, and that is when all are there."""
    given = [rows(100 + n * 10, 10) for n in range(20)]
    analytics = opens(linger_s=60.0, batch_bytes=sum(len(some.strip()) for some in given))
    await asyncio.wait_for(asyncio.gather(*(analytics.ingest("Deltas", some) for some in given)), 30.0)
    assert peer.rows(COUNT) == [[200]]
    assert peer.asked["stream/Deltas"] == 1


async def test_a_batch_has_a_size_and_an_age(opens: Opens, peer: Eventhouse) -> None:
    """It goes when it is full, or when its first rows have waited long enough."""
    analytics = opens(linger_s=0.05, batch_bytes=500)
    began = time.monotonic()
    await asyncio.gather(*(analytics.ingest("Deltas", rows(n, 1)) for n in range(60)))
    assert time.monotonic() - began < 5.0
    assert 3 <= peer.asked["stream/Deltas"] <= 10
    assert peer.rows(DISTINCT) == [[60]]


@pytest.mark.usefixtures("queue")
async def test_what_is_too_large_to_stream_is_queued(opens: Opens, peer: Eventhouse) -> None:
    """And comes when its turn comes."""
    await opens().ingest("Deltas", rows(0, 40, New="x" * 100_000))
    assert peer.asked["stream/Deltas"] == 0
    assert await seen(peer, DISTINCT, 40)


@pytest.mark.usefixtures("queue")
async def test_what_comes_fast_is_queued(opens: Opens, peer: Eventhouse) -> None:
    """Above a rate, by table: the others are streamed on."""
    analytics = opens(streamed_rate=100.0)
    await analytics.ingest("Deltas", rows(0, 1000))
    await analytics.ingest("Runs", b'{"RunId": "r"}')
    assert (peer.asked["stream/Deltas"], peer.asked["stream/Runs"]) == (0, 1)
    assert await seen(peer, DISTINCT, 1000)


@pytest.mark.usefixtures("queue")
@pytest.mark.parametrize("kind", ["throttled", "unavailable", "dropped", "expired"])
async def test_what_can_not_be_streamed_now_is_queued(kind: str, opens: Opens, peer: Eventhouse) -> None:
    """When it was tried for a while."""
    analytics = opens()
    peer.faults.plan(kind, where="stream/", times=1000)
    peer.faults.plan("unavailable", where="queued/")
    await analytics.ingest("Deltas", rows(0, 5))
    assert await seen(peer, DISTINCT, 5)
    assert peer.faults.injected[kind] > 1
    assert peer.faults.injected["unavailable"] >= 1


@pytest.mark.usefixtures("queue")
async def test_a_table_that_takes_no_streaming_is_left_to_the_queue(
    opens: Opens,
    peer: Eventhouse,
    blobs: FolderBlobs,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """For a while, and said once; others are streamed on, and nothing waits for somebody to mend it."""
    analytics = opens()
    peer.faults.plan("unstreamed", where="stream/Deltas")
    with caplog.at_level(logging.WARNING):
        await analytics.ingest("Deltas", rows(0, 5))
        await analytics.ingest("Deltas", rows(5, 5))
        await analytics.ingest("Runs", b'{"RunId": "r"}')
    assert (peer.asked["stream/Deltas"], peer.asked["stream/Runs"]) == (1, 1)
    assert caplog.text.count("are queued for") == 1
    assert await blobs.list("") == []
    assert await seen(peer, DISTINCT, 10)
    monkeypatch.setattr(analytics, "_queued_until", dict.fromkeys(analytics._queued_until, time.monotonic()))
    await analytics.ingest("Deltas", rows(10, 5))
    assert peer.asked["stream/Deltas"] == 2


@pytest.mark.usefixtures("queue")
async def test_rows_too_large_to_stream_in_the_service_s_eyes_are_queued(
    opens: Opens, peer: Eventhouse, blobs: FolderBlobs
) -> None:
    """That says nothing of the next ones."""
    analytics = opens()
    peer.faults.plan("too_large", where="stream/Deltas")
    for first in (0, 5):
        await analytics.ingest("Deltas", rows(first, 5))
    assert peer.asked["stream/Deltas"] == 2
    assert await blobs.list("") == []
    assert await seen(peer, DISTINCT, 10)


@pytest.mark.parametrize("kind", MEND)
async def test_rows_are_stored_whatever_happens_to_them(kind: str, opens: Opens, peer: Eventhouse) -> None:
    """At least once."""
    analytics = opens(try_s=1.0 if kind == "slow" else 5.0, within_s=15.0)
    peer.faults.plan(kind, where="stream/", times=1 if kind == "slow" else 2)
    await analytics.ingest("Deltas", rows(0, 5))
    assert peer.rows(DISTINCT) == [[5]]
    assert peer.rows(COUNT)[0][0] >= (10 if kind in ("unanswered", "slow") else 5)


async def test_rows_wait_while_the_service_is_away(
    opens: Opens, peer: Eventhouse, blobs: FolderBlobs, caplog: pytest.LogCaptureFixture
) -> None:
    """Kept in the blobs without asking it each time, and taken there by the clock."""
    analytics = opens(hold_s=60.0)
    assert isinstance(analytics, Sweeps)
    peer.faults.plan("dropped", times=100_000)
    with caplog.at_level(logging.WARNING):
        await analytics.ingest("Deltas", rows(0, 5))
        asked = peer.asked.total()
        for n in range(1, 4):
            await analytics.ingest("Deltas", rows(n * 5, 5))
    assert peer.asked.total() == asked
    assert "kept in the blobs" in caplog.text
    assert len(await blobs.list("analytics/Deltas/")) == 4
    with pytest.raises(StoreUnavailable):
        await analytics.sweep()
    assert len(await blobs.list("analytics/Deltas/")) == 4
    peer.faults.clear()
    assert await opens().sweep() == 4
    assert peer.rows(COUNT) == [[20]]
    assert await blobs.list("") == []
    assert await analytics.sweep() == 0


async def test_health_tells_what_waits(opens: Opens, peer: Eventhouse, tmp_path: Path) -> None:
    """How many batches and for how long; no more once they were taken there."""
    analytics = opens(hold_s=60.0)
    services = connect(Settings(data=tmp_path / "data"))
    peer.faults.plan("dropped", times=100_000)
    for n in range(2):
        await analytics.ingest("Deltas", rows(n, 1))
    peer.faults.clear()
    for wanted in (
        r"the Eventhouse answered; 2 batches of rows wait in the blobs, the oldest for \d s",
        r".* answered",
    ):
        told = await health(services._replace(analytics=analytics))
        (check,) = (each for each in told.checks if each.name == "analytics")
        assert re.fullmatch(wanted, check.detail)
        assert check.status == "ok"
        await analytics.sweep()
    await services.close()


async def test_a_mapping_that_is_gone_is_said_and_its_rows_wait(
    opens: Opens, peer: Eventhouse, blobs: FolderBlobs, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried once, not again and again; rows of other tables go on, also from among what waits."""
    analytics = opens()
    peer.forget_mapping("Deltas")
    with caplog.at_level(logging.ERROR):
        await analytics.ingest("Deltas", rows(0, 5))
    assert peer.asked["stream/Deltas"] == 1
    assert "has eventhouse/ been deployed" in caplog.text
    await Waiting(blobs).keep("Runs", b'{"RunId": "r"}')
    assert await analytics.sweep() == 1
    assert peer.rows("Runs | count") == [[1]]
    assert len(await blobs.list("analytics/Deltas/")) == 1
    await analytics.ingest("Runs", b'{"RunId": "s"}')
    assert peer.rows("Runs | count") == [[2]]


async def test_what_can_not_be_read_or_is_not_ours_stays(
    opens: Opens, blobs: FolderBlobs, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged blob is said; one that nobody named so is left alone."""
    damaged = f"analytics/Deltas/{1:020}-{'a' * 32}.ndjson.zst"
    await blobs.put(damaged, b"no zstd")
    await blobs.put("analytics/readme", b"hello")
    await Waiting(blobs).keep("Deltas", rows(0, 1))
    with caplog.at_level(logging.ERROR):
        assert await opens().sweep() == 1
    assert damaged in caplog.text
    assert await blobs.list("") == [damaged, "analytics/readme"]


async def test_a_flush_takes_what_waits(opens: Opens, peer: Eventhouse, blobs: FolderBlobs) -> None:
    """So that everything ingested so far is seen."""
    await Waiting(blobs).keep("Deltas", rows(0, 3))
    analytics = opens(linger_s=30.0)
    ingesting = asyncio.create_task(analytics.ingest("Deltas", rows(3, 3)))
    await asyncio.sleep(0.1)
    await asyncio.wait_for(analytics.flush(), 10.0)
    await ingesting
    assert peer.rows(DISTINCT) == [[6]]


async def test_who_stops_waiting_does_not_stop_the_rows(opens: Opens, peer: Eventhouse) -> None:
    """Nor those of others in the batch."""
    analytics = opens(linger_s=0.1)
    one = asyncio.create_task(analytics.ingest("Deltas", rows(0, 1)))
    two = asyncio.create_task(analytics.ingest("Deltas", rows(1, 1)))
    await asyncio.sleep(0.05)
    one.cancel()
    await two
    assert peer.rows(COUNT) == [[2]]


def test_a_rate_is_of_the_last_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """What came before is forgotten."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    rate = Rate()
    assert rate.add(6_000) == 100.0
    now = 59.0
    assert rate.add(6_000) == 200.0
    now = 61.0
    assert rate.add(0) == 100.0


def test_every_kind_of_fault_is_struck_by_some_test() -> None:
    """Those of queries by the tests of queries."""
    assert {*MEND, "refused", "unstreamed", "too_large", "half", "strange"} == set(KINDS)
