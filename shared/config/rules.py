"""Rule files: what is worth an alert, how bad it is, and what to do about it.

A rule has one kind, told by its key: ``change``, ``drift``, ``anomaly``, ``absence`` or ``query``;
with none of them, ``when`` alone makes it a threshold. Each kind has its own further keys, and a
key that would do nothing is refused.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from flockiq.shared.alerts import Severity
from flockiq.shared.config.durations import UNITS, Duration
from flockiq.shared.config.names import Expression, FieldName, Line, Model, Name

Kind = Literal["threshold", "change", "drift", "anomaly", "absence", "query"]
KINDS: tuple[Kind, ...] = ("change", "drift", "anomaly", "absence", "query")
"""The kinds that a key names; a threshold has only ``when``."""

STATES: tuple[Kind, ...] = ("threshold", "drift")
"""The kinds that hold for a while, one bit of an entity's word each."""

ANY = "any"
RESOLVE_AFTER_US = 24 * UNITS["h"]
EVERY_US = UNITS["m"]
SHORTEST_EVERY_US = UNITS["s"]

OWN_KEYS: dict[Kind, frozenset[str]] = {
    "threshold": frozenset({"when", "for", "keep"}),
    "drift": frozenset({"when", "for", "keep"}),
    "change": frozenset({"when", "resolve_after"}),
    "anomaly": frozenset({"when", "resolve_after"}),
    "absence": frozenset({"for"}),
    "query": frozenset({"key", "every", "columns"}),
}
"""Which keys mean something to which kind, besides those every rule may have."""

_PLACEHOLDER = re.compile(r"\{([a-zA-Z_][a-zA-Z0-9_]*)\}")


def placeholders(template: str) -> list[str]:
    """The names in a title's or recommendation's ``{…}``, as they come. ValueError for a stray brace."""
    if re.search(r"[{}]", _PLACEHOLDER.sub("", template)):
        raise ValueError("has a brace that is no placeholder | write {name}, a plain name in braces")
    return _PLACEHOLDER.findall(template)


def _template(text: object) -> object:
    if isinstance(text, str):
        placeholders(text)
    return text


def _listed(value: object) -> object:
    """One name or a list of names."""
    return [value] if isinstance(value, str) else value


Template = Annotated[Line, BeforeValidator(_template)]
Names = Annotated[tuple[FieldName, ...], Field(min_length=1, max_length=200), BeforeValidator(_listed)]
Column = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]
Columns = Annotated[tuple[Column, ...], Field(min_length=1, max_length=20), BeforeValidator(_listed)]


class AbsenceModel(Model):
    """The feed that must not fall silent."""

    source: Name = Field(description="The source.")
    stream: Name = Field(description="The stream of it.")


def _one_or_list(schema: dict[str, Any]) -> None:
    """In the JSON Schema: every key that takes a list of names takes one name as well."""
    for name in ("change", "drift", "anomaly", "key", "columns"):
        for arm in schema["properties"][name].get("anyOf", []):
            if arm.get("type") == "array":
                schema["properties"][name]["anyOf"].insert(0, arm["items"])
                break


class RuleModel(Model):
    """One rule."""

    model_config = ConfigDict(json_schema_extra=_one_or_list)

    change: Names | None = Field(default=None, description="On a change of this field, of one of these, or of any.")
    drift: Names | None = Field(default=None, description="While sources disagree on this field, or on one of these.")
    anomaly: Names | None = Field(default=None, description="On a value of this field unlike its own history.")
    absence: AbsenceModel | None = Field(default=None, description="While nothing arrives from a feed.")
    query: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,80}\.kql$")] | None = Field(
        default=None, description="A KQL file; every row it gives is an alert, while the row is there."
    )
    when: Expression | None = Field(default=None, description="A condition in CEL (docs/rules.md).")
    for_: Duration | None = Field(default=None, alias="for", description="How long it must hold before it fires.")
    keep: Duration | None = Field(default=None, description="How long it goes on firing after it ended.")
    resolve_after: Duration | None = Field(
        default=None, description="Changes, anomalies: the alert ends this long after the last one (24h)."
    )
    key: Columns | None = Field(default=None, description="Queries: the columns that tell one row from another.")
    columns: Columns | None = Field(
        default=None, description="Queries: the columns the query gives, so that titles can be checked."
    )
    every: Duration | None = Field(default=None, description="Queries: how often it runs (1m).")
    severity: Severity = Field(default="warning", description="How bad it is.")
    title: Template = Field(description="What the alert says; {name} stands for a value.")
    recommend: Template | None = Field(default=None, description="What to do about it.")
    labels: dict[Name, Line] = Field(default_factory=dict, max_length=20, description="Added to the file's labels.")
    enabled: bool = Field(default=True, description="Whether it is watched.")
    runbook: Annotated[str, Field(pattern=r"^https?://[^\s]{1,400}$")] | None = Field(
        default=None, description="Address of a page that says more."
    )

    @property
    def kind(self) -> Kind:
        """Which kind of rule it is."""
        return next((kind for kind in KINDS if getattr(self, kind) is not None), "threshold")

    @property
    def named(self) -> tuple[str, ...]:
        """The fields a change, drift or anomaly names."""
        return self.change or self.drift or self.anomaly or ()

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = {("for" if name == "for_" else name) for name in self.model_fields_set}
        kinds = [kind for kind in KINDS if kind in given]
        if len(kinds) > 1:
            raise ValueError(f"is {' and '.join(kinds)} at once | one kind a rule: write two rules")
        if not kinds and self.when is None:
            raise ValueError(f"says nothing to watch | one of {', '.join(KINDS)}, or when alone")
        kind = self.kind
        useless = sorted((given & frozenset[str]().union(*OWN_KEYS.values())) - OWN_KEYS[kind])
        if useless:
            allowed = ", ".join(sorted(OWN_KEYS[kind]))
            raise ValueError(f"{', '.join(useless)} means nothing to a rule of kind {kind} | it takes {allowed}")
        if kind == "absence" and not self.for_:
            raise ValueError("an absence needs for | how long silence is normal, e.g. for: 10m")
        if kind == "query" and not self.key:
            raise ValueError("a query needs key | the columns that tell one row from another")
        if self.every is not None and self.every < SHORTEST_EVERY_US:
            raise ValueError("every is too short | at least 1s")
        return self


class RuleFile(Model):
    """A file of config/rules: rules that share an entity type and labels."""

    entity: Name | None = Field(default=None, description="The entity type the rules are about.")
    labels: dict[Name, Line] = Field(default_factory=dict, max_length=20, description="Labels of every alert.")
    rules: dict[Name, RuleModel] = Field(min_length=1, max_length=500, description="The rules by name.")
