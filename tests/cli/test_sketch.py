"""From a sketch of a source, six lines of YAML, to a file that reads all of it; and what says that a file does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from flockiq.cli.main import main
from flockiq.shared import wire
from tests.capture.peers.server import serve

Capsys = pytest.CaptureFixture[str]
Answer = Callable[[Request], Response]

ROWS = [{"ticket_no": number, "subject": f"T{number}", "changed": "2026-03-01T10:00:00Z"} for number in range(5)]
LAST = len(ROWS)


def given(request: Request, parameter: str, otherwise: int = 0) -> int:
    """A parameter of a request."""
    return int(request.query_params.get(parameter, otherwise))


def link_header(request: Request) -> Response:
    """A bare list, and RFC 8288's header."""
    at = given(request, "from")
    more = {"link": f'</v1/tickets?from={at + 2}>; rel="next", </v1/tickets>; rel="first"'} if at + 2 < LAST else {}
    return JSONResponse(ROWS[at : at + 2], headers=more)


def next_url(request: Request) -> Response:
    """A link in the body, as HAL and OData have it."""
    at = given(request, "skip")
    links = {"self": {"href": str(request.url)}} | (
        {"next": {"href": f"/v1/tickets?skip={at + 2}"}} if at + 2 < LAST else {}
    )
    return JSONResponse({"_embedded": {"tickets": ROWS[at : at + 2]}, "_links": links})


def token(request: Request) -> Response:
    """A token under a name that says "next", sent back without it."""
    at = given(request, "pageToken")
    return JSONResponse({"items": ROWS[at : at + 2], "nextPageToken": str(at + 2) if at + 2 < LAST else None})


def numbered(request: Request) -> Response:
    """Pages by number, with how many records there are."""
    at = (given(request, "page", 1) - 1) * 2
    return JSONResponse({"data": ROWS[at : at + 2], "meta": {"total": LAST}})


def offset(request: Request) -> Response:
    """Records to pass over, and whether there are more."""
    at = given(request, "offset")
    return JSONResponse({"results": ROWS[at : at + 2], "has_more": at + 2 < LAST})


