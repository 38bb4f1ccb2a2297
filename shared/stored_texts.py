"""Texts behind their lanes, in one stretch of bytes: a text takes its bytes and some 26 more.

As Python objects in a dict it would be five times that. Compiled code finds and adds texts in the same
columns; a Python text is made when somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from flockiq.shared.laneindex import LaneIndex, Places, Reindex, reindexed
from flockiq.shared.stretching import double

Int64s = npt.NDArray[np.int64]
Utf8 = npt.NDArray[np.uint8]

BETWEEN = 0x1F  # a byte that no letter is, to stand between texts
PADDING = 64  # bytes of room behind all texts, so that compiled code may read and write many at once


class Block(msgspec.Struct, frozen=True, array_like=True):
    """Texts: lanes and ends int64, the ends in bytes of UTF-8 from the beginning of ``utf8``."""

    lanes: bytes = b""
    ends: bytes = b""
    utf8: bytes = b""


def block(texts: Mapping[int, str]) -> Block:
    """Some texts as a block."""
    encoded = [_encoded(text) for text in texts.values()]
    ends = np.cumsum([len(text) for text in encoded], dtype=np.int64)
    return Block(np.fromiter(texts, np.int64, len(texts)).tobytes(), ends.tobytes(), b"".join(encoded))


class TextColumns(NamedTuple):
    """Texts as compiled code reads and adds them.

    A LaneIndex; where each begins and the last one ends in ``utf8``: int64 [n + 1].
    """

    places: Places
    lanes: Int64s
    counts: Int64s
    bounds: Int64s
    utf8: Utf8


class StoredTexts:
    """Texts by lane."""

    def __init__(self) -> None:
        self._index = LaneIndex()
        self._bounds: Int64s = np.zeros(1, np.int64)
        self._utf8: Utf8 = np.empty(PADDING, np.uint8)
        self._taken = 0
        self._untaken: list[tuple[int, int]] = []  # before ``_taken``: numbers from, to

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, lane: int) -> bool:
        return self._index.one(lane) >= 0

    def columns(self, more: int, size: int, reindex: Reindex = reindexed) -> TextColumns:
        """The columns, with room for as many texts more, and bytes of them."""
        self._index.room(more, reindex)
        self._room(len(self), size)
        index = self._index
        return TextColumns(index.places, index.lanes, index.counts, self._bounds, self._utf8)

    def add(self, texts: Mapping[int, str]) -> None:
        """Keep texts."""
        self._append(block(texts))

    def restore(self, stored: Block) -> None:
        """Know a block's texts again; they are not told again."""
        first = len(self)
        self._append(stored)
        if self._taken < first:
            self._untaken.append((self._taken, first))
        self._taken = len(self)

    def taken(self) -> Block:
        """What was added since the last call."""
        spans = [*self._untaken, (self._taken, len(self))]
        self._untaken, self._taken = [], len(self)
        return self._block(np.concatenate([np.arange(*span) for span in spans]))

    def get(self, lane: int) -> str | None:
        """The text of a lane, or None."""
        number = self._index.one(lane)
        return None if number < 0 else _decoded(self._utf8[self._bounds[number] : self._bounds[number + 1]])

    def many(self, lanes: Int64s) -> list[str | None]:
        """``get`` of each of int64 [n] lanes."""
        number = self._index.find(lanes)
        there = number >= 0
        texts = self._texts(number[there])
        if len(texts) == len(lanes):
            return [*texts]
        found: list[str | None] = [None] * len(lanes)
        for row, text in zip(np.flatnonzero(there).tolist(), texts, strict=True):
            found[row] = text
        return found

    def together(self, lanes: Int64s) -> Utf8 | None:
        """The texts of int64 [n] lanes, BETWEEN before, between and behind them; None if one is not known."""
        number = self._index.find(lanes)
        if (number < 0).any():
            return None
        utf8, ends = _gathered(self._utf8, self._bounds[number], self._bounds[number + 1])
        whole = np.full(len(utf8) + len(ends) + 1, BETWEEN, np.uint8)
        text = np.ones(len(whole), np.bool_)
        text[0] = False
        text[ends + np.arange(1, len(ends) + 1)] = False
        whole[text] = utf8
        return whole

    def only(self, lanes: Int64s) -> StoredTexts:
        """Those of these lanes."""
        number = np.unique(self._index.find(lanes))
        kept = StoredTexts()
        kept.restore(self._block(number[number >= 0]))
        return kept

    def all(self) -> Block:
        """Every text as a block."""
        n = len(self)
        utf8 = self._utf8[: self._bounds[n]]
        return Block(self._index.lanes[:n].tobytes(), self._bounds[1 : n + 1].tobytes(), utf8.tobytes())

    def lengths(self, lanes: Int64s) -> Int64s:
        """The length of each lane's text in characters; 0 for lanes without one."""
        number = self._index.find(lanes)
        found = np.zeros(len(lanes), np.int64)
        there = number >= 0
        utf8, ends = _gathered(self._utf8, self._bounds[number[there]], self._bounds[number[there] + 1])
        found[there] = _chars(utf8, ends)
        return found

    def _append(self, stored: Block) -> None:
        """Keep those texts of a block that are not known."""
        lanes, ends = np.frombuffer(stored.lanes, np.int64), np.frombuffer(stored.ends, np.int64)
        utf8, first = np.frombuffer(stored.utf8, np.uint8), len(self)
        begin = int(self._bounds[first])
        new = self._index.add(lanes)
        if len(new) < len(lanes):
            begins = np.r_[0, ends[:-1]]
            utf8, ends = _gathered(utf8, begins[new], ends[new])
        self._room(first, len(utf8))
        self._utf8[begin : begin + len(utf8)] = utf8
        self._bounds[first + 1 : len(self) + 1] = ends + begin

    def _room(self, count: int, size: int) -> None:
        """Room for as many texts as the index has room for, and for so many bytes behind the first ``count``."""
        room, end = len(self._index.lanes), int(self._bounds[count])
        double(self, "_bounds", count + 1, room + 1)
        double(self, "_utf8", end, end + size + PADDING)

    def _block(self, number: Int64s) -> Block:
        """Texts by their numbers, as a block."""
        utf8, ends = _gathered(self._utf8, self._bounds[number], self._bounds[number + 1])
        return Block(self._index.lanes[number].tobytes(), ends.tobytes(), utf8.tobytes())

    def _texts(self, number: Int64s) -> list[str]:
        utf8 = memoryview(self._utf8)
        begins, ends = self._bounds[number].tolist(), self._bounds[number + 1].tolist()
        return [str(utf8[begin:end], "utf-8", "surrogatepass") for begin, end in zip(begins, ends, strict=True)]


