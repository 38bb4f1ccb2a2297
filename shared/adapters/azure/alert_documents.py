"""Alerts and their history as documents, and what a batch of transitions makes of them. Pure.

An alert is one document and each thing that happened to it another, in the partition of what it is about
(``/tenant``, ``/entity``), so that both are written together or not at all. What is queried are properties
of their own; the whole is JSON text in ``body``, since Cosmos DB keeps numbers as doubles.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from flockiq.shared import alerts as life
from flockiq.shared.adapters.azure.cosmos import name_id
from flockiq.shared.alerts import Alert, AlertTransition, HistoryEntry

MAX_OPERATIONS: Final = 100
MAX_BATCH_BYTES: Final = 900_000
"""Of one batch: the service takes 2 MB, but the SDK's HTTP client would have bodies over 1 MB streamed."""

MAX_STEP_BYTES: Final = 150_000
"""Of one transition: an alert is to be read by people, and its text may be thrice as long in a request."""

_OVERHEAD_BYTES: Final = 1_000  # of a document around its body
_MAX_ENTITY: Final = 500  # characters; a partition key has at most 2 KB
_LONG: Final = 1_000
_MANY: Final = 100

_encoder = msgspec.json.Encoder()
_alert = msgspec.json.Decoder(Alert)
_entry = msgspec.json.Decoder(HistoryEntry)


class Stored(NamedTuple):
    """An alert as the store has it; ``etag`` is "" before it is made, ``entries`` the length of its history."""

    alert: Alert
    etag: str
    entries: int


class Plan(NamedTuple):
    """One batch: what it writes, which transitions it tells, and how it is known again."""

    end: int  # of the transitions, those before are told when it is done
    changed: int
    after: Sequence[Stored]
    operations: Sequence[tuple[Any, ...]]  # as the SDK takes them: an alert each of ``after`` first, then entries
    stamp: str
    first_entry: str  # the id of one document that only this batch makes


def entity_of(subject: str) -> str:
    """The second component of the partition key for what an alert is about."""
    if len(subject) <= _MAX_ENTITY:
        return subject
    return "#" + hashlib.sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()


def place(opened_us: int, alert_id: str) -> str:
    """A text that sorts as (opened_us, id) does."""
    return f"{opened_us + 2**63:020d}:{alert_id}"


AFTER_ALL: Final = "~"
"""Sorts after every place."""


def stored(item: Mapping[str, Any]) -> Stored:
    """The alert that a document holds."""
    return Stored(_alert.decode(item["body"]), str(item["_etag"]), int(item["entries"]))


def alert(item: Mapping[str, Any]) -> Alert:
    """The alert in an answer that has no more than its body."""
    return _alert.decode(item["body"])


def history(items: Sequence[Mapping[str, Any]]) -> list[HistoryEntry]:
    """The entries that documents hold, oldest first; those of one moment as they happened."""
    told = sorted(
        ((_entry.decode(item["body"]), int(item["n"])) for item in items), key=lambda one: (one[0].at_us, one[1])
    )
    return [entry for entry, _ in told]


def waves(transitions: Sequence[AlertTransition]) -> Iterator[Mapping[str, Sequence[AlertTransition]]]:
    """Transitions by entity, in order; entities of one wave do not depend on each other.

    One that replaces an alert of another entity waits for what the batch tells of that one.
    """
    wave: dict[str, list[AlertTransition]] = {}
    told: dict[str, str] = {}
    for given in transitions:
        step = _readable(given)
        entity = entity_of(step.subject)
        if step.replaces and told.get(step.replaces, entity) != entity:
            yield wave
            wave, told = {}, {}
        wave.setdefault(entity, []).append(step)
        told[step.id] = entity
    if wave:
        yield wave


