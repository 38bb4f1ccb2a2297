"""What a batch tells the world: golden records, deltas and alerts, as rows and lines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from flockiq.compare.deltas import KINDS
from flockiq.merge.golden import DELETED, UNSEEN
from flockiq.pipeline.types import Effect, TypeState
from flockiq.pipeline.world import DeltaRows
from flockiq.shared import wire
from flockiq.shared.alerts import AlertTransition
from flockiq.shared.instants import rfc3339
from flockiq.shared.lanes import ABSENT, NULL, Int64s, Scalar, Texts, value_of
from flockiq.shared.outbox import Outbox
from flockiq.shared.ports import OutgoingEvent
from flockiq.shared.positions import bucket, hash_id
from flockiq.signal.episodes import Step
from flockiq.signal.rows import alert_rows
from flockiq.signal.watch import fill

Row = dict[str, object]
MAX_REVISIONS = 1 << 20  # transitions of one commit that revisions can tell apart

_encode = msgspec.json.Encoder().encode
_lines = msgspec.json.Encoder().encode_lines


class Telling:
    """Collects what every entity type of a batch has to tell."""

    def __init__(self, tenant: str, commit: int, now_us: int, texts: Texts, partitions: int) -> None:
        self.tenant = tenant
        self.commit = commit
        self.now = rfc3339(now_us)
        self.now_us = now_us
        self.texts = texts
        self.partitions = partitions  # of hubs entities and deltas
        self.entities: list[Row] = []
        self.deltas: list[Row] = []
        self.transitions: list[AlertTransition] = []
        self._lines: dict[tuple[str, int], list[bytes]] = defaultdict(list)

    def tell(self, state: TypeState, effect: Effect) -> None:
        """Everything one entity type's batch did."""
        for entity in effect.entities.tolist():
            self._entity(state, entity)
        retracted = self._delta_rows(state, effect.retracted)
        for row in retracted:
            row |= {"Kind": "retracted", "Retracts": row["DeltaId"]}
            row["DeltaId"] = hash_id(str(row["DeltaId"]), "retracted", str(self.commit))
        self._deltas(state, effect.retracted, retracted)
        self._deltas(state, effect.deltas, self._delta_rows(state, effect.deltas))
        self.steps(state, effect.steps)

    def steps(self, state: TypeState, steps: Iterable[Step]) -> None:
        """The alerts' transitions."""
        by_name = state.plan.by_name
        withdrawn: dict[tuple[int, str], str] = {}
        for step in steps:
            watch = by_name.get(step.episode.rule)
            if watch is None:
                continue
            episode, entity = step.episode, state.ids.names[step.entity]
            fingerprint = hash_id(self.tenant, episode.rule, entity)
            cause = self.texts.text(episode.cause)
            alert_id = hash_id(fingerprint, cause)
            slot = (step.entity, episode.rule)
            replaces = withdrawn.pop(slot, "") if step.change in ("open", "fire") else ""
            if step.change == "withdraw":
                withdrawn[slot] = alert_id
            self.transitions.append(
                AlertTransition(
                    id=alert_id,
                    revision=self.commit * MAX_REVISIONS + len(self.transitions),
                    change=step.change,
                    at_us=step.at_us,
                    fingerprint=fingerprint,
                    rule=episode.rule,
                    kind=watch.kind,
                    severity=watch.severity,
                    subject_type=state.plan.layout.entity,
                    subject=entity,
                    title=fill(watch.title, episode.values),
                    opened_us=episode.opened_us,
                    cause=cause,
                    reason=step.reason,
                    count=episode.count,
                    match_key=state.match_keys[step.entity],
                    group=state.groups.names[state.group_of[step.entity]],
                    recommend=fill(watch.recommend, episode.values),
                    labels=dict(watch.labels),
                    values=episode.values,
                    replaces=replaces,
                    source_us=episode.last_us,
                )
            )

    def outbox(self) -> Outbox:
        """All of it, packed."""
        events: dict[str, list[OutgoingEvent]] = defaultdict(list)
        for (kind, partition), lines in self._lines.items():
            hub = "entities" if kind == wire.ENTITY else "deltas"
            events[hub] += wire.pack(partition, kind, lines)
        tables = {
            "Entities": _lines(self.entities),
            "Deltas": _lines(self.deltas),
            "Alerts": alert_rows(self.transitions, self.tenant),
        }
        return Outbox(
            events=dict(events),
            transitions=self.transitions,
            rows={table: rows for table, rows in tables.items() if rows},
        )

    def _line(self, kind: str, state: TypeState, entity: int, line_id: str, row: Row) -> None:
        line = {
            "specversion": "1.0",
            "id": line_id,
            "source": "flockiq",
            "type": kind,
            "subject": f"{state.plan.layout.entity}/{state.ids.names[entity]}",
            "time": row["SourceTime"],
            "tenant": self.tenant,
            "data": row,
        }
        partition = bucket(state.groups.names[state.group_of[entity]], self.partitions)
        self._lines[kind, partition].append(_encode(line))

    def _entity(self, state: TypeState, entity: int) -> None:
        row = entity_row(state, entity, self.texts) | {
            "Tenant": self.tenant,
            "Version": self.commit,
            "UpdatedAt": self.now,
        }
        self.entities.append(row)
        self._line(wire.ENTITY, state, entity, hash_id(state.ids.names[entity], str(self.commit)), row)

    def _deltas(self, state: TypeState, told: DeltaRows, rows: Sequence[Row]) -> None:
        self.deltas += rows
        for entity, row in zip(told.entity.tolist(), rows, strict=True):
            self._line(wire.DELTA, state, entity, str(row["DeltaId"]), row)

    def _delta_rows(self, state: TypeState, told: DeltaRows) -> list[Row]:
        layout, texts = state.plan.layout, self.texts
        rows: list[Row] = []
        for entity, number, kind, old, new, event, us, _, source in zip(*(c.tolist() for c in told), strict=True):
            field = layout.fields[number]
            was = value_of(field.kind, field.scale, old, texts)
            now = value_of(field.kind, field.scale, new, texts)
            cause = texts.text(event)
            rows.append(
                {
                    "DeltaId": hash_id(state.ids.names[entity], field.name, cause, _text(was), _text(now)),
                    "Tenant": self.tenant,
                    "EntityType": layout.entity,
                    "EntityId": state.ids.names[entity],
                    "MatchKey": state.match_keys[entity],
                    "Field": field.name,
                    "Kind": KINDS[kind],
                    "Old": _text(was),
                    "New": _text(now),
                    "RelativeChange": _relative(field.kind, was, now),
                    "Source": layout.sources[source],
                    "CauseId": cause,
                    "SourceTime": rfc3339(us),
                    "CommittedAt": self.now,
                    "Retracts": "",
                }
            )
        return rows


