"""Where records are: which entity each describes now, and what a late version changes about that.

A record whose match key changes leaves one entity and joins another. A late version may show that
it was elsewhere for a while, that it belonged to its entity all along, or what it said there
first; what is told then is what would have been told in order.
"""

from __future__ import annotations

import msgspec

from flockiq.merge.forward import Forwarded
from flockiq.merge.mapping import StreamPlan
from flockiq.merge.match import NOWHERE, Place, places
from flockiq.merge.parts import At, layers, said_again, unsaid_since
from flockiq.merge.records import Records, content
from flockiq.merge.version import ROW, Version, beyond, left_at, part_at
from flockiq.shared import wire
from flockiq.shared.fields import Value
from flockiq.shared.lanes import ABSENT

_NEVER = At(ABSENT, ABSENT, ABSENT)

_encode = msgspec.json.Encoder().encode
_fields = msgspec.json.Decoder(dict[str, str | int | float | bool | None]).decode


class Whereabouts:
    """Moves the records of one partition, and tells the entities concerned."""

    def __init__(self, records: Records, forwarded: Forwarded) -> None:
        self.records = records
        self.forwarded = forwarded

    def after_late(
        self,
        plan: StreamPlan,
        change: wire.Change,
        given: dict[str, Value],
        one: int,
        at: At,
        here: Place,
        *,
        resend: bool,
    ) -> None:
        """What a late version, told to ``here``, means for where the record is and what is known there."""
        state = self.records
        known, latest = state.places[one], self.latest(one, change.data.key, change)
        filled = {} if change.data.op == "d" else self._fill(one, given, at)
        if known == NOWHERE:
            self.forwarded.line(plan, here, latest)
            state.places[one] = here
            return
        now, over = known, state.newest(one)
        if latest.op != "d" and one in state.older:
            (now,) = places(plan, [change.data.key], [_fields(state.fields[one])], self.forwarded.tenant)
            over = said_again(plan.placing, at, state.older[one], over)
        if here != now:
            self.leave(plan, here, now, latest, over)
        if resend:
            self.forwarded.line(plan, known, latest)
        if now != known:
            self._join(plan, one, latest, at, now)
        elif latest.op != "d" and one in state.older:
            self._amend(plan, one, latest, at, filled, over if here != now else _NEVER)

    def _amend(self, plan: StreamPlan, one: int, latest: Version, at: At, filled: dict[str, Value], over: At) -> None:
        """A late version at ``at`` tells more of what a record brought along; ``over``: until then it was elsewhere."""
        state = self.records
        came = state.came.get(one, _NEVER)
        if over > came:
            self._bring(plan, one, latest, over)
        elif filled and at < came:
            state.came[one] = came = beyond(came)
            self.forwarded.line(plan, state.places[one], part_at(latest, state.places[one], came, filled))

    def _join(self, plan: StreamPlan, one: int, latest: Version, at: At, place: Place) -> None:
        """A late version at ``at`` shows that the record was part of ``place`` all along."""
        state = self.records
        came, known = state.came.get(one, _NEVER), state.places[one]
        since = max(came, at, beyond(state.left.get(one, _NEVER)))
        state.left[one] = gone = beyond(max(state.newest(one), came))
        self.leave(plan, known, place, latest, gone)
        state.places[one] = place
        self._bring(plan, one, latest, since)

    def _bring(self, plan: StreamPlan, one: int, latest: Version, since: At) -> None:
        """Tell the place of a record, which it came to at ``since``, everything that is known of it."""
        state = self.records
        state.came[one] = since
        for at, fields in layers(_fields(state.fields[one]), state.older.get(one, {}), state.newest(one), since):
            self.forwarded.line(plan, state.places[one], part_at(latest, state.places[one], at, fields))

    def leave(self, plan: StreamPlan, place: Place, other: Place, version: Version, at: At) -> None:
        """Tell a place that a record is at another, unless both are one entity in one partition."""
        same = place.entity_id == other.entity_id
        if not same or not self.forwarded.same_partition(place, other):
            self.forwarded.line(plan, place, left_at(version, place, at))

    def _fill(self, one: int, given: dict[str, Value], at: At) -> dict[str, Value]:
        """Those fields of a late version that nothing newer has said; they are known from now on."""
        state = self.records
        fields, older = _fields(state.fields[one]), state.older.get(one, {})
        filled = unsaid_since(given, at, fields, older)
        if filled:
            state.fields[one] = _encode(fields | filled)
            state.older[one] = older | dict.fromkeys(filled, at)
            if not state.versions.deleted[one]:
                state.versions.content[one] = content(state.fields[one])
        return filled

    def latest(self, number: int, key: str, change: wire.Change) -> Version:
        """The newest version known of a record, to be sent after one that came late."""
        state = self.records
        rr = int(state.versions.rr[number])
        deleted = bool(state.versions.deleted[number])
        return Version(
            id=state.ids[number],
            op="d" if deleted else "r",
            key=key,
            us=int(state.versions.us[number]),
            run=rr >> 32,
            row=rr & ROW,
            captured_us=change.data.captured_us,
            traceparent=change.traceparent,
            fields=b"{}" if deleted else state.fields[number],
        )
