"""From packed events to columns: the lines of hub ``resolved`` as rows of each entity type."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from operator import attrgetter
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from flockiq.pipeline.types import TypeState
from flockiq.shared import wire
from flockiq.shared.deadletters import DeadLetter
from flockiq.shared.errors import BadRecord
from flockiq.shared.lanes import ABSENT, NULL, Int64s, Texts, lane_of
from flockiq.shared.layout import Layout
from flockiq.shared.positions import event_lane, own_key
from flockiq.shared.rows import ACTION, DELETE, UPSERT, Rows

STAGE = "process"


class _Kind(msgspec.Struct):
    type: str


Line = wire.RawResolved

_kind = msgspec.json.Decoder(_Kind)
_resolved = msgspec.json.Decoder(wire.RawResolved)
_tick = msgspec.json.Decoder(wire.Tick)
_action = msgspec.json.Decoder(wire.Action)
_fields = msgspec.json.Decoder(dict[str, str | int | float | bool | None])
_head = attrgetter("id", "source")
_data = attrgetter("op", "entity_id", "match_key", "group", "stream", "key", "ts_us", "run", "row")
_OPS = {"d": DELETE}


class Lines(NamedTuple):
    """The decoded lines of a batch; ``letters`` are those that are no lines at all."""

    resolved: list[Line]
    actions: list[wire.Action]
    tick_us: int  # the latest tick, 0 without one
    letters: list[DeadLetter]


def lines_of(bodies: Iterable[bytes], now_us: int) -> Lines:
    """Unpack and decode; a corrupt event or line becomes a dead letter and stops nothing else."""
    lines = Lines([], [], 0, [])
    tick_us = 0
    for body in bodies:
        try:
            text = wire.unpack(body)
            kind = _kind.decode(text[: text.find(b"\n")] if b"\n" in text else text).type
        except (BadRecord, msgspec.MsgspecError) as error:
            lines.letters.append(_unreadable(f"a packed event can't be read: {error}", body, now_us))
            continue
        if kind == wire.TICK:
            tick_us = max([tick_us, *(tick.data.at_us for tick in _tick.decode_lines(text))])
        elif kind == wire.ACTION:
            lines.actions.extend(_action.decode_lines(text))
        else:
            _decode_resolved(text, now_us, lines)
    return lines._replace(tick_us=tick_us)


def _decode_resolved(text: bytes, now_us: int, lines: Lines) -> None:
    try:
        lines.resolved.extend(_resolved.decode_lines(text))
    except msgspec.MsgspecError:
        for number, line in enumerate(text.split(b"\n"), 1):
            try:
                lines.resolved.append(_resolved.decode(line))
            except msgspec.MsgspecError as error:
                lines.letters.append(_unreadable(f"line {number}: {error}", line, now_us))


def rows_of(
    lines: Lines, types: Mapping[str, TypeState], texts: Texts, now_us: int
) -> tuple[dict[str, Rows], list[DeadLetter]]:
    """The rows of each entity type, and dead letters for what fits no type."""
    letters: list[DeadLetter] = []
    by_type: dict[str, list[Line]] = defaultdict(list)
    for line in lines.resolved:
        by_type[line.data.entity].append(line)
    rows: dict[str, Rows] = {}
    for name, found in by_type.items():
        state = types.get(name)
        if state is None:
            letters += [_letter(now_us, line, "", f"there is no entity type {name!r} in config") for line in found]
            continue
        known = {source: number for number, source in enumerate(state.plan.layout.sources)}
        good = [line for line in found if line.source in known]
        letters += [
            _letter(now_us, line, "", f"no stream of source {line.source!r} is mapped to {name!r}")
            for line in found
            if line.source not in known
        ]
        if good:
            rows[name], bad = _columns(good, state, known, texts, now_us)
            letters += bad
    for name, acted in _actions(lines.actions, types, texts).items():
        rows[name] = acted if name not in rows else _joined(rows[name], acted)
    return rows, letters


def _columns(
    found: Sequence[Line], state: TypeState, sources: Mapping[str, int], texts: Texts, now_us: int
) -> tuple[Rows, list[DeadLetter]]:
    n = len(found)
    value, bad = _values(found, state, texts)
    letters = [_letter(now_us, found[row], field, reason) for row, (field, reason) in sorted(bad.items())]
    ids, source = zip(*map(_head, found), strict=True)
    columns = zip(*map(_data, [line.data for line in found]), strict=True)
    op, entity_id, match_key, group, stream, key, ts_us, run, row = columns
    entity = np.fromiter(map(state.ids.index.get, entity_id, repeat(-1)), np.int64, n)
    for at in np.flatnonzero(entity < 0).tolist():
        shown = key[at] if match_key[at] == own_key(source[at], stream[at], key[at]) else match_key[at]
        entity[at], _ = state.entity(entity_id[at], match_key[at], group[at], texts.lane(shown))
    event = events(ids)
    texts.keep(dict(zip(event.tolist(), ids, strict=True)))
    lanes = texts.lanes.__getitem__
    rows = Rows(
        entity=entity,
        group=np.frombuffer(state.group_of, np.int64)[entity],
        source=np.fromiter(map(sources.__getitem__, source), np.int64, n),
        op=np.fromiter(map(_OPS.get, op, repeat(UPSERT)), np.int8, n),
        us=np.array(ts_us, np.int64),
        rr=np.array(run, np.int64) << 32 | np.array(row, np.int64),
        hash=event,
        key=np.fromiter(map(lanes, map("{}/{}".format, stream, key)), np.int64, n),
        shown=np.frombuffer(state.shown, np.int64)[entity],
        event=event,
        value=value,
        arrived_us=np.full(n, now_us, np.int64),
    )
    if not bad:
        return rows, letters
    keep = np.ones(n, np.bool_)
    keep[list(bad)] = False
    return rows.take(keep), letters


def events(ids: Sequence[str]) -> Int64s:
    """The lanes of event ids, which are 32 hexadecimal digits: their first 60 bits. Other texts are hashed."""
    try:
        first = np.frombuffer(bytes.fromhex("".join(ids)), ">u8")
        if len(first) == 2 * len(ids) and len(set(map(len, ids))) == 1:
            return (first[::2] >> 4).astype(np.int64)
    except ValueError:
        pass
    return np.array([event_lane(text) for text in ids], np.int64)


def _values(
    found: Sequence[Line], state: TypeState, texts: Texts
) -> tuple[npt.NDArray[np.int64], dict[int, tuple[str, str]]]:
    """int64 [n, F] lanes, and the rows of which a value does not fit: {row: (field, reason)}."""
    layout = state.plan.layout
    value = np.empty((len(found), len(layout.fields)), np.int64)
    said = b",".join([line.data.fields for line in found])
    try:
        columns = state.reader.columns(b"[" + said + b"]")
        for number, (field, column) in enumerate(zip(layout.fields, columns, strict=True)):
            lanes = texts.lanes if field.kind in ("string", "json") else state.reader.lanes[number]
            value[:, number] = np.fromiter(map(lanes.__getitem__, column), np.int64, len(found))
    except (msgspec.MsgspecError, ValueError, TypeError):
        return _one_by_one(found, layout, texts)
    return value, {}


def _one_by_one(
    found: Sequence[Line], layout: Layout, texts: Texts
) -> tuple[npt.NDArray[np.int64], dict[int, tuple[str, str]]]:
    """The same for a batch in which something does not fit: value by value, to say what."""
    value = np.full((len(found), len(layout.fields)), ABSENT, np.int64)
    bad: dict[int, tuple[str, str]] = {}
    for row, line in enumerate(found):
        try:
            said = _fields.decode(line.data.fields)
        except msgspec.MsgspecError as error:
            bad[row] = ("", str(error))
            continue
        for number, field in enumerate(layout.fields):
            if field.name not in said:
                continue
            try:
                value[row, number] = lane_of(field.kind, field.scale, said[field.name], texts)
            except (ValueError, TypeError) as error:
                bad.setdefault(row, (field.name, str(error)))
    return value, bad


def _actions(actions: Sequence[wire.Action], types: Mapping[str, TypeState], texts: Texts) -> dict[str, Rows]:
    """A person's resolutions as rows of the entity they are about; acknowledging needs no engine."""
    by_type: dict[str, list[tuple[wire.Action, int, int, int]]] = defaultdict(list)
    for line in actions:
        if line.data.action != "resolve":
            continue
        for name, state in types.items():
            watch = state.plan.by_name.get(line.data.rule)
            entity = state.ids.find(line.data.entity_id)
            if watch is not None and entity is not None:
                by_type[name].append((line, entity, state.group_of[entity], watch.number))
    return {name: _action_rows(found, types[name].plan.layout, texts) for name, found in by_type.items()}


