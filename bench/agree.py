"""Whether the engine's outputs equal the reference's, on the same events."""

from __future__ import annotations

from itertools import batched
from typing import NamedTuple

from flockiq.bench.engine import Engine
from flockiq.bench.reference import Outcome, Reference
from flockiq.bench.values import T0_US
from flockiq.bench.workload import ENTITY, Workload, config, plan
from flockiq.pipeline.types import Effect, TypeState
from flockiq.pipeline.world import DeltaRows
from flockiq.shared import wire
from flockiq.shared.lanes import Scalar, Texts, value_of

CLOCK_US = T0_US + 12 * 3_600_000_000  # of the one tick at the end: after every event


class Agreement(NamedTuple):
    """How many outputs of each kind were compared, and how many differ."""

    golden: int
    deltas: int
    alerts: int
    retracted: int  # deltas taken back on the way: late data was at work
    differences: int

    @property
    def equal(self) -> bool:
        """Whether everything is the same, and there was something to compare."""
        return self.differences == 0 and min(self.golden, self.deltas, self.alerts) > 0


def agreement(work: Workload, rows: int = 40) -> Agreement:
    """Run both over a workload, the engine in batches of ``rows`` lines as they arrive: late data is late."""
    lines = [line for one in [*work.warm(), *work.timed()] for line in wire.unpack(one.body).split(b"\n")]
    engine = Engine(plan())
    told: set[tuple[object, ...]] = set()
    retracted = 0
    for some in batched(lines, rows, strict=False):
        for effect in engine.give([event.body for event in wire.pack(0, wire.RESOLVED, some)]).values():
            gone = _deltas(effect.retracted, engine)
            told = (told - gone) | _deltas(effect.deltas, engine)
            retracted += len(gone)
    expected = Reference(config(), ENTITY).run(lines, CLOCK_US)
    found = _outcome(engine, told)
    differences = sum(
        len(_items(getattr(expected, what)) ^ _items(getattr(found, what))) for what in ("golden", "deltas", "open")
    )
    return Agreement(len(expected.golden), len(expected.deltas), len(expected.open), retracted, differences)


def _items(found: dict[object, object] | set[object]) -> set[str]:
    return {repr(one) for one in (found.items() if isinstance(found, dict) else found)}


def _deltas(told: DeltaRows, engine: Engine) -> set[tuple[object, ...]]:
    state = engine.types[ENTITY]
    fields, texts, names = state.plan.layout.fields, engine.texts, state.ids.names
    columns = (told.entity, told.field, told.event, told.old, told.new)
    return {
        (
            names[entity],
            fields[number].name,
            texts.text(event),
            *(value_of(fields[number].kind, fields[number].scale, lane, texts) for lane in (old, new)),
        )
        for entity, number, event, old, new in zip(*(column.tolist() for column in columns), strict=True)
    }


def _outcome(engine: Engine, told: set[tuple[object, ...]]) -> Outcome:
    state = engine.types[ENTITY]
    state.tick(CLOCK_US)
    texts = engine.texts
    opened = {
        (state.ids.names[entity], rule): (texts.text(one.cause), one.opened_us, one.count, one.fired)
        for entity, by_rule in state.live.episodes.open.items()
        for rule, one in by_rule.items()
    }
    return Outcome(_golden(state, texts), told, opened)


def _golden(state: TypeState, texts: Texts) -> dict[str, dict[str, Scalar]]:
    found: dict[str, dict[str, Scalar]] = {}
    for entity, name in enumerate(state.ids.names):
        values = {
            field.name: value_of(field.kind, field.scale, int(state.live.golden.golden[entity, number]), texts)
            for number, field in enumerate(state.plan.layout.fields)
        }
        found[name] = {field: value for field, value in values.items() if value is not None}
    return found


def effect_counts(effects: dict[str, Effect]) -> tuple[int, int, int]:
    """How many deltas, retractions and alert steps a batch gave."""
    given = effects.values()
    return (
        sum(len(one.deltas.entity) for one in given),
        sum(len(one.retracted.entity) for one in given),
        sum(len(one.steps) for one in given),
    )
