"""Config as the stages read it: resolved, checked, immutable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flockiq.shared.alerts import Severity
from flockiq.shared.cel.compile import Expression, compile_cel
from flockiq.shared.cel.kinds import KIND_OF_FIELD, Kind
from flockiq.shared.config.entities import AnomalyModel, DriftModel, Strategy
from flockiq.shared.config.rules import STATES
from flockiq.shared.config.rules import Kind as RuleKind
from flockiq.shared.config.sources import Source
from flockiq.shared.fields import Field
from flockiq.shared.lateness import Lateness


@dataclass(frozen=True, slots=True)
class Entity:
    """One entity type. Every mapping by field holds the fields in the order the file gives them."""

    name: str
    description: str
    fields: Mapping[str, Field]
    match_key: str | None  # CEL giving text
    partition_by: str | None
    survivorship: Mapping[str, tuple[Strategy, ...]]  # every field has its cascade
    ranks: Mapping[str, tuple[str, ...]]  # every field: sources, best first; what is not named comes after
    drift: Mapping[str, DriftModel]
    anomalies: Mapping[str, AnomalyModel]
    lateness: Lateness
    overrides: bool  # whether people may set golden fields
    file: str
    line: int

    @property
    def kinds(self) -> dict[str, Kind]:
        """The kinds of its fields, as expressions see them."""
        return {name: KIND_OF_FIELD[field.type] for name, field in self.fields.items()}

    def match(self) -> Expression | None:
        """The match key compiled over the fields; null or empty text is no value."""
        return compile_cel(self.match_key, self.kinds, expect=Kind.STRING) if self.match_key else None


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, with what its file gives it."""

    name: str
    entity: str  # "" for a feed, and for a query that names none
    kind: RuleKind
    fields: tuple[str, ...]  # of a change, drift or anomaly; "any" is written out
    when: str | None
    variables: Mapping[str, Kind]  # what the condition may name
    for_us: int
    keep_us: int
    resolve_after_us: int
    severity: Severity
    title: str
    recommend: str
    labels: Mapping[str, str]
    runbook: str
    source: str  # of an absence
    stream: str
    query_file: str  # of a query
    query: str  # its KQL
    key: tuple[str, ...]
    every_us: int
    file: str
    line: int

    def condition(self) -> Expression | None:
        """The condition compiled over its variables; None: it always holds."""
        return compile_cel(self.when, self.variables) if self.when else None


@dataclass(frozen=True, slots=True)
class Config:
    """Everything a team configured that is in use."""

    sources: Mapping[str, Source]
    known: Mapping[str, Source]  # these, and those that are disabled: what they brought is understood as before
    entities: Mapping[str, Entity]
    rules: Mapping[str, Rule]
    unset: tuple[str, ...]  # settings that enabled sources name and the environment lacks
    fingerprint: str  # of the files' content: equal config, equal fingerprint

    def rules_of(self, entity: str) -> list[Rule]:
        """The rules evaluated on an entity type's records: first those that hold for a while, by name.

        So the place of a threshold or drift rule is below MAX_STATES, however many others there are.
        """
        evaluated = [rule for rule in self.rules.values() if rule.entity == entity and rule.kind != "query"]
        return sorted(evaluated, key=lambda rule: (rule.kind not in STATES, rule.name))
