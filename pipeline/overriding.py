"""From what people say of golden fields to rows: lines of hub ``resolved``, and what ends in time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from flockiq.pipeline.decode import STAGE, events, joined
from flockiq.pipeline.overrides import Override
from flockiq.pipeline.types import TypeState
from flockiq.shared import wire
from flockiq.shared.deadletters import DeadLetter
from flockiq.shared.errors import BadRecord
from flockiq.shared.fields import Field as Canonical
from flockiq.shared.fields import canonical
from flockiq.shared.lanes import ABSENT, NULL, Texts, lane_of
from flockiq.shared.positions import event_lane, hash_id
from flockiq.shared.rows import ENDS, UPSERT, Rows

_SHOWN = 80  # characters of what somebody else wrote


class Told(NamedTuple):
    """One row to be made: of which entity and field, at what time, and what it says or which override it ends."""

    entity: int
    field: int
    op: int
    us: int
    event: str
    lane: int  # of the value; NULL for a row that ends
    ends: str  # the id of the override that it ends


def add_overrides(
    rows: dict[str, Rows], lines: Sequence[wire.Override], types: Mapping[str, TypeState], texts: Texts, now_us: int
) -> list[DeadLetter]:
    """Add the rows of what people said to each entity type's; dead letters for what does not fit."""
    told: dict[str, list[Told]] = defaultdict(list)
    letters: list[DeadLetter] = []
    for line in lines:
        try:
            said = _told(line, types, texts)
        except BadRecord as error:
            letters.append(_refused(now_us, line, error))
        else:
            told[line.data.entity].append(said)
    for name, found in told.items():
        _add(rows, name, types[name], found, texts, now_us)
    return letters


def end_overrides(
    rows: dict[str, Rows], clock_us: int, types: Mapping[str, TypeState], texts: Texts, now_us: int
) -> None:
    """Add the rows that end what has been set until a time that has come."""
    for name, state in types.items():
        numbers = state.plan.layout.numbers
        due = [one for one in state.overrides.due(clock_us) if one.field in numbers and state.plan.layout.overrides]
        ends = [
            Told(one.entity, numbers[one.field], ENDS, one.until_us, hash_id(one.id, "ended"), NULL, one.id)
            for one in due
        ]
        _add(rows, name, state, ends, texts, now_us)


def _told(line: wire.Override, types: Mapping[str, TypeState], texts: Texts) -> Told:
    """The row that a line asks for. BadRecord says what of it does not fit."""
    data, state = line.data, types.get(line.data.entity)
    if state is None:
        raise BadRecord(f"there is no entity type {data.entity[:_SHOWN]!r} in config", field="entity")
    layout = state.plan.layout
    number = layout.numbers.get(data.field)
    if not layout.overrides:
        raise BadRecord(f"{layout.entity} takes no overrides: set overrides: true in its config", field="entity")
    if number is None:
        raise BadRecord(f"{layout.entity} has no field {data.field[:_SHOWN]!r}", field="field")
    if not data.ends and data.until_us <= data.at_us:
        raise BadRecord("it is over before it begins", field="until_us")
    field = layout.fields[number]
    said = canonical(Canonical(field.name, field.kind, field.scale), data.value)
    entity, _ = state.entity(data.entity_id, data.match_key, data.group, texts.lane(data.match_key))
    if data.ends:
        return Told(entity, number, ENDS, data.at_us, line.id, NULL, data.ends)
    lane = lane_of(field.kind, field.scale, said, texts)
    state.overrides.add(Override(id=line.id, entity=entity, field=field.name, until_us=data.until_us, by=data.by))
    return Told(entity, number, UPSERT, data.at_us, line.id, lane, "")


def _add(rows: dict[str, Rows], name: str, state: TypeState, told: Sequence[Told], texts: Texts, now_us: int) -> None:
    if told:
        more = _rows(told, state, texts, now_us)
        rows[name] = joined(rows[name], more) if name in rows else more


def _rows(told: Sequence[Told], state: TypeState, texts: Texts, now_us: int) -> Rows:
    n, layout = len(told), state.plan.layout
    entity, event = np.array([one.entity for one in told], np.int64), events([one.event for one in told], texts)
    value = np.full((n, len(layout.fields)), ABSENT, np.int64)
    value[np.arange(n), [one.field for one in told]] = [one.lane for one in told]
    return Rows(
        entity=entity,
        group=np.frombuffer(state.group_of, np.int64)[entity],
        source=np.full(n, len(layout.sources), np.int64),
        op=np.array([one.op for one in told], np.int8),
        us=np.array([one.us for one in told], np.int64),
        rr=np.zeros(n, np.int64),
        key=np.array([event_lane(one.ends) if one.ends else NULL for one in told], np.int64),
        shown=np.frombuffer(state.shown, np.int64)[entity],
        event=event,
        value=value,
        arrived_us=np.full(n, now_us, np.int64),
        revision=np.zeros(n, np.int64),
    )


def _refused(now_us: int, line: wire.Override, error: BadRecord) -> DeadLetter:
    return DeadLetter(
        stage=STAGE,
        source=line.source,
        stream="",
        key=line.data.match_key,
        field=error.field,
        reason=error.reason,
        at_us=now_us,
        body=wire.encode(line),
    )
