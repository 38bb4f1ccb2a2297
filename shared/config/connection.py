"""How a source is reached and within which bounds it is read, as people write it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from flockiq.shared.config.durations import UNITS, Duration
from flockiq.shared.config.names import Model
from flockiq.shared.config.secrets import Sent
from flockiq.shared.config.sizes import Size
from flockiq.shared.errors import ConfigError, Problem

SECOND = UNITS["s"]
_SETTING = re.compile(r"\{([A-Z][A-Z0-9_]*)\}")


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
    headers: Annotated[Sent, Field(default_factory=dict, description="Headers to send along, never a secret.")]
    query: Annotated[
        Sent, Field(default_factory=dict, description="Query parameters of first requests, e.g. sap-client.")
    ]
    csrf: Annotated[
        bool, Field(description="Fetch SAP's x-csrf-token before anything but reading; SAP refuses it otherwise.")
    ] = False
    connect_timeout: Annotated[Duration, Field(description="Longest wait for a connection.")] = 10 * SECOND
    read_timeout: Annotated[Duration, Field(description="Longest silence between bytes of an answer.")] = 30 * SECOND
    request_timeout: Annotated[Duration, Field(description="Longest time for one request and its whole answer.")] = (
        120 * SECOND
    )

    @model_validator(mode="after")
    def _addresses(self) -> Self:
        for url in (self.base_url, *self.allowed_origins):
            if wrong := not_callable(url, plain=self.allow_private):
                raise ValueError(wrong)
        if "?" in self.base_url or "#" in self.base_url:
            raise ValueError("holds a base_url with a query, which paths can't follow | connection.query is sent along")
        return self


class Rate(Model):
    """Requests in a length of time, by all instances together."""

    requests: Annotated[int, Field(ge=1, le=1_000_000, description="Most requests …")]
    per: Annotated[Duration, Field(ge=SECOND // 100, description="… in this time, evenly spread.")] = SECOND


class Quota(Model):
    """A source that says in its answers how much of an allowance is left."""

    header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$", description="The header that tells it.")]
    tells: Annotated[
        Literal["remaining", "used_of_limit"],
        Field(description="What its number is: what remains, or used/limit as in `api-usage=18/15000`."),
    ] = "remaining"
    limit_header: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9-]*$", description="The header that tells the whole allowance.")
    ] = ""
    limit: Annotated[int, Field(ge=0, description="The whole allowance, where no header tells it.")] = 0
    floor: Annotated[
        float,
        Field(gt=0, lt=1, description="The share of the allowance that is left to others; reading stops at it."),
    ] = 0.1
    pause: Annotated[Duration, Field(description="How long reading stops, where the source does not say.")] = (
        900 * SECOND
    )
    reset_header: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9-]*$", description="The header that tells when it is renewed: seconds, or a time."),
    ] = ""


class Breaking(Model):
    """When a source that fails again and again is left alone."""

    failures: Annotated[
        int, Field(ge=1, le=1_000, description="Requests that fail in a row, each tried `attempts` times.")
    ] = 5
    pause: Annotated[
        Duration,
        Field(ge=SECOND, description="How long it is left alone then; twice as long each time, up to `back_off`."),
    ] = 30 * SECOND


class Limits(Model):
    """The bounds within which a source is read."""

    concurrency: Annotated[
        int, Field(ge=1, le=52, description="Requests to this source at a time, by all instances together.")
    ] = 4
    rate: Annotated[Rate | None, Field(description="Most requests in a time, by all instances together.")] = None
    quota: Annotated[Quota | None, Field(description="An allowance that the source tells of in its answers.")] = None
    exhausted: Annotated[
        tuple[str, ...],
        Field(description="Words in a refusal (4xx) that mean an allowance is used up, e.g. REQUEST_LIMIT_EXCEEDED."),
    ] = ()
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
    back_off: Annotated[
        Duration, Field(description="Longest pause of a stream, and of a source, that keeps failing.")
    ] = 300 * SECOND
    circuit: Annotated[Breaking, Field(description="When a source that keeps failing is left alone.")] = Breaking()
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
    unpacked_bytes: Annotated[Size, Field(description="Most that a compressed file may hold, unpacked.")] = (
        2_000_000_000
    )

    @field_validator("exhausted")
    @classmethod
    def _words(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        if any(not word.strip() for word in words):
            raise ValueError("holds an empty word | a word every refusal holds would stop reading at all of them")
        return words


def not_callable(url: str, *, plain: bool) -> str:
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
