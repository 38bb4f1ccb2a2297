"""What a webhook's event tells: a record, a part of one, that one is gone, or where to read it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec

from flockiq.capture.protocols.removed import key_of_reference
from flockiq.capture.records import Record, text_of
from flockiq.capture.signatures import Delivery
from flockiq.shared.config.sources import DeletedWhen, Source, Stream, matches
from flockiq.shared.config.webhooks import Reread, Shopify, StandardWebhooks, Told
from flockiq.shared.errors import BadRecord

TRIMMED: Final = "x-ms-dynamics-msg-size-exceeded"  # Dataverse left out the record: the body was over 256 KB
EVERYTHING: Final = Told.model_validate({})
_PLACE: Final = re.compile(r"\{([^{}]+)\}")

_object = msgspec.json.Decoder(Record).decode
_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Malformed(Exception):
    """The body is no JSON object or array of objects within the limits."""


class Telling(NamedTuple):
    """What one event tells. One of ``record``, ``gone`` and ``link`` is set."""

    record: Record | None = None
    partial: bool = False  # the record holds only what changed
    gone: str = ""  # key of a record that was deleted
    link: str = ""  # where the record, or with ``many`` the records, can be read
    many: bool = False


def events_in(source: Source, delivery: Delivery) -> list[Record | bytes]:
    """The delivery's events; as bytes those that are no objects. Malformed if there are none to be found."""
    webhook = source.webhook
    if webhook is None:
        return []
    try:
        str(delivery.body, "utf-8")
        whole: msgspec.Raw | None = msgspec.Raw(delivery.body)
        if webhook.events_at:
            whole = at(_object(delivery.body), webhook.events_at)
        if whole is None:
            raise Malformed(f"the body holds no {webhook.events_at}")
        written = bytes(whole).lstrip()
        items = _array(written) if written[:1] == b"[" else [msgspec.Raw(written)]
        if len(items) > webhook.events:
            raise Malformed(f"at most {webhook.events} events a delivery")
        if written[:1] not in (b"[", b"{"):
            raise Malformed("the body is not JSON: an object, or an array of objects")
        sent = _sent_along(webhook.headers, delivery)
        return [_object(item) | sent if bytes(item).lstrip()[:1] == b"{" else bytes(item) for item in items]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, BadRecord) as error:
        raise Malformed("the body is not JSON: an object, or an array of objects") from error


def _sent_along(headers: Mapping[str, str], delivery: Delivery) -> Record:
    """The fields that headers give every event."""
    values = {field: delivery.headers.get(name.lower()) for field, name in headers.items()}
    return {field: msgspec.Raw(msgspec.json.encode(value)) for field, value in values.items() if value is not None}


def stream_of(source: Source, event: Record) -> str:
    """The first stream that the event fits; "" if there is none."""
    for name, stream in source.streams.items():
        if stream.webhook is None and source.polled:
            continue  # it is read, not told
        told = stream.webhook or EVERYTHING
        if all(matches(pattern, text_at(event, path)) for path, pattern in told.match.items()):
            return name
    return ""


def identity_of(source: Source, delivery: Delivery, event: Record, number: int) -> str:
    """What tells that an event was told before; "" if nothing does. ``number``: its place in the delivery."""
    if source.webhook is None:
        return ""
    if source.webhook.delivery_id:
        return text_at(event, source.webhook.delivery_id)
    match source.webhook.signature:
        case Shopify():
            # One action of a merchant has one id under all the topics that it concerns.
            parts = [delivery.headers.get("x-shopify-event-id", ""), delivery.headers.get("x-shopify-topic", "")]
        case StandardWebhooks():
            parts = [delivery.headers.get("webhook-id", "")]
        case _:
            parts = [""]
    return "\x1f".join([*parts, str(number)]) if parts[0] else ""


def telling_of(stream: Stream, delivery: Delivery, event: Record) -> Telling:
    """What an event tells of a stream. BadRecord says what it lacks."""
    told = stream.webhook or EVERYTHING
    record = _record(told, event) if TRIMMED not in delivery.headers or not told.record else None
    carried = {name: raw for name, path in told.carry.items() if (raw := at(event, path)) is not None}
    known = (record or {}) | carried
    if says_deleted(stream.deleted_when, known) and not all(name in known for name in stream.primary_key):
        if told.reread is None:
            raise BadRecord("tells of a deletion, but not of which record")
        return Telling(gone=_key_of(link_of(told.reread, event), stream))
    if says_deleted(stream.deleted_when, known):
        return Telling(known)
    if told.reread is not None and (record is None or not told.record):
        many = bool(told.reread.many) and all(
            matches(pattern, text_at(event, path)) for path, pattern in told.reread.many.items()
        )
        return Telling(link=link_of(told.reread, event), many=many)
    if record is None:
        raise BadRecord("is missing, and the record should be there", field=told.record)
    if told.property_events is None:
        return Telling(known, partial=told.partial)
    return Telling(_one_property(stream, told, known), partial=True)


