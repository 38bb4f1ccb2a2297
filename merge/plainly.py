"""Changes decoded one by one and mapped by columns: what compiled code leaves, or everything where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress

import numpy as np

from flockiq.merge.arrived import Arrived
from flockiq.merge.book import Stream
from flockiq.merge.chain import WHOLE
from flockiq.merge.letters import Misfit, no_record
from flockiq.merge.mapping import Mapped, StreamPlan, encoded, mapped_columns, raw_columns
from flockiq.merge.match import Placing
from flockiq.merge.records import Records
from flockiq.shared import wire
from flockiq.shared.faults import UNREADABLE
from flockiq.shared.lanes import Int64s

Came = Sequence[tuple[int, wire.Change]]
"""Changes, each behind its place among all of its batch."""


def arrived(stream: Stream, records: Records, came: Came, misfits: list[Misfit]) -> Arrived | None:
    """The changes of one stream that can be mapped, None without one; the others are added to ``misfits``."""
    plan = stream.plan
    at, found = [one for one, _ in came], [change for _, change in came]
    try:
        raw = raw_columns(plan, _records(found))
    except UNREADABLE:
        readable = [_is_readable(plan, change, misfits) for change in found]
        at, found = list(compress(at, readable)), list(compress(found, readable))
        if not found:
            return None
        raw = raw_columns(plan, _records(found))
    table = mapped_columns(plan, raw, [change.data.op in WHOLE for change in found])
    _refuse_heavy(plan, found, table)
    bad = {row: why for row, why in table.bad.items() if found[row].data.op != "d"}
    if bad:
        misfits += [Misfit(found[row], *why) for row, why in sorted(bad.items())]
        good = [row not in bad for row in range(len(found))]
        at, found = list(compress(at, good)), list(compress(found, good))
        table = Mapped({name: list(compress(column, good)) for name, column in table.columns.items()}, {})
        if not found:
            return None
    said = [
        b"{}" if change.data.op == "d" else text
        for change, text in zip(found, encoded(plan, table.columns), strict=True)
    ]
    prefix = f"{plan.name}/"
    numbers = records.numbers_of([prefix + change.data.key for change in found])
    return Arrived.of(at, found, numbers, said, _places(stream, found, table))


def _places(stream: Stream, found: Sequence[wire.Change], table: Mapped) -> Int64s:
    """The number of the place where each record belongs, -1 of one that is not told whole."""
    nothing = [None] * len(found)
    columns = [table.columns.get(name, nothing) for name in stream.plan.placing]
    placing: Sequence[Placing] = list(zip(*columns, strict=True))
    whole = [change.data.op in WHOLE for change in found]
    place = np.full(len(found), -1, np.int64)
    keys = [change.data.key for change in compress(found, whole)]
    if keys:
        place[np.array(whole)] = stream.numbers(keys, list(compress(placing, whole)))
    return place


def _records(found: Sequence[wire.Change]) -> bytes:
    return b"[" + b",".join([change.data.after for change in found]) + b"]"


def _is_readable(plan: StreamPlan, change: wire.Change, misfits: list[Misfit]) -> bool:
    """Whether a change's record is a JSON object; ``wire.Change`` takes its bytes without looking into them."""
    try:
        raw_columns(plan, _records([change]))
    except UNREADABLE:
        misfits.append(Misfit(change, *no_record(change.data.after)))
        return False
    return True


def _refuse_heavy(plan: StreamPlan, found: Sequence[wire.Change], table: Mapped) -> None:
    """Refuse records whose mapped fields are too large to be told of on the hubs."""
    for row in [row for row, change in enumerate(found) if len(change.data.after) > wire.MAX_FIELDS_BYTES]:
        (said,) = encoded(plan, {name: [column[row]] for name, column in table.columns.items()})
        size = len(said)
        if size > wire.MAX_FIELDS_BYTES:
            reason = f"its fields have {size:,} bytes together, over the limit of {wire.MAX_FIELDS_BYTES:,}"
            table.bad.setdefault(row, ("", reason))
