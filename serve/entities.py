"""What is true of one thing, which source said so, and what the others say."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import cast

import msgspec

from flockiq.serve.queries import Row, ask
from flockiq.shared.alerts import Alert, AlertQuery
from flockiq.shared.config.entities import DriftModel
from flockiq.shared.config.load import config
from flockiq.shared.config.model import Entity as EntityType
from flockiq.shared.errors import NotFound
from flockiq.shared.services import Services

Value = str | int | float | bool | None

ALERTS_SHOWN = 50

_NUMERIC = re.compile(r"[-0-9.:]+")  # numbers and dates: there every character counts


class SourceValue(msgspec.Struct, frozen=True):
    """What one source says about one field."""

    source: str
    value: Value
    agrees: bool


class GoldenField(msgspec.Struct, frozen=True):
    """One field of the golden record: its value, where that comes from, what every source says."""

    field: str
    value: Value
    source: str  # "" when no source has a value
    rule: str  # the survivorship rule that decided
    us: int  # source time of the winning value, µs since the epoch; 0 when unknown
    until_us: int  # of a value that a person set: when the rules decide again; else 0
    override: str  # the id of what that person said; else ""
    watched: bool  # whether config says that sources should agree on it
    values: list[SourceValue]


class SourceRecord(msgspec.Struct, frozen=True):
    """A source's own record of the entity."""

    source: str
    stream: str
    key: str
    deleted: bool
    us: int  # source time of the newest thing it said, µs since the epoch
    event: str  # the change event that said it


class Delta(msgspec.Struct, frozen=True):
    """One change of one field; ``retracted`` when a later row took it back."""

    id: str
    field: str
    kind: str
    old: str
    new: str
    source: str
    source_time: str  # of what caused it
    old_source_time: str  # when the old value had been said last; "" where there was none, or nobody knows
    new_source_time: str  # the same of the new one: earlier than the cause where that lets another source's value win
    committed_at: str
    retracts: str
    retracted: bool


class Finding(msgspec.Struct, frozen=True):
    """What comparing found: sources that disagreed about a field, or a number unlike its own history."""

    id: str
    field: str
    kind: str  # drift or anomaly
    began_at: str
    ended_at: str  # of drift; "" while it lasts
    value: float | None  # of an anomaly, and in how many deviations from what was expected
    score: float | None
    expected: float | None
    low: float | None
    high: float | None


class Entity(msgspec.Struct, frozen=True):
    """One entity as it stands, and how it came to be so."""

    id: str
    type: str
    match_key: str
    name: str
    version: int
    updated_at: str
    source_time: str
    deleted: bool
    fields: list[GoldenField]
    records: list[SourceRecord]
    history: list[Delta]  # newest first, at most 200
    alerts: list[Alert]  # newest first, at most 50
    findings: list[Finding] = []  # newest first, at most 200
    overridable: list[str] = []  # the fields that a person may set


class EntityFound(msgspec.Struct, frozen=True):
    """An entity as a search shows it."""

    id: str
    type: str
    match_key: str
    name: str
    updated_at: str
    source_time: str  # of the newest thing a source said
    deleted: bool


async def search(services: Services, kind: str, text: str) -> list[EntityFound]:
    """Up to 50 entities by name: of type ``kind`` (all for ""), that ``text`` finds (all for "")."""
    rows = await ask(services, "entity_search", type=kind, text=text)
    return [
        EntityFound(
            id=_text(row["EntityId"]),
            type=_text(row["EntityType"]),
            match_key=_text(row["MatchKey"]),
            name=_text(row["Name"]),
            updated_at=_text(row["UpdatedAt"]),
            source_time=_text(row["SourceTime"]),
            deleted=bool(row["Deleted"]),
        )
        for row in rows
    ]


async def types(services: Services) -> dict[str, int]:
    """{entity type: how many there are}."""
    return {_text(row["EntityType"]): cast("int", row["Count"]) for row in await ask(services, "entity_types")}


async def entity(services: Services, entity_id: str) -> Entity:
    """One entity with its history and alerts. NotFound if there is none of this id."""
    rows, history, found_rows, alerts = await asyncio.gather(
        ask(services, "entity", id=entity_id),
        ask(services, "entity_history", id=entity_id),
        ask(services, "findings", id=entity_id),
        services.alerts.query(services.settings.tenant, AlertQuery(subject=entity_id, limit=ALERTS_SHOWN)),
    )
    if not rows:
        raise NotFound(f"there is no entity {entity_id!r}; search by name or key at /entities")
    known = config().entities.get(_text(rows[0]["EntityType"]))
    found = assemble(rows[0], history, alerts.alerts, known.drift if known else {})
    return msgspec.structs.replace(
        found, findings=[_finding(row) for row in found_rows], overridable=_overridable(known) if known else []
    )


