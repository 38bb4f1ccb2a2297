"""How alerts are kept in Cosmos DB, beyond what every AlertStore promises."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flockiq.shared.adapters.azure import alert_documents as documents
from flockiq.shared.adapters.azure.alerts import CosmosAlerts
from flockiq.shared.alerts import AlertQuery
from tests.azure.cosmos.told import fold, lives, step
from tests.peers.cosmos.peer import CosmosDB


def places(peer: CosmosDB, operation: str) -> int:
    """How often the peer was asked for an operation."""
    return sum(asked.place == f"alerts/{operation}" for asked in peer.asked)


async def test_pages_are_in_order_where_a_tenant_spans_physical_partitions(
    alerts: CosmosAlerts, peer: CosmosDB
) -> None:
    """The service orders each partition by itself; the newest of all come first all the same."""
    count = 25
    await alerts.apply("t", [step(f"a{n:02}", 1, "fire", subject=f"e{n}", opened_us=n) for n in range(count)])
    assert set(peer.partitions_of("alerts", *(("t", f"e{n}") for n in range(count)))) == {0, 1}
    seen: list[str] = []
    query = AlertQuery(limit=4)
    while True:
        page = await alerts.query("t", query)
        seen += [alert.id for alert in page.alerts]
        if not page.continuation:
            break
        query = AlertQuery(limit=4, continuation=page.continuation)
    assert seen == [f"a{n:02}" for n in reversed(range(count))]
    assert await alerts.counts("t") == {"limit": {"firing": count}}


async def test_every_query_is_served_by_an_index(alerts: CosmosAlerts, peer: CosmosDB) -> None:
    """What is filtered by is indexed, and nothing else is."""
    await alerts.apply("t", [*lives(5), step("z", 1, "fire", subject="e1", replaces="a4")])
    await alerts.get("t", "a1")
    await alerts.history("t", "a1")
    await alerts.counts("t")
    page = await alerts.query(
        "t", AlertQuery(statuses=("resolved", "firing"), rule="limit", subject="e1", lasting=True, limit=1)
    )
    assert page.alerts == []
    assert (await alerts.query("t", AlertQuery(limit=1))).continuation
    assert peer.scans == set()
    asked = " ".join(each.text for each in peer.asked)
    indexed = {path["path"].strip("/?") for path in peer.definition("alerts")["indexingPolicy"]["includedPaths"]}
    assert {name for name in indexed if f"c.{name}" not in asked} == set()


async def test_what_is_new_is_written_without_reading(alerts: CosmosAlerts, peer: CosmosDB) -> None:
    """A first revision most often is: it costs one batch an entity."""
    await alerts.apply("t", lives(6))
    assert (places(peer, "batch"), places(peer, "read"), places(peer, "query")) == (6, 0, 0)


async def test_a_batch_holds_no_more_than_the_service_takes(alerts: CosmosAlerts, peer: CosmosDB) -> None:
    """Neither operations nor bytes; a long batch becomes several, in order, and nothing is lost between."""
    many = [step("long", n, "update") for n in range(1, 251)]
    large = [step(f"b{n}", 1, "fire", subject="e2", values={"text": "é" * 60_000}) for n in range(20)]
    assert await alerts.apply("t", [*many, *large]) == 270
    expected, history = fold([*many, *large])
    assert await alerts.history("t", "long") == history["long"]
    assert {alert.id: alert for alert in (await alerts.query("t", AlertQuery())).alerts} == expected
    assert places(peer, "batch") >= 3 + 9


async def test_many_alerts_of_one_entity_are_read_by_query(alerts: CosmosAlerts, peer: CosmosDB) -> None:
    """Told again from the middle, in one batch: all that is known is old news."""
    told = [step(f"a{n}", revision, "fire" if revision == 1 else "update") for revision in (1, 2) for n in range(120)]
    assert await alerts.apply("t", told) == 240
    reads = places(peer, "read")
    assert await alerts.apply("t", told[120:]) == 0
    assert (places(peer, "read"), places(peer, "query")) == (reads, 2)


async def test_an_alert_no_document_can_hold_is_cut_short(alerts: CosmosAlerts) -> None:
    """Its texts are; the others of its batch are as they were told."""
    huge = step(
        "huge", 1, "fire", values={"text": "é" * 3_000_000, "n": 7}, labels={f"l{n}": "x" * 50 for n in range(9_000)}
    )
    fine = step("fine", 1, "fire")
    assert await alerts.apply("t", [huge, fine]) == 2
    kept = await alerts.get("t", "huge")
    assert kept.values == {"text": "é" * 1_000 + "…", "n": 7}
    assert len(kept.labels) == 100
    assert await alerts.get("t", "fine") == fold([fine])[0]["fine"]


async def test_numbers_are_kept_to_the_last_digit(alerts: CosmosAlerts) -> None:
    """The service's numbers are doubles."""
    values = {"account": 2**63 - 1, "small": -(2**53) - 1, "amount": 0.1}
    await alerts.apply("t", [step("a", 1, "fire", values=values, opened_us=2**53 + 1)])
    kept = await alerts.get("t", "a")
    assert (kept.values, kept.opened_us) == (values, 2**53 + 1)


