"""What a batch tells the world: golden records, deltas and alerts, as rows and lines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from flockiq.compare.findings import Findings
from flockiq.pipeline import compiled
from flockiq.pipeline.tell_deltas import tell_deltas
from flockiq.pipeline.tell_deltas_by_machine import tell_deltas_by_machine
from flockiq.pipeline.tell_entities import tell_entities
from flockiq.pipeline.tell_entities_by_machine import tell_entities_by_machine
from flockiq.pipeline.tell_findings import tell_findings
from flockiq.pipeline.tellings import About, Told
from flockiq.pipeline.types import Effect, TypeState
from flockiq.pipeline.world import DeltaRows
from flockiq.shared import wire
from flockiq.shared.alerts import AlertTransition
from flockiq.shared.lanes import Int64s, Texts
from flockiq.shared.outbox import Outbox
from flockiq.shared.pool import Pool, Rows
from flockiq.shared.ports import OutgoingEvent
from flockiq.shared.positions import hash_id
from flockiq.shared.tabular import Columns, packed
from flockiq.signal.episodes import Step
from flockiq.signal.rows import alert_columns
from flockiq.signal.watch import fill

MAX_REVISIONS = 1 << 20  # transitions of one commit that revisions can tell apart


class _Lines(NamedTuple):
    """What differs between lines: ids (in ``quote``, where they have none), times, and their data's form and parts."""

    ids: Int64s
    quote: str
    times: Int64s
    form: tuple[str, ...]
    parts: tuple[Int64s, ...]