def joined(texts: Sequence[str]) -> Utf8:
    """Texts in UTF-8, BETWEEN before, between and behind them."""
    between = chr(BETWEEN)
    whole = f"{between}{between.join(texts)}{between}" if texts else between
    return np.frombuffer(_encoded(whole), np.uint8)


def _gathered(utf8: Utf8, begins: Int64s, ends: Int64s) -> tuple[Utf8, Int64s]:
    """Some stretches one after the other, and where each ends then."""
    sizes = ends - begins
    new_ends = np.cumsum(sizes)
    if len(begins) and (begins[1:] == ends[:-1]).all():
        return utf8[begins[0] : ends[-1]], new_ends
    at = np.repeat(begins - (new_ends - sizes), sizes)
    at += np.arange(len(at))
    return utf8[at], new_ends


def _chars(utf8: Utf8, ends: Int64s) -> Int64s:
    """How many characters each text has."""
    starts = (utf8 & 0xC0) != 0x80  # noqa: PLR2004  # what is no later byte of one
    begun: Int64s = np.r_[0, np.cumsum(starts, dtype=np.int64)]
    found: Int64s = np.diff(begun[ends], prepend=0)
    return found


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _decoded(utf8: Utf8) -> str:
    return utf8.tobytes().decode("utf-8", "surrogatepass")
