"""Lanes written when config gave their field another type, brought to the type it has today."""

from __future__ import annotations

import numpy as np

from flockiq.shared.errors import BadRecord
from flockiq.shared.fields import Field as Canonical
from flockiq.shared.fields import canonical
from flockiq.shared.lanes import ABSENT, NULL, Int64s, Texts, lane_of, value_of
from flockiq.shared.layout import Field


def retyped(lanes: Int64s, old: Field, new: Field, texts: Texts) -> Int64s:
    """Lanes of ``old`` as lanes of ``new``, in the same shape; a value that does not fit becomes ABSENT.

    It comes back when its record is told again: what config no longer takes is not kept beside it.
    """
    unique, where = np.unique(lanes, return_inverse=True)
    lane = np.array([_one(one, old, new, texts) for one in unique.tolist()], np.int64)
    return lane[where].reshape(lanes.shape)


def _one(lane: int, old: Field, new: Field, texts: Texts) -> int:
    if lane in (ABSENT, NULL):
        return lane
    try:
        value = value_of(old.kind, old.scale, lane, texts)
        if new.kind != "json" or old.kind != "string":  # canonical JSON is a text already
            value = canonical(Canonical(new.name, new.kind, new.scale), value)
        return lane_of(new.kind, new.scale, value, texts)
    except (BadRecord, ValueError, KeyError):
        return ABSENT
