"""How records' versions are written to a state log: each without what the one before it tells already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat

import msgspec
import numpy as np

from flockiq.merge.chain import UNKNOWN, WHOLE, Chain, Version
from flockiq.merge.compiled import Functions
from flockiq.merge.match import NOWHERE, Place
from flockiq.merge.records import Records
from flockiq.merge.stretches import stretches
from flockiq.shared.lanes import Int64s
from flockiq.shared.positions import id_of


class Kept(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The same as an earlier FlockIQ wrote them.

    record: int64 [n], the record's index in the names beside them; us, rr, tie: int64 [n]; ops: a letter
    each; fields: b"" where they are those of the version before; given: of updates, by row; places:
    where they are not those of the version before, by row.
    """

    record: bytes = b""
    us: bytes = b""
    rr: bytes = b""
    tie: bytes = b""
    ids: list[str] = []
    ops: str = ""
    arrived_us: int = 0
    fields: list[bytes] = []
    given: dict[int, bytes] = {}
    places: dict[int, Place] = {}

    def versions(self) -> Iterator[tuple[int, Version]]:
        """Each version as it is stored, with its record's index."""
        record, us, rr, tie = (
            np.frombuffer(one, np.int64).tolist() for one in (self.record, self.us, self.rr, self.tie)
        )
        for row, one in enumerate(zip(us, rr, tie, self.ids, self.ops, repeat(self.arrived_us), strict=False)):
            said, op = self.given.get(row, b""), one[4]
            version = (*one, said, self.fields[row], self.places.get(row, NOWHERE), op == "d")
            yield record[row], Version(*version)


class Followed(msgspec.Struct, kw_only=True, omit_defaults=True):
    """n versions that followed the newest of their record, as columns, in order.

    record: int64 [n], the record's index in the names beside them; us, rr, tie, rest: int64 [n]; ops: a letter
    each. sizes: int64 [n], of their fields in ``text``, -1 where they are those of the version before. given_sizes
    and given: the same of what updates said. place: int64 [n], an index in ``places``, -1 where the version before
    was. odd: ids that are none of ours, by row.
    """

    record: bytes = b""
    us: bytes = b""
    rr: bytes = b""
    tie: bytes = b""
    rest: bytes = b""
    ops: bytes = b""
    arrived_us: int = 0
    sizes: bytes = b""
    text: bytes = b""
    given_sizes: bytes = b""
    given: bytes = b""
    place: bytes = b""
    places: list[Place] = []
    odd: dict[int, str] = {}

    def versions(self) -> Iterator[tuple[int, Version]]:
        """Each version as it is stored, with its record's index."""
        names = ("record", "us", "rr", "tie", "rest", "sizes", "place")
        columns = (np.frombuffer(getattr(self, name), np.int64).tolist() for name in names)
        given = zip(*_ends(self.given_sizes), strict=True)
        begin = 0
        for row, (record, us, rr, tie, rest, size, place) in enumerate(zip(*columns, strict=True)):
            op = chr(self.ops[row])
            fields = self.text[begin : begin + max(size, 0)]
            begin += len(fields)
            said = self.given[slice(*next(given))] if op == "u" else b""
            where = self.places[place] if place >= 0 else NOWHERE
            name = self.odd.get(row) or id_of(tie, rest)
            yield record, Version(us, rr, tie, name, op, self.arrived_us, said, fields, where, gone=op == "d")  # type: ignore[arg-type]


