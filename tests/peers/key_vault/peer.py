"""Azure Key Vault on 127.0.0.1 over TLS, and beside it the identity endpoint that App Service gives an app.

Models, for ``azure-keyvault-secrets`` and ``azure-identity`` unmodified:

- the vault: who brings no token, or none of its own, is answered 401 with the challenge that says where to get one and
  for what; secrets are set (always a new version), read by name or version, disabled and deleted; a deleted one
  keeps its name (409); names and sizes are checked (400); an identity may set only what it is given (403);
- the identity endpoint (``IDENTITY_ENDPOINT``, over HTTP as in App Service): ``X-IDENTITY-HEADER`` must be right,
  ``client_id`` must name the one identity there is, the token (``tests.peers.tokens``) is for the resource asked for.

From: the REST reference (https://learn.microsoft.com/rest/api/keyvault/secrets/), authentication to Key Vault
(https://learn.microsoft.com/azure/key-vault/general/authentication-requests-and-responses), the REST endpoint of
managed identities (https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference).

Does not model: keys, certificates, versions' own attributes but ``enabled``, expiry, listing, backup, networks,
replicas that lag. The vault is called ``NAME.vault.azure.net`` and listens
on 127.0.0.1: whoever asks it must find it there at ``port``, and trust its certificate's authority.

Faults (``faults``; at ``get/NAME``, ``set/NAME`` or ``identity``):

============ =====================================================================================================
throttled    429, with Retry-After
unavailable  503, and nothing is done
dropped      the connection is cut off, and nothing is done
unanswered   what was asked is done, and the connection cut off before the answer
slow         the answer comes ``slow_s`` later
expired      401 with the challenge: the token has run out
forbidden    403: the identity is not let in
============ =====================================================================================================
"""

from __future__ import annotations

import asyncio
import re
import ssl
import uuid
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final, Self

from aiohttp import web

from tests.peers.faults import Faults
from tests.peers.loop import Loop
from tests.peers.tokens import Issuer

KINDS: Final = ("throttled", "unavailable", "dropped", "unanswered", "slow", "expired", "forbidden")
HOST: Final = "flockiq.vault.azure.net"
RESOURCE: Final = "https://vault.azure.net"
_NAME: Final = re.compile(r"[0-9A-Za-z-]{1,127}")
_VALUE_BYTES: Final = 25_000


@dataclass
class _Version:
    name: str
    value: str
    enabled: bool = True


