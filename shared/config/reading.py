"""How a stream is read, as people write it: how its pages follow one another, how changes are found."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from flockiq.shared.config.durations import UNITS, Duration
from flockiq.shared.config.names import Model

Where = Annotated[str, Field(pattern=r"^(/[^\x00-\x1f]*|[^\x00-\x1f/]*)$")]
"""A place in an answer: ``meta.next``, or the JSON pointer ``/meta/next`` (RFC 6901); "" is the whole answer."""

TimeFormat = Literal["rfc3339", "epoch_s", "epoch_ms", "date", "as_written"]


class Pages(Model):
    """What every kind of paging may say of an answer."""

    more: Annotated[Where, Field(description="Where an answer says true as long as there is more.")] = ""
    done: Annotated[Where, Field(description="Where an answer says true once there is no more.")] = ""
    total: Annotated[
        Where, Field(description="Where an answer tells how many records there are; a read that finds fewer fails.")
    ] = ""

    @model_validator(mode="after")
    def _one_word(self) -> Self:
        if self.more and self.done:
            raise ValueError("says both more and done | name one of them")
        return self


class CountedPages(Pages):
    """Paging that the source does not steer: we have to know when to stop."""

    size_parameter: Annotated[str, Field(description="The parameter that asks for page_size records a page.")] = ""
    stop: Annotated[
        Literal["empty", "short"],
        Field(
            description="Where neither more, done nor total is told: stop at an empty page (safe), or at one with "
            "fewer than page_size records (saves a request, but loses records if the source caps pages lower)."
        ),
    ] = "empty"


class OnePage(Pages):
    """The stream is one answer."""

    kind: Annotated[Literal["none"], Field(description="One answer holds everything.")] = "none"


class NextUrl(Pages):
    """The answer holds the next page's link."""

    kind: Annotated[Literal["next_url"], Field(description="The answer's body holds the next page's link.")]
    next: Annotated[Where, Field(min_length=1, description="Where in the answer.")]


class LinkHeader(Pages):
    """The answer's Link header holds the next page's link: RFC 8288."""

    kind: Annotated[Literal["link_header"], Field(description="The Link header holds the next page's link.")]
    rel: Annotated[str, Field(min_length=1, description="The relation that marks it.")] = "next"


class CursorPages(Pages):
    """The answer holds a token that asks for the next page."""

    kind: Annotated[Literal["cursor"], Field(description="The answer's body holds a token for the next page.")]
    next: Annotated[Where, Field(min_length=1, description="Where in the answer the token is.")]
    parameter: Annotated[str, Field(min_length=1, description="The parameter that sends it back.")]
    size_parameter: Annotated[str, Field(description="The parameter that asks for page_size records a page.")] = ""


class HeaderPages(Pages):
    """A header of the answer holds a locator of the next page."""

    kind: Annotated[Literal["header"], Field(description="A header of the answer holds a token for the next page.")]
    header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$", description="The header, e.g. Sforce-Locator.")]
    parameter: Annotated[str, Field(min_length=1, description="The parameter that sends it back.")]
    last: Annotated[str, Field(description="What it holds on the last page, besides nothing.")] = "null"
    size_parameter: Annotated[str, Field(description="The parameter that asks for page_size records a page.")] = ""


class OffsetPages(CountedPages):
    """How many records to pass over is told."""

    kind: Annotated[Literal["offset"], Field(description="Pages by number of records to pass over.")]
    parameter: Annotated[str, Field(min_length=1, description="The parameter for it.")] = "offset"
    first: Annotated[int, Field(ge=0, description="What the first page has.")] = 0


class NumberedPages(CountedPages):
    """Pages are numbered."""

    kind: Annotated[Literal["page"], Field(description="Pages by number.")]
    parameter: Annotated[str, Field(min_length=1, description="The parameter for it.")] = "page"
    first: Annotated[int, Field(ge=0, description="The first page's number.")] = 1


class KeysetPages(CountedPages):
    """The page after the last record seen: by its time and, among equals, its key. Records must come in that order."""

    kind: Annotated[Literal["keyset"], Field(description="The page after a record's time and key.")]
    query: Annotated[
        dict[str, str],
        Field(min_length=1, description="Parameters of every page but the first, with {time} and {key} in them."),
    ]
    format: Annotated[TimeFormat, Field(description="How {time} is written.")] = "as_written"


Paginate = Annotated[
    OnePage | NextUrl | LinkHeader | CursorPages | HeaderPages | OffsetPages | NumberedPages | KeysetPages,
    Field(discriminator="kind"),
]


class Delta(Model):
    """Follow the source's own delta link; a full read comes first, and again when the link expires."""

    kind: Annotated[Literal["delta"], Field(description="Change tracking by delta link.")]


class Full(Model):
    """Read the whole stream every time; what is missing since the last time was deleted."""

    kind: Annotated[Literal["full"], Field(description="The whole stream, every time; only changes are told.")] = "full"


class Watermark(Model):
    """Ask for what changed since the greatest time seen; a full read comes first."""

    kind: Annotated[Literal["watermark"], Field(description="Records by the time they changed.")]
    query: Annotated[
        dict[str, str],
        Field(min_length=1, description="Parameters that ask for records from {since} on, up to {until} if it can."),
    ]
    format: Annotated[TimeFormat, Field(description="How {since} and {until} are written.")] = "rfc3339"
    start: Annotated[
        str,
        Field(
            pattern=r"^([0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?)?$",
            description="The first read's {since}; without it, the first read leaves `query` out.",
        ),
    ] = ""
    lookback: Annotated[
        Duration, Field(description="How much earlier to look than the greatest time seen: records may commit late.")
    ] = 60 * UNITS["s"]
    settle: Annotated[
        Duration,
        Field(description="How far {until} stays behind now, so that what is being written waits."),
    ] = 0
    reconcile: Annotated[
        int,
        Field(ge=0, description="Read everything again after so many reads, to find what was deleted; 0: never."),
    ] = 0

    @model_validator(mode="after")
    def _asks(self) -> Self:
        if not any("{since}" in value for value in self.query.values()):
            raise ValueError("has no {since} in its query | {updated_since: '{since}'}")
        if self.format == "as_written":
            raise ValueError("has times of our own to write | rfc3339, epoch_s, epoch_ms or date")
        return self


Incremental = Annotated[Delta | Full | Watermark, Field(discriminator="kind")]

ColumnKind = Literal["text", "number", "boolean", "object", "list", "any"]


class Columns(Model):
    """What a stream's records may hold, and what happens when one holds something else."""

    declared: Annotated[
        dict[str, ColumnKind],
        Field(default_factory=dict, description="Column → kind. Without it, the first page read says what there is."),
    ]
    on_change: Annotated[
        Literal["evolve", "freeze", "discard_value", "dead_letter"],
        Field(
            description="A new column, or a value of another kind: take it and tell of it (evolve), stop the stream "
            "(freeze), leave the value out (discard_value), set the record aside (dead_letter)."
        ),
    ] = "evolve"
