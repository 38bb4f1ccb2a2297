"""Documents with etags, and leases with fencing tokens, in Cosmos DB.

Documents are kept by the first part of their key (``cursor`` of ``cursor/t/crm/accounts``), so that listing a
prefix reads one partition. A lease is a document of its own, which expires some days after its lease.
"""

from __future__ import annotations

import asyncio
import base64
import math
import time
import uuid
from collections.abc import Mapping
from typing import Any, Final

from azure.core import MatchConditions
from azure.cosmos.aio import ContainerProxy
from azure.cosmos.exceptions import (
    CosmosAccessConditionFailedError,
    CosmosResourceExistsError,
    CosmosResourceNotFoundError,
)

from flockiq.shared.adapters.azure.cosmos import Cosmos, Note, name_id
from flockiq.shared.errors import Conflict, LeaseLost, StoreUnavailable
from flockiq.shared.ports import Document, Lease

KEEP_S: Final = 7 * 86_400
"""How long a lease's document outlives it: until then its token counts up by one."""

TURNS: Final = 20
"""How often a lease is read again because another wrote it meanwhile."""

WRITES: Final = 8
"""How many of its last writes a document names."""

_LAG_S: Final = 0.02
_FOLLOWED: Final = '"followed"'  # the etag of a write that another has followed: it matches nothing
DOCUMENTS, LEASES = "documents", "leases"
_LIST = "SELECT * FROM c WHERE STARTSWITH(c.key, @prefix) ORDER BY c.key"


