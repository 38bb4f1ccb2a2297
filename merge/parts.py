"""Records told in parts: where each field of a record was said, when no one version holds them all.

A record's newest version need not have said every field that is known of it, and what was said
before it may arrive after it. So each field has the position it was said at, and a late version
still counts for the fields that nothing has said since.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from flockiq.shared.fields import Value


class At(NamedTuple):
    """A position: source time in µs, run << 32 | row, hash of the event's id."""

    us: int
    rr: int
    tie: int


Older = dict[str, At]
"""The fields of a record that its newest version did not say, and where they were said."""


def older_after(fields: Mapping[str, Value], older: Older, newest: At, said: Iterable[str]) -> Older:
    """``older`` once a newer version has said ``said``; ``newest`` is the position before it."""
    kept = fields.keys() - set(said)
    return {name: older.get(name, newest) for name in fields if name in kept}


def unsaid_since(said: Mapping[str, Value], at: At, fields: Mapping[str, Value], older: Older) -> dict[str, Value]:
    """Those fields of a late version at ``at`` that nothing newer has said."""
    return {name: value for name, value in said.items() if name not in fields or (name in older and older[name] < at)}


def said_again(names: Iterable[str], at: At, older: Older, newest: At) -> At:
    """The first position after ``at`` that is known to have said one of ``names``; the newest if none is."""
    return min((older[name] for name in names if name in older and older[name] > at), default=newest)


def layers(fields: Mapping[str, Value], older: Older, newest: At, since: At) -> list[tuple[At, dict[str, Value]]]:
    """The fields by position, oldest first, as an entity knows them that the record joined at ``since``."""
    found: dict[At, dict[str, Value]] = defaultdict(dict)
    for name, value in fields.items():
        found[max(older.get(name, newest), since)][name] = value
    return sorted(found.items(), key=lambda layer: layer[0])
