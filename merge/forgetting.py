"""Forgetting records for good: those of erased entities are removed, and what is from before that is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from flockiq.merge.chain import WHOLE
from flockiq.merge.mapping import MISSING, StreamPlan, mapped
from flockiq.merge.match import Places
from flockiq.merge.records import Records
from flockiq.shared import wire
from flockiq.shared.faults import UNREADABLE
from flockiq.shared.tombstones import NEVER, Stored, Tombstones, digest

Counts = dict[str, int]

_record = msgspec.json.Decoder(dict[str, object]).decode


def erase(
    erasures: Sequence[wire.Erase], records: Records, tombstones: Tombstones
) -> tuple[Records, Stored, dict[str, Counts]]:
    """Carry out erasures: the records that are left, the tombstones of those that went, what was removed by request.

    A record goes if any of its versions that are known was part of an erased entity.
    """
    stones: Stored = {}
    receipts: dict[str, Counts] = {}
    for erasure in erasures:
        said, salt = erasure.data, bytes.fromhex(erasure.data.salt)
        entities = frozenset(said.entities)
        gone = [number for number in range(len(records.names)) if not entities.isdisjoint(records.entities(number))]
        versions = sum(len(records.path(number)) - 1 for number in gone)
        mine = Tombstones()
        for name in said.names:
            mine.put_digest(salt, bytes.fromhex(name), said.at_us)
        for text in (*entities, *(records.names[number] for number in gone)):
            mine.put(salt, text, said.at_us)
        tombstones.restore(mine.stored())
        stones.setdefault(salt, {}).update(mine.stored().get(salt, {}))
        records = records.without(frozenset(gone)) if gone else records
        receipts[said.request] = {"records": len(gone), "their versions": versions}
    return records, stones, receipts


def erase_again(records: Records, stones: Stored) -> Records:
    """Remove the records whose names are among tombstones, as a log is read."""
    gone = frozenset(
        number
        for number, name in enumerate(records.names)
        if any(digest(salt, name) in known for salt, known in stones.items())
    )
    return records.without(gone) if gone else records


def refuse(
    plan: StreamPlan, places: Places, found: list[wire.Change], tombstones: Tombstones, knows: Callable[[str], bool]
) -> list[wire.Change]:
    """One stream's changes without those that an erasure forbids: of a record, or that would be part of an entity.

    A record that was erased and has not come back has nothing to be deleted any more, whenever that is told.
    """
    if not tombstones:
        return found
    latest = tombstones.latest_us
    asked = [change for change in found if _from_us(change) <= latest or change.data.op == "d"]
    forbidden: set[int] = set()
    placed: list[tuple[wire.Change, dict[str, object]]] = []
    for change in asked:
        name = f"{plan.name}/{change.data.key}"
        until_us = tombstones.until_us(name)
        if _from_us(change) <= until_us or (until_us > NEVER and change.data.op == "d" and not knows(name)):
            forbidden.add(id(change))
        elif change.data.op != "d" and (record := _read(change)) is not None:
            placed.append((change, record))
    if placed:
        table = mapped(plan, [record for _, record in placed], [change.data.op in WHOLE for change, _ in placed])
        rows = [row for row in range(len(placed)) if row not in table.bad]
        nothing = [None] * len(placed)
        columns = [table.columns.get(name, nothing) for name in plan.placing]
        where = [tuple(None if column[row] is MISSING else column[row] for column in columns) for row in rows]
        keys = [placed[row][0].data.key for row in rows]
        for row, place in zip(rows, places.of(keys, where), strict=True):
            if _from_us(placed[row][0]) <= tombstones.until_us(place.entity_id):
                forbidden.add(id(placed[row][0]))
    return [change for change in found if id(change) not in forbidden] if forbidden else found


def _from_us(change: wire.Change) -> int:
    """When a change was, as far as erasures go: in its source or when it was captured, what was earlier."""
    return min(change.data.ts_us, change.data.captured_us)


def _read(change: wire.Change) -> dict[str, object] | None:
    """A change's record; None if it is none, which merging says."""
    try:
        return _record(change.data.after)
    except UNREADABLE:
        return None
