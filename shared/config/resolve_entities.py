"""Entity files and the sources that feed them: checked against each other, defaults filled in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from flockiq.shared.cel.kinds import KIND_OF_FIELD, Kind
from flockiq.shared.config.document import Document, Place
from flockiq.shared.config.entities import DriftModel, EntityFile
from flockiq.shared.config.findings import Findings
from flockiq.shared.config.model import Entity
from flockiq.shared.config.problems import did_you_mean
from flockiq.shared.config.sources import FieldFrom, SourceFile
from flockiq.shared.fields import NUMERIC, TIMED, Field
from flockiq.shared.lateness import Lateness
from flockiq.shared.layout import OVERRIDE

Sources = Mapping[str, tuple[Document, SourceFile]]
Fields = Mapping[str, Field]


def resolve_entity(findings: Findings, document: Document, model: EntityFile, sources: Sources) -> Entity:
    """One entity type, checked against itself and the sources that feed it."""
    fields = {
        name: Field(name, one.type, 2 if one.scale is None else one.scale, one.currency or "")
        for name, one in model.fields.items()
    }
    _currencies(findings, document, fields)
    _placing(findings, document, model, fields, sources)
    _cascades(findings, document, model, fields)
    _ranks(findings, document, model, fields, sources)
    _drift(findings, document, model, fields)
    _anomalies(findings, document, model, fields)
    if model.overrides and OVERRIDE in sources:
        wrong = f"a source is called {OVERRIDE!r}, as conditions call what people set"
        findings.add(document, ("overrides",), wrong, "rename the source, or leave overrides out")
    given = model.survivorship
    return Entity(
        name=model.entity,
        description=model.description or "",
        fields=fields,
        match_key=model.match_key,
        partition_by=model.partition_by,
        survivorship={name: given.fields.get(name, given.default) for name in fields},
        ranks={name: given.ranks.get(name, given.ranks.get("default", ())) for name in fields},
        drift=model.drift,
        anomalies=model.anomalies,
        lateness=Lateness(model.lateness, model.versions),
        overrides=model.overrides,
        file=document.file,
        line=document.line(("entity",)),
    )


def check_streams(
    findings: Findings, document: Document, model: SourceFile, entities: Mapping[str, tuple[Document, EntityFile]]
) -> None:
    """Every stream's entity type exists, and so do the fields it maps to; only times have a zone."""
    for stream, one in model.streams.items():
        place = ("streams", stream)
        if findings.known(document, (*place, "entity"), [one.entity], entities, "entity type"):
            fields = entities[one.entity][1].fields
            for name, given in one.fields.items():
                where = (*place, "fields", name)
                if not findings.known(document, where, [name], fields, f"field of {one.entity}"):
                    continue
                if isinstance(given, FieldFrom) and given.zone and fields[name].type not in TIMED:
                    wrong = f"zone means nothing to a {fields[name].type}"
                    findings.add(document, (*where, "zone"), wrong, "it is for dates and timestamps")


def _currencies(findings: Findings, document: Document, fields: Fields) -> None:
    for name, field in fields.items():
        place = ("fields", name, "currency")
        if field.currency and findings.known(document, place, [field.currency], fields, "field"):
            _typed(findings, document, place, fields[field.currency], ("string",), "be a currency")


def _placing(findings: Findings, document: Document, model: EntityFile, fields: Fields, sources: Sources) -> None:
    """The match key compiles and some stream gives its fields; every stream gives the partition's."""
    streams = [
        (where, source, name, stream)
        for source, (where, file) in sources.items()
        for name, stream in file.streams.items()
        if stream.entity == model.entity
    ]
    if model.match_key is not None:
        kinds = {name: KIND_OF_FIELD[field.type] for name, field in fields.items()}
        compiled = findings.compiles(document, ("match_key",), model.match_key, kinds, Kind.STRING)
        if compiled is not None and not compiled.names:
            wrong = "names no field: every record would be the same thing"
            findings.add(document, ("match_key",), wrong, did_you_mean("", fields))
        elif compiled is not None and streams and not any(compiled.names <= one.fields.keys() for *_, one in streams):
            wrong = f"needs {', '.join(sorted(compiled.names))}, which no stream gives"
            findings.add(document, ("match_key",), wrong, "map it under fields of a stream")
    by = model.partition_by
    if by is not None and findings.known(document, ("partition_by",), [by], fields, "field"):
        for where, source, name, stream in streams:
            if by not in stream.fields:
                wrong = f"lacks {by}: no record of {source}/{name} could be placed"
                allowed = f"{document.file} names it under partition_by"
                findings.add(where, ("streams", name, "fields"), wrong, allowed)


