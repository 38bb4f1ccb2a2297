"""What people write in config/sources/*.yaml: a customer's system, how to reach it, what to read of it.

These models are the format: descriptions here become the JSON Schema that editors complete from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from flockiq.shared.config.durations import UNITS, Duration
from flockiq.shared.config.names import FieldName, Model, Name
from flockiq.shared.config.sizes import Size
from flockiq.shared.errors import ConfigError, Problem

Scalar = str | int | float | bool | None

POLLED = ("dataverse", "odata_v2", "odata_v4")
SECOND = UNITS["s"]


class SecretName(Model):
    """Where a secret is found; never the secret."""

    secret: Annotated[str, Field(min_length=1, description="Name of the secret in Key Vault (or the environment).")]

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: object) -> object:
        if not isinstance(given, Mapping | SecretName):  # what stands there may be the secret: it is not repeated
            raise ValueError("must name a secret, not hold one | {secret: NAME}; its value is set outside the config")  # noqa: TRY004 - pydantic gathers ValueErrors
        return given


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
    """A key in a header of the source's choosing."""

    kind: Annotated[Literal["api_key"], Field(description="A key in a header.")]
    header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$", description="The header that carries the key.")]
    key: Annotated[SecretName, Field(description="The key.")]


Auth = Annotated[NoAuth | BearerAuth | BasicAuth | ApiKeyAuth, Field(discriminator="kind")]


class Connection(Model):
    """How a source is reached over HTTP, and what else may be called."""

    base_url: Annotated[
        str, Field(description="Where every path starts. `{NAME}` is replaced by the setting of that name.")
    ]
    allowed_origins: Annotated[
        tuple[str, ...],
        Field(
            description="Further origins (https://host[:port]) that next and delta links may name. May use `{NAME}`."
        ),
    ] = ()
    allow_private: Annotated[
        bool,
        Field(
            description="Allow plain http and private, link-local and loopback addresses: systems on your own network."
        ),
    ] = False
    headers: Annotated[
        dict[str, str], Field(default_factory=dict, description="Headers to send along, never a secret.")
    ]
    query: Annotated[
        dict[str, str], Field(default_factory=dict, description="Query parameters of first requests, e.g. sap-client.")
    ]
    connect_timeout: Annotated[Duration, Field(description="Longest wait for a connection.")] = 10 * SECOND
    read_timeout: Annotated[Duration, Field(description="Longest silence between bytes of an answer.")] = 30 * SECOND
    request_timeout: Annotated[Duration, Field(description="Longest time for one request and its whole answer.")] = (
        120 * SECOND
    )

    @model_validator(mode="after")
    def _addresses(self) -> Self:
        for url in (self.base_url, *self.allowed_origins):
            if wrong := _not_callable(url, plain=self.allow_private):
                raise ValueError(wrong)
        return self


class Limits(Model):
    """The bounds within which a source is read."""

    concurrency: Annotated[int, Field(ge=1, le=52, description="Requests to this source at a time.")] = 4
    page_bytes: Annotated[Size, Field(description="Largest answer accepted, decompressed.")] = 20_000_000
    nesting: Annotated[int, Field(ge=1, le=200, description="Deepest nesting of JSON accepted within a record.")] = 32
    pages: Annotated[int, Field(ge=1, description="Most pages of one read, from first page to last.")] = 100_000
    slice_time: Annotated[
        Duration, Field(description="How long one slice reads before it makes room; it goes on where it stopped.")
    ] = 60 * SECOND
    attempts: Annotated[int, Field(ge=1, le=10, description="Tries of one request before the run gives up.")] = 3
    longest_wait: Annotated[
        Duration,
        Field(description="Longest pause within a run between tries; a source that asks for more is left till then."),
    ] = 5 * SECOND
    back_off: Annotated[Duration, Field(description="Longest pause of a stream that keeps failing.")] = 300 * SECOND
    missing_share: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="If a full read lacks a greater share of the known records than this, it fails "
            "instead of deleting them (from 20 known records on).",
        ),
    ] = 0.5
    body_bytes: Annotated[Size, Field(description="Largest webhook delivery accepted.")] = 1_000_000
    file_bytes: Annotated[Size, Field(description="Largest file accepted.")] = 100_000_000