BY_LINK = {"kind": "next_url", "next": "_links.next.href"}
BY_TOKEN = {"kind": "cursor", "next": "nextPageToken", "parameter": "pageToken"}
WAYS: dict[str, tuple[Answer, dict[str, Any]]] = {
    "link_header": (link_header, {"paginate": {"kind": "link_header"}}),
    "next_url": (next_url, {"records": "_embedded.tickets", "paginate": BY_LINK}),
    "token": (token, {"records": "items", "paginate": BY_TOKEN}),
    "numbered": (numbered, {"records": "data", "paginate": {"kind": "page", "total": "meta.total"}}),
    "offset": (offset, {"records": "results", "paginate": {"kind": "offset", "more": "has_more"}}),
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A folder without anything in it."""
    for name in ("sources", "entities"):
        (tmp_path / "config" / name).mkdir(parents=True)
    return tmp_path / "config"


def write(config: Path, url: str, stream: dict[str, Any]) -> None:
    """The file of a source that is reached, with a stream."""
    source = {
        "source": "desk",
        "connector": "rest",
        "connection": {"base_url": f"{url}/v1", "allow_private": True},
        "streams": {"tickets": {"path": "tickets"} | stream},
    }
    (config / "sources" / "desk.yaml").write_text(yaml.safe_dump(source))


async def run(config: Path, *arguments: str) -> int:
    """``flockiq sources …`` in a thread; its exit code."""
    verb, *rest = arguments
    where = ["--config", str(config), "--data", str(config.parent)]
    return await asyncio.to_thread(main, ["sources", verb, "desk", *rest, *where])


def app(answer: Answer) -> Starlette:
    """A service with one endpoint."""
    return Starlette(routes=[Route("/v1/tickets", answer)])


@pytest.mark.parametrize("way", WAYS)
async def test_discover_makes_a_file_that_reads_everything_from_a_sketch(
    way: str, config: Path, capsys: Capsys
) -> None:
    """It finds the records, the key and how pages follow, for it tries; the printed files are right as they are."""
    answer, found = WAYS[way]
    async with serve(app(answer)) as url:
        write(config, url, {})
        assert await run(config, "discover") == 0
        for part, kind in zip(capsys.readouterr().out.split("---\n"), ("source", "entity"), strict=True):
            assert f"# yaml-language-server: $schema=../schemas/{kind}.schema.json\n" in part
            place = next(line for line in part.splitlines() if line.startswith("# config/"))
            (config / place.removeprefix("# config/")).write_text(part)
        stream = yaml.safe_load((config / "sources" / "desk.yaml").read_text())["streams"]["tickets"]
        assert {name: stream[name] for name in found} == found
        assert stream["primary_key"] == ["ticket_no"]
        assert await run(config, "check") == 0
        assert "note" not in capsys.readouterr().out
        assert await run(config, "read", "tickets", "--limit", "9") == 0
        read = [msgspec.json.decode(line, type=wire.Change) for line in capsys.readouterr().out.splitlines()]
        assert [change.data.key for change in read] == [str(row["ticket_no"]) for row in ROWS]


MAPPED = {"primary_key": ["ticket_no"], "entity": "ticket", "fields": {"subject": "subject"}}


@pytest.mark.parametrize(
    ("way", "says"),
    [
        ("next_url", '_links.next.href is "/v1/tickets?skip=2"'),
        ("token", 'nextPageToken is "2"'),
        ("numbered", "meta.total is 5"),
        ("offset", "has_more is true"),
    ],
)
async def test_check_warns_of_pages_that_config_does_not_speak_of(
    way: str, says: str, config: Path, capsys: Capsys
) -> None:
    """Two of five records look well, and are not all; where config says that one page is meant, nothing is said."""
    answer, found = WAYS[way]
    (config / "entities" / "ticket.yaml").write_text("{entity: ticket, fields: {subject: {type: string}}}")
    async with serve(app(answer)) as url:
        write(config, url, MAPPED | {"records": found["records"]})
        assert await run(config, "check") == 0
        said = capsys.readouterr().out
        assert "these 2 records are taken for all there are" in said
        assert says in said
        write(config, url, MAPPED | {"records": found["records"], "paginate": {"kind": "none"}})
        assert await run(config, "check") == 0
        assert "note" not in capsys.readouterr().out


async def test_a_link_header_that_config_does_not_speak_of_is_an_error(config: Path, capsys: Capsys) -> None:
    """There is no doubt about it: the stream is not cut short in silence."""
    (config / "entities" / "ticket.yaml").write_text("{entity: ticket, fields: {subject: {type: string}}}")
    async with serve(app(link_header)) as url:
        write(config, url, MAPPED)
        assert await run(config, "check") == 1
        assert "add paginate: {kind: link_header}" in capsys.readouterr().out
        write(config, url, MAPPED | {"paginate": {"kind": "none"}})
        assert await run(config, "check") == 0


async def test_check_says_where_lists_are_and_that_an_entity_type_is_missing(config: Path, capsys: Capsys) -> None:
    """What a beginner meets first, with the way out."""
    async with serve(app(next_url)) as url:
        write(config, url, MAPPED | {"records": "tickets"})
        assert await run(config, "check") == 1
        said = capsys.readouterr().out
        assert "no list at records: tickets; lists are at: _embedded.tickets" in said
        assert "desk.yaml:" in said
        assert "there is no entity type 'ticket'" in said


async def test_a_service_without_signs_of_more_is_left_as_it_is(config: Path, capsys: Capsys) -> None:
    """One answer that is everything gets no paging, and no warning."""
    async with serve(app(lambda _: JSONResponse({"rows": ROWS, "total": LAST, "page": 1}))) as url:
        write(config, url, {})
        assert await run(config, "discover") == 0
        assert "paginate" not in capsys.readouterr().out
