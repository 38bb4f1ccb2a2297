"""What is told a column at a time is, byte by byte, what is told row by row."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import batched
from typing import Any

import msgspec
import pytest

from flockiq.bench.history import Size
from flockiq.bench.workload import plan, workload
from flockiq.pipeline.resolved import Resolved
from flockiq.pipeline.told import Telling
from flockiq.pipeline.types import Effect, TypeState
from flockiq.shared import wire
from flockiq.shared.outbox import Outbox
from flockiq.shared.settings import Settings
from flockiq.shared.tabular import ndjson
from tests.pipeline.plain_telling import PlainTelling

LINES = 40  # a batch: small, so that late rows are late and deltas are taken back


def batches() -> Iterator[bytes]:
    """A history of records with fields of every type, deletions and late versions, in small events."""
    lines = [line for one in workload(Size(1_500, 60, late=0.2)).timed() for line in wire.unpack(one.body).split(b"\n")]
    for some in batched(lines, LINES, strict=False):
        for event in wire.pack(0, wire.RESOLVED, some):
            yield event.body


@pytest.fixture(scope="module")
def both() -> list[tuple[Outbox, PlainTelling]]:
    """What each batch told, in both ways."""
    resolved = Resolved(plan(), Settings(), lambda: 1_700_000_000_123_456)
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
        boxes = [resolved.fold([body], number).outbox for number, body in enumerate(batches(), 1)]
    return list(zip(boxes, plainly, strict=True))


def rows(columns: bytes) -> list[Any]:
    """Columns as rows."""
    return [msgspec.json.decode(line) for line in ndjson(columns).splitlines()]


@pytest.mark.parametrize(("hub", "kind"), [("entities", wire.ENTITY), ("deltas", wire.DELTA)])
def test_lines_on_the_hubs_are_those_told_row_by_row(
    both: list[tuple[Outbox, PlainTelling]], hub: str, kind: str
) -> None:
    """In the same order, to the same partitions."""
    compared = 0
    for box, plain in both:
        told: dict[tuple[str, int], list[bytes]] = {}
        for event in box.events.get(hub, []):
            told.setdefault((kind, event.partition), []).extend(wire.unpack(event.body).split(b"\n"))
        assert told == {slot: lines for slot, lines in plain.lines.items() if slot[0] == kind}
        compared += sum(map(len, told.values()))
    assert compared > 300


@pytest.mark.parametrize(("table", "held"), [("Entities", "entities"), ("Deltas", "deltas")])
def test_rows_of_the_history_are_those_told_row_by_row(
    both: list[tuple[Outbox, PlainTelling]], table: str, held: str
) -> None:
    """Value by value, whatever form they travel in."""
    compared = 0
    for box, plain in both:
        expected = [msgspec.json.decode(row) for row in getattr(plain, held)]
        told = rows(box.columns[table]) if table in box.columns else []
        assert told == expected
        compared += len(told)
    assert compared > 300


def test_late_rows_took_deltas_back(both: list[tuple[Outbox, PlainTelling]]) -> None:
    """So retractions were compared as well."""
    assert any(row["Retracts"] for box, _ in both if "Deltas" in box.columns for row in rows(box.columns["Deltas"]))


def test_golden_records_and_deltas_stay_off_the_hubs_when_the_settings_say_so() -> None:
    """And the history is told all the same."""
    resolved = Resolved(plan(), Settings(entity_hubs=False))
    resolved.load(b"", [])
    box = resolved.fold([next(batches())], 1).outbox
    assert box.events == {}
    assert rows(box.columns["Entities"])
