"""Subscriptions at Business Central: made, and renewed long before they expire.

learn.microsoft.com, "Working with webhooks in Dynamics 365 Business Central": a subscription lives for
three days; POST makes one, PATCH renews it, and both call our address with a validation token first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

from flockiq.capture.errands import PATIENCE_S, in_hand
from flockiq.capture.http.client import Answer, Tally
from flockiq.capture.lease import under_lease
from flockiq.capture.publish import publish
from flockiq.capture.sources import Capture
from flockiq.shared import wire
from flockiq.shared.config.sources import Source
from flockiq.shared.errors import ConfigError, Conflict, FlockIQError, LeaseLost, Problem, SourceError
from flockiq.shared.instants import rfc3339
from flockiq.shared.positions import bucket, hash_id

log = logging.getLogger("flockiq.capture")

HUB: Final = "work"
RENEW: Final = "renew"  # the ``slice`` of a work item that renews
PUBLIC_URL: Final = "FLOCKIQ_PUBLIC_URL"
_LOOK_US: Final = 10_000_000  # a renewal is not a matter of seconds, and each look is a read
_PATIENCE_US: Final = 60_000_000  # after a try that failed, or was sent and not carried out; then twice it, …
_DOUBLINGS: Final = 6
_JSON: Final = {"content-type": "application/json"}
_ANY: Final = {"if-match": "*"}
_TAKEN: Final = (400, 409)  # there is one for this resource already


class Subscription(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the registry keeps of a stream's subscription. Times are µs since the epoch."""

    id: str = ""
    renewed_us: int = 0
    tried_us: int = 0  # when a renewal was last put on hub work
    failures: int = 0  # renewals sent in a row that did not succeed
    error: str = ""


class _Made(msgspec.Struct):
    id: str = msgspec.field(name="subscriptionId")
    resource: str = ""
    url: str = msgspec.field(name="notificationUrl", default="")


class _List(msgspec.Struct):
    value: list[_Made]


_decode = msgspec.json.Decoder(Subscription).decode
_made = msgspec.json.Decoder(_Made).decode
_list = msgspec.json.Decoder(_List).decode


async def held_by(capture: Capture, source: str, stream: str) -> Subscription:
    """What is kept of a stream's subscription; an empty one if it has none."""
    document = await capture.services.registry.get(_key(capture, source, stream))
    return _decode(document.value) if document else Subscription()


def is_due(held: Subscription, now_us: int, every_us: int) -> bool:
    """Whether it is time to renew, and no renewal sent before is likely to be under way still."""
    patience = _PATIENCE_US << min(max(held.failures - 1, 0), _DOUBLINGS)
    return now_us >= held.renewed_us + every_us and now_us >= held.tried_us + (patience if held.failures else 0)


async def send_due(capture: Capture) -> int:
    """Put a renewal on hub work for every subscription whose time has come; how many. TransientError: again."""
    sent = 0
    if capture.now_us() < capture.renewals_us:
        return 0
    capture.renewals_us = capture.now_us() + _LOOK_US
    for source, stream in _subscribed(capture.sources.values()):
        webhook, now_us = source.webhook, capture.now_us()
        key = _key(capture, source.source, stream)
        document = await capture.services.registry.get(key)
        held = _decode(document.value) if document else Subscription()
        if webhook is None or webhook.subscription is None:
            continue
        if not is_due(held, now_us, webhook.subscription.renew_every):
            continue
        noted = msgspec.structs.replace(held, tried_us=now_us, failures=held.failures + 1)
        try:
            await capture.services.registry.put(key, msgspec.json.encode(noted), document.etag if document else None)
        except Conflict:
            continue  # just renewed, or another sends it
        await _send(capture, source.source, stream, now_us)
        sent += 1
    return sent


async def _send(capture: Capture, source: str, stream: str, now_us: int) -> None:
    work = wire.Work(
        id=hash_id(capture.tenant, source, stream, RENEW, str(now_us)),
        source=source,
        type=wire.WORK,
        time=rfc3339(now_us),
        tenant=capture.tenant,
        data=wire.WorkData(source=source, stream=stream, slice=RENEW, due_us=now_us, sent_us=now_us),
    )
    partitions = await capture.services.events.partition_count(HUB)
    place = bucket(f"{capture.tenant}\x1f{source}\x1f{stream}", partitions)
    await publish(capture.services.events, HUB, [*wire.pack(place, wire.WORK, [wire.encode(work)])])


def is_renewal(work: wire.Work) -> bool:
    """Whether a work item renews a subscription."""
    return work.data.slice == RENEW


async def run(capture: Capture, works: Iterable[wire.Work]) -> None:
    """Carry out renewals, waiting no longer than PATIENCE_S for slow ones. What fails is tried again later."""
    tasks = {
        in_hand(capture, f"{work.source} renewal", _under_lease(capture, work.data))
        for work in works
        if work.tenant == capture.tenant
    }
    if tasks:
        await asyncio.wait(tasks, timeout=PATIENCE_S)