class CosmosRegistry:
    """Registry over a database's containers ``documents`` and ``leases``.

    Leases run by the clocks of the machines that take them. One whose clock is ahead takes a lease too early
    by that much; what it then writes is still conditional on etags, and its token is greater.
    """

    def __init__(self, cosmos: Cosmos) -> None:
        self._cosmos = cosmos

    async def get(self, key: str) -> Document | None:
        """See ``Registry.get``."""
        item = await self._cosmos.read("registry.get", DOCUMENTS, name_id(key), _part(key))
        return None if item is None else Document(_value(item), _etag(item))

    async def put(self, key: str, value: bytes, etag: str | None) -> str:
        """See ``Registry.put``; a write whose answer was lost is known again, though another has followed it."""
        match, *writes = etag.split(" ") if etag else [None]
        writes = [*writes, uuid.uuid4().hex[:16]][-WRITES:]
        item = {"id": name_id(key), "part": _part(key), "key": key, **_told(value), "writes": writes}
        if (written := await self._write(DOCUMENTS, "registry.put", item, match)) is not None:
            return " ".join([written, *writes])
        for _ in range(TURNS):
            now = await self._cosmos.read("registry.put", DOCUMENTS, name_id(key), _part(key))
            if now is None or now["_etag"] != match:
                break
            await asyncio.sleep(_LAG_S)  # the service has it otherwise, so this is a replica that lags
        if now is not None and writes[-1] in now["writes"]:
            return _etag(now) if now["writes"][-1] == writes[-1] else " ".join([_FOLLOWED, *writes])
        at = "is gone" if now is None else "has been written by another" if etag else "exists already"
        raise Conflict(f"document {key!r} {at}: read it again")

    async def delete(self, key: str) -> None:
        """See ``Registry.delete``."""

        async def remove(proxy: ContainerProxy, note: Note) -> None:
            try:
                await proxy.delete_item(name_id(key), _part(key), response_hook=note)
            except CosmosResourceNotFoundError as error:
                note(error.headers)

        await self._cosmos.do("registry.delete", DOCUMENTS, remove)

    async def list(self, prefix: str) -> Mapping[str, Document]:
        """See ``Registry.list``; keys come sorted."""
        within = _part(prefix) if "/" in prefix else None
        found = await self._cosmos.ask("registry.list", DOCUMENTS, _LIST, {"prefix": prefix}, within)
        return {str(item["key"]): Document(_value(item), _etag(item)) for item in found}

    async def acquire(self, name: str, owner: str, ttl_s: float) -> Lease | None:
        """See ``Registry.acquire``; an owner that holds it already keeps its token."""
        for _ in range(TURNS):
            held, etag = await self._lease("registry.acquire", name)
            now_us = time.time_ns() // 1000
            token = held.token
            if held.owner != owner:
                if held.owner and now_us < held.expires_us:
                    return None
                # From the clock where there is no document: greater than any token of one that has expired.
                token = now_us if etag is None else held.token + 1
            lease = Lease(name, owner, token, now_us + int(ttl_s * 1e6))
            if await self._hold("registry.acquire", lease, etag, ttl_s):
                return lease
        return None

    async def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """See ``Registry.renew``; one that ran out but was taken by nobody is renewed."""
        for _ in range(TURNS):
            held, etag = await self._lease("registry.renew", lease.name)
            if (held.owner, held.token) != (lease.owner, lease.token):
                raise LeaseLost(
                    f"lease {lease.name!r} (token {lease.token}) of {lease.owner!r} "
                    + (f"has passed to {held.owner!r} (token {held.token})" if held.owner else "was given up")
                    + ": stop, and acquire it again"
                )
            renewed = lease._replace(expires_us=time.time_ns() // 1000 + int(ttl_s * 1e6))
            if await self._hold("registry.renew", renewed, etag, ttl_s):
                return renewed
        raise StoreUnavailable(f"lease {lease.name!r} is written by another again and again: try later")

    async def release(self, lease: Lease) -> None:
        """See ``Registry.release``."""
        for _ in range(TURNS):
            held, etag = await self._lease("registry.release", lease.name)
            if (held.owner, held.token) != (lease.owner, lease.token):
                return
            if await self._hold("registry.release", lease._replace(owner="", expires_us=0), etag, 0.0):
                return

    async def close(self) -> None:
        """See ``Registry.close``."""
        await self._cosmos.close()

    async def _lease(self, operation: str, name: str) -> tuple[Lease, str | None]:
        """A lease as it stands (no owner: it is free) and its etag, None if nobody ever held it."""
        item = await self._cosmos.read(operation, LEASES, name_id(name), name_id(name))
        if item is None:
            return Lease(name, "", 0, 0), None
        return Lease(name, item["owner"], int(item["token"]), int(item["expires_us"])), str(item["_etag"])

    async def _hold(self, operation: str, lease: Lease, etag: str | None, ttl_s: float) -> bool:
        """Write a lease; False if another wrote it since it was read."""
        item = {"id": name_id(lease.name), **lease._asdict(), "ttl": math.ceil(ttl_s) + KEEP_S}
        return await self._write(LEASES, operation, item, etag) is not None

    async def _write(self, container: str, operation: str, item: dict[str, Any], etag: str | None) -> str | None:
        """Make (no etag) or replace a document; its new etag, or None if it is not as it was read."""

        async def write(proxy: ContainerProxy, note: Note) -> str | None:
            try:
                if etag is None:
                    kept = await proxy.create_item(item, response_hook=note)
                else:
                    kept = await proxy.replace_item(
                        item["id"], item, etag=etag, match_condition=MatchConditions.IfNotModified, response_hook=note
                    )
            except (CosmosResourceExistsError, CosmosAccessConditionFailedError, CosmosResourceNotFoundError) as error:
                note(error.headers)
                return None
            return str(kept["_etag"])

        return await self._cosmos.do(operation, container, write)


def _part(key: str) -> str:
    return key.partition("/")[0]


def _etag(item: Mapping[str, Any]) -> str:
    """A document's etag and its last writes: whoever writes next keeps them, so that each knows its own again."""
    return " ".join([str(item["_etag"]), *item["writes"]])


def _told(value: bytes) -> dict[str, str]:
    """A value as JSON can hold it: text as it is (people read it in the portal), other bytes in base64."""
    try:
        return {"text": value.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _value(item: Mapping[str, Any]) -> bytes:
    return base64.b64decode(item["base64"]) if "base64" in item else str(item["text"]).encode()
