"""Who we are to a source, as people write it: kinds of authentication, naming secrets and never holding one."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from flockiq.shared.config.durations import UNITS, Duration
from flockiq.shared.config.names import Model
from flockiq.shared.config.secrets import SecretName


class NoAuth(Model):
    """The source asks for no credentials."""

    kind: Annotated[Literal["none"], Field(description="No credentials are sent.")] = "none"


class BearerAuth(Model):
    """A fixed token in the Authorization header."""

    kind: Annotated[Literal["bearer"], Field(description="`Authorization: Bearer <token>`.")]
    token: Annotated[SecretName, Field(description="The token.")]


class BasicAuth(Model):
    """A user name and password."""

    kind: Annotated[Literal["basic"], Field(description="HTTP basic authentication.")]
    username: Annotated[str, Field(min_length=1, description="The technical user's name.")]
    password: Annotated[SecretName, Field(description="The technical user's password.")]


class ApiKeyAuth(Model):
    """A key in a header or a query parameter of the source's choosing."""

    kind: Annotated[Literal["api_key"], Field(description="A key in a header or a query parameter.")]
    header: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9-]*$", description="The header that carries the key. Better than query.")
    ] = ""
    query: Annotated[str, Field(description="The query parameter that carries the key, if no header may.")] = ""
    key: Annotated[SecretName, Field(description="The key.")]

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if bool(self.header) == bool(self.query):
            raise ValueError("carries the key in one place | header: NAME or query: NAME")
        return self


class TokenAuth(Model):
    """What kinds of authentication that ask for an access token have in common (OAuth 2, RFC 6749)."""

    token_url: Annotated[str, Field(description="Where tokens are issued. May use `{NAME}`.")]
    scope: Annotated[str, Field(description="What the token is to admit, if the issuer wants to be told.")] = ""
    parameters: Annotated[
        dict[str, str], Field(default_factory=dict, description="Further parameters of the token request, no secrets.")
    ]


class ClientCredentialsAuth(TokenAuth):
    """OAuth 2 client credentials: RFC 6749, section 4.4."""

    kind: Annotated[Literal["client_credentials"], Field(description="OAuth 2 client credentials.")]
    client_id: Annotated[str, Field(min_length=1, description="The client's id.")]
    client_secret: Annotated[SecretName, Field(description="The client's secret.")]
    send: Annotated[
        Literal["body", "basic"], Field(description="Whether id and secret travel in the body or as HTTP basic.")
    ] = "body"


class JwtBearerAuth(TokenAuth):
    """A signed assertion in exchange for a token: RFC 7523, RS256."""

    kind: Annotated[Literal["jwt_bearer"], Field(description="OAuth 2 JWT bearer, signed with RS256.")]
    issuer: Annotated[str, Field(min_length=1, description="Claim iss: the client's id.")]
    subject: Annotated[str, Field(min_length=1, description="Claim sub: the user on whose behalf we read.")]
    audience: Annotated[str, Field(min_length=1, description="Claim aud: the issuer's address.")]
    private_key: Annotated[SecretName, Field(description="The RSA private key in PEM.")]
    lifetime: Annotated[Duration, Field(description="How long the assertion is valid.")] = 180 * UNITS["s"]


class RefreshTokenAuth(TokenAuth):
    """A refresh token in exchange for an access token; a new refresh token replaces the secret first."""

    kind: Annotated[Literal["refresh_token"], Field(description="OAuth 2 refresh token, rotated if the source does.")]
    client_id: Annotated[str, Field(min_length=1, description="The client's id.")]
    client_secret: Annotated[SecretName | None, Field(description="The client's secret, if it has one.")] = None
    refresh_token: Annotated[SecretName, Field(description="The refresh token; must be a secret that can be written.")]


Auth = Annotated[
    NoAuth | BearerAuth | BasicAuth | ApiKeyAuth | ClientCredentialsAuth | JwtBearerAuth | RefreshTokenAuth,
    Field(discriminator="kind"),
]
