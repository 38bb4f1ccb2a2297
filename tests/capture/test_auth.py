"""Who we are to a source: tokens asked for once, kept, replaced in time, rotated without loss, never shown."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from starlette.responses import JSONResponse

from flockiq.capture.http.client import SourceClient, Tally
from flockiq.shared.config.sources import SourceFile
from flockiq.shared.errors import SourceUnavailable
from flockiq.shared.services import Services
from tests.capture.conftest import Open
from tests.capture.peers.issuer import CLIENT, KEY, SECRET, Issuer
from tests.capture.peers.server import serve

KINDS: dict[str, dict[str, Any]] = {
    "client_credentials": {"client_id": CLIENT, "client_secret": {"secret": "client-secret"}},
    "refresh_token": {"client_id": CLIENT, "refresh_token": {"secret": "refresh"}},
    "jwt_bearer": {
        "issuer": CLIENT,
        "subject": "reader@example.com",
        "audience": "https://login.example",
        "private_key": {"secret": "private-key"},
    },
}


def things(url: str, kind: str, **auth: Any) -> dict[str, Any]:
    """The issuer's API as a source, as YAML would give it."""
    tokens = {"token_url": f"{url}/oauth/token"} if kind in KINDS else {}
    return {
        "source": "things",
        "connector": "rest",
        "connection": {"base_url": f"{url}/api", "allow_private": True, "request_timeout": "2s"},
        "auth": {"kind": kind, **tokens, **KINDS.get(kind, {}), **auth},
        "limits": {"attempts": 1, "longest_wait": "300ms"},
        "every": "2s",
        "streams": {
            "things": {
                "path": "things",
                "records": "items",
                "paginate": {"kind": "next_url", "next": "next"},
                "primary_key": ["id"],
                "entity": "thing",
                "fields": {"name": "name"},
            }
        },
    }


@pytest.fixture
async def issuer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Issuer, str]]:
    """An issuer with its API, and the secrets it knows us by in a file."""
    pem = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    kept = tmp_path / "secrets.json"
    kept.write_text(json.dumps({"client-secret": SECRET, "refresh": "refresh-0", "private-key": pem, "k": "K3Y&x"}))
    kept.chmod(0o600)
    monkeypatch.setenv("FLOCKIQ_SECRETS_FILE", str(kept))
    peer = Issuer()
    async with serve(peer.app) as url:
        yield peer, url


@pytest.mark.parametrize("kind", KINDS)
async def test_a_token_is_asked_for_once_and_used_until_it_expires(
    world: Open, issuer: tuple[Issuer, str], kind: str
) -> None:
    """Three reads, one token; its life over, another."""
    peer, url = issuer
    async with world(things(url, kind)) as it:
        for _ in range(3):
            await it.poll()
        assert (await it.status("things", "things")).error == ""
        assert len(peer.granted) == 1
    peer.lasts = 0.2
    async with world(things(url, kind)) as it:
        for _ in range(2):
            await it.poll(600)
            await asyncio.sleep(0.25)
        assert (await it.status("things", "things")).error == ""
        assert len(peer.granted) == 3


@pytest.mark.parametrize("send", ["body", "basic"])
async def test_client_credentials_travel_as_the_issuer_wants_them(
    world: Open, issuer: tuple[Issuer, str], send: str
) -> None:
    """In the body or as HTTP basic, with scope and further parameters, odd characters and all."""
    peer, url = issuer
    source = things(url, "client_credentials", send=send, scope="read", parameters={"resource": "crm"})
    async with world(source) as it:
        await it.poll()
        assert (await it.status("things", "things")).error == ""
    assert peer.requests[0]["scope"] == "read"
    assert peer.requests[0]["resource"] == "crm"
    assert ("client_secret" in peer.requests[0]) == (send == "body")


async def test_many_streams_that_need_a_token_ask_for_one(world: Open, issuer: tuple[Issuer, str]) -> None:
    """Ten requests at a time wait for one answer of the issuer."""
    peer, url = issuer
    peer.slow_s = 0.1
    async with world(things(url, "client_credentials")) as it:
        client = it.capture.client(it.capture.sources["things"])
        answers = await asyncio.gather(*(client.get("things", {}, Tally()) for _ in range(10)))
    assert [answer.status for answer in answers] == [200] * 10
    assert len(peer.granted) == 1


async def test_a_withdrawn_token_is_replaced_once(world: Open, issuer: tuple[Issuer, str]) -> None:
    """A 401 to a token that seemed good asks for another; a 401 to that one too is the answer."""
    peer, url = issuer
    async with world(things(url, "client_credentials")) as it:
        await it.poll()
        peer.valid.clear()
        await it.poll()
        assert (await it.status("things", "things")).error == ""
        assert len(peer.granted) == 2
        peer.valid = _Nothing()
        await it.poll()
        assert "credentials are refused" in (await it.status("things", "things")).error
        assert len(peer.granted) == 3


class _Nothing(set[str]):
    """Tokens of which none is ever valid."""

    def __contains__(self, token: object) -> bool:
        return False


async def test_a_rotated_refresh_token_is_kept_before_it_is_used(
    world: Open, issuer: tuple[Issuer, str], tmp_path: Path
) -> None:
    """What the file holds is the newest token; after a restart the next exchange succeeds with it."""
    peer, url = issuer
    for round_ in (1, 2, 3):
        async with world(things(url, "refresh_token")) as it:
            await it.poll(600 * round_)
            assert (await it.status("things", "things")).error == ""
        assert json.loads((tmp_path / "secrets.json").read_text())["refresh"] == peer.refresh == f"refresh-{round_}"


