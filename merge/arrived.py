"""One stream's changes of a batch as columns, whoever read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from flockiq.merge.known import Bytes
from flockiq.merge.versions import contents, halves_of
from flockiq.shared import wire
from flockiq.shared.lanes import Int64s

_encode_lines = msgspec.json.Encoder().encode_lines


class Rows(NamedTuple):
    """n changes in the order they came: int64 [n], but op uint8.

    at: their place among all of the batch; number: of their record. us, rr (run << 32 | row), tie: their
    position; tie, rest: the halves of their ids. key, trace, after: stretches of a text, the first two as JSON
    without quotes. begin, end: what they say of their fields, as JSON, in another. content: the lane of that.
    place: a number of the stream's book, -1 where it is not worked out.
    """

    at: Int64s
    number: Int64s
    us: Int64s
    rr: Int64s
    tie: Int64s
    rest: Int64s
    op: Bytes
    captured_us: Int64s
    key_begin: Int64s
    key_end: Int64s
    trace_begin: Int64s
    trace_end: Int64s
    after_begin: Int64s
    after_end: Int64s
    begin: Int64s
    end: Int64s
    content: Int64s
    place: Int64s


class Arrived(NamedTuple):
    """Rows, what their stretches are of (``text``, and ``said`` for their fields), and ids that are none of ours."""

    rows: Rows
    text: Bytes
    said: Bytes
    odd: dict[tuple[int, int], str]

    @property
    def size(self) -> int:
        """How many rows."""
        return len(self.rows.at)

    @classmethod
    def of(
        cls, at: Sequence[int], changes: Sequence[wire.Change], numbers: Int64s, said: Sequence[bytes], place: Int64s
    ) -> Arrived:
        """Changes that were read one by one, at least one: what each says of its fields is in ``said``."""
        data = [change.data for change in changes]
        tie, rest, odd = halves_of([change.id for change in changes])
        keys, traces = _json([one.key for one in data]), _json([change.traceparent for change in changes])
        text, (key, trace, after) = _stretches(keys, traces, [one.after for one in data])
        fields, (given,) = _stretches(said)
        rows = Rows(
            at=np.array(at, np.int64),
            number=numbers,
            us=np.array([one.ts_us for one in data], np.int64),
            rr=np.array([one.run for one in data], np.int64) << 32 | np.array([one.row for one in data], np.int64),
            tie=tie,
            rest=rest,
            op=np.frombuffer(bytearray("".join([one.op for one in data]), "ascii"), np.uint8),
            captured_us=np.array([one.captured_us for one in data], np.int64),
            key_begin=key[0],
            key_end=key[1],
            trace_begin=trace[0],
            trace_end=trace[1],
            after_begin=after[0],
            after_end=after[1],
            begin=given[0],
            end=given[1],
            content=contents(said),
            place=place,
        )
        return cls(rows, text, fields, odd)

    def and_(self, other: Arrived) -> Arrived:
        """Both, in the order in which they came."""
        moved = {name: len(self.text) for name in Rows._fields if name.split("_")[0] in {"key", "trace", "after"}}
        moved |= {"begin": len(self.said), "end": len(self.said)}
        order = np.argsort(np.concatenate([self.rows.at, other.rows.at]), kind="stable")
        both = []
        for name in Rows._fields:
            mine, its = getattr(self.rows, name), getattr(other.rows, name)
            both.append(np.concatenate([mine, its + moved[name] if name in moved else its])[order])
        return Arrived(
            Rows._make(both),
            np.concatenate([self.text, other.text]),
            np.concatenate([self.said, other.said]),
            self.odd | other.odd,
        )

    def key(self, row: int) -> str:
        """The key of a row's record."""
        return self._text(self.rows.key_begin[row], self.rows.key_end[row])

    def trace(self, row: int) -> str:
        """A row's traceparent, "" without one."""
        return self._text(self.rows.trace_begin[row], self.rows.trace_end[row])

    def fields(self, row: int) -> bytes:
        """What a row says of its fields."""
        return self.said[self.rows.begin[row] : self.rows.end[row]].tobytes()

    def _text(self, begin: int, end: int) -> str:
        return msgspec.json.decode(b'"%b"' % self.text[begin:end].tobytes(), type=str)


def _stretches(*columns: Sequence[bytes | msgspec.Raw]) -> tuple[Bytes, list[tuple[Int64s, Int64s]]]:
    """Columns of texts, one after the other, and where each text begins and ends."""
    found = []
    begin = 0
    for texts in columns:
        sizes = [len(text) for text in texts]
        ends = begin + np.cumsum(np.array(sizes, np.int64))
        found.append((np.r_[begin, ends[:-1]], ends))
        begin = int(ends[-1])
    return np.frombuffer(bytearray().join([text for texts in columns for text in texts]), np.uint8), found


def _json(texts: Sequence[str]) -> list[bytes]:
    """Texts as JSON, without their quotes."""
    return [line[1:-1] for line in _encode_lines(texts).split(b"\n")[:-1]]
