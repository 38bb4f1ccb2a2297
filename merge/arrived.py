"""One stream's changes of a batch as columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple

import msgspec
import numpy as np

from flockiq.shared import wire
from flockiq.shared.lanes import Int64s
from flockiq.shared.positions import event_lane

_encode_lines = msgspec.json.Encoder().encode_lines


class Arrived(NamedTuple):
    """n changes, in the order they came.

    us, rr (run << 32 | row), tie: int64 [n], their positions; captured_us: int64 [n].
    """

    changes: Sequence[wire.Change]
    ids: Sequence[str]
    traces: Sequence[str]
    ops: Sequence[wire.Op]
    keys: Sequence[str]
    us: Int64s
    rr: Int64s
    tie: Int64s
    captured_us: Int64s
    after: Sequence[msgspec.Raw]

    @classmethod
    def of(cls, changes: Sequence[wire.Change]) -> Arrived:
        """At least one change, as columns."""
        data = [change.data for change in changes]
        run = np.array([one.run for one in data], np.int64)
        ids = [change.id for change in changes]
        return cls(
            changes=changes,
            ids=ids,
            traces=[change.traceparent for change in changes],
            ops=[one.op for one in data],
            keys=[one.key for one in data],
            us=np.array([one.ts_us for one in data], np.int64),
            rr=run << 32 | np.array([one.row for one in data], np.int64),
            tie=_ties(ids),
            captured_us=np.array([one.captured_us for one in data], np.int64),
            after=[one.after for one in data],
        )

    def written(
        self, at: Sequence[int]
    ) -> tuple[list[bytes], list[bytes], list[bytes], list[bytes], list[bytes], list[bytes]]:
        """Some rows as their lines on hub ``resolved`` say them: id, time, traceparent, op, key, position."""
        rows = np.array(at)
        us, rr = self.us[rows], self.rr[rows]
        times = np.datetime_as_string(us.astype("datetime64[us]"), unit="us", timezone="UTC").astype("S").tolist()
        traces = picked(self.traces, at)
        positions = zip(
            us.tolist(), (rr >> 32).tolist(), (rr & 0xFFFFFFFF).tolist(), self.captured_us[rows].tolist(), strict=True
        )
        return (
            _json(picked(self.ids, at)),
            times,
            [b'"traceparent":%b,' % one if one != b'""' else b"" for one in _json(traces)]
            if any(traces)
            else [b""] * len(traces),
            [op.encode() for op in picked(self.ops, at)],
            _json(picked(self.keys, at)),
            [b'"ts_us":%d,"run":%d,"row":%d,"captured_us":%d' % one for one in positions],
        )


def picked[T](values: Sequence[T], at: Sequence[int]) -> Sequence[T]:
    """Some of the values."""
    return itemgetter(*at)(values) if len(at) > 1 else [values[one] for one in at]


def _ties(ids: Sequence[str]) -> Int64s:
    """``event_lane`` of each id."""
    joined = "\n".join(ids)
    if joined.count("\n") == len(ids) - 1 and _IDS.fullmatch(joined):  # all but what others put on the hub
        halves = np.frombuffer(bytes.fromhex("".join(ids)), ">u8")[::2]
        return (halves.astype(np.uint64) ^ np.uint64(1 << 63)).view(np.int64)
    return np.array([event_lane(one) for one in ids], np.int64)


_IDS = re.compile(r"(?:[0-9a-f]{32}(?:\n|\Z))++")


def _json(texts: Sequence[str]) -> list[bytes]:
    """Texts as JSON."""
    return _encode_lines(texts).split(b"\n")[:-1]