def _cascades(findings: Findings, document: Document, model: EntityFile, fields: Fields) -> None:
    given = model.survivorship
    for name, cascade in given.fields.items():
        place = ("survivorship", "fields", name)
        if findings.known(document, place, [name], fields, "field"):
            kind = fields[name].type
            if {"highest", "lowest"} & set(cascade) and kind in ("string", "json", "boolean"):
                findings.add(document, place, f"a {kind} is neither highest nor lowest", "numbers, dates, timestamps")
            if "longest" in cascade and kind not in ("string", "json"):
                findings.add(document, place, f"no {kind} is the longest", "texts: string, json")
    unranked = [
        ("fields", name) if name in given.fields else ("default",)
        for name in fields
        if "rank" in given.fields.get(name, given.default) and not given.ranks.get(name, given.ranks.get("default"))
    ]
    for where in dict.fromkeys(unranked):
        findings.add(document, ("survivorship", *where), "rank needs ranks", "ranks: {default: [best, next, …]}")


def _ranks(findings: Findings, document: Document, model: EntityFile, fields: Fields, sources: Sources) -> None:
    for name, ranked in model.survivorship.ranks.items():
        place = ("survivorship", "ranks", name)
        if name != "default":
            findings.known(document, place, [name], fields, "field")
        findings.known(document, place, ranked, sources, "source")
        if len(set(ranked)) < len(ranked):
            findings.add(document, place, "names a source twice", "each once, best first")


def _drift(findings: Findings, document: Document, model: EntityFile, fields: Fields) -> None:
    for name, one in model.drift.items():
        if findings.known(document, ("drift", name), [name], fields, "field"):
            for key in _misplaced(one, fields[name]):
                wrong = f"{key} means nothing to a {fields[name].type}"
                allowed = "absolute and relative are for numbers, ignore and set for texts"
                findings.add(document, ("drift", name, key), wrong, allowed)


def _misplaced(drift: DriftModel, field: Field) -> Iterator[str]:
    numeric = field.type in NUMERIC
    for key, given, fits in (
        ("absolute", drift.absolute is not None, numeric),
        ("relative", drift.relative is not None, numeric),
        ("ignore", bool(drift.ignore), field.type == "string"),
        ("set", drift.set, field.type == "string"),
    ):
        if given and not fits:
            yield key


def _anomalies(findings: Findings, document: Document, model: EntityFile, fields: Fields) -> None:
    for name, one in model.anomalies.items():
        place: Place = ("anomalies", name)
        if findings.known(document, place, [name], fields, "field"):
            _typed(findings, document, place, fields[name], NUMERIC, "have a baseline")
        placed = model.partition_by is None or model.partition_by in fields  # else that is said of it already
        if placed and one.by is not None and one.by != model.partition_by:
            wrong = f"{one.by!r} is not what {model.entity} is partitioned by, so its history would be scattered"
            allowed = f"partition_by: {one.by}" if model.partition_by is None else f"by: {model.partition_by}"
            findings.add(document, (*place, "by"), wrong, allowed)


def _typed(findings: Findings, document: Document, place: Place, field: Field, types: Sequence[str], what: str) -> None:
    if field.type not in types:
        wrong = f"{field.name} is a {field.type}, which can't {what}"
        findings.add(document, place, wrong, f"fields of type {', '.join(types)}")