class KeyVault:
    """A vault with no secrets, for one identity; serves from entering to leaving.

    ``certificate`` is what it serves TLS with; ``writable`` are the names that the identity may set, None for all;
    ``issuer`` gives the identity its tokens.
    """

    def __init__(
        self,
        certificate: ssl.SSLContext,
        *,
        writable: Collection[str] | None = None,
        slow_s: float = 0.5,
        issuer: Issuer | None = None,
    ) -> None:
        self.faults = Faults(KINDS)
        self.asked: Counter[str] = Counter()
        """How many requests came, by ``get/NAME``, ``set/NAME`` and ``identity``; the unauthorized ones as well."""
        self._issuer = issuer or Issuer()
        self.client_id = self._issuer.client_id
        self._certificate = certificate
        self._writable = writable
        self._slow_s = slow_s
        self._header = uuid.uuid4().hex
        self._secrets: dict[str, list[_Version]] = {}
        self._deleted: set[str] = set()
        self._ports: dict[str, int] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._loop = stack.enter_context(Loop())
            self._runners: list[web.AppRunner] = []
            self._loop.run(self._listen())
            stack.callback(lambda: self._loop.run(self._leave()))
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._open.close()

    @property
    def port(self) -> int:
        """Where on 127.0.0.1 the vault is: clients ask port 443 of its host, since they check what it is called."""
        return self._ports["vault"]

    @property
    def environment(self) -> Mapping[str, str]:
        """The app settings that name it, and the identity."""
        return {"KeyVault__vaultUri": f"https://{HOST}/", **self.identity}

    @property
    def identity(self) -> Mapping[str, str]:
        """What App Service says of the identity, and the app settings say of it."""
        return {
            "AZURE_CLIENT_ID": self.client_id,
            "IDENTITY_ENDPOINT": f"http://127.0.0.1:{self._ports['identity']}/msi/token",
            "IDENTITY_HEADER": self._header,
        }

    def set(self, name: str, value: str) -> None:
        """Set a secret as an operator would."""
        self._secrets.setdefault(name, []).append(_Version(uuid.uuid4().hex, value))

    def disable(self, name: str) -> None:
        """Disable a secret's newest version."""
        self._secrets[name][-1].enabled = False

    def delete(self, name: str) -> None:
        """Delete a secret, whose name stays taken."""
        del self._secrets[name]
        self._deleted.add(name)

    def versions(self, name: str) -> list[str]:
        """The values a secret has had, oldest first."""
        return [version.value for version in self._secrets.get(name, [])]

    async def _listen(self) -> None:
        for name, serve, certificate in (
            ("vault", self._vault, self._certificate),
            ("identity", self._identity, None),
        ):
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", serve)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            self._runners.append(runner)
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=certificate).start()
            self._ports[name] = runner.addresses[0][1]

    async def _leave(self) -> None:
        for runner in self._runners:
            await runner.cleanup()

    async def _identity(self, request: web.Request) -> web.StreamResponse:
        self.asked["identity"] += 1
        if (refused := self._before(request, "identity")) is not None:
            return refused
        if request.headers.get("X-IDENTITY-HEADER") != self._header or request.path != "/msi/token":
            return web.json_response({"statusCode": 401, "message": "the identity header is wrong"}, status=401)
        resource, client = request.query.get("resource", ""), request.query.get("client_id")
        if request.query.get("api-version") != "2019-08-01" or client not in {None, self.client_id} or not resource:
            return web.json_response({"statusCode": 400, "message": "no such identity"}, status=400)
        token, ends = self._issuer.token(resource)
        answer = {
            "access_token": token,
            "expires_on": str(ends),
            "resource": resource,
            "token_type": "Bearer",
            "client_id": self.client_id,
        }
        return await self._after(request, "identity", web.json_response(answer))

    async def _vault(self, request: web.Request) -> web.StreamResponse:
        parts = request.path.strip("/").split("/")
        name = parts[1] if len(parts) > 1 else ""
        where = f"{'set' if request.method == 'PUT' else 'get'}/{name}"
        self.asked[where] += 1
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            self._issuer.ends(token, RESOURCE)
        except PermissionError:
            return _challenge()
        if (refused := self._before(request, where)) is not None:
            return refused
        if parts[0] != "secrets" or "api-version" not in request.query or not _NAME.fullmatch(name):
            return _error(400, "BadParameter")
        if request.method == "PUT":
            answer = self._put(name, await request.json())
        else:
            answer = self._get(name, parts[2] if len(parts) > 2 else "")
        return await self._after(request, where, answer)

    def _put(self, name: str, body: Mapping[str, Any]) -> web.Response:
        if self._writable is not None and name not in self._writable:
            return _error(403, "Forbidden", "ForbiddenByRbac")
        if name in self._deleted:
            return _error(409, "Conflict", "ObjectIsDeletedButRecoverable")
        value = body.get("value")
        if not isinstance(value, str) or len(value.encode()) > _VALUE_BYTES:
            return _error(400, "BadParameter")
        self.set(name, value)
        return self._get(name, "")

    def _get(self, name: str, version: str) -> web.Response:
        found = [one for one in self._secrets.get(name, []) if not version or one.name == version]
        if not found:
            return _error(404, "SecretNotFound")
        if not found[-1].enabled:
            return _error(403, "Forbidden", "SecretDisabled")
        attributes = {"enabled": True, "created": 1, "updated": 1, "recoveryLevel": "Recoverable"}
        address = f"https://{HOST}/secrets/{name}/{found[-1].name}"
        return web.json_response({"value": found[-1].value, "id": address, "attributes": attributes})

    def _before(self, request: web.Request, where: str) -> web.Response | None:
        """What comes of a request that a fault keeps from being done."""
        if self.faults.strikes("throttled", where):
            return _error(429, "Throttled", headers={"Retry-After": "0.02"})
        if self.faults.strikes("unavailable", where):
            return _error(503, "ServiceUnavailable")
        if self.faults.strikes("forbidden", where):
            return _error(403, "Forbidden", "ForbiddenByFirewall")
        if self.faults.strikes("expired", where):
            return _challenge()
        return _cut_off(request) if self.faults.strikes("dropped", where) else None

    async def _after(self, request: web.Request, where: str, answer: web.Response) -> web.Response:
        if self.faults.strikes("slow", where):
            await asyncio.sleep(self._slow_s)
        return _cut_off(request) if self.faults.strikes("unanswered", where) else answer


def _challenge() -> web.Response:
    login = "https://login.microsoftonline.com/00000000-0000-0000-0000-000000000001"
    return _error(
        401, "Unauthorized", headers={"WWW-Authenticate": f'Bearer authorization="{login}", resource="{RESOURCE}"'}
    )


def _error(status: int, code: str, inner: str = "", headers: Mapping[str, str] | None = None) -> web.Response:
    said: dict[str, Any] = {"code": code, "message": "as planned"}
    if inner:
        said["innererror"] = {"code": inner}
    return web.json_response({"error": said}, status=status, headers=headers)


def _cut_off(request: web.Request) -> web.Response:
    """End the connection without a word more."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
