"""Texts in one buffer, put together into rows: how lines and columns of texts are made for many rows at once.

A text of a pool is a number; a column is the numbers of its rows' texts. Where machine code is ready, it writes rows
without a pool (pipeline/rowdelta.py, rowgolden.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import xxhash

from flockiq.shared.lanes import ABSENT, NULL, Int64s

Bytes = npt.NDArray[np.uint8]

MEMBER = 8
"""A byte that no JSON has: a comma, unless what comes is the first in its object."""
COMMA = "\b"
"""The same as text."""

BOOLEAN, DATE, DECIMAL, INTEGER, MOMENT = range(5)
"""Kinds of lanes that are written out; a moment is in microseconds."""

EMPTY = 0
"""The number of the empty text in every pool."""

_SEPARATOR = "\x1f"  # between the parts of what an id is a hash of (shared.positions)
_NEWLINE = 10

_encode_lines = msgspec.json.Encoder().encode_lines


class Rows(NamedTuple):
    """Texts one after the other: their UTF-8, and where each ends in it, int64 [n]."""

    utf8: Bytes
    ends: Int64s


def rows_of(texts: Sequence[str] | Sequence[bytes]) -> Rows:
    """Texts, or their UTF-8, put one after the other."""
    if texts and isinstance(texts[0], bytes):
        utf8, each = b"".join(texts), texts  # type: ignore[arg-type]  # all are
    else:
        whole = "".join(texts)  # type: ignore[arg-type]  # all are
        utf8 = whole.encode()
        each = texts if len(utf8) == len(whole) else [text.encode() for text in texts]  # type: ignore[union-attr]
    return Rows(np.frombuffer(utf8, np.uint8), np.cumsum(np.fromiter(map(len, each), np.int64, len(each))))


class Said(NamedTuple):
    """A column of values as texts of a pool, int64 of one shape: as they are, and as JSON strings."""

    plain: Int64s
    quoted: Int64s


class Pool:
    """Texts and their numbers."""

    def __init__(self) -> None:
        self._texts = [b""]

    def rows(self, rows: Rows) -> Int64s:
        """Take in texts; their numbers."""
        return self._added(rows.utf8, _begins(rows.ends), rows.ends)

    def texts(self, texts: Sequence[str]) -> Int64s:
        """Take in texts as they are; their numbers."""
        return self.rows(rows_of(texts))

    def text(self, text: str) -> int:
        """Take in one text; its number."""
        return int(self.texts([text])[0])

    def json(self, values: Sequence[object]) -> Int64s:
        """Take in values as JSON; their numbers."""
        utf8 = np.frombuffer(_encode_lines(values), np.uint8)
        ends = np.flatnonzero(utf8 == _NEWLINE)
        return self._added(utf8, _begins(ends, 1), ends)

    def said(self, texts: Sequence[str]) -> Said:
        """Take in texts as they are and as JSON."""
        return Said(self.texts(texts), self.json(texts))

    def floats(self, values: Sequence[float]) -> Said:
        """Take in numbers, none of which is NaN; as they are said and as JSON strings of that."""
        return self._quoted(np.frombuffer(b'"' + _encode_lines(values).replace(b"\n", b'"\n"'), np.uint8), len(values))

    def lanes(self, kind: int, scale: int, lanes: Int64s) -> Said:
        """Write out int64 [n] lanes of a kind, "" where there is no value; ``scale`` is of a decimal."""
        return self.said(_plainly(kind, scale, lanes))

    def distinct(self, lanes: Int64s) -> tuple[Int64s, Int64s]:
        """The distinct ones of int64 [n] lanes in any order, and which of them each is."""
        return np.unique(lanes, return_inverse=True)

    def joined(
        self, form: Sequence[str], parts: Sequence[Int64s], order: Int64s | None = None, *, members: bool = False
    ) -> Rows:
        """Put texts together in rows: the first of ``form``, a part, the next, a part, …, the last.

        parts: columns, int64 [n]; ``order``: the rows that are wanted, int64 [m]. With ``members``, MEMBER at the
        beginning of a text is a comma, or nothing just behind an open brace: of JSON only.
        """
        columns = np.stack(parts)
        order = np.arange(columns.shape[1]) if order is None else order
        texts = self._texts
        pattern = b"%b".join(one.encode().replace(b"%", b"%%") for one in form)
        found = [pattern % tuple(map(texts.__getitem__, row)) for row in columns[:, order].T.tolist()]
        if members:
            found = [row.replace(b"{\b", b"{").replace(b"\b", b",") for row in found]
        ends = np.cumsum(np.fromiter(map(len, found), np.int64, len(found)))
        return Rows(np.frombuffer(b"".join(found), np.uint8), ends)

    def ids(self, *parts: Int64s | str) -> Int64s:
        """Take in ``hash_id`` of each row's parts, columns or a text that all have; their numbers."""
        form = [""]
        columns: list[Int64s] = []
        for number, part in enumerate(parts):
            form[-1] += _SEPARATOR if number else ""
            if isinstance(part, str):
                form[-1] += part
            else:
                columns.append(part)
                form.append("")
        hashed = self.joined(form, columns)
        n = len(hashed.ends)
        ends = np.arange(32, 32 * n + 1, 32)
        body = memoryview(hashed.utf8)
        bounds = pairwise([0, *hashed.ends.tolist()])
        digits = "".join([xxhash.xxh3_128_hexdigest(body[a:b]) for a, b in bounds])
        return self.rows(Rows(np.frombuffer(digits.encode(), np.uint8), ends))

    def _quoted(self, utf8: Bytes, n: int) -> Said:
        """Take in texts in quotes on a line each."""
        ends = np.flatnonzero(utf8 == _NEWLINE)[:n]
        begins = _begins(ends, 1)
        numbers = self._added(utf8, np.concatenate([begins + 1, begins]), np.concatenate([ends - 1, ends]))
        return Said(numbers[:n], numbers[n:])

    def _added(self, utf8: Bytes, begin: Int64s, end: Int64s) -> Int64s:
        first, body = len(self._texts), utf8.tobytes()
        self._texts += [body[a:b] for a, b in zip(begin.tolist(), end.tolist(), strict=True)]
        return np.arange(first, len(self._texts))


