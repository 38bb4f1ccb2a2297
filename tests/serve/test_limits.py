"""Requests have limits, and every change leaves a trace."""

from __future__ import annotations

import httpx
import msgspec
import pytest
from starlette.types import Message

from flockiq.serve import limits
from flockiq.serve.access import Refused
from flockiq.serve.app import application
from flockiq.serve.limits import BODY_BYTES, Rate, bounded
from flockiq.shared.errors import StoreUnavailable
from flockiq.shared.services import Services

AUDIT = "Audit | project Tenant, Caller, Role, Method, Path, Status | order by Path asc"


@pytest.mark.parametrize("length", [str(BODY_BYTES + 1), "9" * 40, "-1", "many"])
async def test_a_body_that_is_too_large_is_refused(client: httpx.AsyncClient, length: str) -> None:
    """By the length it announces, before it is read."""
    answer = await client.post("/api/alerts/none/resolve", content=b"x", headers={"Content-Length": length})
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_body_that_announces_no_length_is_refused_as_it_is_read() -> None:
    """What is taken is counted."""

    async def endless() -> Message:
        return {"type": "http.request", "body": b"x" * 10_000, "more_body": True}

    receive = bounded(endless)
    for _ in range(BODY_BYTES // 10_000):
        await receive()
    with pytest.raises(Refused, match="64,000 bytes"):
        await receive()


async def test_an_address_that_is_too_long_is_refused(client: httpx.AsyncClient) -> None:
    """Before anything reads it."""
    assert (await client.get("/api/entities?q=" + "x" * 9000)).status_code == 414


async def test_who_asks_too_often_waits_and_others_do_not(services: Services) -> None:
    """429 with a time to come back, for this caller alone."""
    slow = services._replace(settings=msgspec.structs.replace(services.settings, requests_per_s=1.0))
    transport = httpx.ASGITransport(application(lambda: slow))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        ann, bob = ({"X-MS-CLIENT-PRINCIPAL-NAME": name} for name in ("ann", "bob"))
        answers = [await client.get("/api/alerts", headers=ann) for _ in range(8)]
        assert {answer.status_code for answer in answers[:5]} == {200}
        assert answers[-1].status_code == 429
        assert answers[-1].headers["retry-after"] == "2"
        assert (await client.get("/api/alerts", headers=bob)).status_code == 200


def test_a_bucket_fills_with_time() -> None:
    """A burst, then the rate."""
    now = [0.0]
    rate = Rate(2.0, clock=lambda: now[0])
    for _ in range(10):
        rate.take("ann")
    with pytest.raises(Refused, match="2 requests a second"):
        rate.take("ann")
    now[0] = 0.5
    rate.take("ann")
    with pytest.raises(Refused):
        rate.take("ann")


async def test_an_answer_that_takes_too_long_is_given_up(
    sample: Services, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that hangs holds nobody's connection for ever."""
    import asyncio  # noqa: PLC0415 - only here

    async def hang(*_: object) -> None:
        await asyncio.sleep(30)

    monkeypatch.setattr("flockiq.serve.guard.ANSWER_S", 0.05)
    monkeypatch.setattr(type(sample.alerts), "query", hang)
    answer = await client.get("/api/alerts")
    assert answer.status_code == 503
    assert "Trying again is safe" in answer.json()["detail"]


async def test_more_at_once_than_can_be_answered_is_refused(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is refused says when to come back."""
    assert limits.AT_ONCE > 1
    monkeypatch.setattr("flockiq.serve.guard.AT_ONCE", 0)
    answer = await client.get("/api/alerts")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]


async def test_every_change_is_told_with_who_and_what_came_of_it(sample: Services, client: httpx.AsyncClient) -> None:
    """Done, refused or of nothing: it was asked for. Looking leaves no row."""
    ann = {"X-MS-CLIENT-PRINCIPAL-NAME": "ann"}
    (alert, *_) = (await client.get("/api/alerts")).json()["alerts"]
    await client.post(f"/api/alerts/{alert['id']}/acknowledge", headers=ann)
    await client.post("/api/alerts/zzz/resolve", headers=ann)
    await sample.analytics.flush()
    rows = (await sample.analytics.query(AUDIT)).rows
    assert [list(row) for row in rows] == [
        ["default", "ann", "admin", "POST", f"/api/alerts/{alert['id']}/acknowledge", 200],
        ["default", "ann", "admin", "POST", "/api/alerts/zzz/resolve", 404],
    ]


async def test_a_change_is_logged_even_when_its_row_can_not_be_kept(
    sample: Services, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The Eventhouse may be down; the request was carried out, and the log says by whom."""

    async def down(*_: object) -> None:
        raise StoreUnavailable("down")

    monkeypatch.setattr(type(sample.analytics), "ingest", down)
    with caplog.at_level("INFO", "flockiq.audit"):
        answer = await client.post("/api/alerts/zzz/resolve", headers={"X-MS-CLIENT-PRINCIPAL-NAME": "ann"})
    assert answer.status_code == 404
    assert "ann (admin) POST /api/alerts/zzz/resolve: 404" in caplog.text