@pytest.mark.parametrize(
    "name", ["a/b", "a\\b", "?", "#", "..", "é", "%2F", "~2F", "a b ", "a@000000", "'\"", "x" * 300]
)
async def test_any_id_and_subject_will_do(alerts: CosmosAlerts, name: str) -> None:
    """What the service can't have in an id is written otherwise; two never become one."""
    await alerts.apply("t", [step(name, 1, "fire", subject=name * 10), step(f"~{name}", 1, "open")])
    assert (await alerts.get("t", name)).subject == name * 10
    assert [entry.change for entry in await alerts.history("t", name)] == ["fire"]
    assert [alert.id for alert in (await alerts.query("t", AlertQuery(subject=name * 10))).alerts] == [name]
    assert (await alerts.act("t", name, "acknowledge", "ann", 5)).status == "acknowledged"


async def test_what_replaces_an_alert_of_another_entity_inherits_from_it(alerts: CosmosAlerts) -> None:
    """Though that one is in another partition, and told in the same batch."""
    await alerts.apply("t", [step("first", 1, "fire", subject="e1")])
    await alerts.act("t", "first", "acknowledge", "ann", 2_000)
    told = [
        step("first", 2, "withdraw", subject="e1"),
        step("second", 1, "fire", subject="e2", replaces="first"),
        step("second", 2, "withdraw", subject="e2"),
        step("third", 1, "fire", subject="e3", replaces="second"),
    ]
    assert await alerts.apply("t", told) == 4
    third = await alerts.get("t", "third")
    assert (third.status, third.acknowledged_by, third.acknowledged_us) == ("acknowledged", "ann", 2_000)


async def test_people_and_the_engine_at_once_lose_nothing(alerts: CosmosAlerts, others: CosmosAlerts) -> None:
    """Each alert is acknowledged, every transition is in its history once, and both in one order."""
    told = [step("a", n, "fire" if n == 1 else "update") for n in range(1, 41)]
    await alerts.apply("t", told[:1])

    async def engine() -> int:
        return sum([await alerts.apply("t", told[at : at + 3]) for at in range(1, 40, 3)])

    changed, acted = await asyncio.gather(engine(), others.act("t", "a", "acknowledge", "ann", 9_000))
    assert (changed, acted.status) == (39, "acknowledged")
    kept, history = await alerts.get("t", "a"), await alerts.history("t", "a")
    assert (kept.status, kept.acknowledged_by, kept.revision) == ("acknowledged", "ann", 40)
    assert sorted(entry.change for entry in history) == ["acknowledge", "fire", *["update"] * 39]


async def test_a_page_asks_no_more_of_the_service_than_it_shows(alerts: CosmosAlerts, peer: CosmosDB) -> None:
    """One more alert than the page, of each physical partition, is what is read."""
    await alerts.apply("t", [step(f"a{n:02}", 1, "fire", subject=f"e{n % 7}", opened_us=n) for n in range(60)])
    given: list[int] = []
    ask = alerts._cosmos.ask

    async def counted(*question: Any) -> list[Any]:
        found = await ask(*question)
        given.append(len(found))
        return found

    alerts._cosmos.ask = counted  # type: ignore[method-assign]
    await alerts.query("t", AlertQuery(limit=5))
    assert 6 < given[0] <= 12
    assert peer.scans == set()


def test_places_sort_as_alerts_do() -> None:
    """By when they were opened, before 1970 as well, then by id."""
    marks = [(-(2**62), "a"), (-1, "z"), (0, "a"), (0, "b"), (9, "a"), (10, "a"), (2**62, "z")]
    texts = [documents.place(*mark) for mark in marks]
    assert texts == sorted(texts)
    assert max(texts) < documents.AFTER_ALL
