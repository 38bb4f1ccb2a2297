"""Episodes: from conditions that begin, end and repeat to alerts that fire once and resolve.

An episode is one stretch of one rule on one entity. Time is the position's source time, so the
same history makes the same episodes in any order of arrival; the clock (a tick) only says how far
time has come. A state (threshold, drift) opens when it begins to hold, fires once it has held for
``for``, resolves when it ends (and ``keep`` has passed). An event (change, anomaly) fires at once,
counts what follows, and resolves ``resolve_after`` its last match.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import methodcaller

import msgspec

from flockiq.shared.alerts import Change
from flockiq.shared.lanes import Scalar
from flockiq.signal.watch import Watch


class Episode(msgspec.Struct, kw_only=True, gc=False):
    """One open episode. ``cause`` is the text lane of the id of the event that opened it."""

    rule: str
    cause: int
    opened_us: int
    last_us: int
    count: int = 1
    fired: bool = False
    ended_us: int = 0  # of a state that no longer holds but is kept firing
    closed: bool = False  # a person resolved it; it stays until the condition ends
    values: dict[str, Scalar] = {}


_copied = methodcaller("__copy__")  # what copy.copy comes to, without its finding out; values are never changed


class Step(msgspec.Struct, frozen=True, gc=False):
    """One thing that happened to an episode, to be told as an alert's transition."""

    entity: int
    change: Change
    at_us: int
    episode: Episode
    reason: str


Open = dict[int, dict[str, Episode]]
"""Open episodes by entity and rule name."""


def copied(open_: Open, entities: Iterable[int]) -> Open:
    """The open episodes of some entities, numbered anew from 0 in the order given.

    An episode may change, so each is one of its own; its values are never changed, but replaced.
    """
    mine = ((new, open_.get(old)) for new, old in enumerate(entities))
    return {new: {rule: _copied(one) for rule, one in episodes.items()} for new, episodes in mine if episodes}


