"""The times of a page's records, read at once where all are written the same way in UTC."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from flockiq.shared.instants import EARLIEST_US

_UTC: Final = re.compile(rb'"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.([0-9]{1,6}))?(?:Z|\+00:00)"')
_SECONDS: Final = 20  # where a fraction or the zone begins, the quote before the year included
_DIGITS: Final = 6  # of a fraction, as we write it


class Moments(NamedTuple):
    """Times in µs since the epoch, and as RFC 3339 in UTC with microseconds."""

    us: Sequence[int]
    written: Sequence[bytes]


def moments_of(column: Sequence[bytes]) -> Moments | None:
    """The times of JSON texts that are all in UTC and written alike; None if they are not, or one is no time."""
    first = _UTC.fullmatch(column[0]) if column else None
    if first is None:
        return None
    length, digits = len(column[0]), len(first[1] or b"")
    if set(map(len, column)) != {length}:
        return None
    matrix = np.frombuffer(b"".join(column), np.uint8).reshape(len(column), length)
    like = matrix[0]
    numbers = (like >= ord("0")) & (like <= ord("9"))
    if not (matrix[:, ~numbers] == like[~numbers]).all() or not (matrix[:, numbers] - ord("0") <= 9).all():  # noqa: PLR2004 - a digit
        return None
    end = _SECONDS + (1 + digits if digits else 0)
    texts = np.ascontiguousarray(matrix[:, 1:end]).view(f"S{end - 1}").ravel()
    try:
        us = texts.astype("datetime64[us]").astype(np.int64)
    except ValueError:
        return None  # there is no such day, or no such hour
    if us.min() < EARLIEST_US:
        return None
    tail = b"0" * (_DIGITS - digits) + b"Z" if digits else b".000000Z"
    return Moments(us.tolist(), [value[1:end] + tail for value in column])