def _record(told: Told, event: Record) -> Record | None:
    """The record in an event; a list of keys and values is one too."""
    if not told.record:
        return dict(event)
    raw = at(event, told.record)
    first = bytes(raw).lstrip()[:1] if raw is not None else b""
    if raw is None or first not in (b"{", b"["):
        return None
    return _object(raw) if first == b"{" else _paired(raw)


def _one_property(stream: Stream, told: Told, record: Record) -> Record:
    """The record an event tells one field of: its key, its time, that field.

    An event without one tells only that the record is there (or, by ``deleted_when``, is not).
    """
    kept = {*stream.primary_key, stream.modified, *told.carry}
    if stream.deleted_when is not None:
        kept.add(stream.deleted_when.field)
    part = {name: raw for name, raw in record.items() if name in kept}
    named = told.property_events
    if named is not None and (changed := text_at(record, named.name)):
        part[changed] = record.get(named.value, msgspec.Raw(b"null"))
    return part


def says_deleted(rule: DeletedWhen | None, record: Record) -> bool:
    """Whether a record says of itself that it was deleted."""
    return (
        rule is not None
        and any(matches(value, text_at(record, rule.field)) for value in rule.values)
        and (rule.field in record)
    )


def link_of(reread: Reread, event: Record) -> str:
    """What to ask for. BadRecord if the event lacks a part of it, or it would lead elsewhere."""

    def value(found: re.Match[str]) -> str:
        text = text_at(event, found[1])
        if text in ("", ".", "..") or not text.isprintable():
            raise BadRecord("is missing, and it says which record to read", field=found[1])
        if found[0] == reread.get:
            return text  # a whole address; the client calls only declared origins
        quoted = reread.get[found.start() - 1 : found.start()] == "'"
        return quote(text.replace("'", "''") if quoted else text, safe="")

    return _PLACE.sub(value, reread.get)


def _key_of(link: str, stream: Stream) -> str:
    if "(" not in link:
        raise BadRecord("tells of a deletion, but not of which record")
    return key_of_reference(link, stream.primary_key)


def at(event: Record, path: str) -> msgspec.Raw | None:
    """The value at a.b: a member of an object, or of a list of ``{key, value}``. None if there is none."""
    if path in event:
        return event[path]
    here = event
    raw: msgspec.Raw | None = None
    try:
        for name in path.split("."):
            if raw is not None:
                first = bytes(raw).lstrip()[:1]
                here = _object(raw) if first == b"{" else _paired(raw) if first == b"[" else {}
            raw = here.get(name)
            if raw is None:
                return None
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRecord("is not valid JSON inside", field=path) from error
    return raw


def text_at(event: Record, path: str) -> str:
    """A scalar at a.b as text; "" if there is none."""
    try:
        raw = at(event, path)
        return (text_of(raw) if raw is not None else None) or ""
    except BadRecord:
        return ""


class _Pair(msgspec.Struct):
    key: str
    value: msgspec.Raw = msgspec.Raw(b"null")


_pairs = msgspec.json.Decoder(list[_Pair]).decode


def _paired(raw: msgspec.Raw) -> Record:
    """A list of ``{key, value}``, as Dataverse writes a record, with its values as the Web API has them.

    learn.microsoft.com, "Use webhooks to create external handlers": a choice or an amount is an object
    with ``Value``, a lookup one with ``Id`` and ``LogicalName`` (the Web API's ``_name_value``).
    """
    try:
        pairs = _pairs(raw)
    except msgspec.ValidationError:
        return {}  # another list
    record: Record = {}
    for pair in pairs:
        name, value = pair.key, pair.value
        if bytes(value).lstrip()[:1] == b"{":
            inner = _object(value)
            if "LogicalName" in inner and "Id" in inner:
                name, value = f"_{name}_value", inner["Id"]
            elif "Value" in inner:
                value = inner["Value"]
        record[name] = value
    return record
