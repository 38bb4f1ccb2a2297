"""The entities and groups of one type in one partition: dense numbers for ids and names, in columns.

An entity takes some 70 bytes and its match key; compiled code finds and adds entities in the same columns.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple, overload

import numpy as np

from flockiq.shared.ids import IdColumns, ids_of
from flockiq.shared.laneindex import LaneIndex, Reindex, distinct, reindexed
from flockiq.shared.lanes import NULL, Int64s
from flockiq.shared.positions import event_lane, hash64, id_of, is_id, signed_rest
from flockiq.shared.stored_texts import PADDING, Utf8
from flockiq.shared.stretching import double

_TURN = (1 << 63) - 1
_DIGITS = 32  # of an id


class Listed(Sequence[str]):
    """Texts by number, each made when it is asked for."""

    def many(self, numbers: Int64s) -> list[str]:
        """Those of int64 [n] numbers."""
        return [self[number] for number in numbers.tolist()]

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return self.many(np.arange(*at.indices(len(self))))
        return self._one(int(at))

    def _one(self, number: int) -> str:
        raise NotImplementedError


class Names(Listed):
    """Dense numbers for texts, given in the order of their first use.

    Ids (shared.positions.is_id) are kept as two words and found by the first; other texts, and ids
    whose first word another has, are kept as they are.
    """

    def __init__(self) -> None:
        self._index = LaneIndex()
        self._rest: Int64s = np.empty(0, np.int64)
        self._odd: dict[int, str] = {}
        self._odd_numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._index)

    @property
    def names(self) -> Names:
        """Itself, as what it names."""
        return self

    def __iter__(self) -> Iterator[str]:
        return iter(self[:])

    def columns(self, more: int, reindex: Reindex = reindexed) -> IdColumns:
        """The columns for compiled code, with room for as many more."""
        self._index.room(more, reindex)
        double(self, "_rest", len(self), len(self._index.lanes))
        return IdColumns(self._index.places, self._index.lanes, self._index.counts, self._rest)

    def number(self, name: str) -> int:
        """The name's number; a new name gets the next."""
        known = self.find(name)
        if known is not None:
            return known
        number = len(self)
        lane, rest = self._words(number, name)
        self.columns(1).rest[number] = rest
        self._index.add(np.array([lane], np.int64))
        return number

    def _words(self, number: int, name: str) -> tuple[int, int]:
        """The words for a name that is new; one that is odd is noted."""
        if is_id(name) and self._index.one(event_lane(name)) < 0:
            return event_lane(name), signed_rest(name)
        self._odd[number] = name
        self._odd_numbers[name] = number
        lane = hash64(name) & _TURN
        while self._index.one(lane) >= 0:
            lane = (lane + 1) & _TURN
        return lane, 0

    def rename(self, numbers: Int64s, names: Sequence[str]) -> None:
        """Give numbers other names, which are nobody's yet; the old ones are new again."""
        for number, name in zip(numbers.tolist(), names, strict=True):
            old = self._odd.pop(number, None)
            if old is not None:
                del self._odd_numbers[old]
            lane, self._rest[number] = self._words(number, name)
            self._index.replace(np.array([number]), np.array([lane], np.int64))

    def find(self, name: str) -> int | None:
        """The name's number, or None."""
        if is_id(name):
            number = self._index.one(event_lane(name))
            if number >= 0 and number not in self._odd and self._rest[number] == signed_rest(name):
                return number
        return self._odd_numbers.get(name)

    def find_all(self, names: Sequence[str]) -> Int64s:
        """The number of each name, or -1: int64 [n]."""
        found = map(self.find, names)
        return np.array([-1 if number is None else number for number in found], np.int64)

    def extend(self, names: Sequence[str]) -> None:
        """``number`` of each; many ids that are new are told at once."""
        digits = "".join(names)
        if len(names) > 1 and len(digits) == _DIGITS * len(names) and all(len(name) == _DIGITS for name in names):
            with contextlib.suppress(ValueError):
                body = bytes.fromhex(digits)
                if body.hex() == digits and self._put(np.frombuffer(body, ">u8").astype(np.uint64).view(np.int64)):
                    return
        for name in names:
            self.number(name)

    def _put(self, halves: Int64s) -> bool:
        """Number ids, given as their halves one after the other; False, and nothing is done, where not all are new."""
        lanes, rest = halves[::2] ^ np.int64(-_TURN - 1), halves[1::2]
        if (self._index.find(lanes) >= 0).any() or not distinct(lanes):
            return False
        self.columns(len(lanes)).rest[len(self) : len(self) + len(lanes)] = rest
        self._index.add(lanes)
        return True

    def are_ids(self, numbers: Int64s) -> bool:
        """Whether all of int64 [n] numbers name ids, which are kept as two words."""
        return not self._odd or self._odd.keys().isdisjoint(numbers.tolist())

    def many(self, numbers: Int64s) -> list[str]:
        """Those of int64 [n] numbers."""
        found = ids_of(self._index.lanes[numbers], self._rest[numbers])
        if self._odd:
            for at, number in enumerate(numbers.tolist()):
                if number in self._odd:
                    found[at] = self._odd[number]
        return found

    def _one(self, number: int) -> str:
        if not -len(self) <= number < len(self):
            raise IndexError(number)
        number %= len(self)
        odd = self._odd.get(number)
        return id_of(int(self._index.lanes[number]), int(self._rest[number])) if odd is None else odd


