"""How commands ask an app elsewhere: what they show of who they are, and what they make of a refusal."""

from __future__ import annotations

import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from flockiq.cli import app
from flockiq.cli.app import KEY_SETTING, TOKEN_SETTING
from flockiq.shared.errors import FlockIQError
from tests.capture.peers.server import serve


class Seen(msgspec.Struct):
    """What the app was shown."""

    key: str
    token: str


def signs_people_in(request: Request) -> Response:
    """As App Service does with sign-in: who brings no token is sent to its page; who is no admin is refused."""
    token = request.headers.get("authorization", "")
    if not token:
        return RedirectResponse("/.auth/login/aad", status_code=302)
    if token != "Bearer of-an-admin":
        return JSONResponse({"detail": "This takes the role admin; Ann has the role reader."}, status_code=403)
    return JSONResponse({"key": request.headers.get("x-functions-key", ""), "token": token})


APP = Starlette(routes=[Route("/api", signs_people_in)])


async def test_a_token_of_entra_lets_a_command_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is shown as a bearer's, beside a key if there is one: a gateway may ask for both."""
    monkeypatch.setenv(TOKEN_SETTING, "of-an-admin")
    monkeypatch.setenv(KEY_SETTING, "k")
    async with serve(APP) as url, app.of_url(url) as client:
        assert await app.ask(client, "GET", "/api", Seen) == Seen("k", "Bearer of-an-admin")


@pytest.mark.parametrize(
    ("token", "says"), [("", f"{TOKEN_SETTING} to a token of Entra ID"), ("of-a-reader", "takes the role admin; Ann")]
)
async def test_a_refusal_says_what_is_missing(token: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something to show, or a role: never a redirect that nobody follows."""
    monkeypatch.setenv(TOKEN_SETTING, token)
    async with serve(APP) as url, app.of_url(url) as client:
        with pytest.raises(FlockIQError, match=says):
            await app.ask(client, "GET", "/api", Seen)


def test_a_token_never_travels_in_the_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is it in the message that says so."""
    monkeypatch.setenv(TOKEN_SETTING, "of-an-admin")
    with pytest.raises(FlockIQError, match=f"what is in {TOKEN_SETTING} is sent over https only") as refused:
        app.of_url("http://flockiq.example.com")
    assert "of-an-admin" not in str(refused.value)
