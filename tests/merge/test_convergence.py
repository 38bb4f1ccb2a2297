"""Any order and duplication of records' versions, through record state and fold, ends in the same golden records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flockiq.pipeline.plans import plans
from flockiq.pipeline.resolved import Resolved
from flockiq.shared import wire
from flockiq.shared.config.model import Config
from flockiq.shared.settings import HUBS, Settings
from tests.merge.feed import change, changes_of, tell
from tests.pipeline.plain_telling import entity_rows

KEYS = st.sampled_from(["DE1", "DE2", None])
NAMES = st.sampled_from(["Acme", "Borg", None])
STAFF = st.sampled_from([1, 2, None])
WHOLE = st.fixed_dictionaries({"tax_id": KEYS, "name": NAMES, "staff": STAFF})
PART = st.fixed_dictionaries({}, optional={"tax_id": KEYS, "name": NAMES, "staff": STAFF}).filter(bool)

Version = tuple[wire.Op, dict[str, Any], str]


def erp(record: dict[str, Any]) -> dict[str, Any]:
    """The same record as the ERP writes it."""
    found: dict[str, Any] = {}
    if "tax_id" in record:
        found["address"] = {"tax": {"id": record["tax_id"]}}
    names = {"name": "Name", "staff": "Staff"}
    return found | {names[name]: value for name, value in record.items() if name in names}


def changes_told(versions: Sequence[Version]) -> list[wire.Change]:
    """The versions as changes, each a moment after the one before."""
    found = []
    for number, (op, record, source) in enumerate(versions):
        at = 10 * (number + 1)
        if source == "erp":
            found.append(change(op, at, erp(record), key="1", source="erp", stream="customers"))
        else:
            found.append(change(op, at, record))
    return found


def golden(
    config: Config, batches: Sequence[Sequence[wire.Change]], entity: str = "company"
) -> dict[str, dict[str, Any]]:
    """The golden records, without entities of which nothing is known, once these batches have come."""
    changes = changes_of(config, partitions=1)
    resolved = Resolved(plans(config), Settings(partitions={**HUBS, "resolved": 1}), lambda: 1_000_000)
    resolved.load(b"", [])
    for number, batch in enumerate(batches, 1):
        folded = tell(changes, *batch)
        assert not folded.letters
        bodies = [event.body for event in folded.outbox.events.get("resolved", [])]
        assert not resolved.fold(bodies, number).letters
    state = resolved.types[entity]
    found: dict[str, dict[str, Any]] = {}
    for number, match_key in enumerate(state.match_keys):
        (row,) = entity_rows(state, np.array([number]), resolved.texts)
        fields = msgspec.convert(row["Fields"], dict[str, Any])
        filled = {name: value for name, value in fields.items() if value is not None}
        if filled:
            found[match_key] = filled
    return found


@st.composite
def arrivals(draw: st.DrawFn, versions: st.SearchStrategy[Version]) -> tuple[list[Version], list[list[int]]]:
    """Versions in order, and the batches in which they arrive: by number, in any order, some twice."""
    told = draw(st.lists(versions, min_size=1, max_size=6))
    arriving = draw(st.permutations(range(len(told))))
    arriving = arriving + draw(st.lists(st.sampled_from(arriving), max_size=2))
    size = draw(st.integers(1, len(arriving)))
    return told, [arriving[start : start + size] for start in range(0, len(arriving), size)]


def whole(source: str) -> st.SearchStrategy[Version]:
    """A whole version of the source's record."""
    return st.tuples(st.just("r"), WHOLE, st.just(source))  # type: ignore[arg-type]


def part(source: str) -> st.SearchStrategy[Version]:
    """An update of the source's record."""
    return st.tuples(st.just("u"), PART, st.just(source))  # type: ignore[arg-type]


def gone(source: str) -> st.SearchStrategy[Version]:
    """The deletion of the source's record."""
    return st.tuples(st.just("d"), st.just({}), st.just(source))  # type: ignore[arg-type]


KINDS = {
    "whole versions and deletions": whole("web") | whole("web") | gone("web"),
    "whole versions of records of two sources": whole("web") | whole("erp") | gone("erp"),
    "updates": part("web"),
    "updates of records of two sources": part("web") | part("erp"),
    "updates and whole versions": part("web") | whole("web"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_any_order_ends_as_if_all_had_come_in_order(config: Config, kind: str) -> None:
    """Moving between entities and back, what tells the entity coming last: the same golden records."""

    @settings(max_examples=60, deadline=None)
    @given(arrival=arrivals(KINDS[kind]))
    def converges(arrival: tuple[list[Version], list[list[int]]]) -> None:
        versions, batches = arrival
        told = changes_told(versions)
        arrived = golden(config, [[told[number] for number in batch] for batch in batches])
        assert arrived == golden(config, [[one] for one in told])

    converges()


@pytest.mark.parametrize("kind", ["whole versions and deletions", "updates", "updates and whole versions"])
def test_a_record_is_where_and_what_its_versions_say(config: Config, kind: str) -> None:
    """Held against a few lines of Python: one golden record, with the newest value of every field."""

    @settings(max_examples=60, deadline=None)
    @given(arrival=arrivals(KINDS[kind]))
    def says(arrival: tuple[list[Version], list[list[int]]]) -> None:
        versions, batches = arrival
        told = changes_told(versions)
        assert golden(config, [[told[number] for number in batch] for batch in batches]) == expected(versions)

    says()


def expected(versions: Sequence[Version]) -> dict[str, dict[str, Any]]:
    """The golden record of a single record's versions in order, worked out plainly."""
    known: dict[str, Any] = {}
    deleted = False
    for op, record, _ in versions:
        known = record if op == "r" else known | record
        deleted = op == "d"
    filled = {name: value for name, value in known.items() if value is not None}
    return {} if deleted or not filled else {str(known.get("tax_id") or "web/contacts/7").lower(): filled}


def test_an_order_keeps_its_values_whoever_ordered_it(config: Config) -> None:
    """Its customer changes, in any order of arrival, among orders of both."""

    @settings(max_examples=40, deadline=None)
    @given(order=st.permutations(range(4)), key=st.integers(0, 99))
    def keeps(order: list[int], key: int) -> None:
        told = [
            change(
                "r", 10 * at, {"customer": customer, "amount": f"{at}.00"}, key=str(key), source="erp", stream="orders"
            )
            for at, customer in enumerate(["c1", "c2", "c1", "c2"], 1)
        ]
        found = golden(config, [[told[at] for at in order[:2]], [told[at] for at in order[2:]]], "order")
        assert found == {f"erp/orders/{key}": {"customer": "c2", "amount": "4.00"}}

    keeps()
