"""The one way that rows move a world: fold → compare → signal."""

from __future__ import annotations

import numpy as np

from flockiq.compare.drift import disagree
from flockiq.pipeline import compiled
from flockiq.pipeline.compiled import Functions
from flockiq.pipeline.findings import drifted, found
from flockiq.pipeline.fused import in_one_pass
from flockiq.pipeline.ordered import ordered
from flockiq.pipeline.rounds import Passed, in_rounds
from flockiq.pipeline.world import DeltaRows, Plan, World
from flockiq.shared.lanes import Bools, Int64s, Texts
from flockiq.shared.rows import ACTION, Rows
from flockiq.signal.conditions import evaluate
from flockiq.signal.seen import Act, Observed, Seen


def play(world: World, plan: Plan, rows: Rows, texts: Texts, *, judging: bool = True) -> DeltaRows:
    """Take any number of rows through ``world``, each group's in the order of their positions.

    Without ``judging``, conditions and episodes are left behind: of a scratch world whose deltas are wanted.
    """
    if not len(rows):
        return DeltaRows.joined([])
    rows = ordered(rows)
    acted = rows.op == ACTION
    acts, folded = [], rows
    place = np.arange(len(rows))
    if acted.any():
        place = np.flatnonzero(~acted)
        acts, folded = _acts(plan, rows, acted), rows.take(place)
    if not len(folded):
        for act in acts:
            world.episodes.closes(act.entity, act.watch, act.us)
        return DeltaRows.joined([])
    before = world.signs.drift[folded.entity]
    functions = compiled.ready()
    if functions is None:
        passed = in_rounds(world, plan.layout, folded, texts)
    else:
        passed = in_one_pass(functions, world, plan.layout, folded, texts)
    previous, findings = found(world, plan.layout, folded, passed, before, functions)
    world.findings += findings
    if judging:
        _judge(world, plan, folded, passed, previous, acts, place, texts, functions)
    return DeltaRows(
        entity=folded.entity[passed.row],
        field=passed.field,
        kind=passed.kind,
        old=passed.old,
        new=passed.new,
        event=folded.event[passed.row],
        us=folded.us[passed.row],
        rr=folded.rr[passed.row],
        source=passed.source,
        old_us=passed.old_us,
        new_us=passed.new_us,
    )


def judge_again(world: World, plan: Plan, entities: Int64s, shown: Int64s, texts: Texts) -> None:
    """Judge entities as they stand, because the rules have changed; ``shown``: text lanes of their names."""
    golden = world.golden
    newest = golden.seen_us[entities].argmax(axis=1)
    none = np.zeros(0, np.int64)
    drift = disagree(golden.value[entities], plan.layout, texts)
    seen = Seen(
        row=np.arange(len(entities)),
        previous=np.full(len(entities), -1, np.int64),
        entity=entities,
        us=golden.seen_us[entities, newest],
        event=golden.event[entities, newest],
        key=shown,
        golden=golden.golden[entities],
        fresh=np.ones(len(entities), np.bool_),
        drift=drift,
        delta_row=none,
        delta_field=none,
        delta_old=none,
        delta_new=none,
        delta_source=none,
        observed=Observed.none(),
    )
    world.signs.holds[entities] = evaluate(
        plan.states, seen, world.signs.holds[entities], world.episodes, texts, machine=compiled.ready()
    )
    was = world.signs.drift[entities]
    world.findings += drifted(world, plan.layout, entities, seen.event, seen.us, drift, seen.previous, was)
    world.signs.drift[entities] = drift


def _judge(
    world: World,
    plan: Plan,
    rows: Rows,
    passed: Passed,
    previous: Int64s,
    acts: list[Act],
    place: Int64s,
    texts: Texts,
    functions: Functions | None,
) -> None:
    """Take the conditions through what was folded; ``place``: where each row stands among rows and acts."""
    seen = seen_of(rows, passed, previous, place)
    entity = seen.entity
    holds = world.signs.holds
    # rows are in order: of an entity's several, the last is what stays
    holds[entity] = evaluate(plan.rules, seen, holds[entity], world.episodes, texts, acts, machine=functions)


def seen_of(rows: Rows, passed: Passed, previous: Int64s, place: Int64s) -> Seen:
    """Those rows that are to be judged, with what the fold made of them."""
    judged = passed.judged
    within = np.zeros(len(rows), np.int64)
    within[judged] = np.arange(len(judged))
    return Seen(
        row=place[judged],
        previous=previous,
        entity=rows.entity[judged],
        us=rows.us[judged],
        event=rows.event[judged],
        key=rows.shown[judged],
        golden=passed.golden,
        fresh=passed.fresh,
        drift=passed.drift,
        delta_row=within[passed.row],
        delta_field=passed.field,
        delta_old=passed.old,
        delta_new=passed.new,
        delta_source=passed.source,
        observed=passed.observed._replace(row=within[passed.observed.row]),
    )


def _acts(plan: Plan, rows: Rows, acted: Bools) -> list[Act]:
    by_number = {watch.number: watch for watch in plan.watches}
    at = np.flatnonzero(acted)
    columns = zip(at.tolist(), rows.entity[at].tolist(), rows.rr[at].tolist(), rows.us[at].tolist(), strict=True)
    return [Act(row, entity, by_number[rule], us) for row, entity, rule, us in columns if rule in by_number]
