"""How the past of a stream is read in slices, as people write it: by time, by key, from a list of ids, or whole."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from flockiq.shared.config.durations import UNITS, Duration
from flockiq.shared.config.names import Model
from flockiq.shared.config.reading import TimeFormat
from flockiq.shared.instants import instant_us

MOST_SLICES: Final = 1_000  # that a backfill begins with; splitting may add more

Query = Annotated[dict[str, str], Field(min_length=1)]


class Sliced(Model):
    """What every way of slicing may say."""

    kind: str
    cap: Annotated[
        int,
        Field(ge=0, description="Most records the source gives for one query; a slice with as many is split. 0: none."),
    ] = 0
    too_many: Annotated[
        tuple[str, ...],
        Field(description="Words in a refusal (4xx) that mean a query asks for too much; the slice is split."),
    ] = ()
    pages: Annotated[
        dict[str, str],
        Field(
            default_factory=dict,
            description="paginate: {kind: keyset}: what its query is within a slice, with the slice's bounds in it. "
            "Other pages keep the bounds of the first.",
        ),
    ]

    @field_validator("too_many")
    @classmethod
    def _words(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        if any(not word.strip() for word in words):
            raise ValueError("holds an empty word | a word every refusal holds would split every slice")
        return words

    @property
    def words(self) -> tuple[str, ...]:
        """The placeholders that bound a slice."""
        return ()


class Whole(Sliced):
    """The stream is one slice."""

    kind: Annotated[Literal["whole"], Field(description="One slice, from the first page to the last.")] = "whole"


class ByTime(Sliced):
    """A slice for each length of time."""

    kind: Annotated[Literal["time"], Field(description="A slice for each length of time.")]
    query: Annotated[
        Query, Field(description="Parameters that ask for records from {since} on, up to {until} or shortly before.")
    ]
    format: Annotated[TimeFormat, Field(description="How {since} and {until} are written.")] = "rfc3339"
    start: Annotated[
        str,
        Field(description="Where the first slice begins. Without it: 2000-01-01, and one slice of what is older."),
    ] = ""
    slice: Annotated[
        Duration | None,
        Field(ge=UNITS["m"], description="How long a slice is; a 32nd of the whole, and a day at least, if not said."),
    ] = None

    @property
    def words(self) -> tuple[str, ...]:
        """The placeholders that bound a slice."""
        return ("since", "until")

    @field_validator("start")
    @classmethod
    def _moment(cls, start: str) -> str:
        if start:
            instant_us(start, dt.UTC)
        return start

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        _must_say(self.query, self.words)
        if self.format == "as_written":
            raise ValueError("has times of our own to write | rfc3339, epoch_s, epoch_ms or date")
        return self


class ByKey(Sliced):
    """A slice for each range of keys."""

    kind: Annotated[Literal["key"], Field(description="A slice for each range of keys.")]
    query: Annotated[Query, Field(description="Parameters that ask for records from key {from} on, before key {to}.")]
    bounds: Annotated[
        tuple[str, ...],
        Field(
            min_length=2,
            description="Where slices begin and end, in the source's order; the last is beyond every key. Whole "
            "numbers throughout, or text.",
        ),
    ]
    parts: Annotated[
        int, Field(ge=1, le=MOST_SLICES, description="So many slices between each two bounds that are numbers.")
    ] = 1

    @property
    def words(self) -> tuple[str, ...]:
        """The placeholders that bound a slice."""
        return ("from", "to")

    @property
    def numeric(self) -> bool:
        """Whether keys are whole numbers."""
        return all(_is_whole(bound) for bound in self.bounds)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _must_say(self.query, self.words)
        if self.parts > 1 and not self.numeric:
            raise ValueError("has parts between bounds that are no numbers | write the bounds of each slice")
        if self.numeric and list(map(int, self.bounds)) != sorted(set(map(int, self.bounds))):
            raise ValueError("has bounds that do not count up | smallest first, none twice")
        if len(set(self.bounds)) != len(self.bounds):
            raise ValueError("has a bound twice | each once, in the source's order")
        if (len(self.bounds) - 1) * self.parts > MOST_SLICES:
            raise ValueError(f"makes over {MOST_SLICES:,} slices | fewer bounds, or fewer parts")
        return self


class ByIds(Sliced):
    """Slices of a list of ids."""

    kind: Annotated[Literal["ids"], Field(description="So many ids of a list are a slice.")]
    query: Annotated[Query, Field(description="Parameters that ask for the records of {ids}.")]
    ids: Annotated[tuple[str, ...], Field(min_length=1, max_length=100_000, description="The ids.")]
    at_a_time: Annotated[int, Field(ge=1, le=10_000, description="How many are asked for in a slice.")] = 100
    separator: Annotated[str, Field(description="What stands between two ids.")] = ","
    quote: Annotated[Literal["", "'", '"'], Field(description="What stands around each id.")] = ""

    @property
    def words(self) -> tuple[str, ...]:
        """The placeholders that bound a slice."""
        return ("ids",)

    @field_validator("ids")
    @classmethod
    def _plain(cls, ids: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [each for each in ids if not each or not each.isprintable() or any(c in each for c in "'\"\\")]:
            raise ValueError(f"holds {wrong[0][:40]!r} | ids without quotes, backslashes and control characters")
        return tuple(dict.fromkeys(ids))

    @model_validator(mode="after")
    def _few(self) -> Self:
        _must_say(self.query, self.words)
        if len(self.ids) > MOST_SLICES * self.at_a_time:
            raise ValueError(f"makes over {MOST_SLICES:,} slices | more ids at_a_time")
        return self


Backfill = Annotated[Whole | ByTime | ByKey | ByIds, Field(discriminator="kind")]


def unbounded(way: Sliced, said: Mapping[str, str]) -> str:
    """The first placeholder of a slice's bounds that ``said`` does not hold; "" if it holds all."""
    return next((word for word in way.words if not any(f"{{{word}}}" in text for text in said.values())), "")


def _must_say(said: Mapping[str, str], words: tuple[str, ...]) -> None:
    missing = [word for word in words if not any(f"{{{word}}}" in text for text in said.values())]
    if missing:
        raise ValueError(f"has no {{{missing[0]}}} in its query | every slice would be the whole stream")


def _is_whole(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit()
