"""A first call of every compiled function, so that all are compiled, or read from where they are kept."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from flockiq.merge.changes import Changes
from flockiq.merge.compiled import Functions
from flockiq.merge.mapping import FieldPlan, StreamPlan
from flockiq.shared import wire
from flockiq.shared.fields import Field, FieldType
from flockiq.shared.positions import hash_id
from flockiq.shared.settings import Settings

_SAID: Mapping[FieldType, str | float | bool] = {
    "string": "a",
    "json": "[]",
    "decimal": 1.5,
    "integer": 1,
    "float": 0.5,
    "boolean": True,
    "date": "2026-01-31",
    "timestamp": "2026-01-31T12:00:00Z",
}
PLAN = StreamPlan(
    source="source",
    stream="things",
    entity="thing",
    fields=tuple(FieldPlan(Field(kind, kind), (kind,), {}, None, "") for kind in _SAID),
    match=None,
    match_fields=(),
    partition_by="string",
)
"""A stream with a field of every type."""


def warm(functions: Functions) -> None:
    """Take a record and an update of it through all of them."""
    changes = Changes({("source", "things"): PLAN}, Settings(), lambda: 1)
    for number, op in enumerate(("r", "u"), 1):
        (event,) = wire.pack(0, wire.CHANGE, [_line(number, op)])  # type: ignore[arg-type]  # both are ops
        folded = changes.folded(functions, [event.body], number)
        if folded.letters or not folded.outbox.events:
            raise AssertionError("compiled merging does not take a plain line")


def _line(number: int, op: wire.Op) -> bytes:
    data = wire.ChangeData(
        op=op,
        stream="things",
        key="1",
        ts_us=number,
        run=1,
        row=0,
        captured_us=1,
        after=msgspec.Raw(wire.encode(_SAID)),
    )
    change = wire.Change(
        id=hash_id("event", str(number)),
        source="source",
        type=wire.CHANGE,
        subject="things/1",
        time="1970-01-01T00:00:00.000001Z",
        tenant="default",
        data=data,
    )
    return wire.encode(change)
