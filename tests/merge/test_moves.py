"""Records that move from one entity to another when what they are matched by changes."""

from __future__ import annotations

from itertools import pairwise

import pytest

from flockiq.merge import records
from flockiq.merge.changes import Changes
from flockiq.shared.config.model import Config
from flockiq.shared.positions import bucket
from flockiq.shared.wire import Change
from tests.merge.feed import change, changes_of, forwarded, place, said, tell

ONE = {"name": "Acme", "tax_id": "DE1", "terms": "net 30", "staff": 5}
TWO = {**ONE, "tax_id": "DE2"}


def test_a_record_that_moves_leaves_the_old_entity_and_joins_the_new(changes: Changes) -> None:
    """The old entity gets a deletion, the new one every field, both at the version's position."""
    tell(changes, change("c", 10, ONE))
    folded = tell(changes, change("r", 20, TWO))
    assert said(folded) == [("d", "de1", 20, {}), ("r", "de2", 20, TWO)]
    left, joined = forwarded(folded.outbox)
    assert left.id != joined.id
    assert (left.data.entity_id, left.data.group) == place("de1")[::2]


def test_an_update_that_moves_a_record_brings_what_was_known(changes: Changes) -> None:
    """The new entity knows nothing of the record yet, so the update is not enough."""
    tell(changes, change("c", 10, ONE))
    assert said(tell(changes, change("u", 20, {"tax_id": "DE2"}))) == [("d", "de1", 20, {}), ("u", "de2", 20, TWO)]
    assert said(tell(changes, change("u", 30, {"staff": 6}))) == [("u", "de2", 30, {"staff": 6})]


def test_a_record_that_loses_its_match_key_becomes_an_entity_of_its_own(changes: Changes) -> None:
    """And comes back when it has one again."""
    tell(changes, change("c", 10, ONE))
    gone = tell(changes, change("u", 20, {"tax_id": None}))
    assert [(op, key) for op, key, _, _ in said(gone)] == [("d", "de1"), ("u", "web/contacts/7")]
    back = tell(changes, change("u", 30, {"tax_id": "DE1"}))
    assert [(op, key) for op, key, _, _ in said(back)] == [("d", "web/contacts/7"), ("u", "de1")]


def test_places_that_no_record_is_in_any_more_are_forgotten(changes: Changes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that moves all the time leaves nothing behind that grows; what is told of it stays the same."""
    monkeypatch.setattr(records, "_SPARE", 20)
    for number in range(100):
        tell(changes, change("r", number + 1, {**ONE, "tax_id": f"DE{number}"}))
        changes.snapshot()
    assert len(changes.records.books[0]) <= 60
    assert said(tell(changes, change("u", 200, {"staff": 6}))) == [("u", "de99", 200, {"staff": 6})]


def test_a_late_version_that_was_elsewhere_is_told_there_and_left_again(changes: Changes) -> None:
    """The entity it was part of for a while learns that, and the other that it was gone meanwhile."""
    tell(changes, change("c", 10, ONE))
    tell(changes, change("r", 30, {**ONE, "staff": 6}))
    folded = tell(changes, change("r", 20, TWO))
    assert said(folded) == [("d", "de1", 20, {}), ("r", "de2", 20, TWO), ("d", "de2", 30, {})]
    assert changes.records.last(0).place == place("de1")


def test_a_late_version_from_elsewhere_is_followed_by_a_newest_one_that_was_dropped(changes: Changes) -> None:
    """Both entities end as if all had come in order."""
    tell(changes, change("c", 10, ONE))
    tell(changes, change("r", 30, ONE))
    folded = tell(changes, change("r", 20, TWO))
    assert said(folded) == [("d", "de1", 20, {}), ("r", "de2", 20, TWO), ("d", "de2", 30, {}), ("r", "de1", 30, ONE)]


def test_every_entity_a_deleted_record_was_part_of_learns_of_the_deletion(changes: Changes) -> None:
    """Versions from before the deletion arrive late, from two entities; the first was left before it."""
    tell(changes, change("d", 40))
    assert said(tell(changes, change("r", 20, TWO))) == [("r", "de2", 20, TWO), ("d", "de2", 40, {})]
    assert said(tell(changes, change("r", 10, ONE))) == [("r", "de1", 10, ONE), ("d", "de1", 20, {})]


def test_a_late_match_key_finds_the_entity(changes: Changes) -> None:
    """Each event tells one field, and the one that it is matched by comes last though it was said first."""
    tell(changes, change("u", 20, {"name": "Acme"}))
    assert changes.records.last(0).place == place("web/contacts/7")
    assert said(tell(changes, change("u", 10, {"tax_id": "DE1"}))) == [
        ("v", "web/contacts/7", 20, {}),
        ("u", "de1", 10, {"tax_id": "DE1"}),
        ("u", "de1", 20, {"name": "Acme"}),
    ]
    assert changes.records.last(0).place == place("de1")
    assert said(tell(changes, change("u", 30, {"staff": 5}))) == [("u", "de1", 30, {"staff": 5})]


def test_a_late_value_comes_along_when_the_record_moves(changes: Changes) -> None:
    """What arrived late and was not said again since is part of what a record brings to its next entity."""
    tell(changes, change("u", 20, {"tax_id": "DE1", "staff": 5}))
    tell(changes, change("u", 10, {"name": "Acme", "staff": 1}))
    moved = tell(changes, change("u", 30, {"tax_id": "DE2"}))
    assert said(moved)[1] == ("u", "de2", 30, {"tax_id": "DE2", "staff": 5, "name": "Acme"})


def order(us: int, customer: str, amount: str = "5.00") -> Change:
    """A version of an order; orders are partitioned by customer."""
    return change("r", us, {"customer": customer, "amount": amount}, source="erp", stream="orders")


@pytest.mark.parametrize("partitions", [1, 4])
def test_an_order_of_another_customer_is_deleted_only_in_the_partition_it_leaves(
    config: Config, partitions: int
) -> None:
    """It is the same entity: where both customers are in one partition, a deletion would take its values."""
    customers = [f"c{number}" for number in range(20)]
    deleted = []
    for one, other in pairwise(customers):
        changes = changes_of(config, partitions)
        (first,) = forwarded(tell(changes, order(10, one)).outbox)
        *left, joined = sorted(forwarded(tell(changes, order(20, other)).outbox), key=lambda line: line.data.op != "d")
        assert (joined.data.entity_id, joined.data.group) == (first.data.entity_id, f"order/{other}")
        assert joined.data.fields == {"customer": other, "amount": "5.00"}
        apart = bucket(f"order/{one}", partitions) != bucket(f"order/{other}", partitions)
        assert [(line.data.op, line.data.group) for line in left] == ([("d", f"order/{one}")] if apart else [])
        deleted.append(apart)
    assert len(set(deleted)) == (1 if partitions == 1 else 2), "both are met"


def test_a_late_version_of_another_customer_takes_nothing_either(changes: Changes) -> None:
    """The entity knows by the position that it is older."""
    tell(changes, order(10, "c1"))
    tell(changes, order(30, "c2", "7.00"))
    lines = forwarded(tell(changes, order(20, "c3", "6.00")).outbox)
    assert [(line.data.op, line.data.ts_us, line.data.group) for line in lines] == [("r", 20, "order/c3")]
