"""Record state: the recent versions of every record, so that what is unchanged goes no further.

A version that brings nothing new is told to nobody, but kept: should an older one that differs
still come, it is told after all (merge/chain.py). Versions are columns, in the order they came, each with
the one before it of its record; their fields are stretches of one heap of bytes. What a record no
longer needs stays until there is as much of it as of what it does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np
import xxhash

from flockiq.merge.book import Book
from flockiq.merge.chain import UNKNOWN, Chain, Version
from flockiq.merge.known import Bytes, Known, roomy
from flockiq.shared.lanes import Int64s
from flockiq.shared.positions import event_lane, hash64, id_of, is_id, signed_rest

NONE = -1
"""Before the first version of a record."""
BASE = -2
"""Before a version that the others build on, of which nothing older is kept."""

NOTHING = b"{}"
_DELETED = ord("d")
_HASH_MASK = (1 << 61) - 1
_SPARE = 4096  # versions that are not needed any more and may always be there


class Versions(NamedTuple):
    """Versions as columns, int64 [n] but op uint8.

    us, rr (run << 32 | row), tie: their position; tie, rest: the halves of their ids. begin, end: where their
    fields are in the heap, given_begin, given_end: and what they said. content: the lane of the fields. place:
    a number of the stream's book, NONE for nowhere. before: the one before it of its record, or NONE, or BASE.
    """

    us: Int64s
    rr: Int64s
    tie: Int64s
    rest: Int64s
    op: Bytes
    arrived_us: Int64s
    begin: Int64s
    end: Int64s
    given_begin: Int64s
    given_end: Int64s
    content: Int64s
    place: Int64s
    before: Int64s


def content(fields: bytes) -> int:
    """What tells fields apart."""
    return xxhash.xxh64_intdigest(fields) & _HASH_MASK


def contents(fields: Sequence[bytes]) -> Int64s:
    """``content`` of each, int64 [n]."""
    return (np.array(list(map(xxhash.xxh64_intdigest, fields)), np.uint64) & np.uint64(_HASH_MASK)).astype(np.int64)


class Records:
    """The records of one partition, each with its last versions: ``depth_of`` a record's name says how many.

    head: int64, the newest version of each, or NONE; depth: int64. odd: ids that are none of ours, by their halves.
    """

    def __init__(self, depth_of: Callable[[str], int], book_of: Callable[[str], Book]) -> None:
        self.depth_of = depth_of
        self.book_of = book_of
        self.index: dict[str, int] = {}
        self.names: list[str] = []
        self.known = Known()
        self.books: list[Book] = []
        self.odd: dict[tuple[int, int], str] = {}
        self.head, self.depth = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self.versions = _columns(0)
        self.heap: Bytes = np.frombuffer(NOTHING, np.uint8).copy()
        self.count, self.size = 0, len(NOTHING)
        self._live = 0

    def numbers(self, names: Sequence[str]) -> Int64s:
        """Dense numbers of records; new ones get the next."""
        index = self.index
        found = [index.get(name, NONE) for name in names]
        if NONE in found:
            self._add([name for name in dict.fromkeys(names) if name not in index])
            found = [index[name] for name in names]
        return np.array(found, np.int64)

    def _add(self, names: Sequence[str]) -> None:
        first = len(self.names)
        self.index.update(zip(names, range(first, first + len(names)), strict=True))
        self.names += names
        self.known.add([name.encode("utf-8", "surrogatepass") for name in names])
        streams = [name[: name.index("/", name.index("/") + 1) + 1] for name in names]  # no source or stream holds one
        like = dict(zip(streams, names, strict=True))
        books = {stream: self.book_of(name) for stream, name in like.items()}
        depths = {stream: self.depth_of(name) for stream, name in like.items()}
        self.books += map(books.__getitem__, streams)
        self.head, self.depth = roomy(self.head, len(self.names)), roomy(self.depth, len(self.names))
        self.head[first : len(self.names)] = NONE
        self.depth[first : len(self.names)] = list(map(depths.__getitem__, streams))

    def room(self, versions: int, size: int) -> None:
        """Have room for so many more versions, and bytes of the heap."""
        wanted = self.count + versions
        if wanted > len(self.versions.us):
            self.versions = Versions._make(roomy(column, wanted) for column in self.versions)
        self.heap = roomy(self.heap, self.size + size)

    def version(self, number: int, at: int) -> Version:
        """The version ``at`` of a record."""
        return self.several(number, [at])[0]

    def several(self, number: int, path: Sequence[int]) -> list[Version]:
        """Some versions of a record."""
        return [self._version(number, at) if at >= 0 else UNKNOWN for at in path]

    def _version(self, number: int, at: int) -> Version:
        # one value after the other: a record's versions are few, and indexing arrays by arrays is dear
        us, rr, tie, rest, op, arrived_us, begin, end, given, given_end, _, place, _ = (
            column.item(at) for column in self.versions
        )
        heap = self.heap.data
        fields = bytes(heap[begin:end])
        said = fields if given == begin else bytes(heap[given:given_end])
        name, where = self.id_of(tie, rest), self.books[number].place(place)
        return Version(us, rr, tie, name, chr(op), arrived_us, said, fields, where, op == _DELETED)  # type: ignore[arg-type]

    def position(self, at: int) -> tuple[int, int, int]:
        """The position of the version ``at``."""
        of = self.versions
        return of.us.item(at), of.rr.item(at), of.tie.item(at)

    def id_of(self, tie: int, rest: int) -> str:
        """The id that has these halves."""
        odd = self.odd.get((tie, rest)) if self.odd else None
        return id_of(tie, rest) if odd is None else odd

    def last(self, number: int) -> Version:
        """The newest version of a record."""
        return self.version(number, int(self.head[number]))

    def path(self, number: int) -> list[int]:
        """Where a record's versions are, the newest first; the last is NONE if nothing came before those."""
        found, at = [], int(self.head[number])
        before = self.versions.before
        for _ in range(int(self.depth[number]) + 1):
            if at < 0:
                break
            found.append(at)
            at = before.item(at)
        if at == NONE and len(found) <= self.depth[number]:
            found.append(NONE)
        return found

    def chain(self, number: int) -> list[Version]:
        """A record's versions in order. It begins with UNKNOWN, or with what the others build on."""
        return self.several(number, self.path(number)[::-1])

    def keep(self, number: int, version: Version) -> int:
        """A version that is the newest now; where it is. Of one told by many runs the first and the last stay."""
        last = before = int(self.head[number])
        if last >= 0 and self._id(last) == _halves(version.id) == self._id(int(self.versions.before[last])):
            before = int(self.versions.before[last])
        known = (last, self.version(number, last).fields) if last >= 0 else None
        self.head[number] = at = self._append(number, version, before, known)
        return at

    def put(self, number: int, chain: Chain, after: int = BASE) -> None:
        """A record's newest versions, in the place of those after ``after``."""
        known: tuple[int, bytes] | None = None
        at = after
        for version in chain:
            at = NONE if version == UNKNOWN else self._append(number, version, at, known)
            known = (at, version.fields) if at >= 0 else None
        self.head[number] = at

    def _append(self, number: int, version: Version, before: int, known: tuple[int, bytes] | None) -> int:
        self.room(1, len(version.fields) + len(version.given))
        columns, at = self.versions, self.count
        self.count += 1
        tie, rest = _halves(version.id)
        if not is_id(version.id):
            self.odd[tie, rest] = version.id
        if known is not None and known[1] == version.fields:
            begin, end = int(columns.begin[known[0]]), int(columns.end[known[0]])
        else:
            begin, end = self._write(version.fields)
        given = (begin, end) if version.given == version.fields else self._write(version.given)
        place = self.books[number].number(version.place)
        said = (
            tie,
            rest,
            ord(version.op),
            version.arrived_us,
            begin,
            end,
            *given,
            content(version.fields),
            place,
            before,
        )
        values: tuple[int, ...] = (version.us, version.rr, *said)
        for name, value in zip(columns._fields, values, strict=True):
            getattr(columns, name)[at] = value
        return at

    def _write(self, text: bytes) -> tuple[int, int]:
        if text == NOTHING:
            return 0, len(NOTHING)
        begin = self.size
        self.size += len(text)
        self.heap[begin : self.size] = np.frombuffer(text, np.uint8)
        return begin, self.size

    def _id(self, at: int) -> tuple[int, int] | None:
        return (int(self.versions.tie[at]), int(self.versions.rest[at])) if at >= 0 else None

    def entities(self, number: int) -> set[str]:
        """The entities that a record was part of, by its versions."""
        places = (int(self.versions.place[at]) for at in self.path(number) if at >= 0)
        return {self.books[number].place(place).entity_id for place in places}

    def without(self, gone: Collection[int]) -> Records:
        """The records but those of these numbers, numbered anew, and of the others nothing."""
        books: dict[str, Book] = {}
        of = {self.names[number]: self.books[number].name for number in range(len(self.names))}
        kept = Records(self.depth_of, lambda name: books.setdefault(of[name], Book(of[name])))
        left = [number for number in range(len(self.names)) if number not in gone]
        numbers = kept.numbers([self.names[number] for number in left]).tolist()
        for number, old in zip(numbers, left, strict=True):
            kept.put(number, self.chain(old))
        kept.book_of = self.book_of
        return kept

    def forget(self, before_us_of: Callable[[str], int]) -> None:
        """Forget versions that arrived before a record's time; of each what the others build on stays."""
        arrived_us = self.versions.arrived_us
        for number, name in enumerate(self.names):
            before_us, path = before_us_of(name), self.path(number)[::-1]
            old = 0
            while old + 1 < len(path) and arrived_us[path[old + 1]] < before_us:
                old += 1
            if old:
                self.versions.before[path[old]] = BASE
        self.compact()

    def tidy(self) -> None:
        """Give back what is no longer needed, once there is as much of it as of what is."""
        if self.count > 2 * self._live + _SPARE:
            self.compact()

    def compact(self) -> None:
        """Keep what records need of their versions, and nothing else."""
        columns, heap = Versions._make(column[: self.count] for column in self.versions), self.heap
        depth = self.depth[: len(self.names)]
        at = self.head[: len(self.names)].copy()
        wanted = np.zeros(self.count, np.bool_)
        oldest = at.copy()
        for step in range(int(depth.max(initial=0)) + 1):
            there = (at >= 0) & (step <= depth)
            wanted[at[there]] = True
            oldest[there] = at[there]
            at[there] = columns.before[at[there]]
        cut = oldest[(oldest >= 0) & (at >= 0)]
        columns.before[cut] = BASE
        moved = np.r_[np.cumsum(wanted) - 1, NONE]  # of what is not wanted nobody asks
        rows = np.flatnonzero(wanted)
        kept = Versions._make(column[rows] for column in columns)
        kept.before[:] = np.where(kept.before >= 0, moved[np.maximum(kept.before, NONE)], kept.before)
        head = self.head[: len(self.names)]
        head[:] = np.where(head >= 0, moved[np.maximum(head, NONE)], head)
        self._move_texts(kept, heap)
        self.versions, self.count, self._live = kept, len(rows), len(rows)

    def _move_texts(self, kept: Versions, heap: Bytes) -> None:
        """A heap of what is still referred to."""
        begins, ends = np.r_[kept.begin, kept.given_begin, 0], np.r_[kept.end, kept.given_end, len(NOTHING)]
        begins, first, which = np.unique(begins, return_index=True, return_inverse=True)
        sizes = ends[first] - begins
        texts = [heap[a : a + n].tobytes() for a, n in zip(begins.tolist(), sizes.tolist(), strict=True)]
        moved = np.cumsum(np.r_[0, sizes])[which]
        lengths = kept.end - kept.begin, kept.given_end - kept.given_begin
        kept.begin[:], kept.given_begin[:] = moved[: len(kept.begin)], moved[len(kept.begin) : -1]
        kept.end[:], kept.given_end[:] = kept.begin + lengths[0], kept.given_begin + lengths[1]
        self.heap = np.frombuffer(b"".join(texts), np.uint8).copy()
        self.size = len(self.heap)


