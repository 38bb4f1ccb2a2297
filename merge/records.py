"""Record state: the last version of every record, so that what is unchanged goes no further.

A version that brings nothing new is dropped, but its position is remembered: should an older
version that differs still come, the dropped one is sent after it, and the fold ends as if every
version had arrived in order.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
import xxhash

from flockiq.merge.match import NOWHERE, Place
from flockiq.merge.parts import At, Older
from flockiq.shared.arrays import Arrays
from flockiq.shared.lanes import ABSENT, Bools, Int64s

_HASH_MASK = (1 << 61) - 1


class Versions(Arrays):
    """The newest version of n records.

    us, rr, tie: int64 [n], its position (ABSENT: never seen); content: int64 [n], hash of its
    fields; sent: bool [n], it was forwarded; deleted: bool [n].
    """

    us: Int64s
    rr: Int64s
    tie: Int64s
    content: Int64s
    sent: Bools
    deleted: Bools

    @classmethod
    def empty(cls, n: int) -> Self:
        """Records of which nothing is known."""
        return cls(
            us=np.full(n, ABSENT, np.int64),
            rr=np.full(n, ABSENT, np.int64),
            tie=np.full(n, ABSENT, np.int64),
            content=np.zeros(n, np.int64),
            sent=np.zeros(n, np.bool_),
            deleted=np.zeros(n, np.bool_),
        )


class Verdict(NamedTuple):
    """What to do with a round of versions, all bool [r]; a row is in at most one of the first three.

    newest: forward, it is the newest now; late: forward, a newer one is known; unchanged: drop,
    but remember; anything else is a repetition. resend: the newest, once dropped, follows the late one.
    """

    newest: Bools
    late: Bools
    unchanged: Bools
    resend: Bools


class Records:
    """The records of one partition."""

    def __init__(self) -> None:
        self.index: dict[str, int] = {}
        self.versions = Versions.empty(0)
        self.ids: list[str] = []  # of the newest version's event
        self.places: list[Place] = []
        self.fields: list[bytes] = []  # what is known of its fields, JSON
        self.older: dict[int, Older] = {}  # of records told in parts
        self.came: dict[int, At] = {}  # of records that moved: where they came to the place they are at
        self.left: dict[int, At] = {}  # and were taken from the last one they were found not to be at

    def numbers(self, names: list[str]) -> Int64s:
        """Dense numbers of records; new ones get the next."""
        index = self.index
        numbers = []
        for name in names:
            number = index.get(name)
            if number is None:
                number = index[name] = len(self.ids)
                self.ids.append("")
                self.places.append(NOWHERE)
                self.fields.append(b"{}")
            numbers.append(number)
        if len(self.ids) > len(self.versions):
            more = max(len(self.ids), 2 * len(self.versions), 256)
            self.versions = self.versions.grown(Versions.empty(more - len(self.versions)), more)
        return np.array(numbers, np.int64)

    def newest(self, number: int) -> At:
        """The position of a record's newest version."""
        versions = self.versions
        return At(int(versions.us[number]), int(versions.rr[number]), int(versions.tie[number]))

    def judge(self, number: Int64s, given: Versions, repeated: Bools, whole: Bools) -> Verdict:
        """Judge a round; ``number`` must not repeat. ``repeated``: the event id is the last one's."""
        last = self.versions.take(number)
        known = last.us != ABSENT
        newer = (given.us > last.us) | (
            (given.us == last.us) & ((given.rr > last.rr) | ((given.rr == last.rr) & (given.tie > last.tie)))
        )
        fresh = newer & ~(known & repeated)
        same = whole & ~last.deleted & (given.content == last.content)
        again = repeated & (whole | given.deleted)  # by a later run: it wins over what lies between the two
        unchanged = newer & known & (same | again)
        late = known & ~newer & ~repeated
        return Verdict(newest=fresh & ~unchanged, late=late, unchanged=unchanged, resend=late & ~last.sent)

    def remember(self, number: Int64s, given: Versions, verdict: Verdict) -> None:
        """Note the round: forwarded versions become the newest; dropped ones leave their position."""
        moved = verdict.newest | verdict.unchanged
        now = given.take(moved)
        now.sent = verdict.newest[moved]
        self.versions.put(number[moved], now)
        resent = number[verdict.resend]
        self.versions.sent[resent] = True


def content(body: bytes) -> int:
    """The hash of a version's fields."""
    return xxhash.xxh3_64_intdigest(body) & _HASH_MASK


def put[Value](kept: dict[int, Value], number: int, value: Value | None) -> None:
    """Keep a value under a number; None is not kept."""
    if value is None:
        kept.pop(number, None)
    else:
        kept[number] = value
