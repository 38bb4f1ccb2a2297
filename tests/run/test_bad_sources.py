"""Sources that misbehave in every way at once, in the whole app: each is named, and the others go on."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from flockiq.local.samples import systems
from tests.run.app import free_port, running

PATIENCE_S = 90.0


async def _eventually(client: httpx.AsyncClient, path: str, holds: Any) -> Any:
    """The answer of ``path`` once ``holds`` is true of it."""
    deadline = time.monotonic() + PATIENCE_S
    answer: Any = None
    while time.monotonic() < deadline:
        try:
            answer = (await client.get(path)).json()
        except httpx.HTTPError:
            await asyncio.sleep(0.3)
            continue
        if holds(answer):
            return answer
        await asyncio.sleep(0.3)
    raise AssertionError(f"{path} never came to be as expected: {answer}")


def _streams(answer: Any) -> dict[str, Any]:
    return {f"{one['source']}/{one['stream']}": one for one in answer["sources"]}


@pytest.mark.timeout(240)
async def test_sources_that_fail_hang_lie_or_flood_are_named_and_the_others_go_on(tmp_path: Path) -> None:
    """500s, a hang, invalid JSON, a page of 50 MB and wrong types, at once; invoices, files and webhooks go on."""
    data, port = tmp_path / "data", free_port()
    async with running(data, port, "--seed", "3"), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        await _eventually(client, "/api/sources", lambda said: _streams(said)["erp/invoices"]["records"] > 3_000)
        await systems.control(
            data, "crm", faults={"accounts": "error", "contacts": "hang", "opportunities": "invalid_json"}
        )
        await systems.control(data, "erp", faults={"CustomerSet": "huge", "SalesOrderSet": "wrong_types"})
        before = _streams((await client.get("/api/sources")).json())
        await systems.control(data, "erp", edit=150)

        def all_named(said: Any) -> bool:
            streams = _streams(said)
            broken = ("crm/accounts", "crm/contacts", "crm/opportunities", "erp/customers")
            return all(streams[name]["error"] for name in broken)

        streams = _streams(await _eventually(client, "/api/sources", all_named))
        assert "500" in streams["crm/accounts"]["error"]
        assert "not a page of records" in streams["crm/opportunities"]["error"]
        assert "bytes" in streams["erp/customers"]["error"] or "MB" in streams["erp/customers"]["error"]
        assert streams["crm/accounts"]["state"] == "failing"

        def goes_on(said: Any) -> bool:
            now = _streams(said)
            alive = ("erp/invoices", "bureau/ratings", "marketing/contacts")
            return all(now[name]["records"] > before[name]["records"] for name in alive)

        await _eventually(client, "/api/sources", goes_on)
        letters = await _eventually(client, "/api/dead-letters", lambda said: said["dead_letters"])
        assert {letter["source"] for letter in letters["dead_letters"]} == {"erp"}
        assert all(letter["reason"] for letter in letters["dead_letters"])