class Telling:
    """Collects what every entity type of a batch has to tell."""

    def __init__(self, about: About, texts: Texts) -> None:
        self.about = about
        self.texts = texts
        self.transitions: list[AlertTransition] = []
        self._columns: dict[str, list[Columns]] = defaultdict(list)
        self._lines: dict[tuple[str, int], list[Rows]] = defaultdict(list)

    def tell(self, state: TypeState, effect: Effect) -> None:
        """Everything one entity type's batch did."""
        self._entities(state, effect.entities)
        self._deltas(state, effect.retracted, retracted=True)
        self._deltas(state, effect.deltas)
        self._findings(state, effect.unfound, retracted_by=self.about.commit)
        self._findings(state, effect.found)
        self.steps(state, effect.steps)

    def steps(self, state: TypeState, steps: Iterable[Step]) -> None:
        """The alerts' transitions."""
        by_name = state.plan.by_name
        known = [step for step in steps if step.episode.rule in by_name]
        if not known:
            return
        entities = np.array([step.entity for step in known], np.int64)
        subjects = zip(
            self.texts.many(np.array([step.episode.cause for step in known], np.int64)),
            state.ids.names.many(entities),
            state.match_keys.many(entities),
            state.groups.names.many(state.group_of[entities]),
            strict=True,
        )
        withdrawn: dict[tuple[int, str], str] = {}
        for step, (cause, entity, match_key, group) in zip(known, subjects, strict=True):
            watch, episode = by_name[step.episode.rule], step.episode
            fingerprint = hash_id(self.about.tenant, episode.rule, entity)
            alert_id = hash_id(fingerprint, cause)
            slot = (step.entity, episode.rule)
            replaces = withdrawn.pop(slot, "") if step.change in ("open", "fire") else ""
            if step.change == "withdraw":
                withdrawn[slot] = alert_id
            self.transitions.append(
                AlertTransition(
                    id=alert_id,
                    revision=self.about.commit * MAX_REVISIONS + len(self.transitions),
                    change=step.change,
                    at_us=step.at_us,
                    fingerprint=fingerprint,
                    rule=episode.rule,
                    kind=watch.kind,
                    severity=watch.severity,
                    subject_type=state.plan.layout.entity,
                    subject=entity,
                    title=fill(watch.title, episode.values),
                    opened_us=episode.opened_us,
                    cause=cause,
                    reason=step.reason,
                    count=episode.count,
                    match_key=match_key,
                    group=group,
                    recommend=fill(watch.recommend, episode.values),
                    labels=dict(watch.labels),
                    values=episode.values,
                    replaces=replaces,
                    source_us=episode.last_us,
                )
            )

    def outbox(self) -> Outbox:
        """All of it, packed."""
        events: dict[str, list[OutgoingEvent]] = defaultdict(list)
        for (kind, partition), parts in self._lines.items():
            hub = "entities" if kind == wire.ENTITY else "deltas"
            lines = _one_after_the_other(parts)
            events[hub] += wire.pack_text(partition, kind, lines.utf8, lines.ends.tolist())
        if self.transitions:
            self._columns["Alerts"].append(alert_columns(self.transitions, self.about.tenant))
        return Outbox(
            events=dict(events),
            transitions=self.transitions,
            columns={table: packed(parts) for table, parts in self._columns.items()},
        )

    def _findings(self, state: TypeState, found: Findings, *, retracted_by: int | None = None) -> None:
        if len(found.entity):
            tenant, now_us = self.about.tenant, self.about.now_us
            told = tell_findings(state, found, self.texts, tenant, now_us, retracted_by=retracted_by)
            self._columns["Findings"].append(told)

    def _entities(self, state: TypeState, entities: Int64s) -> None:
        if not len(entities):
            return
        about, functions = self.about, compiled.ready()
        found = None
        if functions is not None:
            found = tell_entities_by_machine(functions, state, entities, self.texts, about)
        if found is None:
            pool = Pool()
            told = tell_entities(pool, state, entities, self.texts, about.tenant, about.version, about.now_us)
            ids = pool.json([f"{one}:{about.commit}" for one in told.ids])
            lines = _Lines(ids, "", told.times, told.form, told.parts)
            found = Told(told.columns, self._lines_of(wire.ENTITY, pool, state, entities, lines))
        self._take("Entities", wire.ENTITY, found)

    def _deltas(self, state: TypeState, told: DeltaRows, *, retracted: bool = False) -> None:
        if not len(told.entity):
            return
        by, about, functions = self.about.commit if retracted else None, self.about, compiled.ready()
        found = None
        if functions is not None:
            found = tell_deltas_by_machine(functions, state, told, self.texts, about, retracted_by=by)
        if found is None:
            pool = Pool()
            deltas = tell_deltas(pool, state, told, self.texts, about.tenant, about.now_us, retracted_by=by)
            lines = _Lines(deltas.ids, '"', deltas.times, deltas.form, deltas.parts)
            found = Told(deltas.columns, self._lines_of(wire.DELTA, pool, state, told.entity, lines))
        self._take("Deltas", wire.DELTA, found)

    def _take(self, table: str, kind: str, told: Told) -> None:
        self._columns[table].append(told.columns)
        for partition, lines in told.lines:
            self._lines[kind, partition].append(lines)

    def _lines_of(
        self, kind: str, pool: Pool, state: TypeState, entity: Int64s, lines: _Lines
    ) -> list[tuple[int, Rows]]:
        """Lines of hub ``entities`` or ``deltas``, by partition: CloudEvents whose data is a row."""
        placing = self.about.placing
        if not placing.partitions:
            return []
        distinct, which = pool.distinct(entity)
        subjects = pool.json([f"{state.plan.layout.entity}/{name}" for name in state.ids.names.many(distinct)])
        partition = placing.of(state, distinct)[state.group_of[entity]]
        order = np.argsort(partition, kind="stable")
        begin, *between, end = lines.form
        form = (
            f'{{"specversion":"1.0","id":{lines.quote}',
            f'{lines.quote},"source":"flockiq","type":"{kind}","time":"',
            f'","tenant":{wire.encode(self.about.tenant).decode()},"subject":',
            f',"data":{begin}',
            *between,
            f"{end}}}\n",
        )
        rows = pool.joined(form, (lines.ids, lines.times, subjects[which], *lines.parts), order)
        bounds = np.r_[0, rows.ends]
        firsts = np.searchsorted(partition[order], np.arange(placing.partitions + 1))
        return [
            (one, Rows(rows.utf8[bounds[first] : bounds[last]], rows.ends[first:last] - bounds[first]))
            for one, (first, last) in enumerate(pairwise(firsts.tolist()))
            if last > first
        ]


def _one_after_the_other(parts: Sequence[Rows]) -> Rows:
    """Several texts' rows as one's."""
    if len(parts) == 1:
        return parts[0]
    firsts = np.cumsum([0, *(len(part.utf8) for part in parts)])
    ends = [part.ends + first for part, first in zip(parts, firsts.tolist(), strict=False)]
    return Rows(np.concatenate([part.utf8 for part in parts]), np.concatenate(ends))
