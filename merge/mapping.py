"""Mapping: a stream's records, as their source writes them, to an entity type's fields.

Column by column: the raw values of one field of a whole batch, their codes translated, brought to
canonical form at once. What does not fit is told per row with the field and the reason.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, NamedTuple, cast

import msgspec

from flockiq.shared.cel.compile import Expression
from flockiq.shared.config.model import Config, Entity
from flockiq.shared.config.sources import FieldFrom
from flockiq.shared.fields import Field, Value, canonical_column
from flockiq.shared.instants import rfc3339
from flockiq.shared.lateness import USUAL, Lateness

MISSING: Final = cast("Value", msgspec.UNSET)
"""Stands for a field that a record does not hold, which is not the same as a null."""

Record = Mapping[str, object]


class FieldPlan(NamedTuple):
    """One mapped field: where it is in the record, and how its values are read."""

    field: Field
    path: tuple[str, ...]
    codes: Mapping[str, Value]
    default: Value
    format: str


class StreamPlan(NamedTuple):
    """What becomes of one stream's records."""

    source: str
    stream: str
    entity: str
    fields: tuple[FieldPlan, ...]
    match: Expression | None
    match_fields: tuple[Field, ...]  # those the match key reads, in columns' order
    partition_by: str
    lateness: Lateness = USUAL

    @property
    def name(self) -> str:
        """What tells it from other plans."""
        return f"{self.source}/{self.stream}"

    @property
    def placing(self) -> tuple[str, ...]:
        """The fields that say where a record belongs."""
        return (*(field.name for field in self.match_fields), self.partition_by)


class Mapped(NamedTuple):
    """A batch's fields: per field a column of canonical values or MISSING; bad: {row: (field, reason)}."""

    columns: dict[str, list[Value]]
    bad: dict[int, tuple[str, str]]

    def said(self, row: int) -> dict[str, Value]:
        """What one record says: its fields without those it does not hold."""
        return {name: column[row] for name, column in self.columns.items() if column[row] is not MISSING}


def encoded(plan: StreamPlan, columns: Mapping[str, Sequence[Value]]) -> list[bytes]:
    """What each record says as JSON, without the fields that it does not hold."""
    given = [columns[one.field.name] for one in plan.fields]
    fields = _fields(tuple(one.field.name for one in plan.fields))
    return _encode_lines(list(map(fields, *given))).split(b"\n")[:-1]


_encode_lines = msgspec.json.Encoder().encode_lines


@lru_cache(maxsize=256)
def _fields(names: tuple[str, ...]) -> Callable[..., object]:
    """Makes what is encoded as an object with these members."""
    attributes = [f"f{number}" for number in range(len(names))]
    rename = dict(zip(attributes, names, strict=True))
    return msgspec.defstruct("Fields", [(one, Any) for one in attributes], rename=rename, gc=False)


def stream_plans(config: Config) -> dict[tuple[str, str], StreamPlan]:
    """A plan for every stream of every source that is known: what a disabled one brought may still be on its way."""
    return {
        (name, stream): _plan(name, stream, one.fields, config.entities[one.entity])
        for name, source in config.known.items()
        for stream, one in source.streams.items()
    }


def _plan(source: str, stream: str, mapping: Mapping[str, str | FieldFrom], entity: Entity) -> StreamPlan:
    match = entity.match()
    return StreamPlan(
        source=source,
        stream=stream,
        entity=entity.name,
        fields=tuple(_field(entity.fields[name], given) for name, given in mapping.items()),
        match=match,
        match_fields=tuple(entity.fields[name] for name in sorted(match.names)) if match is not None else (),
        partition_by=entity.partition_by or "",
        lateness=entity.lateness,
    )


def _field(field: Field, given: str | FieldFrom) -> FieldPlan:
    if isinstance(given, str):
        return FieldPlan(field, tuple(given.split(".")), {}, None, "")
    zoned = dataclasses.replace(field, zone=given.zone or "")
    return FieldPlan(zoned, tuple(given.from_.split(".")), given.values, given.default, given.format)


