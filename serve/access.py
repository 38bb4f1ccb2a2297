"""Who may ask for what: roles from Entra ID, or a function key, or nobody but this machine.

``FLOCKIQ_ACCESS`` says which. ``entra``: App Service signs people and programs in, and puts what it knows of
them on the request (learn.microsoft.com, "Work with user identities in Azure App Service"); it takes such
headers from nobody else. ``keys``: the Functions host has asked for a function key; whoever has one may do
everything. ``local``: a request must be addressed to the loopback, so that an app that was deployed without a
choice is closed, and no website can reach one at home by a name of its own.
"""

from __future__ import annotations

import base64
import binascii
from ipaddress import ip_address
from typing import Final, Literal, NamedTuple

import msgspec
from starlette.requests import Request

from flockiq.shared.settings import Access

Role = Literal["reader", "operator", "admin"]

ROLES: Final[tuple[Role, ...]] = ("reader", "operator", "admin")
"""Each may do what those before it may. An Entra app registration declares them as its app roles."""

PRINCIPAL: Final = "x-ms-client-principal"
PRINCIPAL_NAME: Final = "x-ms-client-principal-name"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_CALLER: Final = "flockiq.caller"
_NAME_CHARACTERS: Final = 200
_PRINCIPAL_BYTES: Final = 64_000
_ADMIN: Final = ("/api/sources/", "/api/erasures")  # reading a whole past costs, there and here; erasing is for ever


class Caller(NamedTuple):
    """Whoever asks, and the most they may do."""

    name: str
    role: Role


class Refused(Exception):
    """A request that is not let through, with the status and the way in."""

    def __init__(self, status: int, detail: str) -> None:
        self.status = status
        super().__init__(detail)


class _Claim(msgspec.Struct):
    typ: str = ""
    val: str = ""


class _Principal(msgspec.Struct):
    claims: list[_Claim] = []
    role_typ: str = "roles"


_decode = msgspec.json.Decoder(_Principal).decode


def admit(request: Request, access: Access) -> Caller:
    """Who asks, if they may; Refused if not. ``caller`` tells it again, further in."""
    match access:
        case "entra":
            found = _signed_in(request)
        case "keys":
            found = Caller("function key", "admin")
        case "local":
            if not _is_loopback(request.url.hostname or ""):
                said = "FLOCKIQ_ACCESS is not set: this app answers only to 127.0.0.1. Set it to entra or keys."
                raise Refused(403, said)
            found = Caller(_harmless(request.headers.get(PRINCIPAL_NAME, "")) or "operator", "admin")
    needed = role_for(request.method, request.url.path)
    if ROLES.index(found.role) < ROLES.index(needed):
        raise Refused(403, f"This takes the role {needed}; {found.name} has the role {found.role}.")
    request.scope[_CALLER] = found
    return found


def caller(request: Request) -> Caller:
    """Who asks, as ``admit`` found."""
    found: Caller = request.scope[_CALLER]
    return found


def role_for(method: str, path: str) -> Role:
    """The least role that a request takes."""
    if method in SAFE_METHODS:
        return "reader"
    return "admin" if path.startswith(_ADMIN) else "operator"


def _signed_in(request: Request) -> Caller:
    given = request.headers.get(PRINCIPAL, "")
    if not given:
        raise Refused(401, "Nobody is signed in. Sign in at /.auth/login/aad, or send an Entra token.")
    try:
        principal = _decode(base64.b64decode(given[:_PRINCIPAL_BYTES], validate=True))
    except (binascii.Error, msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Refused(401, "What sign-in says of the caller can't be read. Sign in again.") from error
    name = _harmless(request.headers.get(PRINCIPAL_NAME, "")) or "somebody"
    held = {claim.val.lower() for claim in principal.claims if claim.typ in (principal.role_typ, "roles")}
    best = next((role for role in reversed(ROLES) if role in held), None)
    if best is None:
        raise Refused(403, f"{name} has no role here. Ask for reader, operator or admin of this app in Entra ID.")
    return Caller(name, best)


def _harmless(name: str) -> str:
    return "".join(c for c in name if c.isprintable()).strip()[:_NAME_CHARACTERS]


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
