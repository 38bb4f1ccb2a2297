"""How a record's versions are written to a state log: each without what the one before it tells already."""

from __future__ import annotations

from collections.abc import Sequence

from flockiq.merge.chain import UNKNOWN, WHOLE, Chain, Version
from flockiq.merge.match import NOWHERE


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