class Episodes:
    """The open episodes of some entities, and the steps taken since ``steps`` was last emptied."""

    def __init__(self, episodes: Open | None = None) -> None:
        self.open: Open = episodes if episodes is not None else {}
        self.steps: list[Step] = []

    def of(self, entity: int, rule: str) -> Episode | None:
        """The open episode of a rule on an entity."""
        mine = self.open.get(entity)
        return mine.get(rule) if mine else None

    def begins(self, entity: int, watch: Watch, us: int, cause: int, values: dict[str, Scalar]) -> None:
        """A state begins to hold at ``us``."""
        kept = self.settles(entity, watch, us)
        if kept is not None:  # it came back while it was kept firing: the same episode goes on
            kept.ended_us, kept.last_us, kept.values = 0, us, values
            self._step(entity, "update", us, kept, "the condition holds again")
            return
        episode = self._opened(entity, watch, us, cause, values)
        if watch.for_us:
            self._step(entity, "open", us, episode, "the condition began to hold")
        else:
            self._fire(entity, us, episode, "the condition began to hold")

    def goes_on(self, entity: int, watch: Watch, us: int, values: dict[str, Scalar]) -> None:
        """A state still holds at ``us``; its values may have changed."""
        episode = self.settles(entity, watch, us)
        if episode is not None and episode.values != values:
            episode.values, episode.last_us = values, us
            self._step(entity, "update", us, episode, "its values changed")

    def ends(self, entity: int, watch: Watch, us: int) -> None:
        """A state no longer holds at ``us``."""
        episode = self.settles(entity, watch, us)
        if episode is None:
            return
        if episode.fired and watch.keep_us and not episode.closed:
            episode.ended_us = us
            return
        self._resolve(entity, us, episode, "the condition no longer holds")

    def happens(self, entity: int, watch: Watch, us: int, cause: int, values: dict[str, Scalar]) -> None:
        """An event matches at ``us``."""
        episode = self.settles(entity, watch, us)
        if episode is None:
            self._fire(entity, us, self._opened(entity, watch, us, cause, values), "it happened")
            return
        episode.count += 1
        episode.last_us, episode.values = us, values
        self._step(entity, "update", us, episode, f"it happened again, {episode.count} times in all")

    def _opened(self, entity: int, watch: Watch, us: int, cause: int, values: dict[str, Scalar]) -> Episode:
        episode = Episode(rule=watch.name, cause=cause, opened_us=us, last_us=us, values=values)
        mine = self.open.get(entity)
        if mine is None:
            self.open[entity] = {watch.name: episode}
        else:
            mine[watch.name] = episode
        return episode

    def closes(self, entity: int, watch: Watch, us: int) -> None:
        """A person resolved the alert: its episode ends, or stays silent for as long as a state holds."""
        episode = self.of(entity, watch.name)
        if episode is None or episode.opened_us > us:
            return
        if watch.is_state and not episode.ended_us:
            episode.closed = True
        else:
            self._resolve(entity, us, episode, "a person resolved it")

    def passes(self, watches: dict[str, Watch], now_us: int) -> None:
        """Time has come to ``now_us``: fire what was pending long enough, resolve what is over."""
        for entity in sorted(self.open):
            for rule in sorted(self.open[entity]):
                watch = watches.get(rule)
                if watch is not None:
                    self.settles(entity, watch, now_us)

    def settles(self, entity: int, watch: Watch, now_us: int) -> Episode | None:
        """Time has come to ``now_us`` for one rule's episode; the episode, if it is still open."""
        mine = self.open.get(entity)
        episode = mine.get(watch.name) if mine is not None else None
        if episode is None:
            return None
        if watch.is_state:
            if not episode.fired and not episode.ended_us and now_us >= episode.opened_us + watch.for_us:
                self._fire(entity, episode.opened_us + watch.for_us, episode, "it has held for long enough")
            if not episode.ended_us or now_us < episode.ended_us + watch.keep_us:
                return episode
            self._resolve(entity, episode.ended_us + watch.keep_us, episode, "the condition no longer holds")
        else:
            if now_us < episode.last_us + watch.resolve_after_us:
                return episode
            over = episode.last_us + watch.resolve_after_us
            self._resolve(entity, over, episode, "it has not happened again")
        return None

    def _fire(self, entity: int, us: int, episode: Episode, reason: str) -> None:
        episode.fired = True
        self._step(entity, "fire", us, episode, reason)

    def _resolve(self, entity: int, us: int, episode: Episode, reason: str) -> None:
        self._drop(entity, episode.rule)
        self._step(entity, "resolve", us, episode, reason)

    def _drop(self, entity: int, rule: str) -> None:
        mine = self.open[entity]
        del mine[rule]
        if not mine:
            del self.open[entity]

    def _step(self, entity: int, change: Change, us: int, episode: Episode, reason: str) -> None:
        self.steps.append(Step(entity, change, us, _copied(episode), reason))

    def taken(self) -> list[Step]:
        """The steps since the last call."""
        steps, self.steps = self.steps, []
        return steps


def corrected(entity: int, live: dict[str, Episode], redone: dict[str, Episode], ended: Iterable[Step]) -> list[Step]:
    """The steps from the episodes that were told to those that late data shows to be right.

    ``redone`` is changed in place: what a person did, and what has already been told, stays.
    """
    resolved = {(step.episode.rule, step.episode.cause): step for step in ended if step.change == "resolve"}
    steps: list[Step] = []
    for rule in sorted(live.keys() | redone.keys()):
        old, new = live.get(rule), redone.get(rule)
        if old is not None and new is not None and old.cause == new.cause:
            new.closed = new.closed or old.closed
            if new.fired and not old.fired:
                steps.append(Step(entity, "fire", new.last_us, msgspec.structs.replace(new), "late data shows it"))
                continue
            new.fired = old.fired
            if (old.opened_us, old.count, old.values, old.ended_us) != (
                new.opened_us,
                new.count,
                new.values,
                new.ended_us,
            ):
                steps.append(Step(entity, "update", new.last_us, msgspec.structs.replace(new), "late data amended it"))
            continue
        if old is not None:
            over = resolved.get((rule, old.cause))
            if over is not None:
                steps.append(Step(entity, "resolve", over.at_us, old, "late data shows that it has ended"))
            else:
                steps.append(Step(entity, "withdraw", old.last_us, old, "late data shows that it never was"))
        if new is not None:
            change: Change = "fire" if new.fired else "open"
            steps.append(Step(entity, change, new.opened_us, msgspec.structs.replace(new), "late data shows it"))
    return steps
