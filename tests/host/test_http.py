"""HTTP triggers, over real sockets."""

from __future__ import annotations

import asyncio
import json
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.host.apps import Running, Start

ECHO = """
import json

@app.route("echo/{id:int}/{*rest}", methods=["GET", "POST"])
async def echo(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    seen.append(context.trace_context.trace_parent)
    return func.HttpResponse(json.dumps({
        "method": req.method, "url": req.url, "params": dict(req.params), "route": dict(req.route_params),
        "many": req.headers.get("x-many"), "body": req.get_body().decode(),
    }), mimetype="application/json")

@app.route("binary")
def binary(req: func.HttpRequest) -> func.HttpResponse:
    response = func.HttpResponse(bytes(range(256)), status_code=201, mimetype="application/x-thing")
    response.headers["X-Extra"] = "yes"
    response.headers.add("Set-Cookie", "a=1; Path=/; HttpOnly; SameSite=Lax; Max-Age=60")
    response.headers.add("Set-Cookie", "b=2")
    return response

@app.route("", methods=["GET", "HEAD"])
async def root(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("<p>hello</p>", mimetype="text/html")

@app.route("fails")
async def fails(req: func.HttpRequest) -> func.HttpResponse:
    raise ValueError("the secret reason")

@app.route("odd")
async def odd(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("x", status_code=99)

@app.route("split")
async def split(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("x", headers={"x-name": "\\u20ac"})

@app.route("slow")
async def slow(req: func.HttpRequest) -> func.HttpResponse:
    await asyncio.sleep(0.3)
    return func.HttpResponse("done")
"""
LEVELS = """
for level in ("anonymous", "function", "admin"):
    @app.function_name(level)
    @app.route(level, auth_level=func.AuthLevel(level))
    async def answer(req: func.HttpRequest) -> func.HttpResponse:
        return func.HttpResponse("in")
"""


