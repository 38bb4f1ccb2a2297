"""From packed events to columns: the lines of hub ``resolved`` as rows of each entity type."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import repeat
from operator import attrgetter
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from flockiq.pipeline import compiled
from flockiq.pipeline.compiled import Functions
from flockiq.pipeline.scanned import Scanned, Wrong, rows_of_scanned, scannable
from flockiq.pipeline.types import TypeState
from flockiq.shared import wire
from flockiq.shared.deadletters import DeadLetter
from flockiq.shared.errors import BadRecord
from flockiq.shared.faults import UNREADABLE, fault_of
from flockiq.shared.fields import Field as Canonical
from flockiq.shared.fields import canonical
from flockiq.shared.lanes import ABSENT, NULL, Int64s, Scalar, Texts, lane_of
from flockiq.shared.layout import Field, Layout
from flockiq.shared.lines import (
    Bad,
    Decoded,
    Decoders,
    decode_into,
    decode_lines,
    decode_text,
    unpacked,
)
from flockiq.shared.positions import event_lane, is_id, own_key, signed_rest
from flockiq.shared.rows import ACTION, DELETE, UPSERT, VOID, Rows

STAGE = "process"


Line = wire.RawResolved

_DECODERS: Decoders = {
    wire.RESOLVED: msgspec.json.Decoder(wire.RawResolved),
    wire.TICK: msgspec.json.Decoder(wire.Tick),
    wire.ACTION: msgspec.json.Decoder(wire.Action),
    wire.OVERRIDE: msgspec.json.Decoder(wire.Override),
    wire.ERASE: msgspec.json.Decoder(wire.Erase),
}
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_head = attrgetter("id", "source")
_data = attrgetter("op", "entity_id", "match_key", "group", "stream", "key", "ts_us", "run", "row", "rev")
_OPS = {"d": DELETE, "v": VOID}
_SHOWN = 80  # characters of what somebody else wrote


class Misfit(NamedTuple):
    """A line that fits no entity type, with the field and the reason."""

    line: Line
    field: str
    reason: str


class Lines(NamedTuple):
    """The decoded lines of a batch; ``letters`` are those that are no lines at all."""

    resolved: list[Line]
    actions: list[wire.Action]
    overrides: list[wire.Override]
    tick_us: int  # the latest tick, 0 without one
    letters: list[DeadLetter]
    numbers: Callable[[], Mapping[int, int]]  # {id(line): its number in its event} of the resolved ones
    erasures: Sequence[wire.Erase] = ()
    scanned: Scanned | None = None  # resolved lines that compiled code has found; they are not in ``resolved``


def lines_of(bodies: Sequence[bytes], types: Mapping[str, TypeState], now_us: int) -> Lines:
    """Unpack and decode; a corrupt event or line becomes a dead letter and stops nothing else."""
    functions = compiled.ready()
    if functions is not None:
        return scanned_lines(functions, bodies, types, now_us)
    found = Decoded()
    decode_into(found, bodies, _DECODERS)
    return _lines(found, now_us)


def scanned_lines(functions: Functions, bodies: Sequence[bytes], types: Mapping[str, TypeState], now_us: int) -> Lines:
    """The same, with compiled functions."""
    found = Decoded()
    scanned = _scan(functions, bodies, types, found)
    return _lines(found, now_us, scanned)


def _lines(found: Decoded, now_us: int, scanned: Scanned | None = None) -> Lines:
    return Lines(
        resolved=found.of(wire.RESOLVED),
        actions=found.of(wire.ACTION),
        overrides=found.of(wire.OVERRIDE),
        tick_us=max((tick.data.at_us for tick in found.of(wire.TICK)), default=0),
        letters=[_unreadable(bad, now_us) for bad in found.bad],
        numbers=partial(found.numbers, wire.RESOLVED),
        erasures=found.of(wire.ERASE),
        scanned=scanned,
    )


def _scan(functions: Functions, bodies: Sequence[bytes], types: Mapping[str, TypeState], found: Decoded) -> Scanned:
    """Read what can be read by compiled code; the rest is decoded into ``found``."""
    texts, of = [], []
    for text, body in unpacked(bodies, found):
        if scannable(text):
            texts.append(text)
            of.append(body)
        else:
            decode_text(text, body, _DECODERS, found)
    scanned = Scanned(functions, texts, types)
    for event, left in scanned.left().items():
        if scanned.taken_of(event):
            found.bad += decode_lines(left, _DECODERS, found)[1]
        else:
            decode_text(texts[event], of[event], _DECODERS, found)
    return scanned


def rows_of(
    lines: Lines, types: Mapping[str, TypeState], texts: Texts, now_us: int
) -> tuple[dict[str, Rows], list[DeadLetter]]:
    """The rows of each entity type, and dead letters for what fits no type."""
    misfits: list[Misfit] = []
    rows: dict[str, Rows] = {}
    wrong: list[Wrong] = []
    if lines.scanned is not None:
        rows, wrong = rows_of_scanned(lines.scanned, texts, now_us, _lane)
    by_type: dict[str, list[Line]] = defaultdict(list)
    for line in lines.resolved:
        by_type[line.data.entity].append(line)
    for name, found in by_type.items():
        state = types.get(name)
        if state is None:
            misfits += [
                Misfit(line, "entity", f"there is no entity type {name[:_SHOWN]!r} in config") for line in found
            ]
            continue
        known = {source: number for number, source in enumerate(state.plan.layout.sources)}
        good = [line for line in found if line.source in known]
        misfits += [
            Misfit(line, "source", f"no stream of source {line.source[:_SHOWN]!r} is mapped to {name!r}")
            for line in found
            if line.source not in known
        ]
        value, bad = _values(good, state, texts)
        if bad:
            misfits += [Misfit(good[row], field, reason) for row, (field, reason) in sorted(bad.items())]
            keep = np.ones(len(good), np.bool_)
            keep[list(bad)] = False
            value, good = value[keep], [line for line, kept in zip(good, keep.tolist(), strict=True) if kept]
        if good:
            _add(rows, name, _columns(good, value, state, known, texts, now_us))
    for name, acted in _actions(lines.actions, types, texts, now_us).items():
        _add(rows, name, acted)
    numbers = lines.numbers() if misfits else {}
    letters = [_letter(now_us, misfit, numbers[id(misfit.line)]) for misfit in misfits]
    read = _DECODERS[wire.RESOLVED].decode
    letters += [_letter(now_us, Misfit(read(one.line), one.field, one.reason), one.number) for one in wrong]
    return rows, letters


def _add(rows: dict[str, Rows], name: str, more: Rows) -> None:
    rows[name] = joined(rows[name], more) if name in rows else more


def _columns(
    found: Sequence[Line], value: Int64s, state: TypeState, sources: Mapping[str, int], texts: Texts, now_us: int
) -> Rows:
    n = len(found)
    ids, source = zip(*map(_head, found), strict=True)
    columns = zip(*map(_data, [line.data for line in found]), strict=True)
    op, entity_id, match_key, group, stream, key, ts_us, run, row, rev = columns
    entity = state.ids.find_all(entity_id)
    for at in np.flatnonzero(entity < 0).tolist():
        shown = key[at] if match_key[at] == own_key(source[at], stream[at], key[at]) else match_key[at]
        entity[at] = state.entities.add(entity_id[at], match_key[at], group[at], texts.lane(shown))
    event = events(ids, texts)
    lanes = texts.lanes.__getitem__
    return Rows(
        entity=entity,
        group=state.group_of[entity],
        source=np.fromiter(map(sources.__getitem__, source), np.int64, n),
        op=np.fromiter(map(_OPS.get, op, repeat(UPSERT)), np.int8, n),
        us=np.array(ts_us, np.int64),
        rr=np.array(run, np.int64) << 32 | np.array(row, np.int64),
        key=np.fromiter(map(lanes, map("{}/{}".format, stream, key)), np.int64, n),
        shown=state.shown[entity],
        event=event,
        value=value,
        arrived_us=np.full(n, now_us, np.int64),
        revision=np.array(rev, np.int64),
    )


def events(ids: Sequence[str], texts: Texts) -> Int64s:
    """The lanes of event ids, which are kept."""
    lanes = list(map(event_lane, ids))
    whole = [(lane, signed_rest(text)) for lane, text in zip(lanes, ids, strict=True) if is_id(text)]
    if whole:
        texts.keep_ids(np.array(whole, np.int64))
    if len(whole) < len(ids):
        texts.keep({lane: text for lane, text in zip(lanes, ids, strict=True) if not is_id(text)})
    return np.array(lanes, np.int64)


def _values(
    found: Sequence[Line], state: TypeState, texts: Texts
) -> tuple[npt.NDArray[np.int64], dict[int, tuple[str, str]]]:
    """int64 [n, F] lanes, and the rows of which a value does not fit: {row: (field, reason)}."""
    layout = state.plan.layout
    value = np.empty((len(found), len(layout.fields)), np.int64)
    said = [line.data.fields for line in found]
    if max(map(len, said), default=0) > wire.MAX_FIELDS_BYTES:
        return _one_by_one(found, layout, texts)
    try:
        columns = state.reader.columns(b"[" + b",".join(said) + b"]")
        for number, (field, column) in enumerate(zip(layout.fields, columns, strict=True)):
            lanes = texts.lanes if field.kind in ("string", "json") else state.reader.lanes[number]
            value[:, number] = np.fromiter(map(lanes.__getitem__, column), np.int64, len(found))
    except (*UNREADABLE, ValueError, TypeError, OverflowError):
        return _one_by_one(found, layout, texts)
    return value, {}


def _one_by_one(
    found: Sequence[Line], layout: Layout, texts: Texts
) -> tuple[npt.NDArray[np.int64], dict[int, tuple[str, str]]]:
    """The same for a batch in which something does not fit: value by value, to say what."""
    value = np.full((len(found), len(layout.fields)), ABSENT, np.int64)
    bad: dict[int, tuple[str, str]] = {}
    for row, line in enumerate(found):
        size = len(line.data.fields)
        if size > wire.MAX_FIELDS_BYTES:
            bad[row] = ("", f"its fields have {size:,} bytes together, over the limit of {wire.MAX_FIELDS_BYTES:,}")
            continue
        try:
            said = _fields.decode(line.data.fields)
        except UNREADABLE as error:
            fault = fault_of(line.data.fields, error)
            bad[row] = fault.field, fault.reason
            continue
        for number, field in enumerate(layout.fields):
            if field.name not in said:
                continue
            try:
                value[row, number] = _lane(field, said[field.name], texts)
            except BadRecord as error:
                bad.setdefault(row, (field.name, error.reason))
    return value, bad


def _lane(field: Field, raw: msgspec.Raw, texts: Texts) -> int:
    """The lane of one value. What was mapped under an older config is brought to today's type, or is a BadRecord."""
    try:
        if field.kind == "json":
            said: Scalar = msgspec.json.decode(raw, type=str | None)
        else:
            said = canonical(Canonical(field.name, field.kind, field.scale), msgspec.json.decode(raw))
        return lane_of(field.kind, field.scale, said, texts)
    except UNREADABLE as error:
        raise BadRecord(fault_of(raw, error).reason, field=field.name) from error
    except (ValueError, TypeError, OverflowError) as error:
        raise BadRecord(f"is no {field.kind}: {str(error)[:_SHOWN]}", field=field.name) from error


