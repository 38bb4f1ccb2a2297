"""One stream's changes of a batch as columns."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

import msgspec
import numpy as np

from flockiq.shared import wire
from flockiq.shared.lanes import Int64s
from flockiq.shared.positions import event_lane

_head = attrgetter("id", "traceparent", "data")
_data = attrgetter("op", "key", "ts_us", "run", "row", "captured_us", "after")
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
        ids, traces, data = zip(*map(_head, changes), strict=True)
        ops, keys, us, run, row, captured_us, after = zip(*map(_data, data), strict=True)
        return cls(
            changes=changes,
            ids=ids,
            traces=traces,
            ops=ops,
            keys=keys,
            us=np.array(us, np.int64),
            rr=np.array(run, np.int64) << 32 | np.array(row, np.int64),
            tie=np.array(list(map(event_lane, ids)), np.int64),
            captured_us=np.array(captured_us, np.int64),
            after=after,
        )

    def written(
        self, at: Sequence[int]
    ) -> tuple[list[bytes], list[bytes], list[bytes], list[bytes], list[bytes], list[bytes]]:
        """Some rows as their lines on hub ``resolved`` say them: id, time, traceparent, op, key, position."""
        us, rr = self.us[at], self.rr[at]
        times = np.datetime_as_string(us.astype("datetime64[us]"), unit="us", timezone="UTC").astype("S").tolist()
        traces = [self.traces[one] for one in at]
        positions = zip(
            us.tolist(), (rr >> 32).tolist(), (rr & 0xFFFFFFFF).tolist(), self.captured_us[at].tolist(), strict=True
        )
        return (
            _json([self.ids[one] for one in at]),
            times,
            [b'"traceparent":%b,' % one if one != b'""' else b"" for one in _json(traces)]
            if any(traces)
            else [b""] * len(traces),
            [self.ops[one].encode() for one in at],
            _json([self.keys[one] for one in at]),
            [b'"ts_us":%d,"run":%d,"row":%d,"captured_us":%d' % one for one in positions],
        )


def _json(texts: list[str]) -> list[bytes]:
    """Texts as JSON."""
    return _encode_lines(texts).split(b"\n")[:-1]
