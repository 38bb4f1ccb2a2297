"""What every AlertStore promises."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flockiq.shared import alerts as life
from flockiq.shared.alerts import Alert, AlertQuery, AlertTransition, Change, HistoryEntry
from flockiq.shared.errors import BadRecord, NotFound
from flockiq.shared.ports import AlertStore
from flockiq.shared.services import Services

LIFE: Sequence[Change] = ("open", "fire", "update", "resolve")
_tenants = itertools.count()


def step(alert: str, revision: int, change: Change, **more: object) -> AlertTransition:
    """One transition of an alert of a rule called ``limit``."""
    given_ = {
        "at_us": 1_000 + revision,
        "rule": "limit",
        "subject": "e1",
        "opened_us": 1_000,
        "values": {"new": 1.5, "old": None, "n": revision},
        "labels": {"team": "credit"},
        "count": revision,
        **more,
    }
    return AlertTransition(
        id=alert,
        revision=revision,
        change=change,
        fingerprint=f"f-{alert}",
        kind="threshold",
        severity="critical",
        subject_type="company",
        title="Akmé: limit cut",
        cause="d1",
        reason=f"because {revision}",
        **given_,  # type: ignore[arg-type]
    )


def fold(transitions: Sequence[AlertTransition]) -> tuple[dict[str, Alert], dict[str, list[HistoryEntry]]]:
    """What shared.alerts says of transitions told once, in order."""
    alerts: dict[str, Alert] = {}
    history: dict[str, list[HistoryEntry]] = {}
    for transition in transitions:
        alert = life.advance(alerts.get(transition.id), transition, alerts.get(transition.replaces))
        if alert is not None:
            alerts[alert.id] = alert
            history.setdefault(alert.id, []).append(life.entry(transition, alert))
    return alerts, history


async def test_a_whole_life_is_applied_in_order(alerts: AlertStore) -> None:
    """The alert, its history and the number of changes are what shared.alerts says."""
    told = [step("a", n, change) for n, change in enumerate(LIFE, 1)]
    assert await alerts.apply("t", told) == 4
    expected, history = fold(told)
    assert await alerts.get("t", "a") == expected["a"]
    assert await alerts.history("t", "a") == history["a"]
    assert [entry.change for entry in history["a"]] == list(LIFE)


async def test_applying_again_in_whole_or_in_part_changes_nothing(alerts: AlertStore) -> None:
    """A batch that is delivered again is absorbed."""
    told = [step("a", n, change) for n, change in enumerate(LIFE, 1)]
    await alerts.apply("t", told)
    before = (await alerts.get("t", "a"), await alerts.history("t", "a"))
    assert await alerts.apply("t", told) == 0
    assert await alerts.apply("t", told[1:3]) == 0
    assert (await alerts.get("t", "a"), await alerts.history("t", "a")) == before


async def test_an_overtaken_transition_is_old_news(alerts: AlertStore) -> None:
    """A lower revision that comes late does not undo a higher one."""
    assert await alerts.apply("t", [step("a", 1, "fire"), step("a", 3, "resolve"), step("a", 2, "update")]) == 2
    assert (await alerts.get("t", "a")).status == "resolved"


async def test_applying_nothing_changes_nothing(alerts: AlertStore) -> None:
    """An empty batch is fine."""
    assert await alerts.apply("t", []) == 0


async def test_what_replaces_an_alert_inherits_its_acknowledgement(alerts: AlertStore) -> None:
    """Within one batch and across batches."""
    await alerts.apply("t", [step("old", 1, "fire")])
    await alerts.act("t", "old", "acknowledge", "ann", 2_000)
    await alerts.apply("t", [step("old", 2, "withdraw"), step("new", 1, "fire", replaces="old")])
    new = await alerts.get("t", "new")
    assert (new.status, new.acknowledged_by, new.acknowledged_us) == ("acknowledged", "ann", 2_000)
    await alerts.apply("t", [step("lone", 1, "fire", replaces="nobody")])
    assert (await alerts.get("t", "lone")).status == "firing"


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_however_batches_are_cut_and_repeated_the_alerts_are_the_same(
    alerts: AlertStore, data: st.DataObject
) -> None:
    """Redelivery from any earlier point, in batches of any size, ends as if all had been told once."""
    tenant = f"t{next(_tenants)}"
    changes = st.lists(st.sampled_from(["open", "fire", "update", "resolve", "withdraw"]), min_size=1, max_size=6)
    lives = data.draw(st.dictionaries(st.sampled_from(["a", "b", "c"]), changes, min_size=1))
    queues = [[step(alert, n, change) for n, change in enumerate(all_, 1)] for alert, all_ in lives.items()]
    turns = data.draw(st.permutations([number for number, queue in enumerate(queues) for _ in queue]))
    told = [queues[number].pop(0) for number in turns]
    applied, at = 0, 0
    while at < len(told):
        start = data.draw(st.integers(0, at))
        at = data.draw(st.integers(at, len(told)).filter(lambda end, at=at: end > at))
        applied += await alerts.apply(tenant, told[start:at])
    expected, history = fold(told)
    assert applied == len(told)
    assert {alert.id: alert for alert in (await alerts.query(tenant, AlertQuery())).alerts} == expected
    assert {alert: await alerts.history(tenant, alert) for alert in expected} == history


async def test_a_call_of_many_alerts_stores_each_of_them(alerts: AlertStore) -> None:
    """New ones, ones that are only seen again and ones that end, a hundred and more in one call."""
    before = [step(f"a{number}", 1, "fire", subject=f"e{number}") for number in range(101)]
    changes: Sequence[Change] = ("update", "resolve")
    after = [step(f"a{number}", 2, changes[number % 3 == 0], subject=f"e{number}") for number in range(90)]
    after += [step(f"b{number}", 1, "fire", opened_us=2_000 + number) for number in range(77)]
    assert await alerts.apply("many", before) == len(before)
    assert await alerts.apply("many", after) == len(after)
    expected, history = fold([*before, *after])
    assert {alert.id: alert for alert in (await alerts.query("many", AlertQuery(limit=500))).alerts} == expected
    assert {one: await alerts.history("many", one) for one in ("a0", "a1", "a95", "b76")} == {
        one: history[one] for one in ("a0", "a1", "a95", "b76")
    }
    found = await alerts.query("many", AlertQuery(statuses=("resolved",), limit=500))
    assert {alert.id for alert in found.alerts} == {f"a{number}" for number in range(0, 90, 3)}


async def test_a_person_acknowledges_and_resolves(alerts: AlertStore) -> None:
    """Both show in the alert and in its history."""
    await alerts.apply("t", [step("a", 1, "fire")])
    taken = await alerts.act("t", "a", "acknowledge", "ann", 2_000)
    assert (taken.status, taken.acknowledged_by, taken.acknowledged_us) == ("acknowledged", "ann", 2_000)
    ended = await alerts.act("t", "a", "resolve", "bob", 3_000)
    assert (ended.status, ended.resolved_by, ended.resolved_us) == ("resolved", "bob", 3_000)
    assert await alerts.get("t", "a") == ended
    history = [(entry.by, entry.change, entry.status) for entry in await alerts.history("t", "a")]
    assert history == [
        ("flockiq", "fire", "firing"),
        ("ann", "acknowledge", "acknowledged"),
        ("bob", "resolve", "resolved"),
    ]


async def test_what_a_person_resolved_lasts_until_its_cause_has_ended(alerts: AlertStore) -> None:
    """The clock asks for these alone, however many were ever resolved."""
    await alerts.apply("t", [step("a", 1, "fire"), step("b", 2, "fire")])
    ended = await alerts.act("t", "a", "resolve", "bob", 3_000)
    lasting = AlertQuery(rule=ended.rule, lasting=True)
    assert [alert.id for alert in (await alerts.query("t", lasting)).alerts] == ["a"]
    await alerts.apply("t", [step("a", 4, "update")])
    assert [alert.id for alert in (await alerts.query("t", lasting)).alerts] == ["a"]
    await alerts.apply("t", [step("a", 5, "resolve"), step("b", 6, "resolve")])
    assert not (await alerts.query("t", lasting)).alerts


async def test_an_action_that_changes_nothing_leaves_no_history(alerts: AlertStore) -> None:
    """Acknowledging twice gives the alert as it is."""
    await alerts.apply("t", [step("a", 1, "fire")])
    once = await alerts.act("t", "a", "acknowledge", "ann", 2_000)
    assert await alerts.act("t", "a", "acknowledge", "bob", 3_000) == once
    assert len(await alerts.history("t", "a")) == 2


async def test_an_acknowledgement_outlives_the_engine_s_updates(alerts: AlertStore) -> None:
    """A later transition does not take it away."""
    await alerts.apply("t", [step("a", 1, "fire")])
    await alerts.act("t", "a", "acknowledge", "ann", 2_000)
    await alerts.apply("t", [step("a", 2, "update")])
    alert = await alerts.get("t", "a")
    assert (alert.status, alert.acknowledged_by, alert.count) == ("acknowledged", "ann", 2)


async def test_an_unknown_alert_is_not_found(alerts: AlertStore) -> None:
    """To get it and to act on it; its history is empty."""
    with pytest.raises(NotFound, match="nope"):
        await alerts.get("t", "nope")
    with pytest.raises(NotFound, match="nope"):
        await alerts.act("t", "nope", "acknowledge", "ann", 1)
    assert await alerts.history("t", "nope") == []


async def test_nothing_of_a_tenant_is_seen_by_another(alerts: AlertStore) -> None:
    """Not by any call, even when ids are equal."""
    await alerts.apply("t", [step("a", 1, "fire")])
    with pytest.raises(NotFound):
        await alerts.get("u", "a")
    with pytest.raises(NotFound):
        await alerts.act("u", "a", "resolve", "eve", 1)
    assert (await alerts.query("u", AlertQuery())).alerts == []
    assert await alerts.history("u", "a") == []
    assert await alerts.counts("u") == {}
    await alerts.apply("u", [step("a", 1, "open", replaces="a")])
    assert (await alerts.get("t", "a")).status == "firing"
    assert (await alerts.get("u", "a")).status == "pending"


async def test_a_query_lists_newest_first_and_ties_by_id_descending(alerts: AlertStore) -> None:
    """By when the alert was opened, not by when it changed."""
    opened = {"a": 5, "b": 7, "c": 7, "d": 1}
    await alerts.apply("t", [step(alert, 1, "fire", opened_us=at) for alert, at in opened.items()])
    await alerts.apply("t", [step("d", 2, "update", opened_us=1, at_us=10_000)])
    page = await alerts.query("t", AlertQuery())
    assert ([alert.id for alert in page.alerts], page.continuation) == (["c", "b", "a", "d"], "")


async def test_a_query_filters_by_status_rule_and_subject_together(alerts: AlertStore) -> None:
    """Empty fields do not restrict."""
    await alerts.apply(
        "t",
        [
            step("a", 1, "fire", rule="r1", subject="s1", opened_us=1),
            step("b", 1, "open", rule="r1", subject="s2", opened_us=2),
            step("c", 1, "fire", rule="r2", subject="s1", opened_us=3),
            step("d", 1, "resolve", rule="r1", subject="s1", opened_us=4),
        ],
    )

    async def ids(query: AlertQuery) -> str:
        return "".join(alert.id for alert in (await alerts.query("t", query)).alerts)

    assert await ids(AlertQuery()) == "dcba"
    assert await ids(AlertQuery(statuses=("firing",))) == "ca"
    assert await ids(AlertQuery(statuses=life.OPEN)) == "cba"
    assert await ids(AlertQuery(rule="r1")) == "dba"
    assert await ids(AlertQuery(subject="s1")) == "dca"
    assert await ids(AlertQuery(statuses=("firing", "resolved"), rule="r1", subject="s1")) == "da"
    assert await ids(AlertQuery(rule="' OR 1=1 --")) == ""


async def test_pages_hold_every_alert_once_while_new_ones_open(alerts: AlertStore) -> None:
    """What is opened or changed between two pages neither repeats nor hides what was there."""
    await alerts.apply("t", [step(f"{n:02}", 1, "fire", opened_us=n // 3) for n in range(20)])
    seen: list[str] = []
    query = AlertQuery(limit=7)
    while True:
        page = await alerts.query("t", query)
        assert len(page.alerts) <= 7
        seen += [alert.id for alert in page.alerts]
        if not page.continuation:
            break
        await alerts.apply("t", [step(f"new{len(seen)}", 1, "fire", opened_us=99), step(seen[0], 2, "update")])
        query = AlertQuery(limit=7, continuation=page.continuation)
    assert seen == [f"{n:02}" for n in reversed(range(20))]


async def test_a_page_that_holds_the_last_alert_has_no_continuation(alerts: AlertStore) -> None:
    """Also when the limit is met exactly."""
    await alerts.apply("t", [step(alert, 1, "fire") for alert in "abc"])
    assert (await alerts.query("t", AlertQuery(limit=3))).continuation == ""
    assert (await alerts.query("t", AlertQuery(limit=2))).continuation != ""


@pytest.mark.parametrize("continuation", ["x", "é", "W10=", "WyJhIiwxXQ==", "AAAA"])
async def test_a_continuation_nobody_gave_is_refused(alerts: AlertStore, continuation: str) -> None:
    """It comes from outside: anything may be in it."""
    with pytest.raises(BadRecord, match="continuation"):
        await alerts.query("t", AlertQuery(continuation=continuation))


async def test_counts_are_by_rule_and_status(alerts: AlertStore) -> None:
    """Every alert is counted once, as it stands."""
    await alerts.apply(
        "t",
        [
            step("a", 1, "fire", rule="r1"),
            step("b", 1, "fire", rule="r1"),
            step("b", 2, "resolve", rule="r1"),
            step("c", 1, "open", rule="r2"),
        ],
    )
    assert await alerts.counts("t") == {"r1": {"firing": 1, "resolved": 1}, "r2": {"pending": 1}}


async def test_alerts_survive_a_restart(another: Callable[[], Services]) -> None:
    """With their history."""
    before = another()
    await before.alerts.apply("t", [step("a", 1, "fire")])
    acted = await before.alerts.act("t", "a", "acknowledge", "ann", 2_000)
    await before.close()
    after = another().alerts
    assert await after.get("t", "a") == acted
    assert len(await after.history("t", "a")) == 2


async def test_two_owners_telling_the_same_change_it_once(another: Callable[[], Services]) -> None:
    """Old and new owner of a partition overlap: each transition counts for one of them."""
    owners = [another().alerts, another().alerts]
    told = [step(f"{n}", revision, change) for n in range(20) for revision, change in enumerate(LIFE, 1)]
    changed = await asyncio.gather(*(owner.apply("t", told[at : at + 8]) for at in range(0, 80, 8) for owner in owners))
    assert sum(changed) == len(told)
    for n in range(20):
        assert [entry.change for entry in await owners[0].history("t", f"{n}")] == list(LIFE)


async def test_what_is_known_of_one_thing_is_forgotten_with_its_history(alerts: AlertStore) -> None:
    """Alerts about other things, and those of other tenants, stay; forgetting again finds nothing."""
    about = [step(name, n, change, subject="gone") for name in ("a", "b") for n, change in enumerate(LIFE, 1)]
    await alerts.apply("t", [*about, step("c", 1, "open", subject="stays")])
    await alerts.apply("other", [step("a", 1, "open", subject="gone")])
    assert await alerts.forget("t", "gone") == 2
    for name in ("a", "b"):
        with pytest.raises(NotFound):
            await alerts.get("t", name)
        assert await alerts.history("t", name) == []
    assert [alert.id for alert in (await alerts.query("t", AlertQuery())).alerts] == ["c"]
    assert (await alerts.get("other", "a")).subject == "gone"
    assert await alerts.forget("t", "gone") == 0


async def test_a_restored_alert_goes_on_where_it_was(alerts: AlertStore) -> None:
    """It takes the place of what is kept under its id, history and all, and its next step counts."""
    told = [step("a", n, change) for n, change in enumerate(LIFE, 1)]
    kept, history = fold(told[:2])
    await alerts.apply("t", told)
    for _ in range(2):
        await alerts.restore("t", kept["a"], history["a"])
        assert await alerts.get("t", "a") == kept["a"]
        assert await alerts.history("t", "a") == history["a"]
    assert await alerts.apply("t", told) == 2
    expected, whole = fold(told)
    assert await alerts.get("t", "a") == expected["a"]
    assert await alerts.history("t", "a") == whole["a"]
