"""Azure Storage on 127.0.0.1: Azurite, Microsoft's own emulator, behind a proxy that makes things go wrong.

Models, for ``azure-storage-blob`` and ``azure-storage-queue`` unmodified, whatever Azurite does: block and append
blobs, conditional headers, ``appendpos``, listing, queues, signatures by the account's key
(https://learn.microsoft.com/rest/api/storageservices/, https://github.com/Azure/Azurite). The proxy passes every
request on as it came, and counts it. Each peer has containers of its own; Azurite is one for all of a process's.

Does not model: what Azurite does not (hierarchical namespaces, replication, the rights of an identity), nor what it
leaves out: an append blob takes 50,000 blocks of 100 MiB in the service and here any number; lists are
in the order of UTF-16 here, of UTF-8 there. Throttling is a fault here, never load.

Faults (``faults``; at ``CONTAINER/OPERATION``, where the operation is put, get, head, list, delete, make or append;
containers are called by what follows the prefix: ``state/append``, ``blobs/put``):

============ =====================================================================================================
throttled    503 ServerBusy, with Retry-After
unavailable  500, and nothing is done
timed_out    500 OperationTimedOut, though what was asked is done
dropped      the connection is cut off, and nothing is done
unanswered   what was asked is done, and the connection cut off before the answer
slow         the answer comes ``slow_s`` later
cut          half of the answer comes, then the connection is cut off
torn         of a block that is appended the first half is written, then the connection is cut off: the service
             promises never to do so
expired      401: the token has run out
============ =====================================================================================================
"""

from __future__ import annotations

import asyncio
import datetime as dt
import io
import ssl
import uuid
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import ExitStack, suppress
from typing import Final, Self
from urllib.parse import unquote

import aiohttp
from aiohttp import web
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import (
    AccountSasPermissions,
    BlobServiceClient,
    ContainerClient,
    ResourceTypes,
    generate_account_sas,
)
from azure.storage.blob.aio import BlobServiceClient as AsyncBlobServiceClient
from multidict import CIMultiDict
from yarl import URL

from tests.peers.faults import Faults
from tests.peers.loop import Loop
from tests.peers.storage.azurite import ACCOUNT, KEY, azurite

KINDS: Final = (
    "throttled", "unavailable", "timed_out", "dropped", "unanswered", "slow", "cut", "torn", "expired",
)  # fmt: skip
CONTAINERS: Final = ("state", "blobs")
_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host"})
_CHALLENGE: Final = "Bearer authorization_uri=https://login.microsoftonline.com/t resource_id=https://storage.azure.com"
_REFUSALS: Final[Mapping[str, tuple[int, str, Mapping[str, str]]]] = {
    "throttled": (503, "ServerBusy", {"Retry-After": "0.02"}),
    "unavailable": (500, "InternalError", {}),
    "expired": (401, "InvalidAuthenticationInfo", {"WWW-Authenticate": _CHALLENGE}),
}
_BODY_BYTES: Final = 1 << 30


