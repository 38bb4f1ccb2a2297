"""Who gives an app its tokens: JSON Web Tokens as Microsoft Entra ID's, signed by a key that peers check them with.

Models the claims that a service looks at: ``aud`` (the resource, without what follows its host), ``appid`` and ``exp``
(RFC 7519). Does not model: key rotation, tenants, roles, scopes.
"""

from __future__ import annotations

import time
import uuid
from typing import Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

_ALGORITHM: Final = "ES256"


class Issuer:
    """Gives tokens to one identity, ``client_id``, that last for ``lasts_s`` seconds."""

    def __init__(self, lasts_s: float = 86_400.0) -> None:
        self.client_id = str(uuid.uuid4())
        self.lasts_s = lasts_s
        self._key = ec.generate_private_key(ec.SECP256R1())

    def token(self, resource: str) -> tuple[str, int]:
        """A token for a resource, and when it ends (seconds since 1970)."""
        ends = int(time.time() + self.lasts_s)
        claims = {"aud": resource.rstrip("/"), "appid": self.client_id, "exp": ends, "jti": uuid.uuid4().hex}
        return jwt.encode(claims, self._key, _ALGORITHM), ends

    def ends(self, token: str, resource: str) -> float:
        """When a token for ``resource`` ends; PermissionError if it is none, is for another, or has ended."""
        try:
            found = jwt.decode(token, self._key.public_key(), [_ALGORITHM], audience=resource)
        except jwt.InvalidTokenError as error:
            raise PermissionError(f"InvalidToken: {error}") from error
        if found["appid"] != self.client_id:
            raise PermissionError("InvalidToken: the token is of another identity.")
        return float(found["exp"])
