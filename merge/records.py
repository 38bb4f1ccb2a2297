"""Record state: the recent versions of every record, so that what is unchanged goes no further.

A version that brings nothing new is told to nobody, but kept: should an older one that differs
still come, it is told after all (merge/chain.py). Versions are columns, in the order they came, each with
the one before it of its record; their fields are stretches of one heap of bytes. What a record no
longer needs stays until there is as much of it as of what it does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice, repeat

import numpy as np

from flockiq.merge import compiled
from flockiq.merge.book import Book
from flockiq.merge.chain import UNKNOWN, Chain, Version
from flockiq.merge.known import Bytes, Known, roomy
from flockiq.merge.stretches import stretches
from flockiq.merge.versions import BASE, NONE, NOTHING, Versions, content, halves_in_hex, id_halves, version_room
from flockiq.shared.lanes import Int64s
from flockiq.shared.positions import id_of, is_id
from flockiq.shared.stretching import double, stretched

_DELETED = ord("d")
_SPARE = 4096  # versions that are not needed any more and may always be there


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
        self.versions = version_room(0)
        self.heap: Bytes = np.frombuffer(NOTHING, np.uint8).copy()
        self.count, self.size = 0, len(NOTHING)
        self._live = 0

    def numbers(self, names: Sequence[str]) -> Int64s:
        """Dense numbers of records; new ones get the next."""
        index = self.index
        found = [index.get(name, NONE) for name in names]
        if NONE in found:
            new = [name for name in dict.fromkeys(names) if name not in index]
            streams = [name[: name.index("/", name.index("/") + 1)] for name in new]  # no source or stream holds one
            for stream in dict.fromkeys(streams):
                self._add([name for name, its in zip(new, streams, strict=True) if its == stream])
            found = [index[name] for name in names]
        return np.array(found, np.int64)

    def numbers_of(self, names: Sequence[str]) -> Int64s:
        """``numbers`` of at least one record of one stream."""
        index = self.index
        if new := [name for name in dict.fromkeys(names) if name not in index]:
            self._add(new)
        return np.fromiter(map(index.__getitem__, names), np.int64, len(names))

    def _add(self, names: Sequence[str]) -> None:
        """Take in new records of one stream."""
        first, count = len(self.names), len(self.names) + len(names)
        self.index.update(zip(names, range(first, count), strict=True))
        self.names += names
        self.known.add([name.encode("utf-8", "surrogatepass") for name in names])
        self.books += repeat(self.book_of(names[0]), len(names))
        self.head, self.depth = roomy(self.head, count), roomy(self.depth, count)
        self.head[first:count] = NONE
        self.depth[first:count] = self.depth_of(names[0])

    def room(self, versions: int, size: int) -> None:
        """Have room for so many more versions, and bytes of the heap."""
        wanted = self.count + versions
        if wanted > len(self.versions.us):
            columns: dict[str, Int64s | Bytes] = self.versions._asdict()
            del self.versions  # nobody else looks at a column that is stretched
            grown = [stretched(columns.pop(name), 2 * wanted, self.count) for name in Versions._fields]
            self.versions = Versions._make(grown)
        double(self, "heap", self.size, self.size + size)

    def version(self, number: int, at: int) -> Version:
        """The version ``at`` of a record."""
        return self.several(number, [at])[0]

    def several(self, number: int, path: Sequence[int]) -> list[Version]:
        """Some versions of a record."""
        return [self._version(number, at) if at >= 0 else UNKNOWN for at in path]

    def _version(self, number: int, at: int) -> Version:
        # a value after another: a record's versions are few, and indexing arrays by arrays is dear
        values = [column.item(at) for column in self.versions]
        return self._made(number, self.id_of(values[2], values[3]), *values)

    def _made(
        self, number: int, name: str, us: int, rr: int, tie: int, _rest: int, op: int, arrived_us: int, begin: int,
        end: int, given: int, given_end: int, _content: int, place: int, _before: int,
    ) -> Version:  # fmt: skip
        """A version from its id and a row of ``Versions``."""
        heap = self.heap.data
        fields = bytes(heap[begin:end])
        said = fields if given == begin else bytes(heap[given:given_end])
        where = self.books[number].place(place)
        return Version(us, rr, tie, name, chr(op), arrived_us, said, fields, where, op == _DELETED)  # type: ignore[arg-type]

    def position(self, at: int) -> tuple[int, int, int]:
        """The position of the version ``at``."""
        of = self.versions
        return of.us.item(at), of.rr.item(at), of.tie.item(at)

    def chains(self, numbers: Int64s) -> list[list[Version]]:
        """``chain`` of each of int64 [n] records."""
        at, depth, of = self.head[numbers], self.depth[numbers], self.versions
        size = np.zeros(len(numbers), np.int64)
        found: list[tuple[Int64s, Int64s]] = []  # a version further back each: whose, and where
        live = np.flatnonzero(at >= 0)
        while len(live):
            found.append((live, at[live]))
            size[live] += 1
            at[live] = of.before[at[live]]
            live = live[(at[live] >= 0) & (size[live] <= depth[live])]
        if not found:
            return [[UNKNOWN] for _ in numbers]
        whose, where = (np.concatenate(column) for column in zip(*found[::-1], strict=True))
        order = np.argsort(whose, kind="stable")
        versions = iter(self._each(numbers[whose[order]], where[order]))
        first = (at == NONE) & (size <= depth)
        return [
            [*([UNKNOWN] if unknown else []), *islice(versions, count)]
            for unknown, count in zip(first.tolist(), size.tolist(), strict=True)
        ]

    def _each(self, numbers: Int64s, where: Int64s) -> Iterator[Version]:
        """The versions ``where`` of records, each of its own."""
        columns = [column[where].tolist() for column in self.versions]
        return map(self._made, numbers.tolist(), self._ids(where), *columns)

    def _ids(self, where: Int64s) -> list[str]:
        """The ids of the versions ``where``."""
        tie, rest = self.versions.tie[where], self.versions.rest[where]
        if self.odd:
            return list(map(self.id_of, tie.tolist(), rest.tolist()))
        digits = halves_in_hex(tie, rest).decode()
        return [digits[at : at + 32] for at in range(0, len(digits), 32)]

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
        if last >= 0 and self._id(last) == id_halves(version.id) == self._id(int(self.versions.before[last])):
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
        tie, rest = id_halves(version.id)
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
        for number, chain in zip(numbers, self.chains(np.array(left, np.int64)), strict=True):
            kept.put(number, chain)
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

    @property
    def crowded(self) -> bool:
        """Whether most places and ids that are kept are of versions that no record has any more."""
        places = sum(len(book) for book in {book.name: book for book in self.books}.values())
        return places + len(self.odd) > 2 * self._live + _SPARE

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
        moved = np.cumsum(np.r_[0, sizes])[which]
        lengths = kept.end - kept.begin, kept.given_end - kept.given_begin
        kept.begin[:], kept.given_begin[:] = moved[: len(kept.begin)], moved[len(kept.begin) : -1]
        kept.end[:], kept.given_end[:] = kept.begin + lengths[0], kept.given_begin + lengths[1]
        self.heap = stretches(heap, begins, begins + sizes, compiled.ready())
        self.size = len(self.heap)
