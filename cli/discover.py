"""What a source holds, and config that reads it: told by the source where it can, else seen in its records."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import msgspec
import yaml

from flockiq.capture.http.client import Tally
from flockiq.capture.protocols.places import found, opened, steps
from flockiq.capture.records import Record, is_noise, text_of, value_of
from flockiq.capture.sources import Capture
from flockiq.cli.metadata import Column, Shape, shapes
from flockiq.cli.paging import is_silent
from flockiq.cli.peek import ODATA, peek, values
from flockiq.cli.trying import looked, paged
from flockiq.shared.config.describe import Describe
from flockiq.shared.config.names import FIELDS_TAKEN, SUBJECTS_TAKEN
from flockiq.shared.config.sources import Source
from flockiq.shared.errors import BadRecord, FlockIQError, SourceError
from flockiq.shared.fields import FieldType

RECORDS: Final = 50  # looked at where a source does not describe itself
STREAMS: Final = 20  # suggested at most
COLUMNS: Final = 40  # of each
_LINKS: Final = ("_", "links")  # objects so called are about the record, not of it
_SAID: Final = 200  # of a refusal
_MODIFIED: Final = re.compile(r"(last_?)?(modified|changed?|updated?)(_?(on|at|time|date|timestamp))*", re.IGNORECASE)
_KEY: Final = re.compile(r"(.*_)?(id|uuid|guid|key|number|no|code)", re.IGNORECASE)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]{5,18}(Z|[+-][0-9:]{4,6})?|/Date\(-?[0-9]+.*\)/")

_listed = msgspec.json.Decoder(list[Record]).decode


class _Definition(msgspec.Struct):
    path: str | None = msgspec.field(name="EntitySetName", default=None)
    tracked: bool | None = msgspec.field(name="ChangeTrackingEnabled", default=None)


class _Definitions(msgspec.Struct):
    value: list[_Definition]


async def discovered(capture: Capture, source: Source) -> list[Shape]:
    """The streams that a source has, or those of its file. FlockIQError says why it can't be told."""
    if source.connector in ODATA:
        described = await _described(capture, source)
        if described:
            tracked = await _tracked(capture, source) if source.connector == "dataverse" else frozenset[str]()
            return [shape._replace(delta=shape.path in tracked) for shape in described]
    if not source.polled and source.files is None:
        raise FlockIQError(f"{source.source} is told by a webhook: what it sends is seen in its first deliveries")
    return [
        await (_told(capture, source, stream, config.describe) if config.describe else _seen(capture, source, stream))
        for stream, config in source.streams.items()
    ]


async def _described(capture: Capture, source: Source) -> list[Shape]:
    """The entity sets of $metadata; none if the service does not offer it."""
    answer = await capture.client(source).get("$metadata", {"accept": "application/xml"}, Tally())
    return shapes(answer.body) if answer.ok else []


async def _tracked(capture: Capture, source: Source) -> frozenset[str]:
    """The entity sets of Dataverse whose changes are tracked."""
    link = "EntityDefinitions?$select=EntitySetName,ChangeTrackingEnabled"
    try:
        answer = await capture.client(source).get(link, {}, Tally())
        defined = msgspec.json.decode(answer.body, type=_Definitions).value if answer.ok else []
    except (msgspec.DecodeError, SourceError, RecursionError):
        return frozenset()  # it takes a right of its own to see them
    return frozenset(each.path for each in defined if each.path and each.tracked)


async def _told(capture: Capture, source: Source, stream: str, where: Describe) -> Shape:
    """A stream as its source describes it. SourceError if it does not."""
    config = source.streams[stream]
    link = where.request.replace("{path}", quote(config.path, safe=""))
    answer = await capture.client(source).get(link, {}, Tally())
    if not answer.ok:
        said = answer.body[:_SAID].decode("utf-8", "replace")
        raise SourceError(f"{stream}: the source answers {answer.status} to what {config.path} holds: {said}")
    raw = found(opened(answer.body), steps(where.columns))
    try:
        listed = _listed(raw) if raw is not None else []
    except (msgspec.DecodeError, RecursionError) as error:
        raise SourceError(f"{link} has no list of columns at {where.columns}: {error}"[:300]) from error
    columns = tuple(column for each in listed if (column := _described_column(each, where)).name)
    keys = config.primary_key if {column.name for column in columns} >= set(config.primary_key) else ()
    return Shape(stream, config.path, keys, columns)


def _described_column(said: Record, where: Describe) -> Column:
    name, kind = (value_of(said, place) for place in (where.name, where.type))
    try:
        written = (kind is not None and text_of(kind)) or ""
        return Column((name is not None and text_of(name)) or "", where.types.get(written, ""), written)
    except BadRecord:
        return Column("", "", "")


async def _seen(capture: Capture, source: Source, stream: str) -> Shape:
    """A stream as its first records show it."""
    source, read = await looked(capture, source, stream)
    peeked = await peek(capture, source, stream, RECORDS)
    if is_silent(source, source.streams[stream]) and (way := await paged(capture, source, stream, peeked)):
        read = {**read, "paginate": way}
    records = [dict(_leaves(values(record))) for record in peeked.records]
    names = list(dict.fromkeys(name for record in records for name in record if not is_noise(name)))
    columns = tuple(_column(name, [record.get(name) for record in records]) for name in names)
    config = source.streams[stream]
    keys = config.primary_key if all(name in names for name in config.primary_key) else _guessed(columns, records)
    return Shape(stream, config.path, keys, columns, delta=config.incremental.kind == "delta", read=read)


