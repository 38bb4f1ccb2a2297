"""What people write in config/sources/*.yaml: a customer's system, how to reach it, what to read of it.

These models are the format: descriptions here become the JSON Schema that editors complete from.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from flockiq.shared.config.auth import Auth, NoAuth
from flockiq.shared.config.backfill import Backfill, unbounded
from flockiq.shared.config.connection import SECOND, Connection, Limits
from flockiq.shared.config.connectors import completed
from flockiq.shared.config.describe import Describe
from flockiq.shared.config.durations import Duration
from flockiq.shared.config.files import FileFormat, Files
from flockiq.shared.config.jobs import Job
from flockiq.shared.config.names import FieldName, Model, Name, Zone
from flockiq.shared.config.reading import Columns, Full, Incremental, OnePage, Paginate, Where
from flockiq.shared.config.secrets import Sent
from flockiq.shared.config.webhooks import Told, Webhook

SOONEST = SECOND // 10
"""Streams are read no more often."""

Scalar = str | int | float | bool | None

POLLED = ("dataverse", "odata_v2", "odata_v4", "rest", "salesforce", "salesforce_bulk")
DESCRIBED = ("rest", "salesforce", "salesforce_bulk")  # read as records and paginate say


class DeletedWhen(Model):
    """A record that says of itself that it was deleted."""

    field: Annotated[str, Field(min_length=1, description="The field to look at; a.b reaches into objects.")]
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
    zone: Annotated[
        Zone | None,
        Field(
            description="Dates and timestamps: where the source's clocks stand, e.g. Europe/Berlin, if it says no zone."
        ),
    ] = None


class Stream(Model):
    """One object of a source: how it is read, what identifies a record, which entity it describes."""

    path: Annotated[str, Field(description="Path below base_url: an entity set, an endpoint.")] = ""
    request: Annotated[
        str, Field(description="rest: where to ask, if not at path; {path} stands for it, as it does in query.")
    ] = ""
    headers: Annotated[Sent, Field(default_factory=dict, description="rest: headers of its requests, never a secret.")]
    records: Annotated[
        Where,
        Field(description="rest: where in an answer its records are, e.g. data.items; the whole answer if empty."),
    ] = ""
    paginate: Annotated[Paginate, Field(description="rest: how pages follow one another.")] = OnePage()
    job: Annotated[
        Job | None, Field(description="rest: how the source is made to prepare a read, if it has to be.")
    ] = None
    expired: Annotated[
        tuple[str, ...],
        Field(description="rest: words in a refusal of a page that mean its link or token is too old to go on with."),
    ] = ()
    describe: Annotated[
        Describe | None, Field(description="rest: where the source tells the stream's columns, for `sources discover`.")
    ] = None
    primary_key: Annotated[
        tuple[str, ...], Field(description="The fields that identify a record; a.b reaches into objects.")
    ] = ()
    modified: Annotated[
        str, Field(description="The field that says when a record changed in the source; a.b reaches into objects.")
    ] = ""
    incremental: Annotated[Incremental, Field(description="How changes since the last read are found.")] = Full()
    backfill: Annotated[
        Backfill | None,
        Field(description="How `sources backfill` slices the stream's past; by `modified` if that can be asked for."),
    ] = None
    columns: Annotated[
        Columns | None,
        Field(description="What records may hold, and what to do when that changes; anything, if not said."),
    ] = None
    select: Annotated[tuple[str, ...], Field(description="The fields to ask for; all if none are named.")] = ()
    query: Annotated[Sent, Field(default_factory=dict, description="Further query parameters of the first request.")]
    page_size: Annotated[int, Field(ge=1, le=50_000, description="Records a page, if the source listens.")] = 1_000
    every: Annotated[
        Annotated[Duration, Field(ge=SOONEST)] | None,
        Field(description="How often to read, if not as the source says."),
    ] = None
    pattern: Annotated[str, Field(description="Names of this stream's files; * and ? stand for anything.")] = ""
    format: Annotated[
        FileFormat | None,
        Field(description="How this stream's files are written; rest: its answers, if they are not JSON."),
    ] = None
    webhook: Annotated[Told | None, Field(description="What of a webhook's events is this stream's record.")] = None
    deleted_when: Annotated[DeletedWhen | None, Field(description="How a record says that it was deleted.")] = None
    entity: Annotated[
        Name, Field(description="The entity type that the records describe; `sources discover` suggests one.")
    ]
    fields: Annotated[
        dict[FieldName, str | FieldFrom],
        Field(min_length=1, description="Entity field → the record's field, or where it comes from and how."),
    ]

    @model_validator(mode="after")
    def _keyed(self) -> Self:
        if not self.primary_key:  # no connector gave one either
            raise ValueError("lacks primary_key | the fields that identify a record; `sources discover` finds them")
        return self


class SourceFile(Model):
    """One customer's system: a file of config/sources."""

    source: Annotated[Name, Field(description="The source's name, used everywhere.")]
    connector: Annotated[
        Literal["dataverse", "odata_v2", "odata_v4", "rest", "salesforce", "salesforce_bulk", "webhook", "files"],
        Field(description="What it speaks."),
    ]
    enabled: Annotated[bool, Field(description="Whether it is read.")] = True
    connection: Annotated[Connection | None, Field(description="How it is reached.")] = None
    auth: Annotated[Auth, Field(description="Who we are to it.")] = NoAuth()
    every: Annotated[Duration, Field(ge=SOONEST, description="How often its streams are read.")] = 60 * SECOND
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

    @model_validator(mode="before")
    @classmethod
    def _completed(cls, given: object) -> object:
        return completed(given)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needs = "connection" if self.polled else self.connector
        may = ("connection", "webhook") if self.polled else (needs,)  # what is polled may be told as well
        for part in ("connection", "webhook", "files"):
            given = getattr(self, part) is not None
            if part == needs and not given:
                raise ValueError(f"connector {self.connector} lacks {part} | add {part}: to the file")
            if part not in may and given:
                raise ValueError(f"connector {self.connector} has no use for {part} | remove it")
        for name, stream in self.streams.items():
            if self.polled and not stream.path:
                raise ValueError(f"streams.{name} lacks path | the entity set or endpoint to read")
            if wrong := _misread(self.connector, stream):
                raise ValueError(f"streams.{name} {wrong}")
            if self.connector == "files" and not (stream.pattern and stream.format):
                raise ValueError(f"streams.{name} lacks pattern or format | which files, and how they are written")
            if stream.webhook is not None and self.webhook is None:
                raise ValueError(f"streams.{name} has no use for webhook | add webhook: to the source as well")
            if stream.webhook is not None and stream.webhook.reread is not None and not self.polled:
                raise ValueError(f"streams.{name}.webhook.reread needs a connection | use a connector that reads")
        return self