def _actions(
    actions: Sequence[wire.Action], types: Mapping[str, TypeState], texts: Texts, now_us: int
) -> dict[str, Rows]:
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
    return {name: _action_rows(found, types[name].plan.layout, texts, now_us) for name, found in by_type.items()}


def _action_rows(found: Sequence[tuple[wire.Action, int, int, int]], layout: Layout, texts: Texts, now_us: int) -> Rows:
    n = len(found)
    ids = [line.id for line, *_ in found]
    event = events(ids, texts)
    at = np.array([line.data.at_us for line, *_ in found], np.int64)
    return Rows(
        entity=np.array([entity for _, entity, _, _ in found], np.int64),
        group=np.array([group for *_, group, _ in found], np.int64),
        source=np.zeros(n, np.int64),
        op=np.full(n, ACTION, np.int8),
        us=at,
        rr=np.array([number for *_, number in found], np.int64),
        key=np.full(n, NULL, np.int64),
        shown=np.full(n, NULL, np.int64),
        event=event,
        value=np.full((n, len(layout.fields)), ABSENT, np.int64),
        arrived_us=np.full(n, now_us, np.int64),
        revision=np.zeros(n, np.int64),
    )


def joined(one: Rows, other: Rows) -> Rows:
    """The rows of both."""
    return Rows(**{name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in Rows.names})


def _letter(now_us: int, misfit: Misfit, number: int) -> DeadLetter:
    line = misfit.line
    return DeadLetter(
        stage=STAGE,
        source=line.source,
        stream=line.data.stream,
        key=line.data.key,
        field=misfit.field,
        line=number,
        reason=misfit.reason,
        at_us=now_us,
        body=wire.encode(line),
    )


def _unreadable(bad: Bad, now_us: int) -> DeadLetter:
    return DeadLetter(
        stage=STAGE,
        source=bad.whose.source,
        stream=bad.whose.stream,
        key=bad.whose.key,
        field=bad.field,
        line=bad.line,
        reason=bad.reason,
        at_us=now_us,
        body=bad.body,
    )
