"""How records' versions are written to a state log: each without what the one before it tells already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat

import msgspec
import numpy as np

from flockiq.merge.chain import UNKNOWN, WHOLE, Chain, Version
from flockiq.merge.match import NOWHERE, Place
from flockiq.shared.lanes import Int64s


class Kept(msgspec.Struct, kw_only=True, omit_defaults=True):
    """n versions that followed the newest of their record, as columns, in order.

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


class Following:
    """Versions that follow the newest, collected to be stored; ``before`` is what each of them followed."""

    def __init__(self) -> None:
        self.records: list[int] = []
        self.versions: list[Version] = []
        self.before: list[Version] = []

    def add(self, records: Sequence[int], versions: Sequence[Version], before: Sequence[Version]) -> None:
        """Take the versions of a round."""
        self.records += records
        self.versions += versions
        self.before += before

    def kept(self, places: dict[int, int], arrived_us: int) -> Kept:
        """Those of records that are in ``places``, which gives each record's index."""
        if len(places) < len(set(self.records)):
            chosen = [row for row, record in enumerate(self.records) if record in places]
            some = Following()
            some.add(
                [self.records[row] for row in chosen],
                [self.versions[row] for row in chosen],
                [self.before[row] for row in chosen],
            )
            return some.kept(places, arrived_us)
        if not self.records:
            return Kept()
        us, rr, tie, ids, ops, _, given, fields, where, _ = zip(*self.versions, strict=True)
        return Kept(
            record=_column([places[one] for one in self.records]),
            us=_column(us),
            rr=_column(rr),
            tie=_column(tie),
            ids=list(ids),
            ops="".join(ops),
            arrived_us=arrived_us,
            fields=[
                b"" if known is one.fields or known == one.fields else known
                for known, one in zip(fields, self.before, strict=True)
            ],
            given={row: given[row] for row, op in enumerate(ops) if op == "u"},
            places={
                row: place
                for row, (place, one) in enumerate(zip(where, self.before, strict=True))
                if place is not one.place and place != one.place
            },
        )


def _column(values: Sequence[int]) -> bytes:
    column: Int64s = np.array(values, np.int64)
    return column.tobytes()


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
