"""The telling of a batch row by row, as plainly as it can be said: what the telling by columns is held against."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec
import numpy as np

from flockiq.compare.deltas import KINDS
from flockiq.merge.golden import DELETED, UNSEEN
from flockiq.merge.survivorship import FOLLOWED
from flockiq.pipeline.tellings import About
from flockiq.pipeline.types import Effect, TypeState
from flockiq.pipeline.world import DeltaRows
from flockiq.shared import wire
from flockiq.shared.instants import rfc3339
from flockiq.shared.lanes import ABSENT, NULL, Int64s, Scalar, Texts, value_of
from flockiq.shared.layout import Layout
from flockiq.shared.positions import bucket, hash_id

Row = dict[str, object]

_encode = msgspec.json.Encoder().encode
_time = lru_cache(maxsize=1 << 16)(rfc3339)  # rows of a batch share their times


class DeltaRow(msgspec.Struct):
    """A row of table Deltas."""

    DeltaId: str
    Tenant: str
    EntityType: str
    EntityId: str
    MatchKey: str
    Field: str
    Kind: str
    Old: str
    New: str
    RelativeChange: float | None
    Source: str
    CauseId: str
    SourceTime: str
    OldSourceTime: str | None
    NewSourceTime: str | None
    CommittedAt: str
    Retracts: str


class _Line(wire.Envelope, frozen=True, kw_only=True):
    """A line of hub ``entities`` or ``deltas`` whose data is encoded already."""

    subject: str
    data: msgspec.Raw


class PlainTelling:
    """Collects what every entity type of a batch has to tell; ``lines`` by kind and partition of the hub."""

    def __init__(self, about: About, texts: Texts) -> None:
        self.tenant = about.tenant
        self.commit = about.commit
        self.version = about.version
        self.now = rfc3339(about.now_us)
        self.texts = texts
        self.partitions = about.placing.partitions
        self.entities: list[bytes] = []
        self.deltas: list[bytes] = []
        self.lines: dict[tuple[str, int], list[bytes]] = defaultdict(list)
        self._partitions: dict[str, int] = {}

    def tell(self, state: TypeState, effect: Effect) -> None:
        """Everything one entity type's batch did."""
        for entity, row in zip(effect.entities.tolist(), entity_rows(state, effect.entities, self.texts), strict=True):
            row |= {"Tenant": self.tenant, "Version": self.version, "UpdatedAt": self.now}
            body = _encode(row)
            self.entities.append(body)
            self._line(
                wire.ENTITY, state, entity, f"{state.ids.names[entity]}:{self.commit}", str(row["SourceTime"]), body
            )
        self._deltas(state, effect.retracted, retracted=True)
        self._deltas(state, effect.deltas)

    def _line(self, kind: str, state: TypeState, entity: int, line_id: str, time: str, body: bytes) -> None:
        group = state.groups.names[state.group_of[entity]]
        partition = self._partitions.get(group)
        if partition is None:
            partition = self._partitions[group] = bucket(group, self.partitions)
        subject = f"{state.plan.layout.entity}/{state.ids.names[entity]}"
        line = _Line(
            id=line_id,
            source="flockiq",
            type=kind,
            time=time,
            tenant=self.tenant,
            subject=subject,
            data=msgspec.Raw(body),
        )
        self.lines[kind, partition].append(_encode(line))

    def _deltas(self, state: TypeState, told: DeltaRows, *, retracted: bool = False) -> None:
        layout, texts = state.plan.layout, self.texts
        ids, match_keys = state.ids.names, state.match_keys
        columns = zip(*(column.tolist() for column in told), strict=True)
        for entity, number, kind, old, new, event, us, _, source, old_us, new_us in columns:
            field = layout.fields[number]
            was = value_of(field.kind, field.scale, old, texts)
            now = value_of(field.kind, field.scale, new, texts)
            cause, before, after = texts.text(event), _text(was), _text(now)
            delta = hash_id(ids[entity], field.name, cause, before, after)
            row = DeltaRow(
                DeltaId=hash_id(delta, "retracted", str(self.commit)) if retracted else delta,
                Tenant=self.tenant,
                EntityType=layout.entity,
                EntityId=ids[entity],
                MatchKey=match_keys[entity],
                Field=field.name,
                Kind="retracted" if retracted else KINDS[kind],
                Old=before,
                New=after,
                RelativeChange=_relative(field.kind, was, now),
                Source=layout.sources[source],
                CauseId=cause,
                SourceTime=_time(us),
                OldSourceTime=None if old_us == NULL else _time(old_us),
                NewSourceTime=None if new_us == NULL else _time(new_us),
                CommittedAt=self.now,
                Retracts=delta if retracted else "",
            )
            body = _encode(row)
            self.deltas.append(body)
            self._line(wire.DELTA, state, entity, row.DeltaId, row.SourceTime, body)