def _overridable(known: EntityType) -> list[str]:
    """The fields that a person may set: none of a type that does not want it, never what places the entity."""
    return [field for field in known.fields if field != known.partition_by] if known.overrides else []


def assemble(row: Row, history: Sequence[Row], alerts: Sequence[Alert], watched: Mapping[str, DriftModel]) -> Entity:
    """An Entities row, its Deltas rows, its alerts and the fields watched for drift as one view. Pure."""
    fields = _object(row["Fields"])
    provenance = _object(row["Provenance"])
    sources = {name: _object(said) for name, said in _object(row["Sources"]).items()}
    own = {name: _object(said.get("values")) for name, said in sources.items() if not said.get("deleted")}
    names = list(fields) + [field for values in own.values() for field in values if field not in fields]
    return Entity(
        id=_text(row["EntityId"]),
        type=_text(row["EntityType"]),
        match_key=_text(row["MatchKey"]),
        name=name_of(fields) or _text(row["MatchKey"]),
        version=cast("int", row["Version"]),
        updated_at=_text(row["UpdatedAt"]),
        source_time=_text(row["SourceTime"]),
        deleted=bool(row["Deleted"]),
        fields=[
            _field(name, fields.get(name), _object(provenance.get(name)), own, watched=watched.get(name))
            for name in dict.fromkeys(names)
        ],
        records=[
            SourceRecord(
                source=name,
                stream=_text(said.get("stream")),
                key=_text(said.get("key")),
                deleted=bool(said.get("deleted")),
                us=_number(said.get("us")),
                event=_text(said.get("event")),
            )
            for name, said in sources.items()
        ],
        history=[_delta(delta) for delta in history],
        alerts=list(alerts),
    )


def name_of(fields: Mapping[str, object]) -> str:
    """What people call it: its name, or its first and last name."""
    person = (_text(fields.get("first_name")), _text(fields.get("last_name")))
    return _text(fields.get("name")) or " ".join(part for part in person if part)


def agree(said: object, golden: object, watched: DriftModel | None = None) -> bool:
    """Whether a source's value says the same as the golden one, as nearly as ``watched`` asks.

    Case and punctuation of a text say nothing here; an alert about them is the rules' affair.
    """
    if said is None or said == golden:
        return True
    if _NUMERIC.fullmatch(str(said)) and _NUMERIC.fullmatch(str(golden)):
        return watched is not None and _near(str(said), str(golden), watched)
    return isinstance(said, str) and isinstance(golden, str) and _letters(said) == _letters(golden)


def _near(said: str, golden: str, watched: DriftModel) -> bool:
    try:
        one, other = float(said), float(golden)
    except ValueError:
        return False  # a date
    allowed = max(watched.absolute or 0.0, (watched.relative or 0.0) * max(abs(one), abs(other)))
    return abs(one - other) <= allowed


def _letters(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())


def _field(
    name: str,
    value: object,
    provenance: Mapping[str, object],
    own: Mapping[str, Mapping[str, object]],
    *,
    watched: DriftModel | None,
) -> GoldenField:
    return GoldenField(
        field=name,
        value=_scalar(value),
        source=_text(provenance.get("source")),
        rule=_text(provenance.get("rule")),
        us=_number(provenance.get("us")),
        until_us=_number(provenance.get("until")),
        override=_text(provenance.get("override")),
        watched=watched is not None,
        values=[
            SourceValue(source=source, value=_scalar(values[name]), agrees=agree(values[name], value, watched))
            for source, values in own.items()
            if name in values
        ],
    )


def _delta(row: Row) -> Delta:
    return Delta(
        id=_text(row["DeltaId"]),
        field=_text(row["Field"]),
        kind=_text(row["Kind"]),
        old=_text(row["Old"]),
        new=_text(row["New"]),
        source=_text(row["Source"]),
        source_time=_text(row["SourceTime"]),
        old_source_time=_text(row["OldSourceTime"]),
        new_source_time=_text(row["NewSourceTime"]),
        committed_at=_text(row["CommittedAt"]),
        retracts=_text(row["Retracts"]),
        retracted=bool(row["IsRetracted"]),
    )


def _finding(row: Row) -> Finding:
    return Finding(
        id=_text(row["FindingId"]),
        field=_text(row["Field"]),
        kind=_text(row["Kind"]),
        began_at=_text(row["BeganAt"]),
        ended_at=_text(row["EndedAt"]),
        value=_real(row["Value"]),
        score=_real(row["Score"]),
        expected=_real(row["Expected"]),
        low=_real(row["Low"]),
        high=_real(row["High"]),
    )


def _real(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _object(value: object) -> Mapping[str, object]:
    """A dynamic column's object; empty for anything else, which only a foreign row could hold."""
    return value if isinstance(value, dict) else {}


def _scalar(value: object) -> Value:
    return value if isinstance(value, str | int | float | bool | None) else msgspec.json.encode(value).decode()


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _number(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0