async def _under_lease(capture: Capture, work: wire.WorkData) -> None:
    """Make or renew a stream's subscription, unless that was done since."""
    source = capture.sources.get(work.source)
    if source is None or (source, work.stream) not in list(_subscribed([source])):
        return
    try:
        name = f"subscription/{capture.tenant}/{work.source}/{work.stream}"
        ttl_s = capture.services.settings.lease_s
        await under_lease(capture.services.registry, name, partial(_renew, capture, source, work), ttl_s=ttl_s)
    except (LeaseLost, Conflict) as error:
        log.info("%s/%s: %s", work.source, work.stream, error)


async def _renew(capture: Capture, source: Source, work: wire.WorkData) -> None:
    registry, key = capture.services.registry, _key(capture, source.source, work.stream)
    document = await registry.get(key)
    held = _decode(document.value) if document else Subscription()
    if held.renewed_us >= work.sent_us:
        return
    now_us = capture.now_us()
    try:
        subscribed = await _subscribe(capture, source, work.stream, held.id)
        after = msgspec.structs.replace(held, id=subscribed, renewed_us=now_us, failures=0, error="")
        log.info("%s/%s: the subscription %s is renewed", source.source, work.stream, subscribed)
    except FlockIQError as error:
        after = msgspec.structs.replace(held, error=str(error)[:500])
        log.error("%s/%s: the subscription is not renewed: %s", source.source, work.stream, error)  # noqa: TRY400 - the reason is enough
    await registry.put(key, msgspec.json.encode(after), document.etag if document else None)


async def _subscribe(capture: Capture, source: Source, stream: str, known: str) -> str:
    """Renew ``known``, or make a new one; its id. SourceError, SourceUnavailable, ConfigError, NotFound."""
    webhook = source.webhook
    if webhook is None or webhook.subscription is None:
        raise SourceError(f"{source.source} has no webhook.subscription any more")
    client = capture.client(source)
    secret = await capture.services.secrets.get(webhook.signature.secrets[0])
    resource = str(client.origins.resolve(source.streams[stream].path))
    wanted = {"notificationUrl": _address(capture, source), "resource": resource, "clientState": secret.strip()}
    body, path = msgspec.json.encode(wanted), webhook.subscription.path
    if known and (await client.send("PATCH", _one(path, known), body, _JSON | _ANY, Tally())).ok:
        return known
    answer = await client.send("POST", path, body, _JSON, Tally())
    if answer.status in _TAKEN and (held := _ours(await client.get(path, {}, Tally()), wanted)):
        answer = await client.send("PATCH", _one(path, held), body, _JSON | _ANY, Tally())
    if not answer.ok:
        raise SourceError(f"subscriptions answers {answer.status}: {_said(answer)}")
    try:
        return _made(answer.body).id
    except (msgspec.DecodeError, RecursionError) as error:
        raise SourceError(f"subscriptions answers without a subscriptionId: {error}"[:300]) from error


def _said(answer: Answer) -> str:
    """The beginning of what was answered, on one line."""
    text = answer.body[:300].decode("utf-8", "replace")
    return "".join(character if character.isprintable() else " " for character in text) or "without a reason"


def _one(path: str, subscription: str) -> str:
    return f"{path}('{quote(subscription, safe='')}')"


def _ours(answer: Answer, wanted: Mapping[str, str]) -> str:
    """The id of the subscription that stands in the way: the same resource, told to us; "" if there is none."""
    try:
        made = _list(answer.body).value if answer.ok else []
    except (msgspec.DecodeError, RecursionError):
        return ""
    path = urlsplit(wanted["resource"]).path
    for each in made:
        # It may be written as we wrote it, or from the root of the API.
        if each.url == wanted["notificationUrl"] and path.endswith(urlsplit(each.resource).path or "?"):
            return each.id
    return ""


def _address(capture: Capture, source: Source) -> str:
    public = capture.environment.get(PUBLIC_URL, "").rstrip("/")
    if not public.startswith("https://") and not (source.connection and source.connection.allow_private):
        raise ConfigError(
            [Problem(PUBLIC_URL, 0, "", "is not set, or not https", "the address at which senders reach the app")]
        )
    return f"{public}/api/webhooks/{source.source}"


def _subscribed(sources: Iterable[Source]) -> Iterator[tuple[Source, str]]:
    """The streams that are subscribed to."""
    for source in sources:
        if source.enabled and source.webhook is not None and source.webhook.subscription is not None:
            yield from ((source, name) for name, stream in source.streams.items() if stream.webhook is not None)


def _key(capture: Capture, source: str, stream: str) -> str:
    return f"subscription/{capture.tenant}/{source}/{stream}"
