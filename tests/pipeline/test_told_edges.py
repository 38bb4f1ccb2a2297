"""What compiled code spells at the edges of what it can: numbers of every scale, texts of every length, odd ids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from flockiq.pipeline import compiled, told
from flockiq.pipeline.placing import Placing
from flockiq.pipeline.resolved import Resolved
from flockiq.pipeline.tell_entities_by_machine import tell_entities_by_machine
from flockiq.pipeline.tellings import About
from flockiq.pipeline.warm import LAYOUT
from flockiq.pipeline.world import Plan
from flockiq.shared import wire
from flockiq.shared.instants import rfc3339
from flockiq.shared.lanes import LIMIT, Texts, value_of
from flockiq.shared.layout import Field
from flockiq.shared.outbox import Outbox
from flockiq.shared.positions import hash_id
from flockiq.shared.settings import Settings
from flockiq.shared.tabular import ndjson

SCALES = (0, 1, 2, 7, 8, 9, 16, 17, 18)
FIELDS = (Field("text", "string"), *(Field(f"d{scale}", "decimal", scale) for scale in SCALES))
PLAN = Plan(
    LAYOUT._replace(
        fields=FIELDS,
        survivorship=(("recent",),) * len(FIELDS),
        ranks=((0,),) * len(FIELDS),
        tolerances=(),
        baselines=(),
    ),
    (),
)
LANES = (0, 1, 9, 10, 99_999_999, 100_000_000, 10**16 - 1, 10**16, (1 << 53) + 1, LIMIT - 1)
LENGTHS = (*range(1, 260), 511, 1_023, 1_024, 1_025, 1_088, 1_089, 2_048, 2_049)


def line(number: int, entity: str, us: int, fields: dict[str, str | int | float | bool | None]) -> bytes:
    """A version of a record."""
    data = wire.ResolvedData(
        op="r",
        entity=PLAN.layout.entity,
        entity_id=entity,
        match_key=entity,
        group=entity,
        stream="things",
        key=entity,
        ts_us=us,
        run=1,
        row=number,
        captured_us=1,
        fields=fields,
    )
    return wire.encode(
        wire.Resolved(
            id=hash_id(str(number)),
            source="source",
            type=wire.RESOLVED,
            subject="",
            time=rfc3339(us),
            tenant="default",
            data=data,
        )
    )


def said(mode: compiled.Mode, lines: Sequence[bytes]) -> dict[str, list[bytes]]:
    """What lines tell, by hub and partition and by table."""
    compiled.use(mode)
    resolved = Resolved({PLAN.layout.entity: PLAN}, Settings(), lambda: 1_700_000_000_123_456)
    resolved.load(b"", [])
    box: Outbox = resolved.fold([event.body for event in wire.pack(0, wire.RESOLVED, lines)], 1).outbox
    found = {table: ndjson(columns).splitlines() for table, columns in box.columns.items()}
    for hub, events in box.events.items():
        for event in events:
            found.setdefault(f"{hub}/{event.partition}", []).extend(wire.unpack(event.body).splitlines())
    return found


def number(lane: int, scale: int) -> str:
    """A decimal's text."""
    return str(value_of("decimal", scale, lane, Texts()))


EDGES = [
    line(at, hash_id("one"), at, {f"d{scale}": number(sign * lane, scale) for scale in SCALES})
    for at, (lane, sign) in enumerate((lane, sign) for lane in LANES for sign in (1, -1))
] + [
    line(1_000 + size, hash_id("two"), size, {"text": "".join(chr(33 + at % 90) for at in range(size))})
    for size in LENGTHS
]


def test_values_at_the_edges_are_told_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """By machine code, which leaves none of them to others, and without."""
    plainly = said("off", EDGES)
    assert len(plainly["Deltas"]) > len(LANES) * len(SCALES) + len(LENGTHS)
    for name in ("tell_deltas", "tell_entities"):
        monkeypatch.delattr(told, name)
    assert said("wait", EDGES) == plainly


def test_entities_whose_ids_are_none_of_ours_are_told_alike() -> None:
    """What is not kept as two words is left to Python, of deltas and of golden records."""
    lines = [*EDGES[:3], line(1, "not an id", 1, {"text": "a"}), line(2, "not an id", 2, {"text": "b", "d2": "1.00"})]
    assert said("wait", lines) == said("off", lines)


def test_what_stands_for_nothing_that_is_known_is_left_to_others() -> None:
    """Nothing is written of it, least of all before the room that there is."""
    compiled.use("wait")
    functions = compiled.ready()
    assert functions is not None
    resolved = Resolved({PLAN.layout.entity: PLAN}, Settings())
    resolved.load(b"", [])
    resolved.fold([event.body for event in wire.pack(0, wire.RESOLVED, EDGES)], 1)
    state, entity = resolved.types[PLAN.layout.entity], np.zeros(1, np.int64)
    about = About("default", 1, 1, 1, Placing(4))
    assert tell_entities_by_machine(functions, state, entity, resolved.texts, about) is not None
    state.live.golden.event[0, 0] = 7
    assert tell_entities_by_machine(functions, state, entity, resolved.texts, about) is None
