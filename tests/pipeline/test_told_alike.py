"""What compiled code tells is what Python tells, whatever the values are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flockiq.pipeline import compiled
from flockiq.pipeline.resolved import Resolved
from flockiq.pipeline.told import Telling
from flockiq.pipeline.types import Effect, TypeState
from flockiq.pipeline.warm import LAYOUT
from flockiq.pipeline.world import Plan
from flockiq.shared import wire
from flockiq.shared.instants import rfc3339
from flockiq.shared.lanes import LIMIT
from flockiq.shared.outbox import Outbox
from flockiq.shared.positions import hash_id
from flockiq.shared.settings import Settings
from flockiq.shared.tabular import ndjson
from tests.pipeline.plain_telling import PlainTelling

SOURCES = ("crm", "erp %s")
PLAN = Plan(
    LAYOUT._replace(
        entity='th"ing',
        sources=SOURCES,
        ranks=((0, 1),) * len(LAYOUT.fields),
        survivorship=(("longest", "recent"),) * len(LAYOUT.fields),
        currencies=tuple(6 if field.name == "price" else -1 for field in LAYOUT.fields),
    ),
    (),
)
TEXTS = st.one_of(
    st.text(alphabet=st.sampled_from(['"', "\\", "\n", "\b", "\x1f", "{", ",", "%", "é", "漢", "𝄞", "a"]), max_size=40),
    st.text(max_size=20),
    st.just("long"),  # of LONG characters when it is told
)
LONG = 50_000
DIGITS = st.integers(1 - LIMIT, LIMIT - 1).map(
    lambda number: f"{'-' * (number < 0)}{abs(number) // 100}.{abs(number) % 100:02d}"
)
VALUES: Mapping[str, st.SearchStrategy[Any]] = {
    "name": TEXTS,
    "about": st.one_of(st.just({"a": ['"', {"b": None}]}), st.lists(TEXTS, max_size=3)).map(
        lambda value: msgspec.json.encode(value).decode()
    ),
    "price": DIGITS,
    "count": st.integers(1 - LIMIT, LIMIT - 1),
    "share": st.floats(allow_nan=False, allow_infinity=False),
    "open": st.booleans(),
    "day": st.dates().map(str),
    "at": st.datetimes().map(lambda at: at.isoformat(timespec="microseconds") + "Z"),
}


class Record(NamedTuple):
    """A version of a record: of which thing, by which source, when, and what it says (None: it is deleted)."""

    thing: int
    source: int
    us: int
    said: Mapping[str, Any] | None


RECORDS = st.builds(
    Record,
    thing=st.integers(0, 2),
    source=st.integers(0, 1),
    us=st.integers(0, 40),
    said=st.one_of(
        st.none(),
        st.fixed_dictionaries({}, optional={name: st.one_of(st.none(), of) for name, of in VALUES.items()}),
        st.fixed_dictionaries(dict(VALUES)),
    ),
)


def line(number: int, record: Record, key: str) -> bytes:
    """A record's version as it comes."""
    whole = hash_id(str(record.thing))
    data = wire.ResolvedData(
        op="d" if record.said is None else "u",
        entity=PLAN.layout.entity,
        entity_id=whole,
        match_key=key,
        group=whole,
        stream="things",
        key=key,
        ts_us=record.us,
        run=1,
        row=number,
        captured_us=1,
        fields={name: "é" * LONG if value == "long" else value for name, value in (record.said or {}).items()},
    )
    return wire.encode(
        wire.Resolved(
            id=hash_id("event", str(number)),
            source=SOURCES[record.source],
            type=wire.RESOLVED,
            subject="",
            time=rfc3339(record.us),
            tenant="default",
            data=data,
        )
    )


def told(mode: compiled.Mode, batches: Sequence[Sequence[bytes]], tenant: str) -> list[tuple[Outbox, PlainTelling]]:
    """What each batch tells, and what it would tell row by row."""
    compiled.use(mode)
    resolved = Resolved({PLAN.layout.entity: PLAN}, Settings(tenant=tenant), lambda: 1_700_000_000_123_456)
    resolved.load(b"", [])
    plainly: list[PlainTelling] = []
    tell = Telling.tell

    def twice(self: Telling, state: TypeState, effect: Effect) -> None:
        plain = PlainTelling(self.about, self.texts)
        plain.tell(state, effect)
        plainly.append(plain)
        tell(self, state, effect)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Telling, "tell", twice)
        boxes = []
        for number, some in enumerate(batches, 1):
            folded = resolved.fold([event.body for event in wire.pack(0, wire.RESOLVED, some)], number)
            assert not folded.letters
            boxes.append(folded.outbox)
    return list(zip(boxes, plainly, strict=True))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(RECORDS, min_size=1, max_size=5), min_size=1, max_size=3),
    st.sampled_from(["default", "%s", "te\nnant"]),
    TEXTS.filter(bool),
)
def test_both_ways_tell_the_same_as_a_telling_row_by_row(history: list[list[Record]], tenant: str, key: str) -> None:
    """Lines byte by byte and rows value by value: hostile texts, deletions, nulls, late versions taken back."""
    number = 0
    batches = []
    for some in history:
        batches.append([line(number + at, record, key[:200]) for at, record in enumerate(some)])
        number += len(some)
    plainly, compiledly = (told(mode, batches, tenant) for mode in ("off", "wait"))
    for (one, row_by_row), (other, _) in zip(plainly, compiledly, strict=True):
        assert one.events == other.events
        assert one.columns.keys() == other.columns.keys()
        for table in one.columns:
            assert ndjson(one.columns[table]) == ndjson(other.columns[table])
        lines = [text for events in one.events.values() for event in events for text in wire.lines_in(event.body)[1]]
        assert sorted(lines) == sorted(text for some in row_by_row.lines.values() for text in some)
        for table, rows in (("Entities", row_by_row.entities), ("Deltas", row_by_row.deltas)):
            found = msgspec.json.Decoder().decode_lines(ndjson(one.columns[table])) if rows else []
            assert found == [msgspec.json.decode(row) for row in rows]
