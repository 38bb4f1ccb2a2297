"""Ids behind their lanes: kept, restored in bulk, forgotten."""

from __future__ import annotations

import numpy as np
import pytest

from flockiq.shared.ids import Ids
from flockiq.shared.positions import event_lane, hash_id, signed_rest

IDS = [hash_id(str(number)) for number in range(6000)]
PAIRS = np.array([(event_lane(one), signed_rest(one)) for one in IDS], np.int64)


def test_ids_come_back_whole_wherever_they_are_kept() -> None:
    """Of late, restored one by one or many at once; one after the other or together."""
    kept = Ids()
    kept.restore(PAIRS[:5000])
    kept.restore(PAIRS[5000:5500])
    kept.add(PAIRS[5500:])
    assert [kept.text(lane) for lane in PAIRS[:, 0].tolist()] == IDS
    assert kept.many(PAIRS[:, 0]) == IDS
    assert kept.many(PAIRS[:0, 0]) == []
    np.testing.assert_array_equal(kept.taken(), PAIRS[5500:])
    assert len(kept.taken()) == 0


def test_a_snapshot_keeps_only_the_ids_that_are_referred_to() -> None:
    """And tells all of them."""
    kept = Ids()
    kept.restore(PAIRS[:5000])
    kept.add(PAIRS[5000:])
    wanted = PAIRS[[3, 5500], 0]
    only = Ids()
    only.restore(kept.only(wanted))
    assert only.many(wanted) == [IDS[3], IDS[5500]]
    assert len(only.all()) == 2
    assert len(kept.all()) == 6000
    for lane in (PAIRS[4, 0], np.int64(12345)):
        with pytest.raises(KeyError):
            only.text(int(lane))
        with pytest.raises(KeyError):
            only.many(np.array([lane]))
