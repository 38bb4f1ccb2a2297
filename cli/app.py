"""A running app as commands ask it: over HTTP, with the host's key where it runs on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import msgspec

from flockiq.cli.address import running
from flockiq.local.host import keys
from flockiq.shared.errors import Conflict, FlockIQError, NotFound

KEY_SETTING = "FLOCKIQ_FUNCTIONS_KEY"
TOKEN_SETTING = "FLOCKIQ_TOKEN"  # noqa: S105 - where it is, not what
_TIMEOUT_S = 30.0
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class NotReached(FlockIQError):
    """The app does not answer."""


def of_folder(data: Path, holder: str) -> httpx.AsyncClient:
    """A client of the app that runs on ``data`` as process ``holder``. NotReached if it does not say where."""
    address = running(data, holder)
    if address is None:
        raise NotReached(
            f"Process {holder or '(starting)'} holds {data} and does not say where it is reached: FlockIQ, or a "
            "command, is at work there. Try again in a moment."
        )
    return client(address.url, keys.read(data).host_key, "")


def of_url(url: str) -> httpx.AsyncClient:
    """A client of the app at ``url``: with the setting FLOCKIQ_TOKEN where people sign in, or FLOCKIQ_FUNCTIONS_KEY."""
    return client(url, os.environ.get(KEY_SETTING, ""), os.environ.get(TOKEN_SETTING, ""))


def client(url: str, key: str, token: str) -> httpx.AsyncClient:
    """A client of the app at ``url``. Key and token travel in headers, and never in the open."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise FlockIQError(f"{url!r} is no address of an app: it looks like http://127.0.0.1:7071")
    if (key or token) and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        setting = KEY_SETTING if key else TOKEN_SETTING
        raise FlockIQError(f"{url} is not encrypted: what is in {setting} is sent over https only.")
    headers = {"x-functions-key": key} if key else {}
    headers |= {"authorization": f"Bearer {token}"} if token else {}
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=_TIMEOUT_S, trust_env=False)


async def ask[T](
    app: httpx.AsyncClient,
    method: str,
    path: str,
    kind: type[T],
    parameters: dict[str, str | int] | None = None,
    *,
    body: dict[str, str] | None = None,
    conflict: type[FlockIQError] = Conflict,
) -> T:
    """What the app answers. NotReached if it does not; NotFound, ``conflict`` or FlockIQError with what it says."""
    url = app.base_url
    try:
        answer = await app.request(method, path, params=parameters, json=body)
    except httpx.HTTPError as error:
        raise NotReached(f"{url} can't be asked ({type(error).__name__} {error}): does FlockIQ run there?") from error
    if answer.is_success:
        try:
            return msgspec.json.decode(answer.content, type=kind)
        except msgspec.DecodeError as error:
            raise FlockIQError(f"what answers at {url} is no FlockIQ, or another version: {error}") from error
    detail = _detail(answer)
    match answer.status_code:
        case httpx.codes.NOT_FOUND:
            raise NotFound(detail)
        case httpx.codes.CONFLICT:
            raise conflict(detail)
        case httpx.codes.UNAUTHORIZED | httpx.codes.FOUND:  # a sign-in page is where a caller without a token is sent
            ways = f"{KEY_SETTING} to a function key, or where people sign in {TOKEN_SETTING} to a token of Entra ID"
            raise FlockIQError(f"{url} lets nobody in without showing who it is: set {ways} (docs/deploy.md).")
        case httpx.codes.FORBIDDEN:
            raise FlockIQError(f"{url} refuses this: {detail}")
    raise FlockIQError(f"{url} answered {answer.status_code}: {detail}")


class _Problem(msgspec.Struct):
    detail: str


def _detail(answer: httpx.Response) -> str:
    try:
        return msgspec.json.decode(answer.content, type=_Problem).detail
    except msgspec.DecodeError:
        return answer.reason_phrase
