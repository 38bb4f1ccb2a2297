"""Health tells what is wrong with what, and what to do."""

from __future__ import annotations

import asyncio
import time

import httpx
import msgspec
import pytest

from flockiq.serve import health as module
from flockiq.serve.health import Check, hub, waiting
from flockiq.serve.progress import HubLag
from flockiq.shared.circuits import Circuit, key
from flockiq.shared.ports import OutgoingEvent
from flockiq.shared.services import Services
from flockiq.shared.settings import HUBS
from flockiq.shared.sweeps import Left

Checks = dict[tuple[str, str], dict[str, str]]


async def ask(client: httpx.AsyncClient) -> tuple[int, str, Checks]:
    """HTTP status, overall status, and every check by kind and name."""
    answer = await client.get("/api/health")
    told = answer.json()
    return answer.status_code, told["status"], {(each["kind"], each["name"]): each for each in told["checks"]}


async def test_everything_is_asked(client: httpx.AsyncClient) -> None:
    """The seven ports, every hub and every configured stream."""
    code, status, checks = await ask(client)
    assert (code, status) == (200, "ok")
    ports = {"events", "state", "alerts", "registry", "analytics", "secrets", "blobs"}
    assert {name for kind, name in checks if kind == "dependency"} == ports
    assert {name for kind, name in checks if kind == "hub"} == set(HUBS)
    assert ("source", "crm/accounts") in checks


@pytest.mark.parametrize("port", ["events", "state", "alerts", "registry"])
async def test_an_essential_port_that_is_gone_is_down(services: Services, client: httpx.AsyncClient, port: str) -> None:
    """503, so that a load balancer notices; the others are still told."""
    await getattr(services, port).close()
    code, status, checks = await ask(client)
    assert (code, status) == (503, "down")
    assert checks["dependency", port]["status"] == "down"
    assert checks["dependency", port]["action"]
    assert checks["dependency", "blobs"]["status"] == "ok"


async def test_without_the_eventhouse_work_goes_on(services: Services, client: httpx.AsyncClient) -> None:
    """Degraded, not down: alerts and state do not need it."""
    await services.analytics.close()
    code, status, checks = await ask(client)
    assert (code, status) == (200, "degraded")
    assert checks["dependency", "analytics"]["status"] == "degraded"


async def test_a_port_that_hangs_is_told_in_time(
    services: Services, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe has a time limit, and one that hangs holds nobody up."""

    async def hang(*_: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(module, "PROBE_TIMEOUT_S", 0.1)
    monkeypatch.setattr(services.state, "logs", hang)
    code, status, checks = await asyncio.wait_for(ask(client), 5)
    assert (code, status) == (503, "down")
    assert "did not answer within" in checks["dependency", "state"]["detail"]


@pytest.mark.usefixtures("sample")
async def test_a_failing_or_late_source_degrades(client: httpx.AsyncClient) -> None:
    """A customer's system that is away is not our outage, but somebody should know."""
    code, status, checks = await ask(client)
    assert (code, status) == (200, "degraded")
    assert checks["source", "erp/orders"]["detail"].endswith("503 four times in a row")
    assert checks["source", "crm/accounts"]["status"] == "ok"


async def test_lag_is_what_the_function_has_not_committed(services: Services, client: httpx.AsyncClient) -> None:
    """Events after the function's progress, on all partitions together."""
    for partition, events in ((0, 3), (1, 2)):
        await services.events.publish("resolved", [OutgoingEvent(partition, b"x")] * events)
    await services.registry.put("progress/default/process_resolved/0", b'{"sequence": 0, "at_us": 1}', None)
    _, _, checks = await ask(client)
    assert "process_resolved is 4 events" in checks["hub", "resolved"]["detail"]


@pytest.mark.parametrize(("behind_s", "status"), [(10, "ok"), (120, "degraded"), (13 * 3600, "down")])
def test_lag_that_threatens_the_retention_is_down(behind_s: int, status: str) -> None:
    """Some lag is work in hand; half a retention of it is data about to be lost."""
    now = 10**15
    check = hub(HubLag("resolved", "process_resolved", 4, 900, 800, now - behind_s * 1_000_000), now)
    assert check.status == status
    assert bool(check.action) == (status != "ok")


@pytest.mark.parametrize(("waits_s", "status"), [(30, "ok"), (300, "degraded")])
def test_rows_that_wait_for_the_history_too_long_degrade(waits_s: int, status: str) -> None:
    """A few sweeps' time is work in hand; more of it is rows that nobody takes."""
    now, answered = 10**15, Check("dependency", "analytics", "ok", "the Eventhouse answered")
    check = waiting(answered, Left(500, now - waits_s * 1_000_000, all_seen=False), now)
    assert check.status == status
    assert bool(check.action) == (status != "ok")
    assert check.detail == (
        f"the Eventhouse answered; 500 or more batches of rows wait in the blobs, the oldest for {waits_s} s"
    )
    assert waiting(answered, Left(0, 0, all_seen=True), now) == answered


async def test_progress_that_cannot_be_read_is_no_progress(services: Services, client: httpx.AsyncClient) -> None:
    """A damaged document does not take the page down."""
    await services.registry.put("progress/default/process_resolved/x", b"{", None)
    await services.registry.put("progress/default/process_resolved/1", b"nonsense", None)
    assert (await ask(client))[:2] == (200, "ok")


async def test_a_source_that_is_left_alone_degrades_with_cause_and_way_out(
    services: Services, client: httpx.AsyncClient
) -> None:
    """Which one, since when, until when, why, and that it goes on by itself."""
    now_us = time.time_ns() // 1_000
    held = Circuit(opened_us=now_us - 90_000_000, until_us=now_us + 60_000_000, opened=1, error="answers 503")
    await services.registry.put(key(services.settings.tenant, "crm"), msgspec.json.encode(held), None)
    code, status, checks = await ask(client)
    assert (code, status) == (200, "degraded")
    check = checks["source", "crm"]
    assert check["status"] == "degraded"
    assert check["detail"].startswith("left alone for 9")
    assert "answers 503" in check["detail"]
    assert "nothing is lost" in check["action"]
