"""Texts behind their lanes: many in one block of bytes with sorted columns, those of late in a dict.

A block takes a text's bytes and 16 more; as Python objects in a dict it would be ten times that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]

_MANY = 4096  # texts restored at once that are worth a block


class Block(msgspec.Struct, frozen=True, array_like=True):
    """Texts by ascending lane: lanes and ends int64, the ends in bytes of UTF-8 from the beginning of ``utf8``."""

    lanes: bytes = b""
    ends: bytes = b""
    utf8: bytes = b""


def block(texts: Mapping[int, str]) -> Block:
    """Some texts as a block."""
    lanes = sorted(texts)
    encoded = [texts[lane].encode("utf-8", "surrogatepass") for lane in lanes]
    ends = np.cumsum([len(text) for text in encoded], dtype=np.int64)
    return Block(np.array(lanes, np.int64).tobytes(), ends.tobytes(), b"".join(encoded))


class StoredTexts:
    """Texts by lane."""

    def __init__(self) -> None:
        self._recent: dict[int, str] = {}
        self._lanes, self._bounds, self._utf8 = np.zeros(0, np.int64), np.zeros(1, np.int64), b""

    def __len__(self) -> int:
        return len(self._recent) + len(self._lanes)

    def __contains__(self, lane: int) -> bool:
        return lane in self._recent or self._place(lane) >= 0

    def add(self, texts: Mapping[int, str]) -> None:
        """Keep texts."""
        self._recent.update(texts)

    def restore(self, stored: Block) -> None:
        """Know a block's texts again."""
        lanes = np.frombuffer(stored.lanes, np.int64)
        bounds = np.r_[0, np.frombuffer(stored.ends, np.int64)]
        if not len(self._lanes) and len(lanes) >= _MANY:
            self._lanes, self._bounds, self._utf8 = lanes, bounds, stored.utf8
            return
        pairs = zip(lanes.tolist(), bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
        self._recent.update({lane: _decoded(stored.utf8[begin:end]) for lane, begin, end in pairs})

    def get(self, lane: int) -> str | None:
        """The text of a lane, or None."""
        text = self._recent.get(lane)
        if text is None:
            at = self._place(lane)
            if at >= 0:
                text = _decoded(self._utf8[self._bounds[at] : self._bounds[at + 1]])
        return text

    def many(self, lanes: Iterable[int]) -> list[str | None]:
        """``get`` of each lane."""
        wanted = list(lanes)
        found = list(map(self._recent.get, wanted))
        if len(self._lanes) and None in found:
            rows = np.array([row for row, text in enumerate(found) if text is None])
            asked = np.array(wanted, np.int64)[rows]
            at = np.minimum(np.searchsorted(self._lanes, asked), len(self._lanes) - 1)
            there = self._lanes[at] == asked
            begins, ends = self._bounds[at[there]].tolist(), self._bounds[at[there] + 1].tolist()
            for row, begin, end in zip(rows[there].tolist(), begins, ends, strict=True):
                found[row] = _decoded(self._utf8[begin:end])
        return found

    def only(self, lanes: Int64s) -> StoredTexts:
        """Those of these lanes, in a block."""
        wanted = np.unique(lanes)
        texts = self.many(wanted.tolist())
        kept = StoredTexts()
        kept.restore(block({lane: text for lane, text in zip(wanted.tolist(), texts, strict=True) if text is not None}))
        return kept

    def all(self) -> Block:
        """Every text as a block."""
        if not self._recent:
            return Block(self._lanes.tobytes(), self._bounds[1:].tobytes(), self._utf8)
        texts = dict(zip(self._lanes.tolist(), self.many(self._lanes.tolist()), strict=True)) | self._recent
        return block({lane: text for lane, text in texts.items() if text is not None})

    def lanes(self) -> Int64s:
        """Every lane."""
        return np.concatenate([self._lanes, np.fromiter(self._recent, np.int64, len(self._recent))])

    def lengths(self, lanes: Int64s) -> Int64s:
        """The length of each lane's text in characters; 0 for lanes without one."""
        return np.array([0 if text is None else len(text) for text in self.many(lanes.tolist())], np.int64)

    def _place(self, lane: int) -> int:
        at = int(np.searchsorted(self._lanes, lane))
        return at if at < len(self._lanes) and self._lanes[at] == lane else -1


def _decoded(utf8: bytes) -> str:
    return utf8.decode("utf-8", "surrogatepass")
