"""What goes wrong at a peer, on demand: planned one by one, or as a seeded storm.

A peer names the kinds it knows and asks, at each occasion, whether one strikes. Planned faults strike
first, in the order they were planned; a storm strikes with the chance it was given for that kind.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(slots=True)
class _Plan:
    kind: str
    where: str
    times: int
    skip: int


class Faults:
    """The faults of one peer; may be planned from any thread."""

    def __init__(self, kinds: Collection[str]) -> None:
        self.kinds = frozenset(kinds)
        self.injected: Counter[str] = Counter()
        """How often each kind has struck."""
        self.struck: Counter[tuple[str, str]] = Counter()
        """The same by kind and the first part of the place: a hub's link, a container."""
        self._lock = threading.Lock()
        self._planned: list[_Plan] = []
        self._rates: Mapping[str, float] = {}
        self._random = random.Random(0)

    def plan(self, kind: str, *, times: int = 1, where: str = "", after: int = 0) -> None:
        """Strike at the next ``times`` occasions for ``kind`` whose place begins with ``where``, ``after`` so many."""
        self._known(kind)
        with self._lock:
            self._planned.append(_Plan(kind, where, times, after))

    def storm(self, seed: int, rates: Mapping[str, float]) -> None:
        """From now on strike each kind with its chance (0 to 1) an occasion; no rates end the storm."""
        for kind in rates:
            self._known(kind)
        with self._lock:
            self._random = random.Random(seed)
            self._rates = dict(rates)

    def clear(self) -> None:
        """Nothing more goes wrong."""
        with self._lock:
            self._planned.clear()
            self._rates = {}

    def strikes(self, kind: str, where: str = "") -> bool:
        """Whether ``kind`` strikes at this occasion; what strikes is counted."""
        self._known(kind)
        with self._lock:
            for plan in self._planned:
                if plan.kind == kind and where.startswith(plan.where):
                    if plan.skip:
                        plan.skip -= 1
                        continue
                    plan.times -= 1
                    if not plan.times:
                        self._planned.remove(plan)
                    self._count(kind, where)
                    return True
            rate = self._rates.get(kind, 0.0)
            if rate and self._random.random() < rate:
                self._count(kind, where)
                return True
        return False

    def _count(self, kind: str, where: str) -> None:
        self.injected[kind] += 1
        self.struck[kind, where.partition("/")[0]] += 1

    def _known(self, kind: str) -> None:
        if kind not in self.kinds:
            raise ValueError(f"no fault is called {kind!r} here; there are {', '.join(sorted(self.kinds))}")
