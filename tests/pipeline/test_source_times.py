"""A delta tells when its old and its new value had been said last by the sources that they come from."""

from __future__ import annotations

from datetime import datetime

import pytest

from flockiq.pipeline import compiled
from flockiq.pipeline.world import Plan
from flockiq.shared import wire
from flockiq.shared.layout import Field
from flockiq.shared.owner import Folded
from tests.engine.histories import LAYOUT
from tests.engine.reference import Event
from tests.pipeline.partition import packed, tick
from tests.pipeline.test_overrides import SECOND, Partition, rows, said

Told = tuple[str, str, str, str, int, int | None, int | None]

FIELDS = Field("name", "string"), Field("terms", "string")


@pytest.fixture(autouse=True, params=["off", "wait"])
def mode(request: pytest.FixtureRequest) -> None:
    """By numpy and by machine code."""
    compiled.use(request.param)


@pytest.fixture
def partition() -> Partition:
    """Of the name the best source wins, ERP; of the terms the most recent. People may set both."""
    layout = LAYOUT._replace(
        fields=FIELDS,
        survivorship=(("rank",), ("recent",)),
        ranks=((1, 0, 2), (0, 0, 0)),
        tolerances=(),
        baselines=(),
        currencies=(),
        overrides=True,
    )
    return Partition(Plan(layout, ()))


def record(us: int, source: str, name: str | None = None, terms: str | None = None, op: str = "say") -> bytes:
    """What a source says at a second: what it does not say stays as it is."""
    values = tuple((key, value) for key, value in (("name", name), ("terms", terms)) if value)
    (body,) = packed([Event(us * SECOND, 1 << 32, us, f"event-{us}", "e0", "e0", source, op, values, "")])
    return body


def told(folded: Folded) -> list[Told]:
    """The deltas: kind, field, old, new, and the seconds of the cause, the old value and the new one."""
    found = []
    for row in rows(folded, "Deltas"):
        cause, old, new = (_second(row[name]) for name in ("SourceTime", "OldSourceTime", "NewSourceTime"))
        assert cause is not None
        found.append((row["Kind"], row["Field"], row["Old"], row["New"], cause, old, new))
    return found


def _second(time: str | None) -> int | None:
    return None if time is None else int(datetime.fromisoformat(time).timestamp())


def test_a_value_is_as_old_as_its_source_has_said_it_last(partition: Partition) -> None:
    """Said anew it is younger, by whole records and by parts of them; left out it stays as it was."""
    first = told(partition.give(record(1, "erp", "A", "net 30")))
    assert first == [("added", "name", "", "A", 1, None, 1), ("added", "terms", "", "net 30", 1, None, 1)]
    assert told(partition.give(record(2, "crm", terms="net 60"))) == [("changed", "terms", "net 30", "net 60", 2, 1, 2)]
    again = partition.give(record(3, "erp", "A", "net 30"))
    assert told(again) == [("changed", "terms", "net 60", "net 30", 3, 2, 3)]
    assert told(partition.give(record(4, "erp", "A", "net 30"), record(5, "erp", "A"))) == []
    assert told(partition.give(record(6, "crm", "B"))) == []
    whole = partition.give(record(7, "erp", "C", "net 45"))
    assert told(whole) == [("changed", "name", "A", "C", 7, 5, 7), ("changed", "terms", "net 30", "net 45", 7, 4, 7)]
    assert told(partition.give(record(8, "erp", "C"), record(9, "crm", terms="net 90"))) == [
        ("changed", "terms", "net 45", "net 90", 9, 7, 9)
    ]
    assert told(partition.give(record(10, "erp", "D"))) == [("changed", "name", "C", "D", 10, 8, 10)]


def test_a_value_that_wins_because_another_is_gone_is_older_than_what_made_it_win(partition: Partition) -> None:
    """It is as old as it was: by deletions, and by overrides that end; nothing is as old as no value."""
    partition.give(record(1, "erp", "A", "net 30"), record(2, "crm", "B"), record(3, "crm", terms="net 60"))
    gone = partition.give(record(4, "erp", op="delete"))
    assert told(gone) == [("changed", "name", "A", "B", 4, 1, 2)]
    assert told(partition.give(said(5, "Holding", until=100))) == [("changed", "name", "B", "Holding", 5, 2, 5)]
    assert told(partition.give(record(6, "web", "W"))) == []
    assert told(partition.give(record(7, "crm", op="delete"))) == [("removed", "terms", "net 60", "", 7, 3, None)]
    assert told(partition.give(tick(200 * SECOND))) == [("changed", "name", "Holding", "W", 100, 5, 6)]
    assert told(partition.give(record(101, "web", op="delete"))) == [("removed", "name", "W", "", 101, 6, None)]


def test_a_delta_that_is_taken_back_has_the_times_that_it_was_told_with(partition: Partition) -> None:
    """And what takes its place has its own."""
    partition.give(record(1, "erp", "A"))
    assert told(partition.give(record(9, "erp", "C"))) == [("changed", "name", "A", "C", 9, 1, 9)]
    assert sorted(told(partition.give(record(5, "erp", "B")))) == [
        ("changed", "name", "A", "B", 5, 1, 5),
        ("changed", "name", "B", "C", 9, 5, 9),
        ("retracted", "name", "A", "C", 9, 1, 9),
    ]


def test_times_that_late_records_show_to_be_others_do_not_tell_a_delta_anew(partition: Partition) -> None:
    """They are what was known when it was told, and no part of what it is."""
    partition.give(record(1, "erp", "A"), record(9, "erp", "C"))
    assert told(partition.give(record(5, "erp", "A"))) == []


def test_lines_of_the_hub_have_the_times_of_the_table(partition: Partition) -> None:
    """Null where there is none."""
    folded = partition.give(record(1, "erp", "A"), record(2, "erp", "B"), record(3, "erp", op="delete"))
    lines = [text for event in folded.outbox.events["deltas"] for text in wire.unpack(event.body).split(b"\n")]
    said_of = [line.partition(b'"SourceTime":')[2].partition(b',"CommittedAt"')[0].decode() for line in lines]
    one, two, three = (f'"1970-01-01T00:00:0{second}.000000Z"' for second in (1, 2, 3))
    assert said_of == [
        f'{one},"OldSourceTime":null,"NewSourceTime":{one}',
        f'{two},"OldSourceTime":{one},"NewSourceTime":{two}',
        f'{three},"OldSourceTime":{two},"NewSourceTime":null',
    ]
