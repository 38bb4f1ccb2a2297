"""A webhook delivery: verified, published, then answered, so that an accepted one is never lost."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from flockiq.capture.batch import Batch
from flockiq.capture.publish import HUB
from flockiq.capture.records import Record, text_of
from flockiq.capture.signatures import Delivery, Unsigned, verify
from flockiq.capture.sources import Capture
from flockiq.shared.config.sources import Source, Stream, matches
from flockiq.shared.deadletters import DeadLetter, bury
from flockiq.shared.errors import BadRecord, ConfigError, NotFound, TransientError
from flockiq.shared.status import arrived, touch

log = logging.getLogger("flockiq.capture")

_RETRY_S: Final = "5"
_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_record = msgspec.json.Decoder(Record).decode


class Reply(NamedTuple):
    """What the sender is told."""

    status: int
    text: str = ""
    headers: Mapping[str, str] = MappingProxyType({})


class Malformed(Exception):
    """The body is no JSON object or array of objects within the limits."""


async def receive(capture: Capture, name: str, delivery: Delivery) -> Reply:
    """Take one delivery. 204 only once its events are acknowledged by the hub; 503 means: send it again."""
    source = capture.sources.get(name)
    if source is None or not source.enabled or source.webhook is None:
        return Reply(404, "there is no such source")
    if len(delivery.body) > source.limits.body_bytes:
        return Reply(413, f"at most {source.limits.body_bytes} bytes a delivery")
    try:
        signature = source.webhook.signature
        secret = await capture.services.secrets.get(signature.secret.secret)
        verify(signature, secret, delivery, capture.now_us())
        await _publish(capture, source, _events(delivery.body, source.webhook.events))
    except Unsigned as error:
        log.warning("webhook %s: a delivery is refused: %s", name, error)
        return Reply(401, "the signature is missing or wrong")
    except Malformed as error:
        return Reply(400, str(error))
    except (TransientError, NotFound, ConfigError) as error:
        log.error("webhook %s: a delivery can't be taken now: %s", name, error)  # noqa: TRY400 - the reason is enough
        return Reply(503, "not now, send it again", {"Retry-After": _RETRY_S})
    return Reply(204)


def _events(body: bytes, most: int) -> list[Record | bytes]:
    """The delivery's events; as bytes those that are no objects. Malformed if it is not JSON at all."""
    try:
        str(body, "utf-8")
        if body.lstrip()[:1] != b"[":
            return [_record(body)]
        items = _items(body)
        if len(items) > most:
            raise Malformed(f"at most {most} events a delivery")
        return [_record(item) if bytes(item).lstrip()[:1] == b"{" else bytes(item) for item in items]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed("the body is not JSON: an object, or an array of objects") from error


async def _publish(capture: Capture, source: Source, events: Sequence[Record | bytes]) -> None:
    """Publish each stream's share of the events. TransientError: nothing is promised."""
    shares: dict[str, list[Record]] = {}
    misfits: list[DeadLetter] = []
    for event in events:
        stream = _stream_of(source, event) if isinstance(event, dict) else None
        if stream is not None and isinstance(event, dict):
            shares.setdefault(stream, []).append(event)
        else:
            misfits.append(_misfit(source, event, capture.now_us()))
    await bury(capture.services, misfits)
    for stream, share in shares.items():
        await _publish_stream(capture, source, stream, share)


async def _publish_stream(capture: Capture, source: Source, stream: str, events: Sequence[Record]) -> None:
    services = capture.services
    deliveries = capture.deliveries(source.source, stream)
    now_us = capture.now_us()
    begun = await deliveries.begin(now_us)
    batch = Batch(services, source, stream, await services.events.partition_count(HUB))
    batch.begin(begun.run, begun.run_us)
    told: set[str] = set()
    for event in events:
        identity = _identity(source, event)
        if identity and (identity in told or not deliveries.is_new(identity)):
            continue
        whole = source.streams[stream].property_events is None
        if batch.take(event if whole else _one_property(source.streams[stream], event), now_us, "r" if whole else "u"):
            told.add(identity)
    records = await batch.publish()
    deliveries.told(told - {""})
    await touch(services, source.source, stream, arrived(now_us, records, batch.greatest_us))


def _stream_of(source: Source, event: Record) -> str | None:
    """The first stream whose ``match`` fits."""
    for name, stream in source.streams.items():
        if all(matches(pattern, _text(event, field)) for field, pattern in stream.match.items()):
            return name
    return None


def _identity(source: Source, event: Record) -> str:
    """What tells that an event was told before; "" if it does not say."""
    return _text(event, source.webhook.delivery_id) if source.webhook and source.webhook.delivery_id else ""


def _one_property(stream: Stream, event: Record) -> Record:
    """The record an event tells one field of: its key, its time, that field.

    An event without one tells only that the record is there (or, by ``deleted_when``, is not).
    """
    kept = {*stream.primary_key, stream.modified}
    if stream.deleted_when is not None:
        kept.add(stream.deleted_when.field)
    record = {name: raw for name, raw in event.items() if name in kept}
    named = stream.property_events
    if named is not None and (changed := _text(event, named.name)):
        record[changed] = event.get(named.value, msgspec.Raw(b"null"))
    return record


def _text(event: Record, field: str) -> str:
    try:
        return (text_of(event[field]) if field in event else None) or ""
    except BadRecord:
        return ""


def _misfit(source: Source, event: Record | bytes, at_us: int) -> DeadLetter:
    return DeadLetter(
        stage="capture",
        source=source.source,
        stream="",
        reason="is no JSON object" if isinstance(event, bytes) else "matches no stream of the source",
        body=event if isinstance(event, bytes) else msgspec.json.encode(event),
        at_us=at_us,
    )
