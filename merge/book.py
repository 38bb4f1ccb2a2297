"""Where the records of one stream are: the places that their versions name by number, and how lines address them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from flockiq.merge.codes import ALONE, Shape, shape
from flockiq.merge.known import Bytes, Known, roomy
from flockiq.merge.mapping import MISSING, StreamPlan, members
from flockiq.merge.match import NOWHERE, REMEMBERED, Place, Places, Placing
from flockiq.shared import wire
from flockiq.shared.lanes import Int64s
from flockiq.shared.positions import buckets

_encode, _encode_lines = msgspec.json.Encoder().encode, msgspec.json.Encoder().encode_lines
_OWN = b"\x1f"  # parts what places a record that nothing else can match from its key (merge/rowmap.py)


class Addresses(NamedTuple):
    """How lines about P places are addressed, as columns.

    utf8: of each its subject and what lines say of it between their op and key, as JSON; middles, ends: int64 [P],
    where the one and the other end, and sizes: of both together. partitions: int64 [P], of hub ``resolved``.
    source, tenant: what all lines of the stream say of these, as JSON, between their id and their time and after it.
    """

    utf8: Bytes
    middles: Int64s
    ends: Int64s
    sizes: Int64s
    partitions: Int64s
    source: Bytes
    tenant: Bytes


class Book:
    """The places of one stream's records, numbered as they come; NOWHERE is -1."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._places: list[Place] = []
        self._numbers: dict[Place, int] = {NOWHERE: -1}

    def __len__(self) -> int:
        return len(self._places)

    def place(self, number: int) -> Place:
        """The place with a number."""
        return NOWHERE if number < 0 else self._places[number]

    def number(self, place: Place) -> int:
        """The number of a place."""
        found = self._numbers.get(place)
        if found is None:
            found = self._numbers[place] = len(self._places)
            self._places.append(place)
        return found


class Stream:
    """What merging one stream needs to know: its plan, where its records belong, and how lines about them begin."""

    def __init__(self, plan: StreamPlan, book: Book, tenant: str, partitions: int) -> None:
        self.plan = plan
        self.book = book
        self.tenant = tenant
        self.partitions = partitions  # of hub resolved
        self.places = Places(plan, tenant)
        self.shape: Shape | None = shape(plan)
        self.memo, self.results, self.longest = Known(), Known(), 0
        self.placings, self.place_of = Known(), np.zeros(0, np.int64)
        self._utf8 = np.zeros(1024, np.uint8)
        self._middles, self._ends, self._sizes, self._partitions = (np.zeros(0, np.int64) for _ in range(4))
        self._addressed = 0

    def learn_places(self, keys: Sequence[str], fields: Sequence[bytes]) -> Int64s:
        """Where records belong, by key and fields, int64 [n]; compiled code knows it the next time."""
        if len(self.placings) > REMEMBERED:
            self.placings, self.place_of = Known(), np.zeros(0, np.int64)
        placing = self._placing(fields)
        texts = _placing_texts(placing)
        numbers = self.numbers(keys, placing)
        learnt = dict.fromkeys(texts, ALONE)
        for key, text, one, number in zip(keys, texts, placing, numbers.tolist(), strict=True):
            if self.places.alone(one):
                learnt[text + _OWN + _encode(key)[1:-1]] = number
            else:
                learnt[text] = number
        first = len(self.placings)
        self.placings.add(list(learnt))
        self.place_of = roomy(self.place_of, len(self.placings))
        self.place_of[first : len(self.placings)] = list(learnt.values())
        return numbers

    def _placing(self, fields: Sequence[bytes]) -> list[Placing]:
        """What places records, by what is known of their fields."""
        names = tuple(dict.fromkeys(self.plan.placing))
        columns = dict(zip(names, members(names, b"[%b]" % b",".join(fields)), strict=True))
        told = [[None if value is MISSING else value for value in columns[name]] for name in self.plan.placing]
        return list(zip(*told, strict=True))

    def numbers(self, keys: Sequence[str], placing: Sequence[Placing]) -> Int64s:
        """The numbers of the places where records belong, int64 [n]."""
        return np.array([self.book.number(one) for one in self.places.of(keys, placing)], np.int64)

    def memorise(self, values: Sequence[bytes], results: Sequence[bytes]) -> None:
        """Know the canonical forms of values, each behind its field's number as a byte."""
        if len(self.memo) > REMEMBERED:
            self.memo, self.results, self.longest = Known(), Known(), 0
        self.memo.add(values)
        self.results.add(results)
        self.longest = max(self.longest, *map(len, results))

    def addresses(self) -> Addresses:
        """How lines about all places of the book are addressed."""
        plan, new = self.plan, [self.book.place(number) for number in range(self._addressed, len(self.book))]
        first, count = self._addressed, len(self.book)
        if new:
            texts = [text for both in self._about(new) for text in both]
            text = np.frombuffer(b"".join(texts), np.uint8)
            begin = int(self._ends[first - 1]) if first else 0
            bounds = begin + np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
            self._utf8 = roomy(self._utf8, begin + len(text))
            self._utf8[begin : begin + len(text)] = text
            self._middles, self._ends, self._sizes, self._partitions = (
                roomy(column, count) for column in (self._middles, self._ends, self._sizes, self._partitions)
            )
            self._middles[first:count], self._ends[first:count] = bounds[::2], bounds[1::2]
            self._sizes[first:count] = np.diff(bounds[1::2], prepend=begin)
            self._partitions[first:count] = buckets([place.group for place in new], self.partitions)
            self._addressed = count
        source = b'",%b,"time":"' % _encode({"source": plan.source, "type": wire.RESOLVED})[1:-1]
        return Addresses(
            self._utf8,
            self._middles[:count],
            self._ends[:count],
            self._sizes[:count],
            self._partitions[:count],
            np.frombuffer(source, np.uint8),
            np.frombuffer(b',"tenant":%b' % _encode(self.tenant), np.uint8),
        )

    def _about(self, places: Sequence[Place]) -> Iterator[tuple[bytes, bytes]]:
        """The subject of lines about each of some places, and what they say of it between their op and their key."""
        entity, stream = _encode(self.plan.entity), _encode(self.plan.stream)
        keys, groups = ([getattr(place, name) for place in places] for name in ("match_key", "group"))
        ids = [place.entity_id.encode() for place in places]
        for name, key, group in zip(ids, _json(keys), _json(groups), strict=True):
            yield (
                b'%b/%b"' % (entity[:-1], name),
                b'"entity":%b,"entity_id":"%b","match_key":%b,"group":%b,"stream":%b'
                % (entity, name, key, group, stream),
            )


def _json(values: Sequence[object]) -> list[bytes]:
    """Each of some values as JSON."""
    return _encode_lines(values).split(b"\n")[:-1]


def _placing_texts(placing: Sequence[Placing]) -> list[bytes]:
    """What ``rowmap.placed`` looks places up by."""
    texts = [b""] * len(placing)
    for number, column in enumerate(zip(*placing, strict=True)):
        name, said = bytes([number]), _json(column)
        texts = [
            text + name + (b"" if value is None else one) for text, value, one in zip(texts, column, said, strict=True)
        ]
    return texts
