"""Judging one stream's changes: what each is to its record, and what an entity is to be told of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flockiq.merge.arrived import Arrived
from flockiq.merge.book import Stream
from flockiq.merge.chain import WHOLE, Home, Told, Version, encode, fields_of, known_fields, placing, told, with_late
from flockiq.merge.codes import DUPLICATES, TOLD, UNCHANGED, judged_room
from flockiq.merge.forward import News
from flockiq.merge.lines import Again, Plain, Said
from flockiq.merge.match import NOWHERE, Place
from flockiq.merge.records import Records
from flockiq.merge.versions import NONE, NOTHING, content
from flockiq.shared.lanes import Int64s


class Judging:
    """What judging n changes finds, and judging one of them by hand.

    out: of each row that follows the newest of its record where it is kept (``version``, NONE of another) and what
    that was (``after``, NONE where it is the first); which rows' entities are told just what they say (``plain``);
    and what compiled code made of late rows.
    """

    def __init__(self, records: Records, stream: Stream, arrived: Arrived, now_us: int) -> None:
        self.records, self.stream, self.arrived, self.now_us = records, stream, arrived, now_us
        self.out = judged_room(arrived.size)
        self._redone: set[int] = set()
        self._lines: list[tuple[int, Said, Told, bool]] = []
        self._moved: list[tuple[int, int]] = []  # rows that were told line by line, and to which place
        self._home = Home(stream.plan, "", stream.places, stream.partitions)

    @property
    def kept(self) -> tuple[Int64s, Int64s, Int64s]:
        """The versions that follow the newest, in the order they came: their records, themselves, what they follow."""
        rows = np.flatnonzero(self.out.version >= 0)
        return self.arrived.rows.number[rows], self.out.version[rows], self.out.after[rows]

    @property
    def redone(self) -> set[int]:
        """The records whose versions were worked out again."""
        late = self.out.late >= 0
        return self._redone.union(self.arrived.rows.number[late].tolist()) if late.any() else self._redone

    def news(self) -> News:
        """What entities are to be told."""
        out, places = self.out, self.records.versions.place
        row, late = np.flatnonzero(out.plain), np.flatnonzero(out.shown)
        every, place = row, places[out.version[row]]
        if len(late) or self._moved:
            moved = np.array(self._moved, np.int64).reshape(-1, 2)
            every = np.concatenate([row, late, moved[:, 0]])
            order = np.argsort(every, kind="stable")
            every, place = every[order], np.concatenate([place, places[out.late[late]], moved[:, 1]])[order]
        told = int(out.counts[TOLD])
        again = Again(out.told_row[:told], out.told_version[:told], out.told_void[:told])
        lines = sorted(self._lines, key=lambda one: one[0])
        return News(Plain(self.stream, self.arrived, row, out.version[row]), every, place, lines, again)

    def row(self, row: int, *, learn: bool = False) -> None:
        """Judge one row; ``learn``: compiled functions are to know its place the next time."""
        records = self.records
        number = int(self.arrived.rows.number[row])
        head = int(records.head[number])
        version = self.said(row)
        if head >= 0 and version.position <= records.position(head):
            self.late(row, number, version)
            return
        last = records.version(number, head)
        whole, again = version.op in WHOLE, head >= 0 and version.id == last.id
        same = again and version.us == last.us
        fields = version.given if whole else last.fields
        if whole and not (head < 0 or last.gone or last.place == NOWHERE):
            same = same or content(fields) == content(last.fields)
        if version.op == "u" and not same:
            fields = encode(known_fields(self.stream.plan, last.fields, fields_of(version.given)))
        place = last.place
        if same:
            fields = last.fields
        elif not version.gone:
            known = int(self.arrived.rows.place[row])
            place = self.stream.book.place(known if known >= 0 else self._place(row, fields, learn=learn))
        given = fields if whole else version.given
        version = version._replace(given=given, fields=fields, place=place)
        at = records.keep(number, version)
        self.out.counts[DUPLICATES] += again
        self.out.counts[UNCHANGED] += same and not again
        self.out.version[row], self.out.after[row] = at, head
        if same or again or place == NOWHERE:
            return
        if last.place in (place, NOWHERE):
            self.out.plain[row] = True
        else:
            self.move(row, last, version)

    def move(self, row: int, last: Version, version: Version) -> None:
        """A version that leaves the entity where its record was ``last``."""
        self._tell(row, told(self.home(row), last, version), anew=False)
        self._moved.append((row, self.stream.book.number(version.place)))

    def said(self, row: int) -> Version:
        """A row as a version of which only what it says itself is known."""
        rows = self.arrived.rows
        op = chr(rows.op[row])
        return Version(
            int(rows.us[row]),
            int(rows.rr[row]),
            int(rows.tie[row]),
            self.records.id_of(int(rows.tie[row]), int(rows.rest[row])),
            op,  # type: ignore[arg-type]  # one of the four
            self.now_us,
            NOTHING if op == "d" else self.arrived.fields(row),
            b"",
            NOWHERE,
            gone=op == "d",
        )

    def late(self, row: int, number: int, late: Version) -> None:
        """A version that does not follow the newest: those after it are worked out again."""
        records = self.records
        path = records.path(number)
        position, rest, rests = late.position, self.arrived.rows.rest[row], records.versions.rest
        at = 0
        while at < len(path) - 1 and path[at] >= 0 and records.position(path[at]) > position:
            at += 1
        for one in path[at:]:  # two ids may begin alike
            if one < 0 or records.position(one) != position:
                break
            if rests[one] == rest:
                self.out.counts[DUPLICATES] += 1
                return
        while at < len(path) - 1 and path[at] >= 0 and records.position(path[at]) == position:
            at += 1
        chain = records.several(number, path[at::-1])
        redone, lines = with_late(self.home(row), chain, late)
        self._tell(row, lines, anew=True)
        mine: list[Place] = [line.place for line in lines if line.id == late.id and line.op != "v"]
        if mine:
            self._moved.append((row, self.stream.book.number(mine[0])))
        if len(redone) > at + 1:  # else it is older than what is kept
            records.put(number, redone[1:], after=path[at] if path[at] != NONE else NONE)
            self._redone.add(number)

    def home(self, row: int) -> Home:
        """Where a row's record is at home."""
        return self._home._replace(key=self.arrived.key(row))

    def _place(self, row: int, fields: bytes, *, learn: bool) -> int:
        """The number of the place where a row's record belongs."""
        key = self.arrived.key(row)
        if learn:
            return int(self.stream.learn_places([key], [fields])[0])
        return int(self.stream.numbers([key], [placing(self.stream.plan, fields_of(fields))])[0])

    def _tell(self, row: int, lines: Sequence[Told], *, anew: bool) -> None:
        if lines:
            said = Said(self.arrived.key(row), self.arrived.trace(row), int(self.arrived.rows.captured_us[row]))
            self._lines += [(row, said, line, anew) for line in lines]
