"""Config turned into plans: for each entity type its layout and its rules, by index."""

from __future__ import annotations

from collections.abc import Mapping

from flockiq.pipeline.world import Plan
from flockiq.shared.canonical import Field as Canonical
from flockiq.shared.config.model import Config, Entity, Rule
from flockiq.shared.config.rules import placeholders
from flockiq.shared.layout import Baseline, Field, Layout, Tolerance
from flockiq.signal.watch import Watch


def plans(config: Config) -> Mapping[str, Plan]:
    """A plan for each entity type."""
    return {name: plan(config, entity) for name, entity in config.entities.items()}


def plan(config: Config, entity: Entity) -> Plan:
    """The plan of one entity type."""
    given = _in_turn(entity)
    fields = tuple(Field(field.name, field.type, field.scale) for field in given)
    index = {field.name: number for number, field in enumerate(fields)}
    sources = tuple(
        sorted(
            name
            for name, source in config.known.items()
            if any(stream.entity == entity.name for stream in source.streams.values())
        )
    )
    layout = Layout(
        entity=entity.name,
        fields=fields,
        sources=sources,
        partition_by=entity.partition_by or "",
        survivorship=tuple(entity.survivorship[field.name] for field in fields),
        ranks=tuple(_ranks(entity.ranks[field.name], sources) for field in fields),
        tolerances=tuple(
            Tolerance(
                index[name], drift.absolute or 0.0, drift.relative or 0.0, frozenset(drift.ignore), as_set=drift.set
            )
            for name, drift in entity.drift.items()
        ),
        baselines=tuple(
            Baseline(index[name], one.alpha, one.warm_up, one.refractory, one.clocks)
            for name, one in entity.anomalies.items()
        ),
        overrides=entity.overrides,
        currencies=tuple(index.get(field.currency, -1) for field in given) if any(of.currency for of in given) else (),
    )
    watches = tuple(_watch(number, rule, index) for number, rule in enumerate(config.rules_of(entity.name)))
    return Plan(layout, watches, entity.lateness)


def _in_turn(entity: Entity) -> list[Canonical]:
    """The fields, currencies behind the amounts that they follow (``Layout.follows``)."""
    currencies = {field.currency for field in entity.fields.values()}
    return sorted(entity.fields.values(), key=lambda field: field.name in currencies)


def _ranks(best_first: tuple[str, ...], sources: tuple[str, ...]) -> tuple[int, ...]:
    """Each source's rank; sources that config does not name share the last."""
    place = {name: number for number, name in enumerate(best_first)}
    return tuple(place.get(source, len(best_first)) for source in sources)


def _watch(number: int, rule: Rule, index: Mapping[str, int]) -> Watch:
    if rule.kind in ("absence", "query"):
        raise AssertionError(f"{rule.name}: the clock watches rules of kind {rule.kind}")
    condition = rule.condition()
    names = tuple(sorted(condition.names)) if condition is not None else ()
    shown = dict.fromkeys([*placeholders(rule.title), *placeholders(rule.recommend), *names, *rule.fields])
    return Watch(
        number=number,
        name=rule.name,
        kind=rule.kind,  # type: ignore[arg-type]  # narrowed above
        fields=tuple(index[name] for name in rule.fields),
        condition=condition,
        names=names,
        for_us=rule.for_us,
        keep_us=rule.keep_us,
        resolve_after_us=rule.resolve_after_us,
        severity=rule.severity,
        title=rule.title,
        recommend=rule.recommend,
        labels=dict(rule.labels) | ({"runbook": rule.runbook} if rule.runbook else {}),
        shown=tuple(shown),
        when=rule.when or "",
    )
