"""From packed events to columns: the lines of hub ``resolved`` as rows of each entity type."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from flockiq.pipeline.types import TypeState
from flockiq.shared import wire
from flockiq.shared.deadletters import DeadLetter
from flockiq.shared.errors import BadRecord
from flockiq.shared.lanes import ABSENT, NULL, Texts, lane_of, lanes_of
from flockiq.shared.layout import Layout
from flockiq.shared.positions import hash64, own_key
from flockiq.shared.rows import ACTION, DELETE, UPSERT, Rows

STAGE = "process"
_HASH_MASK = (1 << 61) - 1


class _Kind(msgspec.Struct):
    type: str


_kind = msgspec.json.Decoder(_Kind)
_resolved = msgspec.json.Decoder(wire.Resolved)
_tick = msgspec.json.Decoder(wire.Tick)
_action = msgspec.json.Decoder(wire.Action)


class Lines(NamedTuple):
    """The decoded lines of a batch; ``letters`` are those that are no lines at all."""

    resolved: list[wire.Resolved]
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
    by_type: dict[str, list[wire.Resolved]] = defaultdict(list)
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
    found: Sequence[wire.Resolved],
    state: TypeState,
    sources: Mapping[str, int],
    texts: Texts,
    now_us: int,
) -> tuple[Rows, list[DeadLetter]]:
    layout = state.plan.layout
    value, bad = _values(found, layout, texts)
    letters = [_letter(now_us, found[row], field, reason) for row, (field, reason) in sorted(bad.items())]
    keep = np.array([row for row in range(len(found)) if row not in bad], np.int64)
    data = [line.data for line in found]
    numbers = [state.entity(line.entity_id, line.match_key, line.group) for line in data]
    rows = Rows(
        entity=np.array([entity for entity, _ in numbers], np.int64),
        group=np.array([group for _, group in numbers], np.int64),
        source=np.array([sources[line.source] for line in found], np.int64),
        op=np.array([DELETE if line.op == "d" else UPSERT for line in data], np.int8),
        us=np.array([line.ts_us for line in data], np.int64),
        rr=np.array([line.run << 32 | line.row for line in data], np.int64),
        hash=np.array([hash64(line.id) & _HASH_MASK for line in found], np.int64),
        key=np.array([texts.lane(f"{line.stream}/{line.key}") for line in data], np.int64),
        shown=np.array([texts.lane(_shown(line)) for line in found], np.int64),
        event=np.array([texts.lane(line.id) for line in found], np.int64),
        value=value,
        arrived_us=np.full(len(found), now_us, np.int64),
    )
    return (rows.take(keep) if bad else rows), letters


def _values(
    found: Sequence[wire.Resolved], layout: Layout, texts: Texts
) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.int64]], dict[int, tuple[str, str]]]:
    """int64 [n, F] lanes, and the rows of which a value does not fit: {row: (field, reason)}."""
    value = np.full((len(found), len(layout.fields)), ABSENT, np.int64)
    bad: dict[int, tuple[str, str]] = {}
    fields = [line.data.fields for line in found]
    for number, field in enumerate(layout.fields):
        said = [row for row, given in enumerate(fields) if field.name in given]
        if not said:
            continue
        column = [fields[row][field.name] for row in said]
        try:
            value[said, number] = lanes_of(field.kind, field.scale, column, texts)
        except (ValueError, TypeError):
            for row, given in zip(said, column, strict=True):
                try:
                    value[row, number] = lane_of(field.kind, field.scale, given, texts)
                except (ValueError, TypeError) as error:
                    bad[row] = (field.name, str(error))
    return value, bad


def _shown(line: wire.Resolved) -> str:
    """What people call the entity: its match key, or the record's own key where there is none."""
    data = line.data
    return data.key if data.match_key == own_key(line.source, data.stream, data.key) else data.match_key


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
    at = np.array([line.data.at_us for line, *_ in found], np.int64)
    return Rows(
        entity=np.array([entity for _, entity, _, _ in found], np.int64),
        group=np.array([group for *_, group, _ in found], np.int64),
        source=np.zeros(n, np.int64),
        op=np.full(n, ACTION, np.int8),
        us=at,
        rr=np.array([number for *_, number in found], np.int64),
        hash=np.array([hash64(text) & _HASH_MASK for text in ids], np.int64),
        key=np.full(n, NULL, np.int64),
        shown=np.full(n, NULL, np.int64),
        event=np.array([texts.lane(text) for text in ids], np.int64),
        value=np.full((n, len(layout.fields)), ABSENT, np.int64),
        arrived_us=at,
    )


def _joined(one: Rows, other: Rows) -> Rows:
    return Rows(**{name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in Rows.names})


def _letter(now_us: int, line: wire.Resolved, field: str, reason: str) -> DeadLetter:
    return DeadLetter(
        stage=STAGE,
        source=line.source,
        stream=line.data.stream,
        key=line.data.key,
        field=field,
        reason=reason,
        at_us=now_us,
        body=wire.encode(line),
    )


def _unreadable(reason: str, body: bytes, now_us: int) -> DeadLetter:
    return DeadLetter(stage=STAGE, source="", stream="", reason=reason, at_us=now_us, body=body)