class HubSpotV3(Model):
    """HubSpot's signature: HMAC-SHA256 over method, URI, body and timestamp."""

    kind: Annotated[Literal["hubspot_v3"], Field(description="HubSpot's X-HubSpot-Signature-v3.")]
    secret: Annotated[SecretName, Field(description="The app's client secret.")]


class Webhook(Model):
    """How deliveries to /api/webhooks/{source} are verified and told apart."""

    signature: Annotated[HubSpotV3, Field(description="How a delivery proves where it comes from.")]
    delivery_id: Annotated[
        str, Field(description="The field that identifies an event, so that one told twice counts once.")
    ] = ""
    events: Annotated[int, Field(ge=1, description="Most events in one delivery.")] = 1_000


class Files(Model):
    """Where a source's files land."""

    path: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9._ -]+)*$",
            description="Container, or container/folder, whose files are this source's.",
        ),
    ]


class Csv(Model):
    """Comma-separated values with a header row."""

    kind: Annotated[Literal["csv"], Field(description="Separated values with a header row.")]
    delimiter: Annotated[str, Field(min_length=1, max_length=1, description="What separates values.")] = ","
    quote: Annotated[str, Field(min_length=1, max_length=1, description="What encloses values.")] = '"'
    encoding: Annotated[
        Literal["utf-8", "utf-16", "windows-1252", "iso-8859-1"],
        Field(description="The text's encoding; a byte order mark is recognised."),
    ] = "utf-8"
    empty_is_null: Annotated[bool, Field(description="An empty value means that there is none.")] = True


class Delta(Model):
    """Follow the source's own delta link; a full read comes first, and again when the link expires."""

    kind: Annotated[Literal["delta"], Field(description="Change tracking by delta link.")]


class Full(Model):
    """Read the whole stream every time; what is missing since the last time was deleted."""

    kind: Annotated[Literal["full"], Field(description="The whole stream, every time.")] = "full"


class PropertyEvents(Model):
    """A webhook whose events each tell one field's new value."""

    name: Annotated[str, Field(min_length=1, description="The field that holds the changed field's name.")]
    value: Annotated[str, Field(min_length=1, description="The field that holds its new value.")]


class DeletedWhen(Model):
    """A record that says of itself that it was deleted."""

    field: Annotated[str, Field(min_length=1, description="The field to look at.")]
    values: Annotated[
        tuple[str, ...],
        Field(min_length=1, description="Its values that mean deleted; * stands for anything."),
    ]


class FieldFrom(Model):
    """An entity's field made from a record's value."""

    from_: Annotated[
        str, Field(alias="from", min_length=1, description="The record's field; a.b reaches into objects.")
    ]
    values: Annotated[
        dict[str, Scalar], Field(default_factory=dict, description="The source's codes, and what each means.")
    ]
    default: Annotated[Scalar, Field(description="What stands where the source has nothing.")] = None
    format: Annotated[str, Field(description="How the source writes it, e.g. a date as %d.%m.%Y.")] = ""


class Stream(Model):
    """One object of a source: how it is read, what identifies a record, which entity it describes."""

    path: Annotated[str, Field(description="Path below base_url: an entity set.")] = ""
    primary_key: Annotated[tuple[str, ...], Field(min_length=1, description="The fields that identify a record.")]
    modified: Annotated[str, Field(description="The field that says when a record changed in the source.")] = ""
    incremental: Annotated[
        Delta | Full, Field(discriminator="kind", description="How changes since the last read are found.")
    ] = Full()
    select: Annotated[tuple[str, ...], Field(description="The fields to ask for; all if none are named.")] = ()
    query: Annotated[
        dict[str, str], Field(default_factory=dict, description="Further query parameters of the first request.")
    ]
    page_size: Annotated[int, Field(ge=1, le=50_000, description="Records a page, if the source listens.")] = 1_000
    every: Annotated[Duration | None, Field(description="How often to read, if not as the source says.")] = None
    pattern: Annotated[str, Field(description="Names of this stream's files; * and ? stand for anything.")] = ""
    format: Annotated[Csv | None, Field(description="How this stream's files are written.")] = None
    match: Annotated[
        dict[str, str],
        Field(default_factory=dict, description="Webhook events of this stream: field → value; * stands for anything."),
    ]
    property_events: Annotated[PropertyEvents | None, Field(description="Each event tells one field's value.")] = None
    deleted_when: Annotated[DeletedWhen | None, Field(description="How a record says that it was deleted.")] = None
    entity: Annotated[Name, Field(description="The entity type that the records describe.")]
    fields: Annotated[
        dict[FieldName, str | FieldFrom],
        Field(min_length=1, description="Entity field → the record's field, or where it comes from and how."),
    ]


