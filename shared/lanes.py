"""Values as int64 lanes: one integer compares, gathers and stores every type of field.

| type | lane |
|---|---|
| string, json | 61-bit hash of the text; the text itself is kept once in a ``Texts`` |
| decimal | scaled integer (cents at scale 2) |
| integer | itself |
| boolean | 0 or 1 |
| date | days since 1970-01-01 |
| timestamp | microseconds since the epoch |
| float | its bits, turned so that lanes order as the numbers do, off the sentinels by one ulp |

Two sentinels stand outside every type: ABSENT (nothing was ever said, or it was deleted) and
NULL (said to be empty). They are far from INT64_MIN, so that differences do not overflow.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol

import msgspec
import numpy as np
import numpy.typing as npt
import xxhash

from flockiq.shared.ids import IdColumns, Ids
from flockiq.shared.instants import EARLIEST_US, LATEST_US, rfc3339
from flockiq.shared.laneindex import Reindex
from flockiq.shared.stored_texts import Block, StoredTexts, TextColumns, Utf8, joined

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

ABSENT = -(1 << 62)
NULL = -(1 << 61)
LIMIT = 1 << 60  # numbers at or beyond it are refused: they would come near the sentinels

LaneType = Literal["string", "decimal", "float", "integer", "boolean", "date", "timestamp", "json"]
Scalar = str | int | float | bool | None

_REMEMBERED = 1 << 16  # values of a field, or texts, whose lanes are not worked out again
_HASH_MASK = (1 << 61) - 1
_BELOW_SIGN = (1 << 63) - 1
_SAFE_DIGITS = 19  # a text shorter than this, sign and point included, is within LIMIT
_WHOLE = re.compile("-?[0-9]+")
_EPOCH = dt.date(1970, 1, 1).toordinal()
_MICROSECOND = dt.timedelta(microseconds=1)
_EPOCH_TIME = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def text_lane(text: str) -> int:
    """The lane of a text: its 61-bit hash."""
    return xxhash.xxh64_intdigest(text.encode("utf-8", "surrogatepass")) & _HASH_MASK


class _TextLanes(dict[object, int]):
    """Text to lane, bounded; a text that is not known is kept. None is NULL, msgspec's UNSET is ABSENT."""

    def __init__(self, texts: Texts) -> None:
        super().__init__()
        self._texts = texts
        self._begin()

    def __missing__(self, text: str) -> int:
        if len(self) > _REMEMBERED:
            self.clear()
            self._begin()
        lane = self[text] = text_lane(text)
        if lane not in self._texts:
            self._texts.keep({lane: text})
        return lane

    def _begin(self) -> None:
        self[None] = NULL
        self[msgspec.UNSET] = ABSENT


class Texts:
    """The texts behind string lanes, each kept once, and the ids behind theirs.

    ``lanes`` maps a text (None, UNSET) to its lane and keeps it: the way for whole columns.
    """

    def __init__(self) -> None:
        self._texts = StoredTexts()
        self._ids = Ids()
        self.lanes: dict[object, int] = _TextLanes(self)

    def __len__(self) -> int:
        return len(self._texts)

    def __contains__(self, lane: int) -> bool:
        return lane in self._texts

    def lane(self, text: str) -> int:
        """The text's lane; the text is kept."""
        return self.lanes[text]

    def keep(self, texts: Mapping[int, str]) -> None:
        """Keep texts under lanes of the caller's making."""
        self._texts.add(texts)

    def keep_ids(self, ids: Int64s) -> None:
        """Keep ids under their lanes: int64 [n, 2], the lane and the second half of each (shared.positions.id_of)."""
        self._ids.add(ids)

    def text(self, lane: int) -> str:
        """The text behind a lane; KeyError if it was never kept."""
        known = self._texts.get(lane)
        return known if known is not None else self._ids.text(lane)

    def many(self, lanes: Int64s) -> list[str]:
        """``text`` of each of int64 [n] lanes."""
        found = self._texts.many(lanes)
        unknown = [row for row, text in enumerate(found) if text is None]
        if unknown:
            for row, text in zip(unknown, self._ids.many(lanes[unknown]), strict=True):
                found[row] = text
        return found  # type: ignore[return-value]  # none is None by now

    def together(self, lanes: Int64s) -> Utf8:
        """The texts of int64 [n] lanes in UTF-8, BETWEEN before, between and behind them."""
        whole = self._texts.together(lanes)
        return joined(self.many(lanes)) if whole is None else whole

    def lengths(self, lanes: Int64s) -> Int64s:
        """The length of each lane's text in characters; 0 for lanes without one."""
        return self._texts.lengths(lanes.reshape(-1)).reshape(lanes.shape)

    def columns(self, reindex: Reindex, more: int = 0, size: int = 0) -> TextColumns:
        """The texts for compiled code, with room for as many more, and bytes of them."""
        return self._texts.columns(more, size, reindex)

    def id_columns(self, reindex: Reindex, more: int) -> IdColumns:
        """The ids for compiled code, with room for as many more."""
        return self._ids.columns(more, reindex)

    def taken(self) -> Block:
        """The texts added since the last call."""
        return self._texts.taken()

    def taken_ids(self) -> Int64s:
        """The ids added since the last call, int64 [n, 2]."""
        return self._ids.taken()

    def restore_ids(self, ids: Int64s) -> None:
        """Know these ids again."""
        self._ids.restore(ids)

    def restore(self, stored: Block) -> None:
        """Know texts again, as read from a state log."""
        self._texts.restore(stored)

    def only(self, lanes: Iterable[int]) -> Texts:
        """The texts and ids of these lanes alone, for a snapshot that forgets the others."""
        wanted = np.fromiter(lanes, np.int64)
        kept = Texts()
        kept._texts = self._texts.only(wanted)
        kept._ids.restore(self._ids.only(wanted))
        return kept

    def all(self) -> tuple[Block, Int64s]:
        """Every text, and every id as int64 [n, 2]."""
        return self._texts.all(), self._ids.all()