def mapped(plan: StreamPlan, records: Sequence[Record], whole: Sequence[bool]) -> Mapped:
    """Map a batch. ``whole``: the record is complete, so what it lacks is null rather than MISSING."""
    return mapped_columns(plan, [_raw(one.path, records) for one in plan.fields], whole)


def raw_columns(plan: StreamPlan, records: bytes) -> list[Sequence[object]]:
    """What a JSON array of records holds in each of the plan's fields, as its source writes it, or MISSING.

    Raises one of ``lines.UNREADABLE`` if something in it is no JSON object.
    """
    records.decode()  # msgspec looks for UTF-8 only in what it keeps
    names = tuple(dict.fromkeys(one.path[0] for one in plan.fields))
    columns = dict(zip(names, _reader(names)(records), strict=True))
    return [
        columns[one.path[0]] if len(one.path) == 1 else [_reach(one.path[1:], value) for value in columns[one.path[0]]]
        for one in plan.fields
    ]


def members(names: Sequence[str], records: bytes) -> list[Sequence[object]]:
    """Some members of a JSON array of objects, a column each, MISSING where an object has none."""
    return _reader(tuple(names))(records)


@lru_cache(maxsize=256)
def _reader(names: tuple[str, ...]) -> Callable[[bytes], list[Sequence[object]]]:
    """Reads some members of records at once, passing over the others."""
    attributes = [f"f{number}" for number in range(len(names))]
    record = msgspec.defstruct(
        "Record",
        [(attribute, Any, MISSING) for attribute in attributes],
        rename=dict(zip(attributes, names, strict=True)),
    )
    decode = msgspec.json.Decoder(list[record]).decode  # type: ignore[valid-type]  # made at run time
    values = [attrgetter(attribute) for attribute in attributes]

    def read(records: bytes) -> list[Sequence[object]]:
        found = decode(records)
        return [list(map(value, found)) for value in values]

    return read


def mapped_columns(plan: StreamPlan, columns_as_written: Sequence[Sequence[object]], whole: Sequence[bool]) -> Mapped:
    """Map a batch whose raw values are columns, in the order of the plan's fields."""
    bad: dict[int, tuple[str, str]] = {}
    columns: dict[str, list[Value]] = {}
    for one, written in zip(plan.fields, columns_as_written, strict=True):
        raw = written
        if one.codes:
            raw = [value if value is MISSING else one.codes.get(_code(value), value) for value in raw]
        if one.format:
            raw = [value if value is MISSING else _formatted(value, one.format) for value in raw]
        default, absent = one.default, MISSING in raw
        given: Sequence[object] = raw
        if absent or default is not None:
            given = [default if value is MISSING or value is None else value for value in raw]
        values, errors = canonical_column(one.field, given)
        for row, reason in errors.items():
            bad.setdefault(row, (one.field.name, reason))
        columns[one.field.name] = (
            values
            if not absent
            else [
                MISSING if was is MISSING and not complete else value
                for was, value, complete in zip(raw, values, whole, strict=True)
            ]
        )
    return Mapped(columns, bad)


def _raw(path: tuple[str, ...], records: Sequence[Record]) -> list[object]:
    if len(path) == 1:
        (name,) = path
        return [record.get(name, MISSING) for record in records]
    return [_reach(path, record) for record in records]


def _reach(path: tuple[str, ...], value: object) -> object:
    for name in path:
        if not isinstance(value, Mapping):
            return MISSING if value is not None else None
        value = value.get(name, MISSING)
        if value is MISSING:
            return MISSING
    return value


def _code(value: object) -> str:
    """A code as config writes it: a boolean as JSON does, not as Python does."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _formatted(value: object, form: str) -> object:
    """A date or time written in a source's own way, as ISO text; what does not fit is left to be refused."""
    if not isinstance(value, str):
        return value
    try:
        moment = dt.datetime.strptime(value, form)  # noqa: DTZ007 - a source's own format may have no zone
    except ValueError:
        return value
    if moment.tzinfo is not None:
        return rfc3339((moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1))
    return moment.isoformat()
