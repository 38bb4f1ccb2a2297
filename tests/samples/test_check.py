"""The checker compares what was planted with what the app tells, and with nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flockiq.local.samples import truth
from flockiq.local.samples.check import Told, check, judge
from flockiq.local.samples.story import RULES
from flockiq.local.samples.truth import Truth
from flockiq.shared.config.load import load
from flockiq.shared.errors import FlockIQError
from tests.samples.app import App

ROOT = Path(__file__).parents[2]
S = 1_000_000
NOW = 1_000 * S


def company_event(**changed: Any) -> Truth:
    """A credit limit was halved at 900 s, to be noticed by 915 s."""
    given: dict[str, Any] = {
        "id": "halved",
        "kind": "credit limit halved",
        "rule": "credit-limit-halved",
        "expects": "firing",
        "subject_type": "company",
        "match_key": "123456789",
        "committed_us": 900 * S,
        "due_by_us": 915 * S,
    }
    return Truth(**{**given, **changed})


def order_event() -> Truth:
    """An unusual order."""
    return company_event(id="order", rule="order-unusual", subject_type="order", match_key="", key="0000000042")


def feed_events() -> list[Truth]:
    """A feed fell silent, and came back."""
    feed = {"rule": "feed-silent", "subject_type": "feed", "match_key": "", "key": "marketing/contacts"}
    return [
        company_event(id="silent", **feed),
        company_event(id="back", expects="resolved", **{**feed, "committed_us": 920 * S, "due_by_us": 935 * S}),
    ]


def alert(rule: str = "credit-limit-halved", **changed: Any) -> Told:
    """An alert about the company of ``company_event``."""
    given: dict[str, Any] = {
        "id": "a",
        "rule": rule,
        "subject": "hash",
        "title": "T",
        "status": "firing",
        "opened_us": 901 * S,
        "match_key": "123456789",
    }
    return Told(**{**given, **changed})


def counts(planted: list[Truth], alerts: list[Told], now_us: int = NOW) -> tuple[int, int, int, int]:
    """Found, missed, unexpected, waiting."""
    verdict = judge(planted, alerts, now_us)
    assert verdict.planted == len(planted)
    assert len(verdict.details) == verdict.missed + verdict.unexpected
    return verdict.found, verdict.missed, verdict.unexpected, verdict.waiting


@pytest.mark.parametrize("status", ["firing", "acknowledged", "resolved"])
def test_an_alert_that_fired_is_found_whatever_became_of_it(status: str) -> None:
    """What a person did with it does not matter."""
    assert counts([company_event()], [alert(status=status)]) == (1, 0, 0, 0)


@pytest.mark.parametrize("status", ["pending", "withdrawn"])
def test_an_alert_that_is_not_out_or_was_taken_back_does_not_count(status: str) -> None:
    """Neither as found nor as unexpected."""
    assert counts([company_event()], [alert(status=status)]) == (0, 1, 0, 0)


def test_an_event_is_missed_only_once_it_is_due() -> None:
    """Until then it is waited for."""
    assert counts([company_event()], [], 914 * S) == (0, 0, 0, 1)
    assert counts([company_event()], [], 916 * S) == (0, 1, 0, 0)


@pytest.mark.parametrize(
    "wrong",
    [{"match_key": "987654321"}, {"rule": "payment-terms-disagree"}, {"opened_us": 800 * S}],
)
def test_an_alert_about_something_else_is_unexpected(wrong: dict[str, Any]) -> None:
    """Another company, another rule, or long before the event."""
    assert counts([company_event()], [alert(**wrong)]) == (0, 1, 1, 0)


def test_a_second_alert_for_the_same_event_is_unexpected() -> None:
    """Alerts are never doubled."""
    assert counts([company_event()], [alert(), alert(id="b", opened_us=903 * S)]) == (1, 0, 1, 0)


def test_two_events_need_two_alerts() -> None:
    """One alert does not explain both."""
    both = [company_event(), company_event(id="again", committed_us=902 * S)]
    assert counts(both, [alert()]) == (1, 1, 0, 0)
    assert counts(both, [alert(), alert(id="b", opened_us=903 * S)]) == (2, 0, 0, 0)


def test_query_rules_and_orders_are_known_by_their_values() -> None:
    """A query's row names the match key in its values; an order goes by its number, in either place."""
    assert counts([company_event()], [alert(match_key="", values={"match_key": "123456789"})]) == (1, 0, 0, 0)
    assert counts([order_event()], [alert("order-unusual", match_key="0000000042")]) == (1, 0, 0, 0)
    assert counts([order_event()], [alert("order-unusual", match_key="x", values={"key": "0000000042"})]) == (
        1,
        0,
        0,
        0,
    )
    assert counts([order_event()], [alert("order-unusual", match_key="0000000043")]) == (0, 1, 1, 0)


def test_a_feed_that_came_back_must_be_resolved() -> None:
    """Firing is one half of it, resolved the other; a second silence was not planted."""
    silent = alert("feed-silent", subject="marketing/contacts", match_key="", opened_us=897 * S)
    resolved = Told(**{**{name: getattr(silent, name) for name in silent.__struct_fields__}, "status": "resolved"})
    assert counts(feed_events(), [silent]) == (1, 1, 0, 0)
    assert counts(feed_events(), [resolved]) == (2, 0, 0, 0)
    again = alert("feed-silent", id="b", subject="marketing/contacts", match_key="", opened_us=950 * S)
    assert counts(feed_events(), [resolved, again]) == (2, 0, 1, 0)


async def test_the_app_is_asked_page_by_page(tmp_path: Path, app: App) -> None:
    """Every page counts, and fields the checker does not know are left alone."""
    truth.append(tmp_path, company_event())
    app.alerts = [
        {
            "id": str(n),
            "rule": "credit-limit-halved",
            "subject": "hash",
            "title": f"Company {n}",
            "status": "firing",
            "opened_us": 901 * S,
            "match_key": str(123_456_785 + n),
            "something": "new",
        }
        for n in range(5)
    ]
    verdict = await check(tmp_path, app.url)
    assert (verdict.planted, verdict.found, verdict.missed, verdict.unexpected) == (1, 1, 0, 4)
    assert any("Company 3" in line for line in verdict.details)


async def test_an_app_that_does_not_answer_is_an_error(tmp_path: Path) -> None:
    """Not a story without alerts."""
    with pytest.raises(FlockIQError, match="does not tell its alerts"):
        await check(tmp_path, "http://127.0.0.1:9")


def test_an_alert_of_somebodys_own_rule_is_theirs_to_judge() -> None:
    """Whoever writes a rule and tries it on the sample systems has not broken the story."""
    assert counts([company_event()], [alert(), alert("my-own", id="b")]) == (1, 0, 0, 0)
    assert counts([company_event()], [alert(), alert("risk-very-high", id="b")]) == (1, 0, 1, 0)


def test_the_rules_that_come_with_the_app_are_known() -> None:
    """A rule added to config/rules is held to the story like the others."""
    assert set(load(ROOT / "config", {}).rules) == RULES