def entity_rows(state: TypeState, entities: Int64s, texts: Texts) -> Iterator[Row]:
    """Golden records with the source of every field and what each source says."""
    layout, golden = state.plan.layout, state.live.golden.take(entities)
    value = golden.value
    rows, sources, numbers = (np.arange(size) for size in value.shape)
    said_us, said_rr, _ = golden.positions(rows[:, None, None], sources[:, None], numbers)
    filled = ((value != ABSENT) & (value != NULL)).sum(axis=1).tolist()
    columns = zip(
        entities.tolist(),
        golden.golden.tolist(),
        value.tolist(),
        said_us.tolist(),
        said_rr.tolist(),
        golden.winner.tolist(),
        golden.rule.tolist(),
        golden.state.tolist(),
        golden.key.tolist(),
        golden.event.tolist(),
        golden.seen_us.tolist(),
        filled,
        strict=True,
    )
    for entity, lanes, values, us, rr, winners, rules, states, keys, events, seen, candidates in columns:
        fields: dict[str, Scalar] = {}
        provenance: dict[str, Row] = {}
        for number, field in enumerate(layout.fields):
            if lanes[number] == ABSENT:
                continue
            source = winners[number]
            fields[field.name] = value_of(field.kind, field.scale, lanes[number], texts)
            provenance[field.name] = {
                "source": layout.sources[source],
                "rule": _rule(rules[number], layout.survivorship[number], candidates[number]),
                "us": us[source][number],
                "run": rr[source][number] >> 32,
                "row": rr[source][number] & 0xFFFFFFFF,
            }
        said = {
            name: _source(layout, states[at], values[at], texts.text(keys[at]), texts.text(events[at]), seen[at], texts)
            for at, name in enumerate(layout.sources)
            if states[at] != UNSEEN
        }
        yield {
            "EntityType": layout.entity,
            "EntityId": state.ids.names[entity],
            "MatchKey": state.match_keys[entity],
            "SourceTime": _time(max(*seen, 0)),
            "Deleted": all(one in (DELETED, UNSEEN) for one in states),
            "Fields": fields,
            "Provenance": provenance,
            "Sources": said,
        }


def _source(layout: Layout, state: int, lanes: list[int], key: str, event: str, us: int, texts: Texts) -> Row:
    stream, _, record = key.partition("/")
    return {
        "key": record,
        "stream": stream,
        "deleted": state == DELETED,
        "us": us,
        "event": event,
        "values": {
            field.name: value_of(field.kind, field.scale, lane, texts)
            for field, lane in zip(layout.fields, lanes, strict=True)
            if lane != ABSENT
        },
    }


def _rule(rule: int, cascade: Sequence[str], candidates: int) -> str:
    """Why a value won: the rule that decided, or that there was nothing to decide."""
    if candidates <= 1:
        return "only"
    if rule == FOLLOWED:
        return "together"
    return cascade[rule] if 0 <= rule < len(cascade) else "first"


def _relative(kind: str, old: Scalar, new: Scalar) -> float | None:
    if kind not in ("decimal", "integer", "float") or old is None or new is None or not float(old):
        return None
    return (float(new) - float(old)) / abs(float(old))


def _text(value: Scalar) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else _encode(value).decode()
