"""The hour of the week: when in a weekly rhythm a moment lies, by the clocks of a time zone."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache

import numpy as np

from flockiq.shared.instants import zone_info
from flockiq.shared.lanes import Int64s
from flockiq.shared.layout import HOURS, Layout

_SLOT_S = 900  # every zone's clocks are changed at a quarter of an hour
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
    slots, which = np.unique(us // (_SLOT_S * 1_000_000), return_inverse=True)
    hours = np.array([_hour(slot, zone) for slot in slots.tolist()], np.int64)
    return hours[which]


@lru_cache(maxsize=1 << 14)
def _hour(slot: int, zone: str) -> int:
    """The hour of the week in which a quarter of an hour, counted from the epoch, begins."""
    seconds = slot * _SLOT_S
    try:
        ahead = (_EPOCH + dt.timedelta(seconds=seconds)).astimezone(zone_info(zone)).utcoffset()
    except OverflowError:  # in the first or last hours of all years
        ahead = None
    local = seconds + int(ahead.total_seconds()) if ahead is not None else seconds
    return (local // 3600 + _THURSDAY) % HOURS
