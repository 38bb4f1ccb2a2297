"""Rules as people write them, over records as they come: what fires, with which values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flockiq.pipeline import compiled
from flockiq.pipeline.plans import plans
from flockiq.pipeline.resolved import Resolved
from flockiq.shared import wire
from flockiq.shared.alerts import AlertTransition
from flockiq.shared.config.load import load
from flockiq.shared.instants import rfc3339
from flockiq.shared.settings import Settings

ENTITY = """
entity: thing
fields:
  name: {type: string}
  limit: {type: decimal, scale: 2}
  staff: {type: integer}
  terms: {type: string}
  active: {type: boolean}
  due: {type: date}
survivorship: {default: [rank], ranks: {default: [erp, crm]}}
drift: {terms: {ignore: [case]}, limit: {}}
anomalies: {staff: {warm_up: 4}}
"""
SOURCE = """
source: %s
connector: files
files: {path: inbox/%s}
streams:
  things:
    pattern: "*.csv"
    format: {kind: csv}
    primary_key: [id]
    entity: thing
    fields: {name: name}
"""


@pytest.fixture(params=["off", "wait"], autouse=True)
def _either_way(request: pytest.FixtureRequest) -> Iterator[None]:
    """By columns, and by programs."""
    compiled.use(request.param)
    yield
    compiled.use("wait")


class Rules:
    """One partition under some rules; entity ``e1`` unless said otherwise."""

    def __init__(self, folder: Path, rules: str) -> None:
        texts = {"entities/thing.yaml": ENTITY, "rules/rules.yaml": f"entity: thing\nrules:\n{rules}"}
        texts |= {f"sources/{name}.yaml": SOURCE % (name, name) for name in ("erp", "crm")}
        for path, text in texts.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        self.resolved = Resolved(plans(load(folder, {})), Settings(), lambda: 0)
        self.resolved.load(b"", [])
        self.us = 0

    def say(self, *, source: str = "erp", entity: str = "e1", **fields: object) -> list[AlertTransition]:
        """A record says something; the alerts' steps."""
        self.us += 1
        data = wire.ResolvedData(
            op="u",
            entity="thing",
            entity_id=entity,
            match_key=entity,
            group=entity,
            stream="things",
            key=f"{source}-{entity}",
            ts_us=self.us,
            run=1,
            row=0,
            captured_us=self.us,
            fields=fields,  # type: ignore[arg-type]  # canonical scalars
        )
        line = wire.Resolved(
            id=f"event-{self.us}",
            source=source,
            type=wire.RESOLVED,
            subject=f"thing/{entity}",
            time=rfc3339(self.us),
            tenant="default",
            data=data,
        )
        (event,) = wire.pack(0, wire.RESOLVED, [wire.encode(line)])
        folded = self.resolved.fold([event.body], self.us)
        assert not folded.letters
        return folded.outbox.transitions

    def changes(self, **said: object) -> list[str]:
        """Only what kind of steps."""
        return [step.change for step in self.say(**said)]  # type: ignore[arg-type]


def test_a_threshold_holds_while_its_condition_is_true(tmp_path: Path) -> None:
    """Null is not true, whatever is compared with it."""
    rules = Rules(tmp_path, '  low: {when: "limit < 10.0 && active", title: "{name}: {limit} {key}"}')
    assert rules.changes(limit="5.00") == []
    (fired,) = rules.say(active=True, name="Acme")
    assert (fired.change, fired.title, fired.cause) == ("fire", "Acme: 5.00 e1", "event-2")
    assert fired.values == {"name": "Acme", "limit": "5.00", "key": "e1", "active": True}
    assert rules.changes(limit=None) == ["resolve"]
    assert rules.changes(limit="9.99") == ["fire"]
    assert rules.changes(limit="10.00") == ["resolve"]


@pytest.mark.parametrize(
    ("condition", "fields"),
    [
        ("name.startsWith('Ac')", {"name": "Acme"}),
        ("staff == 5 || name == 'x'", {"staff": 5}),
        ("limit == 0.1", {"limit": "0.10"}),
        ("due < timestamp('2024-02-01')", {"due": "2024-01-31"}),
        ("!active", {"active": False}),
        ("key == 'e1' && name != 'z'", {"name": "a"}),
        ("terms == null && name == 'a'", {"name": "a"}),
    ],
)
def test_conditions_read_every_type(tmp_path: Path, condition: str, fields: dict[str, object]) -> None:
    """Texts, numbers, dates, booleans, the key, and whether there is a value."""
    rules = Rules(tmp_path, f'  rule: {{when: "{condition}", title: t}}')
    assert rules.changes(**fields) == ["fire"]


