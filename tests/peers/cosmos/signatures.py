"""Who may ask the peer: whoever signs with its key, or bears one of its tokens.

https://learn.microsoft.com/rest/api/cosmos-db/access-control-on-cosmosdb-resources
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Collection, Sequence
from typing import Final
from urllib.parse import unquote

from aiohttp import web

from tests.peers.cosmos.pages import Answer

KEY: Final = base64.b64encode(b"a key of the peer, of no use anywhere else").decode()


def authorise(request: web.Request, parts: Sequence[str], tokens: Collection[str]) -> None:
    """401 unless the request is signed with the key, or bears a token (both as the REST reference has it)."""
    given = dict(
        pair.split("=", 1) for pair in unquote(request.headers.get("Authorization", "")).split("&") if "=" in pair
    )
    if given.get("type") == "aad":
        if given.get("sig") in tokens:
            return
    elif given.get("type") == "master":
        kind = parts[-1] if len(parts) % 2 else (parts[-2] if parts else "")
        link = "/".join(parts[:-1] if len(parts) % 2 else parts)
        date = request.headers.get("x-ms-date", "")
        text = f"{request.method.lower()}\n{kind.lower()}\n{link}\n{date.lower()}\n\n"
        signed = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
        if hmac.compare_digest(base64.b64encode(signed).decode(), given.get("sig", "")):
            return
    raise Answer(401, "Unauthorized", "The input authorization token can't serve the request")