async def test_two_instances_never_send_the_same_refresh_token(services: Services, issuer: tuple[Issuer, str]) -> None:
    """A single-use token sent twice is worthless: the second waits for the lease and reads the new one."""
    peer, url = issuer
    peer.slow_s = 0.1
    source = SourceFile.model_validate(things(url, "refresh_token"))
    clients = [SourceClient(source, services, {}) for _ in range(3)]
    try:
        answers = await asyncio.gather(*(client.get("things", {}, Tally()) for client in clients))
    finally:
        for client in clients:
            await client.close()
    assert [answer.status for answer in answers] == [200] * 3
    sent = [form["refresh_token"] for form in peer.requests]
    assert len(set(sent)) == len(sent) == 3


async def test_a_refresh_token_that_can_not_be_kept_is_said_so(
    world: Open, issuer: tuple[Issuer, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret in a variable can't be replaced: the error names it, and not its value."""
    _, url = issuer
    monkeypatch.setenv("FLOCKIQ_SECRET_REFRESH", "refresh-0")
    async with world(things(url, "refresh_token")) as it:
        await it.poll()
        status = await it.status("things", "things")
    assert status.outcome == "misconfigured"
    assert "FLOCKIQ_SECRET_REFRESH" in status.error
    assert "refresh-" not in status.error


async def test_what_an_issuer_answers_is_told_without_its_prose(world: Open, issuer: tuple[Issuer, str]) -> None:
    """The error code, for prose may quote a secret; an issuer that is down is not a wrong secret."""
    peer, url = issuer
    async with world(things(url, "client_credentials", client_secret={"secret": "refresh"})) as it:
        await it.poll()
        status = await it.status("things", "things")
        assert "invalid_client" in status.error
        assert "bad secret" not in status.error
        peer.answers = [JSONResponse({}, 503, {"Retry-After": "7"})]
        await it.poll(600)
        status = await it.status("things", "things")
        assert (status.outcome, "answers 503" in status.error) == ("unavailable", True)
        peer.answers = [JSONResponse({"token": "x"})]
        await it.poll(600)
        assert "no usable access_token" in (await it.status("things", "things")).error


async def test_a_private_key_that_is_none_is_not_shown(world: Open, issuer: tuple[Issuer, str]) -> None:
    """The error names the secret."""
    _, url = issuer
    async with world(things(url, "jwt_bearer", private_key={"secret": "client-secret"})) as it:
        await it.poll()
        status = await it.status("things", "things")
    assert "secret client-secret: is no RSA private key" in status.error
    assert SECRET not in status.error


async def test_a_key_in_the_query_is_nowhere_else(
    world: Open, issuer: tuple[Issuer, str], caplog: pytest.LogCaptureFixture, services: Services
) -> None:
    """Not in the log, not in the cursor, even if the source's own links echo it."""
    peer, url = issuer
    peer.api_key = "K3Y&x"
    caplog.set_level(logging.DEBUG)
    async with world(things(url, "api_key", query="key", key={"secret": "k"})) as it:
        client = it.capture.client(it.capture.sources["things"])
        assert "K3Y" not in str(client.origins.resolve("things?key=K3Y%26x&page=2"))
        await it.poll()
        assert (await it.status("things", "things")).error == ""
    assert len(peer.calls) == 2
    assert all(call.query_params.getlist("key") == ["K3Y&x"] for call in peer.calls)
    assert "K3Y" not in caplog.text
    assert not [key for key, document in (await services.registry.list("")).items() if b"K3Y" in document.value]


async def test_tokens_are_in_no_log(world: Open, issuer: tuple[Issuer, str], caplog: pytest.LogCaptureFixture) -> None:
    """At no level, whether granted or refused."""
    peer, url = issuer
    caplog.set_level(logging.DEBUG)
    async with world(things(url, "refresh_token")) as it:
        await it.poll()
        peer.valid.clear()
        await it.poll()
        peer.refresh = "another"
        peer.valid.clear()
        await it.poll()
        assert "invalid_grant" in (await it.status("things", "things")).error
    assert "token-" not in caplog.text
    assert "refresh-" not in caplog.text


async def test_sap_is_shown_its_csrf_token_when_something_is_sent(world: Open, issuer: tuple[Issuer, str]) -> None:
    """Fetched with its session before the first, and again when SAP wants a new one; never for reading."""
    peer, url = issuer
    source = things(url, "none")
    source["connection"]["csrf"] = True
    async with world(source) as it:
        client = it.capture.client(it.capture.sources["things"])
        first = await client.send("POST", "action", b"one", {}, Tally())
        peer.csrf = "expired"
        second = await client.send("POST", "action", b"two", {}, Tally())
    assert (first.body, second.body) == (b'{"done":"one"}', b'{"done":"two"}')
    assert [call.headers.get("x-csrf-token") for call in peer.calls] == ["csrf-0", "csrf-0", "csrf-2"]


async def test_an_issuer_that_hangs_is_unavailable(services: Services, issuer: tuple[Issuer, str]) -> None:
    """connection.read_timeout bounds the wait for a token too."""
    peer, url = issuer
    peer.slow_s = 5.0
    source = things(url, "client_credentials")
    source["connection"]["read_timeout"] = "200ms"
    client = SourceClient(SourceFile.model_validate(source), services, {})
    began = time.monotonic()
    with pytest.raises(SourceUnavailable, match="does not answer"):
        await client.get("things", {}, Tally())
    await client.close()
    assert time.monotonic() - began < 2
