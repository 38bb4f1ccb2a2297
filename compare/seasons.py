"""The hour of the week: when in a weekly rhythm a moment lies, by the clocks of a time zone."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache

import numpy as np

from flockiq.shared.instants import zone_info
from flockiq.shared.lanes import Int64s
from flockiq.shared.layout import HOURS, Layout

_SLOT_S = 900  # a day has few enough of them to be remembered
_CHANGES = 1 << 40  # seconds that no clock is ahead
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_THURSDAY = 72  # hours from Monday 00:00 to the weekday of the epoch


def hours_of(layout: Layout, us: Int64s) -> Int64s:
    """The hour of the week of moments (µs since the epoch), by the zone of each seasonal baseline: int64 [Z, n]."""
    hours = np.zeros((len(layout.seasons), len(us)), np.int64)
    for slot, number in enumerate(layout.seasons):
        hours[slot] = hours_of_week(us, layout.baselines[number].zone)
    return hours


def hours_of_week(us: Int64s, zone: str) -> Int64s:
    """The hour of the week, 0 (Monday 00:00) to 167, of each moment."""
    seconds = us // 1_000_000
    slots, which = np.unique(seconds // _SLOT_S, return_inverse=True)
    ahead = np.array([_ahead_all_through(slot, zone) for slot in slots.tolist()], np.int64)[which]
    changing = np.flatnonzero(ahead == _CHANGES)
    ahead[changing] = [_ahead(second, zone) for second in seconds[changing].tolist()]
    return ((seconds + ahead) // 3600 + _THURSDAY) % HOURS


@lru_cache(maxsize=1 << 14)
def _ahead_all_through(slot: int, zone: str) -> int:
    """By how many seconds the clocks are ahead of UTC in a slot counted from the epoch; _CHANGES if that changes."""
    first, last = _ahead(slot * _SLOT_S, zone), _ahead((slot + 1) * _SLOT_S - 1, zone)
    return first if first == last else _CHANGES


def _ahead(second: int, zone: str) -> int:
    """By how many seconds the clocks are ahead of UTC at a second since the epoch."""
    try:
        ahead = (_EPOCH + dt.timedelta(seconds=second)).astimezone(zone_info(zone)).utcoffset()
    except OverflowError:  # in the first or last hours of all years
        return 0
    return int(ahead.total_seconds()) if ahead is not None else 0
