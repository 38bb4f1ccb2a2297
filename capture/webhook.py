"""A webhook delivery: verified, published, then answered, so that an accepted one is never lost."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from flockiq.capture import errands
from flockiq.capture.batch import Batch
from flockiq.capture.deliveries import heard
from flockiq.capture.publish import HUB
from flockiq.capture.records import Record
from flockiq.capture.signatures import Delivery, Unsigned, verify
from flockiq.capture.sources import Capture
from flockiq.capture.told import Malformed, Telling, events_in, identity_of, stream_of, telling_of
from flockiq.shared.config.sources import Source
from flockiq.shared.config.webhooks import BusinessCentral, Webhook
from flockiq.shared.deadletters import DeadLetter, bury
from flockiq.shared.errors import BadRecord, ConfigError, NotFound, TransientError
from flockiq.shared.status import touch

log = logging.getLogger("flockiq.capture")

_RETRY_S: Final = "5"
_LONGEST_TOKEN: Final = 2_048
_PLAIN: Final = MappingProxyType({"X-Content-Type-Options": "nosniff"})


class Reply(NamedTuple):
    """What the sender is told."""

    status: int
    text: str = ""
    headers: Mapping[str, str] = _PLAIN


class Event(NamedTuple):
    """One event of a delivery, and what tells that it was told before ("" if nothing does)."""

    identity: str
    record: Record


async def receive(capture: Capture, name: str, delivery: Delivery) -> Reply:
    """Take one delivery. 204 only once its events are acknowledged by the hub; 503 means: send it again."""
    source = capture.sources.get(name)
    if source is None or not source.enabled or source.webhook is None:
        return Reply(404, "there is no such source")
    if (token := _handshake(source.webhook, delivery)) is not None:
        return Reply(200, token)
    reply = await _taken(capture, source, source.webhook, delivery)
    if isinstance(source.webhook.signature, BusinessCentral) and reply.status in range(400, 500):
        # It deletes a subscription at any other answer; that one is wrong is for our log alone.
        return reply._replace(status=503)
    return reply


async def _taken(capture: Capture, source: Source, webhook: Webhook, delivery: Delivery) -> Reply:
    if len(delivery.body) > source.limits.body_bytes:
        return Reply(413, f"at most {source.limits.body_bytes} bytes a delivery")
    try:
        secrets = await _secrets(capture, webhook.signature.secrets)
        verify(webhook.signature, secrets, delivery, capture.now_us())
        await _publish(capture, source, delivery, events_in(source, delivery))
    except Unsigned as error:
        log.warning("webhook %s: a delivery is refused: %s", source.source, error)
        return Reply(401, "the signature is missing or wrong")
    except Malformed as error:
        log.warning("webhook %s: a delivery is of no use: %s", source.source, error)
        return Reply(400, str(error))
    except (TransientError, NotFound, ConfigError) as error:
        log.error("webhook %s: a delivery can't be taken now: %s", source.source, error)  # noqa: TRY400 - the reason is enough
        return Reply(503, "not now, send it again", {"Retry-After": _RETRY_S, **_PLAIN})
    return Reply(204)


def _handshake(webhook: Webhook, delivery: Delivery) -> str | None:
    """The token to echo, if this is Business Central asking whether we want to be told."""
    if not isinstance(webhook.signature, BusinessCentral):
        return None
    token = delivery.parameter("validationToken")
    return token if token and len(token) <= _LONGEST_TOKEN and token.isprintable() else None


async def _secrets(capture: Capture, names: Sequence[str]) -> list[str]:
    """The secrets that are set. NotFound if none is."""
    values: list[str] = []
    missing: NotFound | None = None
    for name in names:
        try:
            values.append((await capture.services.secrets.get(name)).strip())
        except NotFound as error:
            missing = error  # while one takes another's place, one of them may not be set yet or any more
    if missing is not None and not values:
        raise missing
    return values


async def _publish(capture: Capture, source: Source, delivery: Delivery, events: Sequence[Record | bytes]) -> None:
    """Publish each stream's share of the events. TransientError: nothing is promised."""
    shares: dict[str, list[Event]] = {}
    misfits: list[DeadLetter] = []
    for number, event in enumerate(events):
        stream = stream_of(source, event) if isinstance(event, dict) else ""
        if stream and isinstance(event, dict):
            shares.setdefault(stream, []).append(Event(identity_of(source, delivery, event, number), event))
        else:
            misfits.append(_misfit(source, event, capture.now_us()))
    await bury(capture.services, misfits)
    for stream, share in shares.items():
        await _publish_stream(capture, source, stream, delivery, share)


async def _publish_stream(
    capture: Capture, source: Source, stream: str, delivery: Delivery, events: Sequence[Event]
) -> None:
    services = capture.services
    deliveries = capture.deliveries(source.source, stream)
    now_us = capture.now_us()
    begun = await deliveries.begin(now_us)
    batch = Batch(services, source, stream, await services.events.partition_count(HUB))
    batch.begin(begun.run, begun.run_us)
    links: list[str] = []
    keys: list[str] = []
    told: set[str] = set()
    collections: list[str] = []
    for event in events:
        if event.identity and (event.identity in told or not deliveries.is_new(event.identity)):
            continue
        telling, key = _told(source, stream, delivery, event, batch, now_us)
        if telling is None:
            continue
        if key:
            keys.append(key)
        if telling.link:
            (collections if telling.many else links).append(telling.link)
        told.add(event.identity)
    records = await batch.publish()
    await deliveries.note(capture.key_sets(source.source, stream), begun.run, keys)
    await errands.send(capture, source.source, stream, links)
    await errands.send(capture, source.source, stream, collections, begins=errands.REREAD_ALL)
    deliveries.told(told - {""}, batch.greatest_us)
    await touch(services, source.source, stream, heard(source, now_us, records, batch.greatest_us))


def _told(
    source: Source, stream: str, delivery: Delivery, event: Event, batch: Batch, now_us: int
) -> tuple[Telling | None, str]:
    """What an event tells, its record in the batch; None if it became a dead letter. The key of a record that is."""
    try:
        telling = telling_of(source.streams[stream], delivery, event.record)
    except BadRecord as error:
        batch.set_aside(error, msgspec.json.encode(event.record, order="sorted"), now_us, told=True)
        return None, ""
    if telling.gone:
        batch.delete(telling.gone, now_us)
    if telling.record is None:
        return telling, ""
    event_record = dict(event.record)  # taking a record changes it, and it may be the event itself
    taken = batch.take(telling.record, now_us, "u" if telling.partial else "r", event=event_record)
    return (telling, taken.key if taken.op != "d" else "") if taken else (None, "")


def _misfit(source: Source, event: Record | bytes, at_us: int) -> DeadLetter:
    return DeadLetter(
        stage="capture",
        source=source.source,
        stream="",
        reason="is no JSON object" if isinstance(event, bytes) else "matches no stream of the source",
        body=event if isinstance(event, bytes) else msgspec.json.encode(event),
        at_us=at_us,
    )