def _leaves(record: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """A record's values, those of the objects in it as ``object.name``: fields are written so."""
    for name, value in record.items():
        if isinstance(value, Mapping) and not name.startswith(_LINKS) and not is_noise(name):
            yield from ((f"{name}.{inner}", each) for inner, each in value.items() if "." not in inner)
        else:
            yield name, value


def _guessed(columns: Sequence[Column], records: Sequence[Mapping[str, object]]) -> tuple[str, ...]:
    """The first column that is called like a key, or any, whose values are all there and all different."""
    fitting = [
        column.name
        for column in columns
        if column.type in ("string", "integer")
        and len({str(record.get(column.name)) for record in records}) == len(records)
        and all(record.get(column.name) not in (None, "") for record in records)
    ]
    own = [name for name in fitting if "." not in name]  # what stands further in may be another thing's
    called = [name for name in own if _KEY.fullmatch(_snake(name))]
    return tuple((called or own or fitting)[:1])


def _column(name: str, seen: Sequence[object]) -> Column:
    """A column's type from its values."""
    there = [value for value in seen if value not in (None, "")]
    kinds = {_type(value) for value in there}
    if kinds == {"integer", "float"}:
        kinds = {"float"}
    if kinds == {"date", "timestamp"}:
        kinds = {"timestamp"}
    kind = kinds.pop() if len(kinds) == 1 else "string" if "" not in kinds else ""
    return Column(name, kind, "nested" if not kind else f"empty in {RECORDS}" if not there else kind)


def _type(value: object) -> FieldType | str:
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "float"
        case str() if _DATE.fullmatch(value):
            return "date"
        case str() if _MOMENT.fullmatch(value):
            return "timestamp"
        case str():
            return "string"
        case _:
            return ""


def suggestion(
    written: Mapping[str, Any], source: Source, shapes: Sequence[Shape], entities: Mapping[str, Collection[str]]
) -> str:
    """A source file, and a file for each entity type that there is none for yet; ``entities`` are type → fields."""
    streams: dict[str, Any] = {}
    made: dict[str, Any] = {}
    usable = [shape for shape in shapes if shape.keys and any(column.type for column in shape.columns)]
    for shape in usable[:STREAMS]:
        name = _snake(shape.name)
        there = {stream.path or each: each for each, stream in source.streams.items()}.get(shape.path or shape.name)
        already = dict((written.get("streams") or {}).get(there) or {})
        mapped = bool(already.get("fields")) and already.get("entity") in entities
        if mapped and set(source.streams[there or name].primary_key) <= {column.name for column in shape.columns}:
            streams[there or name] = {**already, **shape.read}  # it is right as far as it goes
            continue
        streams[there or name] = {**already, **shape.read, **_stream(shape, source, entities, made)}
    more = f"# {len(usable) - STREAMS} more are not written out\n" if len(usable) > STREAMS else ""
    parts = [
        f"# config/sources/{source.source}.yaml\n{_schema('source')}{more}{_yaml({**written, 'streams': streams})}"
    ]
    parts += [f"# config/entities/{name}.yaml\n{_schema('entity')}{_yaml(entity)}" for name, entity in made.items()]
    return "---\n".join(parts).rstrip("\n")


def _stream(
    shape: Shape, source: Source, entities: Mapping[str, Collection[str]], made: dict[str, Any]
) -> dict[str, Any]:
    columns = [column for column in shape.columns if column.type][:COLUMNS]
    times = [column.name for column in columns if column.type == "timestamp"]
    changed = [name for name in times if _MODIFIED.fullmatch(_snake(name.rpartition(".")[2]))]
    modified = min(changed, key=lambda name: name.count("."), default="")
    entity, fields = _mapping(shape, source, columns, entities, made)
    stream: dict[str, Any] = {"path": shape.path} if shape.path else {}
    stream["primary_key"] = list(shape.keys)
    if modified:
        stream["modified"] = modified
    if source.connector in ODATA:
        stream["incremental"] = {"kind": "delta" if shape.delta else "full"}
        stream["select"] = list(dict.fromkeys([*shape.keys, *fields.values(), *([modified] if modified else [])]))
    return stream | {"entity": entity, "fields": fields}


def _mapping(
    shape: Shape,
    source: Source,
    columns: Sequence[Column],
    entities: Mapping[str, Collection[str]],
    made: dict[str, Any],
) -> tuple[str, dict[str, str]]:
    """An entity type that has some of the columns, or a new one that has them all."""
    name = _snake(shape.name)
    name = re.sub(r"ies$", "y", name) if name.endswith("ies") else re.sub(r"(?<=[a-z])s$", "", name)
    named = {_field(column.name): column for column in columns}
    if name in entities:
        fields = {field: named[field].name for field in entities[name] if field in named}
        if fields:
            return name, fields
    if name in entities or name in made or name in SUBJECTS_TAKEN:
        name = f"{source.source}_{name}"
    made[name] = {"entity": name, "fields": {field: {"type": str(column.type)} for field, column in named.items()}}
    return name, {field: column.name for field, column in named.items()}


def _field(name: str) -> str:
    """A column's name as an entity's field may be called."""
    field = _snake(name)
    return f"{field}_" if field in FIELDS_TAKEN else field


def _snake(name: str) -> str:
    """``CustomerName`` and ``customer-name`` as ``customer_name``."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    plain = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")[:60]
    return plain if plain[:1].isalpha() else f"x_{plain}".rstrip("_")


def _schema(kind: str) -> str:
    """The line that editors find the schema by."""
    return f"# yaml-language-server: $schema=../schemas/{kind}.schema.json\n"


def _yaml(data: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)
