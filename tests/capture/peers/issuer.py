"""A token issuer (RFC 6749) and the API that honours its tokens; strict about what it is asked."""

from __future__ import annotations

import asyncio
import base64
from typing import Any
from urllib.parse import unquote

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

CLIENT, SECRET = "client 1", "s3cr=t/ü"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Issuer:
    """Grants tokens by client credentials, by signed assertion, and for single-use refresh tokens."""

    def __init__(self) -> None:
        self.granted: list[str] = []
        self.valid: set[str] = set()
        self.refresh = "refresh-0"  # the one refresh token that is honoured
        self.rotates = True
        self.lasts: Any = 3600
        self.slow_s = 0.0
        self.answers: list[Response] = []
        self.requests: list[dict[str, str]] = []
        self.calls: list[Request] = []
        self.api_key = ""  # where the API wants one in the query
        self.rows = [{"id": 1, "name": "A"}]
        self.app = Starlette(
            routes=[
                Route("/oauth/token", self._token, methods=["POST"]),
                Route("/api/things", self._things),
                Route("/api/action", self._action, methods=["GET", "POST"]),
                Route("/api/", self._root),
            ]
        )
        self.csrf = ""

    async def _token(self, request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        self.requests.append(form)
        await asyncio.sleep(self.slow_s)
        if self.answers:
            return self.answers.pop(0)
        refused = self._refusal(form, request.headers.get("authorization", ""))
        if refused:
            said = {"error": refused, "error_description": f"bad secret {form.get('client_secret', '')}"}
            return JSONResponse(said, 400)
        token = f"token-{len(self.granted) + 1}"
        self.granted.append(token)
        self.valid.add(token)
        body = {"access_token": token, "token_type": "Bearer"}
        if self.lasts is not None:
            body["expires_in"] = self.lasts
        if form["grant_type"] == "refresh_token" and self.rotates:
            self.refresh = f"refresh-{len(self.granted)}"
            body["refresh_token"] = self.refresh
        return JSONResponse(body)

    def _refusal(self, form: dict[str, str], authorization: str) -> str:
        match form["grant_type"]:
            case "client_credentials":
                given = form.get("client_id", ""), form.get("client_secret", "")
                if authorization:
                    pair = base64.b64decode(authorization.removeprefix("Basic ")).decode().split(":")
                    given = unquote(pair[0]), unquote(pair[1])
                return "" if given == (CLIENT, SECRET) else "invalid_client"
            case "refresh_token":
                return "" if form["refresh_token"] == self.refresh else "invalid_grant"
            case "urn:ietf:params:oauth:grant-type:jwt-bearer":
                try:
                    claims = jwt.decode(
                        form["assertion"], KEY.public_key(), algorithms=["RS256"], audience="https://login.example"
                    )
                except jwt.PyJWTError:
                    return "invalid_grant"
                good = (claims["iss"], claims["sub"]) == (CLIENT, "reader@example.com")
                return "" if good and 0 < claims["exp"] - claims["iat"] <= 180 else "invalid_grant"
        return "unsupported_grant_type"

    async def _things(self, request: Request) -> Response:
        self.calls.append(request)
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.api_key:
            if request.query_params.get("key") != self.api_key:
                return JSONResponse({"error": "no key"}, 401)
            more = "page" not in request.query_params  # the link echoes the key, as careless APIs do
            following = str(request.url.include_query_params(page="2")) if more else None
            return JSONResponse({"items": self.rows, "next": following})
        if bearer not in self.valid:
            return JSONResponse({"error": "expired"}, 401)
        return JSONResponse({"items": self.rows, "next": None})

    async def _root(self, request: Request) -> Response:
        if request.headers.get("x-csrf-token", "").lower() != "fetch":
            return JSONResponse({})
        self.csrf = f"csrf-{len(self.calls)}"
        answer = JSONResponse({}, headers={"x-csrf-token": self.csrf})
        answer.set_cookie("SAP_SESSION", self.csrf)
        return answer

    async def _action(self, request: Request) -> Response:
        self.calls.append(request)
        token, session = request.headers.get("x-csrf-token", ""), request.cookies.get("SAP_SESSION", "")
        if not self.csrf or (token, session) != (self.csrf, self.csrf):
            return JSONResponse({"error": "CSRF token validation failed"}, 403, {"x-csrf-token": "Required"})
        return JSONResponse({"done": (await request.body()).decode()})
