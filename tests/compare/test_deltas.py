"""Deltas: what changed between two golden records."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flockiq.compare.deltas import ADDED, CHANGED, KINDS, REMOVED, deltas
from flockiq.shared.lanes import ABSENT, NULL

lanes = st.sampled_from([ABSENT, NULL, 0, 1, 7])
records = st.lists(st.lists(lanes, min_size=3, max_size=3), max_size=4)


@given(before=records, data=st.data())
def test_every_change_of_a_value_is_one_delta(before: list[list[int]], data: st.DataObject) -> None:
    """Added, removed or changed; absent and null are both no value, so between them nothing changed."""
    after = [data.draw(st.lists(lanes, min_size=3, max_size=3)) for _ in before]
    expected = []
    for row, (was, now) in enumerate(zip(before, after, strict=True)):
        for field, (old, new) in enumerate(zip(was, now, strict=True)):
            empty = (old in (ABSENT, NULL), new in (ABSENT, NULL))
            if old != new and empty != (True, True):
                kind = ADDED if empty[0] else REMOVED if empty[1] else CHANGED
                expected.append((row, field, kind, NULL if empty[0] else old, NULL if empty[1] else new))
    shape = (len(before), 3)
    found = deltas(np.array(before, np.int64).reshape(shape), np.array(after, np.int64).reshape(shape))
    assert list(zip(*(column.tolist() for column in found), strict=True)) == expected


def test_the_kinds_have_names() -> None:
    """As people read them in the table."""
    assert (KINDS[ADDED], KINDS[REMOVED], KINDS[CHANGED]) == ("added", "removed", "changed")
