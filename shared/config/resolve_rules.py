"""Rule files: names looked up, conditions compiled, titles checked, defaults filled in."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

from flockiq.shared.cel.kinds import Kind
from flockiq.shared.config.document import MAX_BYTES, Document, Place
from flockiq.shared.config.findings import Findings
from flockiq.shared.config.model import Entity, Rule
from flockiq.shared.config.problems import did_you_mean
from flockiq.shared.config.resolve_entities import Sources
from flockiq.shared.config.rules import ANY, EVERY_US, RESOLVE_AFTER_US, STATES, RuleFile, RuleModel, placeholders

MAX_STATES = 60
"""Rules of an entity type that hold for a while: each is a bit of one int64 word."""

_NUMBERS = (Kind.INT, Kind.DOUBLE)
_SCORES: Mapping[str, Kind] = dict.fromkeys(("score", "new", "expected", "low", "high"), Kind.DOUBLE)


@dataclasses.dataclass(frozen=True)
class Around:
    """What rules may name."""

    entities: Mapping[str, Entity]
    sources: Sources
    query_folders: Sequence[Path]


def resolve_rules(findings: Findings, document: Document, file: RuleFile, around: Around) -> list[Rule]:
    """The rules of one file. A rule with problems is still given, as far as it goes."""
    entity = None
    if file.entity is not None and findings.known(document, ("entity",), [file.entity], around.entities, "entity type"):
        entity = around.entities[file.entity]
    broken = file.entity is not None and entity is None  # said once, not again for every rule
    rules = []
    for name, model in file.rules.items():
        place = ("rules", name)
        if entity is None and model.kind not in ("absence", "query"):
            if not broken:
                findings.add(document, place, f"a {model.kind} rule is about an entity type", "entity: at the top")
            continue
        rules.append(_Resolving(findings, document, place, model, entity, around).rule(name, file))
    return rules


def check_states(findings: Findings, rules: Mapping[str, tuple[Document, Rule]]) -> None:
    """No entity type has more stateful rules than a word has bits."""
    counts: dict[str, int] = {}
    for document, rule in rules.values():
        if rule.kind in STATES:
            counts[rule.entity] = counts.get(rule.entity, 0) + 1
            if counts[rule.entity] == MAX_STATES + 1:
                wrong = f"is one too many: {rule.entity} has {MAX_STATES} threshold and drift rules already"
                findings.add(document, ("rules", rule.name), wrong, "join some with || in one condition")


@dataclasses.dataclass(frozen=True)
class _Resolving:
    """One rule on its way."""

    findings: Findings
    document: Document
    place: Place
    model: RuleModel
    entity: Entity | None
    around: Around

    def rule(self, name: str, file: RuleFile) -> Rule:
        """The rule with everything its file and the defaults give it."""
        model = self.model
        fields = self._fields()
        variables = self._variables(fields)
        understood = bool(fields) or not model.named  # else its condition and title would be blamed as well
        if model.when is not None and understood:
            self.findings.compiles(self.document, (*self.place, "when"), model.when, variables, Kind.BOOL)
        if understood:
            self._templates(variables)
        query_file, query = self._query()
        self._feed()
        absence = model.absence
        return Rule(
            name=name,
            entity="" if absence else file.entity or "",
            kind=model.kind,
            fields=fields,
            when=model.when,
            variables=variables,
            for_us=model.for_ or 0,
            keep_us=model.keep or 0,
            resolve_after_us=RESOLVE_AFTER_US if model.resolve_after is None else model.resolve_after,
            severity=model.severity,
            title=model.title,
            recommend=model.recommend or "",
            labels={**file.labels, **model.labels},
            runbook=model.runbook or "",
            source=absence.source if absence else "",
            stream=absence.stream if absence else "",
            query_file=query_file,
            query=query,
            key=model.key or (),
            every_us=EVERY_US if model.every is None else model.every,
            file=self.document.file,
            line=self.document.line(self.place),
        )

    def _fields(self) -> tuple[str, ...]:
        """The fields it names, "any" written out; only those it can be about."""
        if self.entity is None or not self.model.named:
            return ()
        kind = self.model.kind
        eligible: Mapping[str, object] = {
            "change": self.entity.fields, "drift": self.entity.drift, "anomaly": self.entity.anomalies
        }[kind]  # fmt: skip
        where = (*self.place, kind)
        if ANY in self.model.named:
            if len(self.model.named) > 1:
                self.findings.add(self.document, where, "names any and single fields", "any, or the fields")
            if not eligible:
                self.findings.add(self.document, where, f"{self.entity.name} has none", f"see {self.entity.file}")
            return tuple(eligible)
        known = []
        for field in dict.fromkeys(self.model.named):
            if field in eligible:
                known.append(field)
            elif self._misspelt(field, eligible):
                continue  # said where it stands
            elif field in self.entity.fields:
                section = {"drift": "drift", "anomaly": "anomalies"}[kind]
                wrong = f"{field} is not watched for {kind}"
                allowed = f"add it under {section}: in {self.entity.file}; there are: {', '.join(eligible) or 'none'}"
                self.findings.add(self.document, where, wrong, allowed)
            else:
                wrong = f"{self.entity.name} has no field {field!r}"
                self.findings.add(self.document, where, wrong, did_you_mean(field, self.entity.fields))
        return tuple(known)

    def _misspelt(self, field: str, eligible: Mapping[str, object]) -> bool:
        """Whether the entity type names it under drift or anomalies, but wrongly."""
        wrong = [name for name in eligible if self.entity is not None and name not in self.entity.fields]
        return bool(difflib.get_close_matches(field, wrong, n=1))

    def _variables(self, fields: Sequence[str]) -> dict[str, Kind]:
        """What the condition may name: the golden fields, the key, and what the kind adds."""
        if self.entity is None or self.model.kind in ("absence", "query"):
            return {}
        kinds = self.entity.kinds
        variables = {**kinds, "key": Kind.STRING}
        if self.model.kind == "anomaly":
            variables |= _SCORES
        elif self.model.kind == "change":
            variables |= {"field": Kind.STRING, "source": Kind.STRING}
            changing = {kinds[field] for field in fields}
            if len(changing) == 1:  # values of several kinds have no one kind: conditions can't name them
                variables |= dict.fromkeys(("old", "new"), next(iter(changing)))
            if changing and changing <= set(_NUMBERS):
                variables["relative_change"] = Kind.DOUBLE
        return variables

    def _templates(self, variables: Mapping[str, Kind]) -> None:
        names = self._placeholders(variables)
        if names is None:
            return
        for key, template in (("title", self.model.title), ("recommend", self.model.recommend or "")):
            unknown = [name for name in dict.fromkeys(placeholders(template)) if name not in names]
            for name in unknown:
                wrong = f"{{{name}}} stands for nothing"
                self.findings.add(self.document, (*self.place, key), wrong, did_you_mean(name, names))

    def _placeholders(self, variables: Mapping[str, Kind]) -> set[str] | None:
        """What a title may show; None if only the query knows."""
        match self.model.kind:
            case "absence":
                return {"source", "stream", "silent"}
            case "query":
                return set(self.model.columns) if self.model.columns else None
            case "change":
                return {*variables, "old", "new"} - {"relative_change"}
            case _:
                return set(variables)

    def _query(self) -> tuple[str, str]:
        """The query's file and its KQL."""
        name, columns = self.model.query, self.model.columns
        if name is None:
            return "", ""
        place = (*self.place, "query")
        if columns is not None and self.model.key is not None:
            self.findings.known(self.document, (*self.place, "key"), self.model.key, columns, "column")
        for folder in self.around.query_folders:
            path = folder / name
            if path.is_file():
                try:
                    raw = path.read_bytes()
                    text = raw.decode("utf-8-sig")
                except (OSError, UnicodeDecodeError) as error:
                    self.findings.add(self.document, place, f"{path} can't be read: {error}")
                    return str(path), ""
                if len(raw) > MAX_BYTES or not text.strip():
                    self.findings.add(self.document, place, f"{path} is {'empty' if not text.strip() else 'too large'}")
                return str(path), text
        found = {path.name for folder in self.around.query_folders for path in folder.glob("*.kql")}
        folders = " or ".join(str(folder) for folder in self.around.query_folders)
        self.findings.add(self.document, place, f"there is no file {name} in {folders}", did_you_mean(name, found))
        return "", ""

    def _feed(self) -> None:
        absence = self.model.absence
        if absence is None:
            return
        place = (*self.place, "absence")
        sources = self.around.sources
        if self.findings.known(self.document, (*place, "source"), [absence.source], sources, "source"):
            streams = sources[absence.source][1].streams
            what = f"stream of {absence.source}"
            self.findings.known(self.document, (*place, "stream"), [absence.stream], streams, what)
