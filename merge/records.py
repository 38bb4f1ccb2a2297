"""Record state: the recent versions of every record, so that what is unchanged goes no further.

A version that brings nothing new is told to nobody, but kept: should an older one that differs
still come, it is told after all (merge/chain.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

import numpy as np
import xxhash

from flockiq.merge.chain import UNKNOWN, Chain, Version
from flockiq.merge.match import NOWHERE
from flockiq.shared.arrays import Arrays
from flockiq.shared.lanes import ABSENT, Bools, Int64s

_HASH_MASK = (1 << 61) - 1


class Newest(Arrays):
    """The newest version of n records.

    us, rr, tie: int64 [n], its position (ABSENT: never seen); content: int64 [n], hash of what is
    known of its fields; gone: bool [n], it is deleted or was never anywhere.
    """

    us: Int64s
    rr: Int64s
    tie: Int64s
    content: Int64s
    gone: Bools

    @classmethod
    def empty(cls, n: int) -> Self:
        """Records of which nothing is known."""
        return cls(
            us=np.full(n, ABSENT, np.int64),
            rr=np.full(n, ABSENT, np.int64),
            tie=np.full(n, ABSENT, np.int64),
            content=np.zeros(n, np.int64),
            gone=np.ones(n, np.bool_),
        )

    @classmethod
    def of(cls, versions: Sequence[Version]) -> Self:
        """These versions as columns."""
        return cls(
            us=np.array([version.us for version in versions], np.int64),
            rr=np.array([version.rr for version in versions], np.int64),
            tie=np.array([version.tie for version in versions], np.int64),
            content=contents([version.fields for version in versions]),
            gone=np.array([version.gone or version.place == NOWHERE for version in versions], np.bool_),
        )


class Verdict(NamedTuple):
    """What to do with a round of versions, all bool [r]; each row is in exactly one.

    newest: tell it; unchanged: tell nobody, but keep it; late: work out what it means.
    """

    newest: Bools
    unchanged: Bools
    late: Bools


def content(fields: bytes) -> int:
    """What tells fields apart."""
    return xxhash.xxh3_64_intdigest(fields) & _HASH_MASK


def contents(fields: Sequence[bytes]) -> Int64s:
    """``content`` of each, int64 [n]."""
    return (np.array(list(map(xxhash.xxh3_64_intdigest, fields)), np.uint64) & np.uint64(_HASH_MASK)).astype(np.int64)


class Records:
    """The records of one partition, each with its last versions: ``depth_of`` a record's name says how many."""

    def __init__(self, depth_of: Callable[[str], int]) -> None:
        self.depth_of = depth_of
        self.depths: list[int] = []
        self.index: dict[str, int] = {}
        self.names: list[str] = []
        self.chains: list[list[Version]] = []
        self.newest = Newest.empty(0)

    def numbers(self, names: Sequence[str]) -> Int64s:
        """Dense numbers of records; new ones get the next."""
        index, chains = self.index, self.chains
        numbers = []
        for name in names:
            number = index.get(name)
            if number is None:
                number = index[name] = len(chains)
                chains.append([UNKNOWN])
                self.names.append(name)
                self.depths.append(self.depth_of(name))
            numbers.append(number)
        if len(chains) > len(self.newest):
            more = max(len(chains), 2 * len(self.newest), 256)
            self.newest = self.newest.grown(Newest.empty(more - len(self.newest)), more)
        return np.array(numbers, np.int64)

    def last(self, numbers: Int64s) -> list[Version]:
        """The newest version of each."""
        chains = self.chains
        return [chains[number][-1] for number in numbers.tolist()]

    def judge(self, number: Int64s, given: Newest, ids: Sequence[str], whole: Bools) -> Verdict:
        """Judge a round; ``number`` must not repeat."""
        last = self.newest.take(number)
        newer = (given.us > last.us) | (
            (given.us == last.us) & ((given.rr > last.rr) | ((given.rr == last.rr) & (given.tie > last.tie)))
        )
        repeated = np.zeros(len(number), np.bool_)
        for row in np.flatnonzero(newer & (given.us == last.us)).tolist():
            repeated[row] = self.chains[number[row]][-1].id == ids[row]
        same = repeated | (whole & ~last.gone & (given.content == last.content))
        return Verdict(newest=newer & ~same, unchanged=newer & same, late=~newer)

    def keep(self, number: int, version: Version) -> None:
        """A version that is the newest now; of one repeated by many runs the first and the last are kept."""
        chain = self.chains[number]
        if len(chain) > 1 and version.id == chain[-1].id == chain[-2].id:
            chain[-1] = version
            return
        chain.append(version)
        if len(chain) > self.depths[number] + 1:
            del chain[0]

    def put(self, number: int, chain: Chain) -> None:
        """A record's versions worked out anew."""
        self.chains[number] = list(chain[-self.depths[number] - 1 :])

    def forget(self, before_us_of: Callable[[str], int]) -> None:
        """Forget versions that arrived before a record's time; of each what the others build on stays."""
        for name, chain in zip(self.names, self.chains, strict=True):
            old, before_us = 0, before_us_of(name)
            while old + 1 < len(chain) and chain[old + 1].arrived_us < before_us:
                old += 1
            del chain[:old]

    def refresh(self, numbers: Int64s) -> None:
        """Bring ``newest`` to what the chains of these records end with."""
        if len(numbers):
            self.newest.put(numbers, Newest.of(self.last(numbers)))