class Following:
    """Versions that follow the newest, collected to be stored, by where they are among ``Records.versions``."""

    def __init__(self) -> None:
        self._parts: list[tuple[Int64s, Int64s, Int64s]] = []

    def add(self, records: Int64s, versions: Int64s, before: Int64s) -> None:
        """Take versions of records, each behind the one that it followed."""
        self._parts.append((records, versions, before))

    def kept(self, records: Records, redone: Sequence[int], functions: Functions | None) -> tuple[list[int], Followed]:
        """The records that no version of was worked out again, and the versions of those."""
        if not self._parts:
            return [], Followed()
        number, version, before = (np.concatenate(column) for column in zip(*self._parts, strict=True))
        if redone:
            chosen = ~np.isin(number, redone)
            number, version, before = number[chosen], version[chosen], before[chosen]
        if not len(number):
            return [], Followed()
        of = records.versions
        names, first, which = np.unique(number, return_index=True, return_inverse=True)
        by_first = np.argsort(first)
        index = np.empty(len(names), np.int64)
        index[by_first] = np.arange(len(names))
        same = (before >= 0) & (of.begin[version] == of.begin[before]) & (of.end[version] == of.end[before])
        text = version[~same]
        updates = version[of.op[version] == ord("u")]
        stays = (before >= 0) & (of.place[version] == of.place[before])
        place, places = _places(records, number, np.where(stays, -1, of.place[version]))
        return names[by_first].tolist(), Followed(
            record=_column(index[which]),
            us=_column(of.us[version]),
            rr=_column(of.rr[version]),
            tie=_column(of.tie[version]),
            rest=_column(of.rest[version]),
            ops=of.op[version].tobytes(),
            arrived_us=int(of.arrived_us[version[0]]),
            sizes=_column(np.where(same, -1, of.end[version] - of.begin[version])),
            text=stretches(records.heap, of.begin[text], of.end[text], functions).tobytes(),
            given_sizes=_column(of.given_end[updates] - of.given_begin[updates]),
            given=stretches(records.heap, of.given_begin[updates], of.given_end[updates], functions).tobytes(),
            place=_column(place),
            places=places,
            odd=_odd(records, version),
        )


def _places(records: Records, number: Int64s, place: Int64s) -> tuple[Int64s, list[Place]]:
    """Places of records as indices in a list of them, in the order they come; -1 stays."""
    index: dict[tuple[str, int], int] = {}
    places: list[Place] = []
    found = np.full(len(place), -1, np.int64)
    for row in np.flatnonzero(place >= 0).tolist():
        book = records.books[number[row]]
        name = book.name, int(place[row])
        if name not in index:
            index[name] = len(places)
            places.append(book.place(name[1]))
        found[row] = index[name]
    return found, places


def _odd(records: Records, version: Int64s) -> dict[int, str]:
    """The ids that are none of ours, by row."""
    if not records.odd:
        return {}
    halves = zip(records.versions.tie[version].tolist(), records.versions.rest[version].tolist(), strict=True)
    return {row: records.odd[both] for row, both in enumerate(halves) if both in records.odd}


def _ends(sizes: bytes) -> tuple[list[int], list[int]]:
    """Where stretches of these sizes begin and end."""
    ends = np.cumsum(np.frombuffer(sizes, np.int64))
    return [0, *ends[:-1].tolist()], ends.tolist()


def _column(values: Int64s) -> bytes:
    return np.ascontiguousarray(values, np.int64).tobytes()


def slim(before: Version, version: Version) -> Version:
    """A version without what ``before`` tells already."""
    us, rr, tie, name, op, arrived_us, given, fields, place, gone = version
    given = given if op == "u" else b""
    fields = b"" if fields == before.fields else fields
    return Version(us, rr, tie, name, op, arrived_us, given, fields, NOWHERE if place == before.place else place, gone)


def full(before: Version, stored: Version) -> Version:
    """What ``slim`` was given."""
    fields = stored.fields or before.fields
    given = fields if stored.op in WHOLE else stored.given or b"{}"
    place = before.place if stored.place == NOWHERE else stored.place
    return stored._replace(fields=fields, given=given, place=place)


def slim_chain(chain: Chain) -> list[Version]:
    """A chain to be stored."""
    return [slim(before, version) for before, version in zip([UNKNOWN, *chain], chain, strict=False)]


def full_chain(stored: Sequence[Version]) -> list[Version]:
    """What ``slim_chain`` was given."""
    chain = [UNKNOWN]
    for version in stored:
        chain.append(full(chain[-1], version))
    return chain[1:]
