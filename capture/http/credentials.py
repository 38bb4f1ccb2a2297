"""Who we are to a source: the headers that say so, made from secrets at each request."""

from __future__ import annotations

import base64

from flockiq.shared.config.auth import ApiKeyAuth, Auth, BasicAuth, BearerAuth, NoAuth
from flockiq.shared.errors import ConfigError, Problem
from flockiq.shared.ports import Secrets


async def headers(auth: Auth, secrets: Secrets, *, fresh: bool = False) -> dict[str, str]:
    """The headers that authenticate. NotFound if a secret is not set; ``fresh`` skips Secrets' cache."""
    match auth:
        case NoAuth():
            return {}
        case BearerAuth():
            return {"authorization": f"Bearer {await _secret(secrets, auth.token.secret, fresh=fresh)}"}
        case BasicAuth():
            password = await _secret(secrets, auth.password.secret, fresh=fresh)
            pair = base64.b64encode(f"{auth.username}:{password}".encode()).decode()
            return {"authorization": f"Basic {pair}"}
        case ApiKeyAuth():
            return {auth.header.lower(): await _secret(secrets, auth.key.secret, fresh=fresh)}


async def _secret(secrets: Secrets, name: str, *, fresh: bool) -> str:
    value = (await secrets.get(name, fresh=fresh)).strip()
    if any(ord(character) < ord(" ") for character in value):
        raise ConfigError([Problem(f"secret {name}", 0, "", "holds control characters", "one line of text")])
    return value