def _begins(ends: Int64s, apart: int = 0) -> Int64s:
    """Where texts begin that stand one after the other, so many bytes apart."""
    begins = np.zeros_like(ends)
    np.add(ends[:-1], apart, out=begins[1:])
    return begins


def _plainly(kind: int, scale: int, lanes: Int64s) -> list[str]:
    """Lanes written out, each distinct one once."""
    distinct, which = np.unique(lanes, return_inverse=True)
    known = (distinct != ABSENT) & (distinct != NULL)
    there = distinct[known]
    if kind == BOOLEAN:
        said = ["true" if lane else "false" for lane in there.tolist()]
    elif kind == DATE:
        said = np.datetime_as_string(there.astype("datetime64[D]")).tolist()
    elif kind == MOMENT:
        said = instants(there)
    else:
        said = decimals(there, scale if kind == DECIMAL else 0)
    said = [""] * (len(distinct) - len(said)) + said  # the sentinels are below every value
    return list(map(said.__getitem__, which.reshape(-1).tolist()))


def decimals(lanes: Int64s, scale: int) -> list[str]:
    """Scaled integers with their point."""
    if not scale:
        return [str(lane) for lane in lanes.tolist()]
    whole, part = np.divmod(np.abs(lanes), 10**scale)
    sign = np.where(lanes < 0, "-", "").tolist()
    form = f"%s%d.%0{scale}d"
    return [form % one for one in zip(sign, whole.tolist(), part.tolist(), strict=True)]


def instants(us: Int64s) -> list[str]:
    """Microseconds since the epoch in RFC 3339, as ``rfc3339`` writes each."""
    found: list[str] = np.datetime_as_string(us.astype("datetime64[us]"), unit="us", timezone="UTC").tolist()
    return found
