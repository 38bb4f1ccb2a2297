"""What a person sets: told as theirs, over in time, kept in the state log, and no larger than it has to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from flockiq.pipeline.resolved import Resolved
from flockiq.pipeline.world import Plan
from flockiq.shared import wire
from flockiq.shared.owner import Folded
from flockiq.shared.positions import hash_id
from flockiq.shared.settings import Settings
from flockiq.shared.tabular import ndjson
from tests.engine.histories import LAYOUT, plan
from tests.engine.reference import Event
from tests.pipeline.partition import packed, tick

SECOND = 1_000_000
NOW_US = 1_700_000_000 * SECOND


class Partition:
    """A partition that lives on in its log: each batch is folded by one that has read everything before."""

    def __init__(self, of: Plan | None = None) -> None:
        self.plan = of or replace(plan(), layout=LAYOUT._replace(overrides=True))
        self.snapshot, self.entries = b"", list[bytes]()
        self.commit, self.now_us = 0, NOW_US

    def give(self, *bodies: bytes) -> Folded:
        """Fold a batch."""
        partition = self.opened()
        self.commit += 1
        self.now_us += 1000
        folded = partition.fold(bodies, self.commit)
        self.entries.append(folded.body)
        return folded

    def opened(self) -> Resolved:
        """The partition as a process that has just started has it."""
        partition = Resolved({"thing": self.plan}, Settings(), lambda: self.now_us)
        partition.load(self.snapshot, self.entries)
        return partition

    def roll(self) -> None:
        """Roll the log; what is old is forgotten."""
        self.now_us += 100 * 86_400 * SECOND
        self.snapshot, self.entries = self.opened().snapshot(), []


def said(us: int, value: object, field: str = "name", until: int = 0, by: str = "anna", **about: Any) -> bytes:
    """What a person says of the one entity at a second, packed."""
    data = {
        "entity": "thing",
        "entity_id": "e0",
        "match_key": "e0",
        "group": "e0",
        "field": field,
        "value": value,
        "by": by,
        "at_us": us * SECOND,
        "until_us": until * SECOND,
    } | about
    line = wire.Override(
        id=hash_id("override", str(us), by, field, str(about)),
        source="serve",
        type=wire.OVERRIDE,
        time="",
        tenant="default",
        subject="thing/e0",
        data=wire.OverrideData(**data),
    )
    (out,) = wire.pack(0, wire.OVERRIDE, [wire.encode(line)])
    return out.body


def record(us: int, name: str, source: str = "erp") -> bytes:
    """What a source says at a second."""
    (body,) = packed([Event(us * SECOND, 1 << 32, us, f"event-{us}", "e0", "e0", source, "say", (("name", name),), "")])
    return body


def rows(folded: Folded, table: str) -> list[dict[str, Any]]:
    """What a batch told a table."""
    columns = folded.outbox.columns.get(table)
    return [msgspec.json.decode(row) for row in ndjson(columns).splitlines()] if columns else []


def name_of(folded: Folded) -> tuple[object, Mapping[str, Any]]:
    """The golden name as told, and where it is from."""
    (row,) = rows(folded, "Entities")
    return row["Fields"].get("name"), row["Provenance"].get("name", {})


def changes(folded: Folded) -> list[tuple[str, ...]]:
    """The changes of the name: (old, new, source, kind)."""
    return [
        (row["Old"], row["New"], row["Source"], row["Kind"]) for row in rows(folded, "Deltas") if row["Field"] == "name"
    ]


def test_a_golden_value_that_a_person_set_is_theirs() -> None:
    """It beats every source, also what comes later; who and until when are told with it, as is the change."""
    partition = Partition()
    partition.give(record(1, "Acme"))
    set_by = partition.give(said(10, "Acme Holding", until=100))
    value, provenance = name_of(set_by)
    assert value == "Acme Holding"
    assert (provenance["source"], provenance["rule"]) == ("anna", "override")
    assert (provenance["us"], provenance["until"]) == (10 * SECOND, 100 * SECOND)
    assert changes(set_by) == [("Acme", "Acme Holding", "anna", "changed")]
    later = partition.give(record(20, "ACME"))
    assert name_of(later)[0] == "Acme Holding"
    assert changes(later) == []
    (row,) = rows(later, "Entities")
    assert list(row["Sources"]) == ["erp"]


def test_when_its_time_is_over_the_rules_decide_again() -> None:
    """With the first tick that says so, from the moment it was set until, also in a partition that has restarted."""
    partition = Partition()
    partition.give(record(1, "Acme"), said(10, "Acme Holding", until=100))
    assert rows(partition.give(tick(99 * SECOND)), "Deltas") == []
    over = partition.give(tick(200 * SECOND))
    assert name_of(over)[0] == "Acme"
    (delta,) = rows(over, "Deltas")
    assert (delta["Old"], delta["New"], delta["Source"]) == ("Acme Holding", "Acme", "erp")
    assert delta["SourceTime"].startswith("1970-01-01T00:01:40")
    assert rows(partition.give(tick(300 * SECOND)), "Deltas") == []


def test_what_came_after_its_end_and_before_the_tick_is_told_anew() -> None:
    """The change that was told too soon is taken back, and the two that there were are told."""
    partition = Partition()
    partition.give(record(1, "Acme"), said(10, "Holding", until=100))
    assert changes(partition.give(said(150, "Group", until=900, by="ben"))) == [("Holding", "Group", "ben", "changed")]
    over = partition.give(tick(200 * SECOND))
    assert sorted(changes(over)) == [
        ("Acme", "Group", "ben", "changed"),
        ("Holding", "Acme", "erp", "changed"),
        ("Holding", "Group", "ben", "retracted"),
    ]
    assert name_of(over)[0] == "Group"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_peoples_overrides_the_later_wins_whichever_comes_first(order: tuple[int, int]) -> None:
    """And when its time is over, that of the earlier one is not brought back."""
    both = [said(10, "Anna's", until=500), said(20, "Ben's", until=100, by="ben")]
    partition = Partition()
    partition.give(record(1, "Acme"))
    for which in order:
        last = partition.give(both[which])
    assert name_of(last)[1]["source"] == "ben"
    assert name_of(partition.give(tick(100 * SECOND)))[0] == "Acme"
    assert rows(partition.give(tick(501 * SECOND)), "Deltas") == []


def test_who_set_it_may_take_it_back_and_only_it() -> None:
    """Taking back an override that another has replaced does nothing."""
    partition = Partition()
    partition.give(record(1, "Acme"))
    first = hash_id("override", "10", "anna", "name", "{}")
    partition.give(said(10, "Anna's", until=500))
    second = hash_id("override", "20", "ben", "name", "{}")
    partition.give(said(20, "Ben's", until=500, by="ben"))
    assert name_of(partition.give(said(30, None, ends=first)))[0] == "Ben's"
    assert name_of(partition.give(said(40, None, ends=second)))[0] == "Acme"


def test_nothing_can_be_set() -> None:
    """Null is a value that a person may set: the field then has none."""
    partition = Partition()
    partition.give(record(1, "Acme"))
    empty = partition.give(said(10, None, until=100))
    assert name_of(empty)[0] is None
    assert changes(empty) == [("Acme", "", "anna", "removed")]


def test_an_override_outlives_the_late_data_log() -> None:
    """Rolled into the base it stands and ends on time; of those of a field only the last is remembered."""
    partition = Partition()
    partition.give(record(1, "Acme"), said(10, "Holding", until=100))
    partition.roll()
    assert name_of(partition.give(record(20, "ACME")))[1]["source"] == "anna"
    assert name_of(partition.give(tick(100 * SECOND)))[0] == "ACME"
    partition.roll()
    partition.give(said(200, "Other", until=300), tick(300 * SECOND))
    partition.roll()
    kept = partition.opened().types["thing"].overrides.by_event
    assert [one.until_us for one in kept.values()] == [300 * SECOND]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (said(10, "a", until=10), "until_us"),
        (said(10, "a", field="colour", until=20), "field"),
        (said(10, "a lot", field="amount", until=20), "amount"),
        (said(10, "a", until=20, entity="other"), "entity"),
    ],
)
def test_what_does_not_fit_is_a_dead_letter_and_nothing_else(body: bytes, field: str) -> None:
    """With the field and the reason, and the line, so that it can be sent again."""
    partition = Partition()
    folded = partition.give(record(1, "Acme"), body)
    (letter,) = folded.letters
    assert (letter.field, letter.stage) == (field, "process")
    assert b"flockiq.override" in letter.body
    assert name_of(folded)[0] == "Acme"


def test_a_type_that_wants_none_takes_none() -> None:
    """And has no room for any."""
    partition = Partition(plan())
    folded = partition.give(record(1, "Acme"), said(10, "Holding", until=100))
    assert [letter.field for letter in folded.letters] == ["entity"]
    assert partition.opened().types["thing"].live.golden.value.shape[1] == len(LAYOUT.sources)