@pytest.fixture
async def echo(start: Start) -> Running:
    """A host that runs ECHO."""
    return await start(ECHO, settings={"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "1000"})


@pytest.fixture
async def client(echo: Running) -> AsyncIterator[httpx.AsyncClient]:
    """A client of that host."""
    async with httpx.AsyncClient(base_url=echo.host.url) as client:
        yield client


async def test_a_request_arrives_whole(echo: Running, client: httpx.AsyncClient) -> None:
    """Method, URL, query, route values, repeated headers and body reach the function."""
    response = await client.post(
        "/echo/7/a/b%20c?x=1&x=2&y=", content="body", headers=[("x-many", "one"), ("x-many", "two")]
    )
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {
        "method": "POST",
        "url": f"{echo.host.url}/echo/7/a/b%20c?x=1&x=2&y=",
        "params": {"x": "1,2", "y": ""},
        "route": {"id": "7", "rest": "a/b c"},
        "many": "one,two",
        "body": "body",
    }


async def test_a_response_leaves_whole(client: httpx.AsyncClient) -> None:
    """Status, headers, cookies and bytes come back as the function gave them."""
    response = await client.get("/binary")
    assert response.status_code == 201
    assert response.content == bytes(range(256))
    assert response.headers["content-type"] == "application/x-thing"
    assert response.headers["x-extra"] == "yes"
    first, second = response.headers.get_list("set-cookie")
    assert set(first.split("; ")) == {"a=1", "Path=/", "HttpOnly", "SameSite=Lax", "Max-Age=60"}
    assert second == "b=2"


async def test_the_root_can_be_a_page(client: httpx.AsyncClient) -> None:
    """With an empty prefix a function answers /, and HEAD has its headers without its body."""
    assert (await client.get("/")).text == "<p>hello</p>"
    head = await client.head("/")
    assert (head.content, head.headers["content-length"]) == (b"", "12")


async def test_answers_do_not_wait_for_acknowledgements(client: httpx.AsyncClient) -> None:
    """Requests on one connection take milliseconds each, not a delayed ACK's 40."""
    await client.get("/")
    took = []
    for _ in range(10):
        began = time.perf_counter()
        await client.get("/")
        took.append(time.perf_counter() - began)
    assert sorted(took)[5] < 0.03


async def test_the_callers_trace_goes_on(echo: Running, client: httpx.AsyncClient) -> None:
    """A valid traceparent reaches the function; anything else is replaced."""
    given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    await client.get("/echo/1/", headers={"traceparent": given})
    await client.get("/echo/1/", headers={"traceparent": "rubbish"})
    seen = echo.app.seen
    assert seen[0] == given
    assert seen[1].startswith("00-")
    assert seen[1] != seen[0]


async def test_an_unknown_path_is_404_and_a_wrong_method_405(client: httpx.AsyncClient) -> None:
    """A wrong method says which ones there are."""
    assert (await client.get("/nothing")).status_code == 404
    assert (await client.get("/echo/seven/")).status_code == 404
    response = await client.delete("/echo/7/")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, POST")


async def test_a_function_that_raises_is_500_without_its_reason(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller learns nothing but that it failed; the log has the traceback, once."""
    response = await client.get("/fails")
    assert response.status_code == 500
    assert "secret" not in response.text
    assert caplog.text.count("Traceback") == 1
    assert "fails failed: ValueError: the secret reason" in caplog.text


@pytest.mark.parametrize("path", ["/odd", "/split"])
async def test_a_response_that_cant_be_sent_is_500(client: httpx.AsyncClient, path: str) -> None:
    """A status or header that HTTP does not have is the function's fault, and does not break the connection."""
    assert (await client.get(path)).status_code == 500
    assert (await client.get("/")).status_code == 200


async def test_a_body_over_the_limit_is_413(client: httpx.AsyncClient) -> None:
    """Whether its length is declared or only found out on the way."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100

    assert (await client.post("/echo/1/", content=b"x" * 1000)).status_code == 200
    assert (await client.post("/echo/1/", content=b"x" * 1001)).status_code == 413
    assert (await client.post("/echo/1/", content=chunks())).status_code == 413


async def test_too_many_query_parameters_are_refused(client: httpx.AsyncClient) -> None:
    """A query is bounded in its parameters as well as in its length."""
    assert (await client.get("/echo/1/?" + "&".join(f"a{n}=" for n in range(1001)))).status_code == 400


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost"])
async def test_other_host_names_are_not_answered(client: httpx.AsyncClient, host: str) -> None:
    """A name that was made to point at this machine reaches nothing."""
    named = host.format(port=client.base_url.port)
    assert (await client.get("/", headers={"host": named})).status_code == 421


async def test_both_names_of_this_machine_are_answered(client: httpx.AsyncClient) -> None:
    """127.0.0.1 and localhost, with the port."""
    assert (await client.get("/", headers={"host": f"LocalHost:{client.base_url.port}"})).status_code == 200


async def test_pages_of_other_origins_are_not_answered(client: httpx.AsyncClient) -> None:
    """A page elsewhere can't post to the app; the app's own page can."""
    own = str(client.base_url).rstrip("/")
    assert (await client.post("/echo/1/", headers={"origin": "https://evil.example"})).status_code == 403
    assert (await client.post("/echo/1/", headers={"origin": "null"})).status_code == 403
    assert (await client.post("/echo/1/", headers={"origin": own})).status_code == 200


async def test_the_host_listens_on_loopback_only(client: httpx.AsyncClient) -> None:
    """No other address of the machine answers."""
    with pytest.raises(httpx.ConnectError):
        await client.get(f"http://127.0.0.2:{client.base_url.port}/")


async def test_keys_open_their_levels(start: Start, data: Path) -> None:
    """Anonymous needs none, function takes the host key, admin only the master key; as header or code."""
    running = await start(LEVELS, open_on_loopback=False)
    path = data / "keys.json"
    keys = json.loads(path.read_text())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(set(keys.values())) == 2
    answers: dict[str, list[int]] = {}
    async with httpx.AsyncClient(base_url=running.host.url) as client:
        for level in ("anonymous", "function", "admin"):
            answers[level] = [
                (await client.get(f"/{level}", **given)).status_code  # type: ignore[arg-type]
                for given in (
                    {},
                    {"headers": {"x-functions-key": "wrong"}},
                    {"params": {"code": "é"}},
                    {"headers": {"x-functions-key": keys["hostKey"]}},
                    {"params": {"code": keys["masterKey"]}},
                )
            ]
    assert answers == {
        "anonymous": [200, 200, 200, 200, 200],
        "function": [401, 401, 401, 200, 200],
        "admin": [401, 401, 401, 401, 200],
    }


async def test_keys_outlive_a_restart(start: Start, data: Path) -> None:
    """A webhook's URL goes on working."""
    first = await start(LEVELS)
    keys = (data / "keys.json").read_bytes()
    await first.host.stop()
    await start(LEVELS)
    assert (data / "keys.json").read_bytes() == keys


async def test_open_on_loopback_needs_no_key(start: Start) -> None:
    """By default whoever is on this machine is let in, as with the Core Tools."""
    running = await start(LEVELS)
    async with httpx.AsyncClient(base_url=running.host.url) as client:
        assert [(await client.get(f"/{level}")).status_code for level in ("anonymous", "function", "admin")] == [
            200
        ] * 3


async def test_more_requests_than_host_json_allows_are_429(start: Start) -> None:
    """Requests wait in nobody's memory without a bound."""
    host = {"extensions": {"http": {"routePrefix": "", "maxOutstandingRequests": 2}}}
    running = await start(ECHO, host=host)
    async with httpx.AsyncClient(base_url=running.host.url) as client:
        responses = await asyncio.gather(*(client.get("/slow") for _ in range(5)))
    assert sorted(response.status_code for response in responses) == [200, 200, 429, 429, 429]


async def test_the_default_prefix_is_azures(start: Start) -> None:
    """Without a routePrefix, routes begin with api."""
    running = await start(ECHO, host={"extensions": {}})
    async with httpx.AsyncClient(base_url=running.host.url) as client:
        assert (await client.get("/api/binary")).status_code == 201
        assert (await client.get("/binary")).status_code == 404


async def test_requests_are_counted(echo: Running, client: httpx.AsyncClient) -> None:
    """Invocations, failures and the last error are there to be shown."""
    await client.get("/fails")
    await client.get("/fails")
    stats = echo.host.functions["fails"]
    assert (stats.invocations, stats.failures, stats.running) == (2, 2, 0)
    assert stats.last_error == "ValueError: the secret reason"