class EntityColumns(NamedTuple):
    """Entities as compiled code reads and adds them.

    ids, groups: see ``Names``; by entity, int64 [n]: group, its number, and shown, a text lane; bounds int64 [n + 1]:
    where the match keys stand in ``utf8``.
    """

    ids: IdColumns
    groups: IdColumns
    group: Int64s
    shown: Int64s
    bounds: Int64s
    utf8: Utf8


class _MatchKeys(Listed):
    """The match keys of entities."""

    def __init__(self, entities: Entities) -> None:
        self._of = entities

    def __len__(self) -> int:
        return len(self._of.ids)

    def _one(self, number: int) -> str:
        if not -len(self) <= number < len(self):
            raise IndexError(number)
        bounds = self._of.bounds
        number %= len(self)
        return self._of.utf8[bounds[number] : bounds[number + 1]].tobytes().decode("utf-8", "surrogatepass")

    def many(self, numbers: Int64s) -> list[str]:
        """Those of int64 [n] numbers."""
        utf8, bounds = memoryview(self._of.utf8), self._of.bounds
        stretches = zip(bounds[numbers].tolist(), bounds[numbers + 1].tolist(), strict=True)
        return [str(utf8[begin:end], "utf-8", "surrogatepass") for begin, end in stretches]


class Entities:
    """Entities with their groups, match keys and the text lanes of what people call them."""

    def __init__(self) -> None:
        self.ids, self.groups = Names(), Names()
        self.match_keys = _MatchKeys(self)
        self._group: Int64s = np.empty(0, np.int64)
        self._shown: Int64s = np.empty(0, np.int64)
        self.bounds: Int64s = np.zeros(1, np.int64)
        self.utf8: Utf8 = np.empty(PADDING, np.uint8)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def group_of(self) -> Int64s:
        """The group each entity belongs to, that of its first row: int64 [n]."""
        return self._group[: len(self.ids)]

    @property
    def shown(self) -> Int64s:
        """The text lane of what people call it: int64 [n]."""
        return self._shown[: len(self.ids)]

    def columns(self, more: int, size: int, reindex: Reindex = reindexed) -> EntityColumns:
        """The columns for compiled code, with room for as many entities more, and bytes of match keys."""
        count = len(self.ids)
        ids, groups = self.ids.columns(more, reindex), self.groups.columns(more, reindex)
        self._room(count, count + more, size)
        return EntityColumns(ids, groups, self._group, self._shown, self.bounds, self.utf8)

    def add(self, entity_id: str, match_key: str, group: str, shown: int) -> int:
        """The number of an entity; a new one is remembered, with its group and the lane of its name."""
        known = self.ids.find(entity_id)
        if known is not None:
            return known
        self.restore([entity_id], [match_key], [self.groups.number(group)], [shown], [])
        return len(self.ids) - 1

    def restore(
        self,
        ids: Sequence[str],
        match_keys: Sequence[str],
        group_of: Sequence[int],
        shown: Sequence[int],
        groups: Sequence[str],
    ) -> None:
        """Know entities and groups again: all of them are new, in the order of their numbers."""
        first = len(self.ids)
        self.ids.extend(ids)
        self.groups.extend(groups)
        encoded = [match_key.encode("utf-8", "surrogatepass") for match_key in match_keys]
        utf8, last = b"".join(encoded), len(self.ids)
        self._room(first, last, len(utf8))
        begin = int(self.bounds[first])
        self.utf8[begin : begin + len(utf8)] = np.frombuffer(utf8, np.uint8)
        self.bounds[first + 1 : last + 1] = begin + np.cumsum([len(one) for one in encoded], dtype=np.int64)
        self._group[first:last], self._shown[first:last] = group_of, shown

    def unname(self, entities: Int64s, groups: Int64s) -> None:
        """Take the names of entities from them, and of groups; numbers are never given twice, and stand for nothing."""
        self.ids.rename(entities, [f"~erased/{entity}" for entity in entities.tolist()])
        self.groups.rename(groups, [f"~erased/{group}" for group in groups.tolist()])
        self._shown[entities] = NULL
        sizes = np.diff(self.bounds[: len(self) + 1])
        stay = np.repeat(np.isin(np.arange(len(self)), entities, invert=True), sizes)
        sizes[entities] = 0
        utf8 = self.utf8[: len(stay)][stay]
        self.utf8 = np.append(utf8, np.zeros(PADDING, np.uint8))
        self.bounds = np.r_[0, np.cumsum(sizes)]

    def _room(self, count: int, most: int, size: int) -> None:
        """Room for entities in all, of which there are ``count``, and for so many bytes more of match keys."""
        end = int(self.bounds[count])
        double(self, "_group", count, most)
        double(self, "_shown", count, most)
        double(self, "bounds", count + 1, most + 1)
        double(self, "utf8", end, end + size + PADDING)