class Storage:
    """An account with the app's containers, empty; serves from entering to leaving. Missing without Azurite.

    With ``certificate`` it serves TLS as ``host``, and lets in who brings one of ``tokens``.
    """

    def __init__(
        self,
        *,
        slow_s: float = 0.5,
        tokens: Collection[str] = (),
        certificate: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.faults = Faults(KINDS)
        self.asked: Counter[str] = Counter()
        """How many requests came, by ``CONTAINER/OPERATION``."""
        self.prefix = f"t{uuid.uuid4().hex[:12]}"
        self._slow_s = slow_s
        self._tokens, self._certificate, self._host = tokens, certificate, host

    def __enter__(self) -> Self:
        self._at = azurite()
        with ExitStack() as stack:
            self._loop = stack.enter_context(Loop())
            self._loop.run(self._listen())
            stack.callback(lambda: self._loop.run(self._leave()))
            self._direct = stack.enter_context(BlobServiceClient.from_connection_string(self._string(self._at.blob)))
            for name in CONTAINERS:
                self._direct.create_container(f"{self.prefix}-{name}")
                stack.callback(self._direct.delete_container, f"{self.prefix}-{name}")
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._open.close()

    @property
    def environment(self) -> Mapping[str, str]:
        """The app settings that name it."""
        if self._certificate is not None:
            return {"Storage__blobServiceUri": f"https://{self._host}:{self._port}", "Storage__containers": self.prefix}
        return {"Storage": self._string(self._port), "Storage__containers": self.prefix}

    def container(self, name: str) -> ContainerClient:
        """One of its containers, reached past the proxy."""
        client: ContainerClient = self._direct.get_container_client(f"{self.prefix}-{name}")
        return client

    def damage(self, name: str, blob: str, at: int, *, cut: int | None = None) -> None:
        """Change the byte at ``at`` of an append blob, and leave out what lies from ``cut`` on."""
        client = self.container(name).get_blob_client(blob)
        body = bytearray(client.download_blob().readall())
        body[at] ^= 0x40
        self.replace(name, blob, bytes(body[:cut]))

    def replace(self, name: str, blob: str, body: bytes) -> None:
        """Make an append blob hold ``body``, in one block."""
        client = self.container(name).get_blob_client(blob)
        client.create_append_blob()
        client.append_block(body)

    def _string(self, port: int) -> str:
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
            f"BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
        )

    async def _listen(self) -> None:
        self._bearers = [f"Bearer {token}" for token in self._tokens]
        self._signature = generate_account_sas(
            ACCOUNT,
            KEY,
            ResourceTypes(service=True, container=True, object=True),
            AccountSasPermissions(read=True, write=True, delete=True, list=True, add=True, create=True),
            dt.datetime.now(dt.UTC) + dt.timedelta(days=1),
        )
        self._session = aiohttp.ClientSession(auto_decompress=False)
        app = web.Application(client_max_size=_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, auto_decompress=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._certificate).start()
        self._port = self._runner.addresses[0][1]

    async def _leave(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        container, operation, _ = self._place(request)
        where = f"{container}/{operation}"
        self.asked[where] += 1
        refused = await self._before(request, where, body)
        if refused is not None:
            return refused
        status, headers, answer = await self._pass_on(request, body)
        if self.faults.strikes("timed_out", where):
            return _refusal(500, "OperationTimedOut")
        if self.faults.strikes("unanswered", where):
            return _cut_off(request)
        if self.faults.strikes("slow", where):
            await asyncio.sleep(self._slow_s)
        response = web.StreamResponse(status=status, headers=headers)
        await response.prepare(request)
        if len(answer) > 1 and self.faults.strikes("cut", where):
            await response.write(answer[: len(answer) // 2])
            return _cut_off(request)
        if answer and request.method != "HEAD":
            await response.write(answer)
        await response.write_eof()
        return response

    async def _before(self, request: web.Request, where: str, body: bytes) -> web.Response | None:
        """What comes of a request that a fault, or who it is from, keeps from Azurite."""
        if self._certificate is not None and request.headers.get("Authorization") not in self._bearers:
            return _refusal(*_REFUSALS["expired"])
        for kind, refused in _REFUSALS.items():
            if self.faults.strikes(kind, where):
                return _refusal(*refused)
        if self.faults.strikes("dropped", where):
            return _cut_off(request)
        if where.endswith("/append") and self.faults.strikes("torn", where):
            await self._tear(request, body)
            return _cut_off(request)
        return None

    def _place(self, request: web.Request) -> tuple[str, str, str]:
        """The container, the operation and the blob's name of a request."""
        rest = request.raw_path.partition("?")[0].removeprefix("/").removeprefix(f"{ACCOUNT}/")
        container, _, blob = (unquote(part) for part in rest.partition("/"))
        name = container.removeprefix(f"{self.prefix}-")
        query, kind = request.query.get("comp", ""), request.headers.get("x-ms-blob-type", "")
        if query == "appendblock":
            return name, "append", blob
        if query == "list":
            return name, "list", blob
        if request.method == "PUT":
            return name, "make" if kind == "AppendBlob" else "put", blob
        return name, request.method.lower(), blob

    async def _pass_on(self, request: web.Request, body: bytes) -> tuple[int, CIMultiDict[str], bytes]:
        path = request.raw_path
        if self._certificate is not None:  # who is let in asks in the account's name
            path = f"/{ACCOUNT}{path}{'&' if request.query else '?'}{self._signature}"
        url = URL(f"http://127.0.0.1:{self._at.blob}{path}", encoded=True)
        headers = CIMultiDict((name, value) for name, value in request.headers.items() if name.lower() not in _HOP)
        if self._certificate is not None:
            del headers["Authorization"]
        skipped = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
        async with self._session.request(
            request.method,
            url,
            data=io.BytesIO(body) if body else None,
            headers=headers,
            skip_auto_headers=skipped,
            allow_redirects=False,
        ) as answer:
            said = CIMultiDict((name, value) for name, value in answer.headers.items() if name.lower() not in _HOP)
            return answer.status, said, await answer.read()

    async def _tear(self, request: web.Request, body: bytes) -> None:
        """Write half of a block, on the condition it came with."""
        container, _, blob = self._place(request)
        condition = request.headers.get("x-ms-blob-condition-appendpos")
        async with AsyncBlobServiceClient.from_connection_string(self._string(self._at.blob)) as service:
            client = service.get_blob_client(f"{self.prefix}-{container}", blob)
            with suppress(HttpResponseError):  # another wrote first: only the answer is torn
                await client.append_block(
                    body[: len(body) // 2], appendpos_condition=None if condition is None else int(condition)
                )


def _refusal(status: int, code: str, headers: Mapping[str, str] | None = None) -> web.Response:
    text = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>as planned</Message></Error>'
    given = {"x-ms-error-code": code, **(headers or {})}
    return web.Response(status=status, text=text, content_type="application/xml", headers=given)


def _cut_off(request: web.Request) -> web.Response:
    """End the connection without a word more."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