class SourceFile(Model):
    """One customer's system: a file of config/sources."""

    source: Annotated[Name, Field(description="The source's name, used everywhere.")]
    connector: Annotated[
        Literal["dataverse", "odata_v2", "odata_v4", "webhook", "files"], Field(description="What it speaks.")
    ]
    enabled: Annotated[bool, Field(description="Whether it is read.")] = True
    connection: Annotated[Connection | None, Field(description="How it is reached.")] = None
    auth: Annotated[Auth, Field(description="Who we are to it.")] = NoAuth()
    every: Annotated[Duration, Field(description="How often its streams are read.")] = 60 * SECOND
    limits: Annotated[Limits, Field(description="The bounds within which it is read.")] = Limits()
    webhook: Annotated[Webhook | None, Field(description="How its deliveries are verified.")] = None
    files: Annotated[Files | None, Field(description="Where its files land.")] = None
    streams: Annotated[dict[Name, Stream], Field(min_length=1, description="What is read of it.")]

    @property
    def polled(self) -> bool:
        """Whether it is read on a schedule (rather than telling us)."""
        return self.connector in POLLED

    def interval(self, stream: str) -> int:
        """Microseconds between two reads of ``stream``."""
        return self.streams[stream].every or self.every

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needs = "connection" if self.polled else self.connector
        for part in ("connection", "webhook", "files"):
            given = getattr(self, part) is not None
            if part == needs and not given:
                raise ValueError(f"connector {self.connector} lacks {part} | add {part}: to the file")
            if part != needs and given:
                raise ValueError(f"connector {self.connector} has no use for {part} | remove it")
        for name, stream in self.streams.items():
            if self.polled and not stream.path:
                raise ValueError(f"streams.{name} lacks path | the entity set to read")
            if self.connector == "files" and not (stream.pattern and stream.format):
                raise ValueError(f"streams.{name} lacks pattern or format | which files, and how they are written")
        return self


Source = SourceFile

_SETTING = re.compile(r"\{([A-Z][A-Z0-9_]*)\}")


def _not_callable(url: str, *, plain: bool) -> str:
    """Why a source can't have this address, "" if it can; one that begins with a setting is judged when it is read."""
    if _SETTING.match(url):
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "holds an address that is none | https://host[:port]/path"
    if parts.username is not None:
        return "holds an address with credentials in it | name them under auth:"
    if parts.scheme not in ("https", "http") or not parts.netloc:
        return f"{url[:60]!r} is no address of a service | https://host[:port]/path"
    if parts.scheme == "http" and not plain:
        return f"{url[:60]!r} is not https | allow_private: true admits http on your own network"
    return ""


def with_settings(text: str, environment: Mapping[str, str], *, file: str, field: str) -> str:
    """``text`` with every ``{NAME}`` replaced; ConfigError if there is no such setting."""

    def setting(found: re.Match[str]) -> str:
        value = environment.get(found[1], "")
        if not value:
            raise ConfigError(
                [Problem(file, 0, field, f"there is no setting {found[1]}", f"set {found[1]}, or write the address")]
            )
        return value

    return _SETTING.sub(setting, text)


def matches(pattern: str, name: str) -> bool:
    """Whether a file name or value fits a pattern, case and all, on every machine alike."""
    return fnmatchcase(name, pattern)
