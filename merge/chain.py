"""A record's recent versions in order, and what each of them means to the entities it was part of.

What a version tells depends on the one before it: nothing, if nothing is different; a farewell to
the entity it leaves; everything known, to the one it joins. So when a version comes late, those
after it are worked out again, and the lines that come out differently are told anew with a higher
revision. What should never have been told is voided. The fold takes the greatest revision of a
line, so that any order of arrival ends with the lines that the order of positions would have told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

from flockiq.merge.mapping import StreamPlan
from flockiq.merge.match import NOWHERE, Place, Places, Placing
from flockiq.shared import wire
from flockiq.shared.fields import Value
from flockiq.shared.lanes import ABSENT
from flockiq.shared.positions import bucket

WHOLE = ("c", "r")


class Version(NamedTuple):
    """One version of a record: what it said, and how the record was after it.

    us, rr (run << 32 | row), tie: its position. given: the fields it said, fields: all that were
    known then, as JSON. place: where the record was. gone: it was deleted. arrived_us: when it came in.
    """

    us: int
    rr: int
    tie: int
    id: str
    op: wire.Op
    arrived_us: int
    given: bytes
    fields: bytes
    place: Place
    gone: bool

    @property
    def position(self) -> tuple[int, int, int]:
        """What orders versions."""
        return self.us, self.rr, self.tie


UNKNOWN = Version(ABSENT, ABSENT, ABSENT, "", "d", 0, b"{}", b"{}", NOWHERE, gone=False)
"""Before the first version of a record."""

Chain = Sequence[Version]


class Told(NamedTuple):
    """What an entity is told of a record: told again, the same (id, us, rr, place) is the same line."""

    id: str
    us: int
    rr: int
    place: Place
    op: wire.ResolvedOp
    fields: bytes


class Home(NamedTuple):
    """Where a record is at home: what says how its versions are read and where its lines go."""

    plan: StreamPlan
    key: str
    places: Places  # of the plan's stream
    partitions: int  # of hub resolved

    def same_fold(self, one: Place, other: Place) -> bool:
        """Whether two places are one entity in one partition: its group is not what tells them apart."""
        if one.entity_id != other.entity_id:
            return False
        return bucket(one.group, self.partitions) == bucket(other.group, self.partitions)


encode = msgspec.json.Encoder().encode
fields_of = msgspec.json.Decoder(dict[str, str | int | float | bool | None]).decode


def known_fields(plan: StreamPlan, before: bytes, given: Mapping[str, Value]) -> dict[str, Value]:
    """What is known of a record once an update said ``given``, after fields as JSON; in the order of the plan."""
    known = fields_of(before) | dict(given)
    return {one.field.name: known[one.field.name] for one in plan.fields if one.field.name in known}


def placing(plan: StreamPlan, known: Mapping[str, Value]) -> Placing:
    """What of a record's known fields says where it belongs."""
    return tuple(known.get(name) for name in plan.placing)


def told(home: Home, before: Version, version: Version) -> list[Told]:
    """The lines that a version means, after the one before it."""
    if version.place == NOWHERE or version.id == before.id:
        return []
    if version.op == "d":
        return [_line(version, version.place, "d", b"{}")]
    whole = version.op in WHOLE
    if whole and not before.gone and before.fields == version.fields and before.place == version.place:
        return []
    if before.place == NOWHERE or home.same_fold(before.place, version.place):
        return [_line(version, version.place, version.op, version.given)]
    left = _line(version, before.place, "d", b"{}")
    return [left._replace(id=f"{version.id}:left"), _line(version, version.place, version.op, version.fields)]


def _line(version: Version, place: Place, op: wire.ResolvedOp, fields: bytes) -> Told:
    return Told(version.id, version.us, version.rr, place, op, fields)


def after(home: Home, before: Version, version: Version) -> Version:
    """The version as it is when ``before`` precedes it."""
    if version.op == "d":
        return version._replace(fields=before.fields, place=before.place, gone=True)
    fields = version.given
    if version.op == "u":
        fields = encode(known_fields(home.plan, before.fields, fields_of(version.given)))
    if fields == version.fields and version.place != NOWHERE:
        return version
    (place,) = home.places.of([home.key], [placing(home.plan, fields_of(fields))])
    return version._replace(fields=fields, place=place)


def with_late(home: Home, chain: Chain, late: Version) -> tuple[list[Version], list[Told]]:
    """The chain with one more version, and what has to be told for it; what is voided first, as op "v".

    A chain begins with UNKNOWN, or with a version so old that it is only what the next builds on. A
    version older than that is told as it is, and not kept.
    """
    at = next((number for number in range(len(chain), 0, -1) if chain[number - 1].position < late.position), 0)
    if not at:
        return list(chain), _too_late(home, chain[0], late)
    redone = list(chain[:at])
    for version in (late, *chain[at:]):
        redone.append(after(home, redone[-1], version))
    was, now = _lines(home, chain[at - 1 :]), _lines(home, redone[at - 1 :])
    voided = [line._replace(op="v", fields=b"{}") for name, line in was.items() if name not in now]
    return redone, voided + [line for name, line in now.items() if was.get(name) != line]


def _too_late(home: Home, first: Version, late: Version) -> list[Told]:
    version = after(home, first, late)
    left = _line(first, version.place, "d", b"{}")._replace(id=f"{late.id}:left")
    return [*told(home, UNKNOWN, version), *([] if home.same_fold(version.place, first.place) else [left])]


def _lines(home: Home, chain: Chain) -> dict[tuple[str, int, int, Place], Told]:
    return {line[:4]: line for before, version in pairwise(chain) for line in told(home, before, version)}