Source = SourceFile


def _misread(connector: str, stream: Stream) -> str:
    """Why a stream can't be read as it says, "" if it can."""
    described = connector in DESCRIBED
    if not described and (
        stream.records
        or stream.expired
        or stream.request
        or stream.headers
        or stream.job
        or stream.describe
        or stream.paginate.kind != "none"
    ):
        return "has no use for request, headers, records, paginate, expired, describe or job | those are for rest"
    if described and stream.format is not None and _looks_inside(stream):
        return "looks into answers that are not JSON | records and places of paginate are for JSON"
    if connector.startswith("salesforce") and not stream.select:
        return "lacks select | the fields to ask for, SOQL has no *"
    if described and stream.incremental.kind == "delta":
        return "can't follow delta links | incremental: {kind: watermark} or {kind: full}"
    if connector == "dataverse" and stream.incremental.kind == "watermark":
        return "tracks changes itself | incremental: {kind: delta}"
    if stream.incremental.kind == "watermark" and not stream.modified:
        return "lacks modified | the field whose greatest value is the watermark"
    if stream.paginate.kind == "keyset" and not (stream.modified and len(stream.primary_key) == 1):
        return "can't page by keyset | it needs modified and a single primary_key"
    return _misbounded(stream)


def _misbounded(stream: Stream) -> str:
    """Why a stream can't be backfilled as it says, "" if it can."""
    way = stream.backfill
    if way is None:
        return ""
    if stream.paginate.kind == "keyset" and (word := unbounded(way, way.pages)):
        return f"has no {{{word}}} in backfill.pages | pages after a slice's first would go beyond its end"
    if way.kind == "time" and not stream.modified:
        return "lacks modified | the field that backfill: {kind: time} goes by"
    return ""


def _looks_inside(stream: Stream) -> bool:
    """Whether something has to be found in an answer besides its records."""
    pages = stream.paginate
    return bool(stream.records or pages.more or pages.done or pages.total or pages.kind in ("next_url", "cursor"))


def matches(pattern: str, name: str) -> bool:
    """Whether a file name or value fits a pattern, case and all, on every machine alike."""
    return fnmatchcase(name, pattern)