def plan(
    tenant: str, entity: str, steps: Sequence[AlertTransition], at: int, known: Mapping[str, Stored | None]
) -> Plan:
    """The next batch for one partition: as many of ``steps`` from ``at`` on as it can hold."""
    stamp = uuid.uuid4().hex
    after: dict[str, Stored] = {}
    bodies: dict[str, str] = {}
    entries: list[tuple[Any, ...]] = []
    held, end, first_entry = 0, at, ""
    for step in steps[at:]:
        before = after.get(step.id, known.get(step.id))
        replaced = after.get(step.replaces, known.get(step.replaces))
        changed = life.advance(before and before.alert, step, replaced and replaced.alert)
        if changed is not None:
            body, entry = _text(changed), _text(life.entry(step, changed))
            cost = _sent(body) - _sent(bodies.get(step.id, "")) + _sent(entry) + 2 * _OVERHEAD_BYTES
            if entries and (len({*after, step.id}) + len(entries) >= MAX_OPERATIONS or held + cost > MAX_BATCH_BYTES):
                break
            held += cost
            bodies[step.id] = body
            count = before.entries if before else 0
            after[step.id] = Stored(changed, before.etag if before else "", count + 1)
            entries.append(_happened(tenant, entity, changed.id, count, entry, stamp))
            first_entry = first_entry or entries[-1][1][0]["id"]
        end += 1
    written = [condition(_kept(tenant, entity, one, bodies[name], stamp), one.etag) for name, one in after.items()]
    return Plan(end, len(entries), list(after.values()), [*written, *entries], stamp, first_entry)


def acted(tenant: str, before: Stored, after: Alert, entry: HistoryEntry) -> Plan:
    """The batch that keeps what a person did."""
    stamp, entity = uuid.uuid4().hex, entity_of(after.subject)
    kept = before._replace(alert=after, entries=before.entries + 1)
    happened = _happened(tenant, entity, after.id, before.entries, _text(entry), stamp)
    written = condition(_kept(tenant, entity, kept, _text(after), stamp), before.etag)
    return Plan(1, 1, [kept], [written, happened], stamp, happened[1][0]["id"])


def restored(tenant: str, one: Alert, entries: Sequence[HistoryEntry]) -> list[tuple[Any, ...]]:
    """The operations that keep an alert and its history, the alert last: what is there is overwritten."""
    stamp, entity = uuid.uuid4().hex, entity_of(one.subject)
    kept = Stored(one, "", len(entries))
    happened = [
        ("upsert", _happened(tenant, entity, one.id, number, _text(entry), stamp)[1])
        for number, entry in enumerate(entries)
    ]
    return [*happened, ("upsert", (_kept(tenant, entity, kept, _text(one), stamp),))]


def condition(item: Mapping[str, Any], etag: str) -> tuple[Any, ...]:
    """The operation that makes a document where none is, or replaces it where it is as it was read."""
    if not etag:
        return ("create", (item,))
    return ("replace", (item["id"], item), {"if_match_etag": etag})


def _kept(tenant: str, entity: str, one: Stored, body: str, stamp: str) -> Mapping[str, Any]:
    return {
        "id": name_id(one.alert.id),
        "tenant": tenant,
        "entity": entity,
        "place": place(one.alert.opened_us, one.alert.id),
        "status": one.alert.status,
        "rule": one.alert.rule,
        "lasting": one.alert.lasting,
        "entries": one.entries,
        "write": stamp,
        "body": body,
    }


def _happened(tenant: str, entity: str, alert_id: str, number: int, body: str, stamp: str) -> tuple[Any, ...]:
    item = {
        "id": f"{name_id(alert_id)}@{number:06d}",
        "tenant": tenant,
        "entity": entity,
        "of": alert_id,
        "n": number,
        "write": stamp,
        "body": body,
    }
    return ("create", (item,))


def _text(told: Alert | HistoryEntry) -> str:
    return _encoder.encode(told).decode()


def _sent(text: str) -> int:
    """Bytes of ``text`` in a request: the SDK escapes what is not ASCII."""
    return len(json.dumps(text))


def _readable(step: AlertTransition) -> AlertTransition:
    """``step`` as it is, or with its long texts cut short: one that no document can hold must not stop the others."""
    if len(_encoder.encode(step)) <= MAX_STEP_BYTES:
        return step
    return msgspec.structs.replace(
        step,
        title=_short(step.title),
        recommend=_short(step.recommend),
        reason=_short(step.reason),
        labels={_short(name): _short(text) for name, text in list(step.labels.items())[:_MANY]},
        values={
            _short(name): _short(value) if isinstance(value, str) else value
            for name, value in list(step.values.items())[:_MANY]
        },
    )


def _short(text: str) -> str:
    return text if len(text) <= _LONG else text[:_LONG] + "…"
