"""A person's overrides: what somebody set a golden field to, until when, and who.

What a person says is folded as a source of its own, the last of a layout's tellers, so that order,
repetition and replay change nothing: of two overrides of a field the later counts. An override ends
by a row of its own (op ENDS), which names the override that it ends and does nothing to any other:
at ``until``, made once the clock has come there, or when a person takes it back. A row that ends
comes late where rows after it have been folded already, and is treated as any late row is.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from flockiq.shared.positions import event_lane


class Override(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One override: its id, the entity's number, the field's name; ``ended``: the row that ends it was made."""

    id: str
    entity: int
    field: str
    until_us: int
    by: str
    ended: bool = False


class Overrides:
    """The overrides of one entity type in one partition that are in force, or that a replay may bring back."""

    def __init__(self) -> None:
        self.by_event: dict[int, Override] = {}
        self._changed: set[int] = set()

    def add(self, override: Override) -> None:
        """Remember an override; one that is known already stays as it is."""
        lane = event_lane(override.id)
        if lane not in self.by_event:
            self.by_event[lane] = override
            self._changed.add(lane)

    def due(self, clock_us: int) -> list[Override]:
        """Those whose time is over and that no row has ended; they count as ended from now on."""
        due = [one for one in self.by_event.values() if not one.ended and one.until_us <= clock_us]
        for one in due:
            one.ended = True
            self._changed.add(event_lane(one.id))
        return due

    def changed(self) -> dict[int, Override]:
        """What is new or has ended since the last call."""
        changed, self._changed = self._changed, set()
        return {lane: self.by_event[lane] for lane in sorted(changed)}

    def restore(self, written: Mapping[int, Override]) -> None:
        """Take what was written."""
        self.by_event |= written

    def without(self, entities: set[int]) -> None:
        """Forget what people said of these entities."""
        self.by_event = {lane: one for lane, one in self.by_event.items() if one.entity not in entities}
        self._changed &= self.by_event.keys()

    def only(self, events: set[int]) -> None:
        """Forget those that have ended and that nothing refers to."""
        self.by_event = {lane: one for lane, one in self.by_event.items() if not one.ended or lane in events}
