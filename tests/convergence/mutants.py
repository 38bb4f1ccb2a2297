"""Faults planted in the engine, one at a time: each must make a case differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

import numpy as np

from flockiq.merge import forward, golden, judging, survivorship
from flockiq.merge import rounds as merge_rounds
from flockiq.pipeline import arrivals, play, rounds, scanned, types
from flockiq.pipeline.arrivals import Arrived
from flockiq.pipeline.base import Base
from flockiq.pipeline.codes import LATE, REPEATED
from flockiq.pipeline.history import History
from flockiq.pipeline.overrides import Overrides
from flockiq.pipeline.told import Telling
from flockiq.pipeline.types import TypeState
from flockiq.shared import owner
from flockiq.shared.lanes import ABSENT
from flockiq.shared.owner import Owner
from flockiq.shared.rows import Rows
from flockiq.signal.episodes import Episodes
from tests.convergence import doubles

Mutant = Callable[[], AbstractContextManager[Any]]


def _flipped() -> AbstractContextManager[Any]:
    newer = golden._newer
    return patch.object(golden, "_newer", lambda *positions: ~newer(*positions))


def _transition_lost() -> AbstractContextManager[Any]:
    publish = owner.boxes.publish

    async def losing(services: Any, box: Any) -> None:
        await publish(
            services, type(box)(events=box.events, transitions=box.transitions[:-1], rows=box.rows, columns=box.columns)
        )

    return patch.object(owner.boxes, "publish", losing)


def _pending_forgotten() -> AbstractContextManager[Any]:
    load = Owner._load

    async def forgetting(self: Owner) -> None:
        await load(self)
        self._pending = {}

    return patch.object(Owner, "_load", forgetting)


def _published_too_soon() -> AbstractContextManager[Any]:
    frame = owner.Frame
    return patch.object(owner, "Frame", lambda **given: frame(**(given | {"published": given["commit"]})))


def _fence_ignored() -> AbstractContextManager[Any]:
    def at(self: doubles.State, log: str, _expected: object) -> doubles.Log:
        return self._logs.setdefault(log, doubles.Log())

    return patch.object(doubles.State, "_at", at)


def _never_late() -> AbstractContextManager[Any]:
    sorted_out = types.arrived

    def unhurried(history: History, rows: Rows) -> Arrived:
        found = sorted_out(history, rows)
        return found._replace(late=found.revises, too_late=np.zeros(len(found.rows), np.bool_))

    return patch.object(types, "arrived", unhurried)


def _base_not_used() -> AbstractContextManager[Any]:
    replay = TypeState._replay

    def from_nothing(self: TypeState, *given: Any) -> Any:
        kept, self.base = self.base, Base(self.plan.layout)
        self.base.room(len(self.ids), len(self.groups))
        try:
            return replay(self, *given)
        finally:
            self.base = kept

    return patch.object(TypeState, "_replay", from_nothing)


def _siblings_not_stored() -> AbstractContextManager[Any]:
    replay = TypeState._replay

    def forgetting(*given: Any) -> Any:
        right, wrong, _, found = replay(*given)
        return right, wrong, np.zeros(0, np.int64), found

    return patch.object(TypeState, "_replay", forgetting)


def _retraction_untold() -> AbstractContextManager[Any]:
    deltas = Telling._deltas

    def silent(self: Telling, *given: Any, retracted: bool = False) -> None:
        if not retracted:
            deltas(self, *given)

    return patch.object(Telling, "_deltas", silent)


def _findings_stay() -> AbstractContextManager[Any]:
    findings = Telling._findings

    def silent(self: Telling, *given: Any, retracted_by: int | None = None) -> None:
        if retracted_by is None:
            findings(self, *given)

    return patch.object(Telling, "_findings", silent)


def _repeats_folded() -> AbstractContextManager[Any]:
    sorted_out = arrivals._came

    def forgetful(history: History, rows: Rows) -> Any:
        came = sorted_out(history, rows)
        return np.where(came == REPEATED, LATE, came)

    return patch.object(arrivals, "_came", forgetful)


def _wrong_cause() -> AbstractContextManager[Any]:
    evaluate = play.evaluate

    def blaming(rules: Any, seen: Any, *given: Any, **run: Any) -> Any:
        return evaluate(rules, seen._replace(event=seen.key), *given, **run)

    return patch.object(play, "evaluate", blaming)


def _compiled_loses() -> AbstractContextManager[Any]:
    once = play.in_one_pass

    def losing(*given: Any) -> Any:
        passed = once(*given)
        told = {name: getattr(passed, name)[:-1] for name in ("row", "field", "kind", "old", "new", "source")}
        return passed._replace(**told)

    return patch.object(play, "in_one_pass", losing)


def _misread() -> AbstractContextManager[Any]:
    read = scanned._Reading._read

    def shifted(self: scanned._Reading, at: Any, value: Any) -> Any:
        bad = read(self, at, value)
        value[:] = np.where(value > 0, value ^ 1, value)
        return bad

    return patch.object(scanned._Reading, "_read", shifted)


def _learnt_twice() -> AbstractContextManager[Any]:
    observe = rounds.observe

    def twice(*given: Any) -> Any:
        observe(*given)
        return observe(*given)

    return patch.object(rounds, "observe", twice)


def _rank_reversed() -> AbstractContextManager[Any]:
    survivors = golden.survivors

    def upside_down(value: Any, positions: Any, layout: Any, texts: Any) -> Any:
        ranks = tuple(tuple(-rank for rank in field) for field in layout.ranks)
        return survivors(value, positions, layout._replace(ranks=ranks), texts)

    return patch.object(golden, "survivors", upside_down)


def _rule_untold() -> AbstractContextManager[Any]:
    survivors = golden.survivors

    def by_the_first(*given: Any) -> Any:
        chosen = survivors(*given)
        return chosen._replace(rule=np.minimum(chosen.rule, 0))

    return patch.object(golden, "survivors", by_the_first)


def _dropped_stays_dropped() -> AbstractContextManager[Any]:
    with_late = judging.with_late

    def only_the_late(home: Any, chain: Any, late: Any) -> Any:
        redone, lines = with_late(home, chain, late)
        return redone, [line for line in lines if line.id.startswith(late.id)]

    return patch.object(judging, "with_late", only_the_late)


def _dropped_forgotten() -> AbstractContextManager[Any]:
    keep = merge_rounds._Round._keep

    def forgetful(self: merge_rounds._Round, again: Any) -> Any:
        versions = keep(self, again)
        dropped = self.whole & self.known & (self.content == self.records.versions.content[self.last])
        self.records.head[self.number[dropped]] = self.head[dropped]
        return versions

    return patch.object(merge_rounds._Round, "_keep", forgetful)


def _revisions_unsaid() -> AbstractContextManager[Any]:
    line = forward.one_line
    return patch.object(forward, "one_line", lambda *of, revision: line(*of, revision=min(revision, 0)))


def _voids_untold() -> AbstractContextManager[Any]:
    tell = judging.Judging._tell

    def but_voids(self: judging.Judging, row: int, lines: Any, *, anew: bool) -> None:
        tell(self, row, [line for line in lines if line.op != "v"], anew=anew)

    return patch.object(judging.Judging, "_tell", but_voids)


def _resolution_ignored() -> AbstractContextManager[Any]:
    return patch.object(Episodes, "closes", lambda *_: None)


def _clock_unheard() -> AbstractContextManager[Any]:
    return patch.object(Episodes, "passes", lambda *_: None)


def _drift_unseen() -> AbstractContextManager[Any]:
    def agreed(value: Any, layout: Any, _texts: Any) -> Any:
        return np.zeros((len(value), len(layout.tolerances)), np.bool_)

    return patch.object(rounds, "disagree", agreed)


def _override_lasts() -> AbstractContextManager[Any]:
    return patch.object(Overrides, "due", lambda *_: [])


def _any_override_ended() -> AbstractContextManager[Any]:
    end = golden._end

    def whatever(state: Any, rows: Any) -> Any:
        people = state.value.shape[1] - 1
        field = (rows.value != ABSENT).argmax(axis=1)
        _, _, rows.key = state.positions(rows.entity, people, field)
        return end(state, rows)

    return patch.object(golden, "_end", whatever)


def _person_unheard() -> AbstractContextManager[Any]:
    def sources_alone(value: Any, positions: Any, layout: Any, texts: Any) -> Any:
        return survivorship._among_sources(value[:, : len(layout.sources)], positions, layout, texts)

    return patch.object(golden, "survivors", sources_alone)


MUTANTS: Mapping[str, Mutant] = {
    "a comparison of positions is flipped": _flipped,
    "the last transition of an outbox is lost": _transition_lost,
    "what was not yet published is forgotten by a restart": _pending_forgotten,
    "an outbox is noted as published before it is": _published_too_soon,
    "the fence is ignored": _fence_ignored,
    "late rows are folded as they come": _never_late,
    "a replay does not begin at the base": _base_not_used,
    "what a replay does to siblings is not stored": _siblings_not_stored,
    "deltas are not taken back": _retraction_untold,
    "findings are not taken back": _findings_stay,
    "repeated rows are folded again": _repeats_folded,
    "an alert's cause is not the event": _wrong_cause,
    "compiled code loses a delta": _compiled_loses,
    "compiled code misreads values": _misread,
    "a baseline learns twice": _learnt_twice,
    "the last rank wins": _rank_reversed,
    "always the first rule is said to have decided": _rule_untold,
    "a dropped version stays dropped when a late one comes": _dropped_stays_dropped,
    "a dropped version is forgotten": _dropped_forgotten,
    "a line told anew does not say so": _revisions_unsaid,
    "what should never have been told is not voided": _voids_untold,
    "what a person did is ignored": _resolution_ignored,
    "the clock is not heard": _clock_unheard,
    "sources are not seen to disagree": _drift_unseen,
    "what a person set lasts for ever": _override_lasts,
    "an override that is over ends another": _any_override_ended,
    "a person is not heard": _person_unheard,
}