def test_a_change_fires_with_what_was_and_what_is(tmp_path: Path) -> None:
    """And with the field, and the source whose value won."""
    rules = Rules(
        tmp_path,
        '  cut: {change: limit, when: "relative_change <= -0.5 && source == \'erp\'", title: "{name}: {old} to {new}"}',
    )
    assert rules.changes(name="Acme", limit="100.00", source="crm") == []
    assert rules.changes(limit="40.00", source="crm") == []
    assert rules.changes(limit="30.00") == []
    (fired,) = rules.say(limit="15.00")
    assert fired.title == "Acme: 30.00 to 15.00"
    assert fired.values.items() >= {"field": "limit", "source": "erp", "old": "30.00", "new": "15.00"}.items()


def test_a_change_from_or_to_nothing_has_no_relative_change(tmp_path: Path) -> None:
    """What it is compared with is null, which is not true; without a condition it fires."""
    rules = Rules(
        tmp_path,
        '  half: {change: staff, when: "relative_change < 0.0", title: t}\n'
        '  new: {change: staff, when: "old == null", title: t}\n'
        "  each: {change: staff, title: t}",
    )
    assert [step.rule for step in rules.say(staff=0)] == ["each", "new"]
    assert [step.rule for step in rules.say(staff=5)] == ["each"]
    assert [step.rule for step in rules.say(staff=4)] == ["each", "half"]
    assert [step.rule for step in rules.say(staff=None)] == ["each"]


def test_a_change_of_any_field_counts_each_of_them(tmp_path: Path) -> None:
    """Two fields that change at once are two matches of one episode."""
    rules = Rules(tmp_path, '  any: {change: any, when: "field != \'due\'", title: "{field}: {old} to {new}"}')
    assert [(step.change, step.count) for step in rules.say(name="a", staff=1, due="2024-01-31")] == [
        ("fire", 1),
        ("update", 2),
    ]
    assert rules.changes(name="a", due="2024-02-01") == []


def test_a_drift_holds_while_sources_disagree(tmp_path: Path) -> None:
    """On one of its fields, beyond what the entity type tolerates, and only where its condition is true."""
    rules = Rules(tmp_path, '  split: {drift: [terms, limit], when: "active", title: t}')
    assert rules.changes(terms="Net 30", active=True) == []
    assert rules.changes(terms="NET 30", source="crm") == []
    assert rules.changes(terms="net 60", source="crm") == ["fire"]
    assert rules.changes(limit="1.00") == ["update"], "the golden value of a watched field is shown"
    assert rules.changes(limit="2.00", source="crm") == []
    assert rules.changes(terms="net 30", source="crm") == []
    assert rules.changes(active=False) == ["resolve"]
    assert rules.changes(active=True) == ["fire"]


def test_an_anomaly_fires_beyond_its_history(tmp_path: Path) -> None:
    """Without a condition at four deviations; with one, where that is true."""
    rules = Rules(
        tmp_path,
        '  odd: {anomaly: staff, title: "{new} where {expected} is usual"}\n'
        '  high: {anomaly: staff, when: "score > 1.0 && new > high && staff < 1000", title: "{score}"}',
    )
    for value in (8, 12, 8, 12):
        assert rules.changes(staff=value) == []
    assert rules.changes(staff=13) == []
    fired = rules.say(staff=500)
    assert [step.rule for step in fired] == ["high", "odd"]
    assert fired[1].title.startswith("500.00 where 10.")
    assert set(fired[1].values) >= {"score", "expected", "low", "high", "new", "staff"}
    assert [step.rule for step in rules.say(staff=-5000)] == ["odd"]


def test_rules_of_one_entity_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Thirty states, each with a bit of its own, over entities of which each is in another."""
    rules = Rules(
        tmp_path, "\n".join(f'  r{number:02}: {{when: "staff == {number}", title: t}}' for number in range(30))
    )
    for number in range(30):
        assert [(step.rule, step.change) for step in rules.say(staff=number, entity=f"e{number}")] == [
            (f"r{number:02}", "fire")
        ]
    for number in range(30):
        steps = {(step.rule, step.change) for step in rules.say(staff=(number + 1) % 30, entity=f"e{number}")}
        assert steps == {(f"r{number:02}", "resolve"), (f"r{(number + 1) % 30:02}", "fire")}