def halves_of(ids: Sequence[str]) -> tuple[Int64s, Int64s, dict[tuple[int, int], str]]:
    """The halves of ids, int64 [n] each, and of those that are none of ours their text by them."""
    joined = "\n".join(ids)
    if joined.count("\n") == len(ids) - 1 and _IDS.fullmatch(joined):  # all but what others put on the hub
        words = np.frombuffer(bytes.fromhex(joined), ">u8").astype(np.uint64).reshape(-1, 2)
        return (words[:, 0] ^ np.uint64(1 << 63)).view(np.int64), words[:, 1].copy().view(np.int64), {}
    halves = [_halves(one) for one in ids]
    odd = {both: one for both, one in zip(halves, ids, strict=True) if not is_id(one)}
    columns = np.array(halves, np.int64).reshape(-1, 2)
    return columns[:, 0].copy(), columns[:, 1].copy(), odd


_IDS = re.compile(r"(?:[0-9a-f]{32}(?:\n|\Z))++")


def _halves(text: str) -> tuple[int, int]:
    return event_lane(text), signed_rest(text) if is_id(text) else hash64("rest", text) >> 4


def _columns(n: int) -> Versions:
    return Versions._make(np.zeros(n, np.uint8 if name == "op" else np.int64) for name in Versions._fields)
