"""Hits told to episodes, with the values that alerts show, and what people did between them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flockiq.shared.lanes import Scalar, Texts
from flockiq.signal.episodes import Episodes
from flockiq.signal.hits import BEGINS, ENDS, GOES_ON, HAPPENS, PASSES, Hits
from flockiq.signal.ruleset import Ruleset
from flockiq.signal.seen import Act, Seen
from flockiq.signal.shown import Shown


def told(rules: Ruleset, hits: Hits, acts: Sequence[Act], seen: Seen, episodes: Episodes, texts: Texts) -> None:
    """Take the episodes through the hits, and through what people did between them."""
    row, order, what, _ = hits
    waiting = list(reversed(acts))
    if len(row):
        columns = (seen.row[row], order, what, seen.entity[row], seen.us[row], seen.event[row])
        happened = zip(*(column.tolist() for column in columns), _values(rules, hits, seen, texts), strict=True)
        for place, rule, which, entity, us, event, values in happened:
            while waiting and waiting[-1].row < place:
                _act(waiting.pop(), episodes)
            watch = rules.watches[rule]
            if which == PASSES:
                episodes.settles(entity, watch, us)
            elif which == GOES_ON:
                episodes.goes_on(entity, watch, us, values)
            elif which == BEGINS:
                episodes.begins(entity, watch, us, event, values)
            elif which == ENDS:
                episodes.ends(entity, watch, us)
            else:
                episodes.happens(entity, watch, us, event, values)
    while waiting:
        _act(waiting.pop(), episodes)


def _act(act: Act, episodes: Episodes) -> None:
    episodes.closes(act.entity, act.watch, act.us)


def _values(rules: Ruleset, hits: Hits, seen: Seen, texts: Texts) -> list[dict[str, Scalar]]:
    """The values that go with the alert of each hit, as far as its kind has any."""
    row, order, what, item = hits
    found: list[dict[str, Scalar]] = [{}] * len(row)
    shown = Shown(rules, seen, texts)
    showing = np.flatnonzero((what != PASSES) & (what != ENDS))
    if not len(showing):
        return found
    for hit, values in zip(showing.tolist(), shown.golden(row[showing], order[showing]), strict=True):
        found[hit] = values
    happens = showing[what[showing] == HAPPENS]
    if len(happens):
        changes = rules.of_changes[order[happens]]
        for at, said in ((happens[changes], shown.changes), (happens[~changes], shown.scores)):
            for hit, besides in zip(at.tolist(), said(item[at]), strict=True):
                found[hit] |= besides
    return found
