"""Reads that a source prepares as a job, described in YAML: a ledger that exports JSON lines and links to them."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.capture.conftest import Open
from tests.capture.peers.server import serve

Served = tuple["LedgerPeer", str]


@dataclass
class LedgerPeer:
    """Exports entries; an export is READY at its second look and its rows are one file, elsewhere."""

    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    exports: dict[str, dict[str, Any]] = field(default_factory=dict)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=lambda: ["QUEUED", "READY"])
    link: str = ""  # of the rows, instead of the usual
    extra: bytes = b""  # lines after the rows
    status: int = 200  # of the rows' answer

    def __post_init__(self) -> None:
        self.app = Starlette(
            routes=[
                Route("/v2/exports", self._submit, methods=["POST"]),
                Route("/v2/exports/{job}", self._state, methods=["GET", "DELETE"]),
                Route("/files/{job}.ndjson", self._rows),
            ]
        )

    def put(self, number: int, minute: int) -> None:
        """Write an entry."""
        self.rows[number] = {"id": number, "amount": 1.50, "changed_at": f"2026-03-01T10:{minute:02}:00Z"}

    async def _submit(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        job = f"x{len(self.bodies)}"
        self.exports[job] = {"looks": 0, "after": body["filter"]["changed_after"]}
        return JSONResponse({"export": {"id": job}}, 202)

    async def _state(self, request: Request) -> Response:
        job = request.path_params["job"]
        if request.method == "DELETE":
            self.removed.append(job)
            return Response(status_code=204)
        export = self.exports[job]
        state = self.states[min(export["looks"], len(self.states) - 1)]
        export["looks"] += 1
        link = self.link or f"/files/{job}.ndjson"
        told = {"id": job, "state": state, "message": "disk\u0007 full"} | ({"url": link} if state == "READY" else {})
        return JSONResponse({"export": told})

    async def _rows(self, request: Request) -> Response:
        after = self.exports[request.path_params["job"]]["after"]
        lines = [json.dumps(row) for row in self.rows.values() if row["changed_at"] >= after]
        body = "\n".join([*lines, ""]).encode() + self.extra
        return Response(gzip.compress(body), self.status, {"Content-Encoding": "gzip"})


def entries(url: str, **stream: Any) -> dict[str, Any]:
    """The ledger as a source, as docs/connectors.md has it."""
    return {
        "source": "ledger",
        "connector": "rest",
        "connection": {"base_url": f"{url}/v2", "allow_private": True, "request_timeout": "2s"},
        "limits": {"attempts": 1, "longest_wait": "200ms"},
        "every": "2s",
        "streams": {
            "entries": {
                "path": "entries",
                "query": {"object": "{path}", "filter.changed_after": "1970-01-01T00:00:00Z"},
                "incremental": {
                    "kind": "watermark",
                    "query": {"filter.changed_after": "{since}"},
                    "lookback": "1m",
                },
                "job": {
                    "submit": "exports",
                    "id": "export.id",
                    "status": "exports/{job}",
                    "state": "export.state",
                    "done": ["READY"],
                    "failed": ["ERROR"],
                    "why": "export.message",
                    "results_at": "export.url",
                    "delete": {"method": "DELETE", "path": "exports/{job}"},
                    "first_look": "2ms",
                },
                "format": {"kind": "ndjson"},
                "primary_key": ["id"],
                "modified": "changed_at",
                "entity": "order",
                "fields": {"amount": "amount"},
            }
            | stream
        },
    }


@pytest.fixture
async def ledger_peer() -> AsyncIterator[Served]:
    """A ledger with three entries; and its address."""
    peer = LedgerPeer()
    for number in (1, 2, 3):
        peer.put(number, minute=number)
    async with serve(peer.app) as url:
        yield peer, url


async def test_another_system_with_jobs_is_described_in_the_same_words(world: Open, ledger_peer: Served) -> None:
    """A nested body, a link to JSON lines elsewhere, and numbers that keep their digits; later reads ask for less."""
    peer, url = ledger_peer
    async with world(entries(url)) as it:
        await it.poll()
        peer.put(2, minute=30)
        await it.poll()
        changes = await it.changes()
        assert (await it.status("ledger", "entries")).error == ""
    assert peer.bodies == [
        {"object": "entries", "filter": {"changed_after": "1970-01-01T00:00:00Z"}},
        {"object": "entries", "filter": {"changed_after": "2026-03-01T10:02:00Z"}},
    ]
    assert [change.data.key for change in changes] == ["1", "2", "3", "2"]
    assert b'"amount":1.5' in bytes(changes[0].data.after)
    assert peer.removed == ["x1", "x2"]


async def test_results_on_an_origin_that_is_not_declared_are_not_fetched(world: Open, ledger_peer: Served) -> None:
    """Credentials never go there."""
    peer, url = ledger_peer
    peer.link = "http://127.0.0.1:9/rows.ndjson"
    async with world(entries(url)) as it:
        await it.poll()
        assert "which is not declared" in (await it.status("ledger", "entries")).error


async def test_why_a_job_failed_is_shown_without_what_a_terminal_obeys(world: Open, ledger_peer: Served) -> None:
    """In the source's own words."""
    peer, url = ledger_peer
    peer.states = ["ERROR"]
    async with world(entries(url)) as it:
        await it.poll()
        error = (await it.status("ledger", "entries")).error
    assert "job x1 is ERROR: disk" in error
    assert error.isprintable()
    assert peer.removed == ["x1"]


async def test_a_state_that_is_not_named_is_waited_for(world: Open, ledger_peer: Served) -> None:
    """Neither done nor failed: it is asked for again."""
    peer, url = ledger_peer
    peer.states = ["NEW", "RUNNING", "RUNNING", "READY"]
    async with world(entries(url)) as it:
        await it.poll()
        assert len(await it.changes()) == 3
    assert peer.exports["x1"]["looks"] == 4


async def test_lines_that_are_no_records_are_set_aside_with_their_place(world: Open, ledger_peer: Served) -> None:
    """The others go on."""
    peer, url = ledger_peer
    peer.extra = b'{"id": 4, "amo\n[]\n'
    async with world(entries(url)) as it:
        await it.poll()
        assert len(await it.changes()) == 3
        reasons = sorted(letter["Reason"] for letter in await it.letters())
    assert [reason[:5] for reason in reasons] == ["row 4", "row 5"]


async def test_results_that_are_gone_are_prepared_again(world: Open, ledger_peer: Served) -> None:
    """410 for the rows: the read begins again with a new job, once in a run."""
    peer, url = ledger_peer
    peer.status = 410
    async with world(entries(url)) as it:
        await it.poll()
        assert "expired" in (await it.status("ledger", "entries")).error
        assert len(peer.bodies) == 2
        peer.status = 200
        await it.poll()
        await it.poll()
        assert len(await it.final()) == 3
        assert (await it.status("ledger", "entries")).error == ""


async def test_values_where_an_object_belongs_are_refused(world: Open, ledger_peer: Served) -> None:
    """``filter`` as a text and as an object at once."""
    _, url = ledger_peer
    async with world(entries(url, query={"filter": "x", "filter.changed_after": "y"})) as it:
        await it.poll()
        assert "filter as a value and as an object" in (await it.status("ledger", "entries")).error