def _action_rows(found: Sequence[tuple[wire.Action, int, int, int]], layout: Layout, texts: Texts) -> Rows:
    n = len(found)
    ids = [line.id for line, *_ in found]
    event = events(ids)
    texts.keep(dict(zip(event.tolist(), ids, strict=True)))
    at = np.array([line.data.at_us for line, *_ in found], np.int64)
    return Rows(
        entity=np.array([entity for _, entity, _, _ in found], np.int64),
        group=np.array([group for *_, group, _ in found], np.int64),
        source=np.zeros(n, np.int64),
        op=np.full(n, ACTION, np.int8),
        us=at,
        rr=np.array([number for *_, number in found], np.int64),
        hash=event,
        key=np.full(n, NULL, np.int64),
        shown=np.full(n, NULL, np.int64),
        event=event,
        value=np.full((n, len(layout.fields)), ABSENT, np.int64),
        arrived_us=at,
    )


def _joined(one: Rows, other: Rows) -> Rows:
    return Rows(**{name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in Rows.names})


def _letter(now_us: int, line: Line, field: str, reason: str) -> DeadLetter:
    data = line.data
    return DeadLetter(
        stage=STAGE,
        source=line.source,
        stream=data.stream,
        key=data.key,
        field=field,
        reason=reason,
        at_us=now_us,
        body=wire.encode(line),
    )


def _unreadable(reason: str, body: bytes, now_us: int) -> DeadLetter:
    return DeadLetter(stage=STAGE, source="", stream="", reason=reason, at_us=now_us, body=body)