def entity_row(state: TypeState, entity: int, texts: Texts) -> Row:
    """A golden record with the source of every field and what each source says."""
    layout, golden = state.plan.layout, state.live.golden
    fields: dict[str, Scalar] = {}
    provenance: dict[str, Row] = {}
    positions, runs = golden.us[entity].tolist(), golden.rr[entity].tolist()
    winners, rules = golden.winner[entity].tolist(), golden.rule[entity].tolist()
    for number, (field, lane) in enumerate(zip(layout.fields, golden.golden[entity].tolist(), strict=True)):
        if lane == ABSENT:
            continue
        fields[field.name] = value_of(field.kind, field.scale, lane, texts)
        source, cascade = winners[number], layout.survivorship[number]
        run = runs[source][number]
        provenance[field.name] = {
            "source": layout.sources[source],
            "rule": _rule(rules[number], cascade, golden.value[entity][:, number]),
            "us": positions[source][number],
            "run": run >> 32,
            "row": run & 0xFFFFFFFF,
        }
    states = golden.state[entity].tolist()
    said = {name: _source(state, entity, number, texts) for number, name in enumerate(layout.sources) if states[number]}
    seen = int(golden.seen_us[entity].max())
    return {
        "EntityType": layout.entity,
        "EntityId": state.ids.names[entity],
        "MatchKey": state.match_keys[entity],
        "SourceTime": rfc3339(max(seen, 0)),
        "Deleted": all(one in (DELETED, UNSEEN) for one in states),
        "Fields": fields,
        "Provenance": provenance,
        "Sources": said,
    }


def _source(state: TypeState, entity: int, source: int, texts: Texts) -> Row:
    layout, golden = state.plan.layout, state.live.golden
    lanes = golden.value[entity, source].tolist()
    stream, _, key = texts.text(int(golden.key[entity, source])).partition("/")
    return {
        "key": key,
        "stream": stream,
        "deleted": int(golden.state[entity, source]) == DELETED,
        "us": int(golden.seen_us[entity, source]),
        "event": texts.text(int(golden.event[entity, source])),
        "values": {
            field.name: value_of(field.kind, field.scale, lane, texts)
            for field, lane in zip(layout.fields, lanes, strict=True)
            if lane != ABSENT
        },
    }


def _rule(rule: int, cascade: Sequence[str], values: Int64s) -> str:
    """Why a value won: the rule that decided, or that there was nothing to decide."""
    if int(((values != ABSENT) & (values != NULL)).sum()) <= 1:
        return "only"
    return cascade[rule] if 0 <= rule < len(cascade) else "first"


def _relative(kind: str, old: Scalar, new: Scalar) -> float | None:
    if kind not in ("decimal", "integer", "float") or old is None or new is None or not float(old):
        return None
    return (float(new) - float(old)) / abs(float(old))


def _text(value: Scalar) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else _encode(value).decode()