def lane_of(kind: LaneType, scale: int, value: Scalar, texts: Texts) -> int:
    """The lane of one canonical value. ValueError when it does not fit its type or the lane."""
    if value is None:
        return NULL
    match kind:
        case "string" | "json":
            return texts.lane(value if isinstance(value, str) else str(value))
        case "decimal":
            lane = _scaled(str(value), scale)
        case "integer":
            lane = int(value)
        case "boolean":
            return int(bool(value))
        case "date":
            return dt.date.fromisoformat(str(value)).toordinal() - _EPOCH
        case "timestamp":
            return _timestamp_lane(str(value))
        case "float":
            return _float_lane(float(value))
    if not -LIMIT < lane < LIMIT:
        raise ValueError(f"{str(value)[:40]} is beyond ±2^60 at scale {scale}")
    return lane


def _timestamp_lane(text: str) -> int:
    us = (dt.datetime.fromisoformat(text) - _EPOCH_TIME) // _MICROSECOND
    if not EARLIEST_US <= us <= LATEST_US:  # an offset may lead out of the calendar
        raise ValueError(f"{text[:40]} is outside the years 1 to 9999")
    return us


def _float_lane(value: float) -> int:
    bits = int(np.float64(value + 0.0).view(np.int64))  # + 0.0 makes one zero of the two
    lane = bits ^ _BELOW_SIGN if bits < 0 else bits
    return lane + 1 if lane in (ABSENT, NULL) else lane


def _scaled(text: str, scale: int) -> int:
    whole, _, fraction = text.partition(".")
    if not _WHOLE.fullmatch(whole):
        raise ValueError(f"{text[:40]!r} is no number")
    if len(fraction) > scale:
        raise ValueError(f"{text[:40]} has more than {scale} digits after the point")
    return int(whole + fraction.ljust(scale, "0"))


def lanes_of(kind: LaneType, scale: int, values: Sequence[Scalar], texts: Texts) -> list[int]:
    """The lanes of a column of canonical values; ValueError names no row, so ask ``lane_of`` then."""
    if kind in ("string", "json"):
        return list(map(texts.lanes.__getitem__, values))
    if kind == "decimal":
        point = -scale - 1
        try:
            return [
                NULL
                if value is None
                else int(value[:point] + value[point + 1 :])  # type: ignore[index]
                if scale and len(value) < _SAFE_DIGITS and value[point] == "."  # type: ignore[arg-type,index]
                else lane_of(kind, scale, value, texts)
                for value in values
            ]
        except (IndexError, TypeError):
            pass
    return [lane_of(kind, scale, value, texts) for value in values]


class Lanes(dict[object, int]):
    """Canonical values of one type to lanes, each worked out once; bounded. For types but texts."""

    def __init__(self, kind: LaneType, scale: int) -> None:
        super().__init__()
        self._kind, self._scale = kind, scale
        self._begin()

    def _begin(self) -> None:
        self.clear()
        self[None] = NULL
        self[msgspec.UNSET] = ABSENT

    def __missing__(self, value: Scalar) -> int:
        if len(self) > _REMEMBERED:
            self._begin()
        lane = self[value] = lane_of(self._kind, self._scale, value, _NO_TEXTS)
        return lane


class TextOf(Protocol):
    """What knows the texts behind lanes."""

    def text(self, lane: int) -> str:
        """The text behind a lane."""


def value_of(kind: LaneType, scale: int, lane: int, texts: TextOf) -> Scalar:
    """The canonical value of a lane; None for NULL and ABSENT."""
    if lane in (ABSENT, NULL):
        return None
    match kind:
        case "string" | "json":
            return texts.text(lane)
        case "decimal":
            digits = f"{abs(lane):0{scale + 1}d}"
            sign = "-" if lane < 0 else ""
            return f"{sign}{digits[:-scale]}.{digits[-scale:]}" if scale else f"{sign}{digits}"
        case "integer":
            return lane
        case "boolean":
            return bool(lane)
        case "date":
            return dt.date.fromordinal(lane + _EPOCH).isoformat()
        case "timestamp":
            return rfc3339(lane)
        case "float":
            return float(np.int64(lane ^ _BELOW_SIGN if lane < 0 else lane).view(np.float64))


def numbers(kind: LaneType, scale: int, lanes: Int64s) -> Floats:
    """A column of lanes as float64 numbers; sentinels become NaN.

    A decimal is divided by its power of ten once, so it is the double nearest to the exact value.
    """
    if kind == "float":
        values = np.where(lanes < 0, lanes ^ _BELOW_SIGN, lanes).view(np.float64)
    elif kind == "decimal":
        values = lanes / np.float64(10**scale)
    else:
        values = lanes.astype(np.float64)
    values[(lanes == ABSENT) | (lanes == NULL)] = np.nan
    return values


_NO_TEXTS = Texts()  # stands in where a type has none
