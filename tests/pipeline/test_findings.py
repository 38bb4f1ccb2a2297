"""What comparing found, as rows: drift with its beginning and its end, odd numbers with what was expected."""

from __future__ import annotations

from dataclasses import replace

from tests.engine.histories import LAYOUT, plan
from tests.engine.reference import Event
from tests.pipeline.partition import packed
from tests.pipeline.test_overrides import SECOND, Partition, rows


def said(us: int, source: str, **values: object) -> Event:
    """What a source says of the one entity at a second."""
    return Event(us * SECOND, 1 << 32, us, f"event-{us}-{source}", "e0", "e0", source, "say", tuple(values.items()), "")  # type: ignore[arg-type]  # scalars


def give(partition: Partition, *events: Event) -> list[dict[str, object]]:
    """Fold events; the findings told."""
    return rows(partition.give(*packed(events)), "Findings")


def test_drift_is_told_when_it_begins_and_when_it_ends() -> None:
    """The end names the beginning, also in a partition that has restarted in between and rolled its log."""
    partition = Partition()
    (began,) = give(partition, said(1, "erp", terms="30 days"), said(2, "crm", terms="60 days"))
    assert (began["Kind"], began["Field"], began["CauseId"]) == ("drift", "terms", "event-2-crm")
    assert began["Score"] is None
    partition.roll()
    assert give(partition, said(5, "web", terms="90 days")) == []
    (ended,) = give(partition, said(9, "crm", terms="30 days"), said(10, "web", terms="30 days"))
    assert (ended["Kind"], ended["Ends"], ended["CauseId"]) == ("agreement", began["FindingId"], "event-10-web")


def test_what_late_data_shows_to_be_otherwise_is_taken_back() -> None:
    """A drift that had begun earlier than was known: both the one and its end are told anew."""
    partition = Partition()
    give(partition, said(1, "erp", terms="30 days"))
    told = give(partition, said(20, "crm", terms="60 days")) + give(partition, said(30, "crm", terms="30 days"))
    late = give(partition, said(10, "web", terms="60 days"))
    taken = {row["Retracts"] for row in late if row["Kind"] == "retracted"}
    assert taken == {row["FindingId"] for row in told}
    (began,) = [row for row in late if row["Kind"] == "drift"]
    assert began["CauseId"] == "event-10-web"
    assert not [row for row in late if row["Kind"] == "agreement"]  # web still says otherwise


def test_an_anomaly_is_told_with_its_score_and_what_was_expected() -> None:
    """Whether a rule asks for it or not."""
    partition = Partition(replace(plan(), layout=LAYOUT, watches=()))
    usual = [said(us, "erp", amount=10_000 + 100 * (us % 3)) for us in range(1, 9)]
    assert give(partition, *usual) == []
    (odd,) = give(partition, said(20, "erp", amount=90_000))
    assert (odd["Kind"], odd["Field"], odd["Value"]) == ("anomaly", "amount", 900.0)
    assert odd["Score"] > 4  # type: ignore[operator]  # a number
    assert odd["Low"] < odd["Expected"] < odd["High"] < 900.0  # type: ignore[operator]  # numbers


def test_repeated_rows_find_nothing_anew() -> None:
    """What is told again says nothing."""
    partition = Partition()
    events = [said(1, "erp", terms="30 days"), said(2, "crm", terms="60 days")]
    assert len(give(partition, *events)) == 1
    assert give(partition, *events) == []
