"""One case: a history, what it means, and whether everything that happens to it on the way changes that."""

from __future__ import annotations

import asyncio
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from flockiq.pipeline import compiled
from tests.convergence.arrangement import Arrangement
from tests.convergence.histories import CLOCK_US, History, history
from tests.convergence.reference import Outcome, expected

HARMS = (0.15, 0.0)  # how likely things go wrong in each arrangement of a case
SHOWN = 6  # differences told of each kind
MOST_TRIES = 120  # arrangements run to make a failing history smaller


class Case(NamedTuple):
    """What came of a case: what happened, how many outputs were compared, and how they differ."""

    seed: int
    counts: Counter[str]
    compared: Counter[str]
    differences: list[str]


def run(seed: int) -> Case:
    """A history in every arrangement against the reference, and so against each other."""
    story = history(seed)
    right = expected(story, CLOCK_US)
    counts: Counter[str] = Counter()
    compared: Counter[str] = Counter()
    differences: list[str] = []
    for number in range(len(HARMS)):
        happened, found = arranged(story, right, seed, number)
        counts += happened
        compared += Counter({name: len(getattr(right, name)) for name in Outcome._fields})
        differences += [f"arrangement {number}: {line}" for line in found]
    return Case(seed, counts, compared, differences)


def arranged(story: History, right: Outcome, seed: int, number: int) -> tuple[Counter[str], list[str]]:
    """One arrangement: what happened, and how its outcome differs."""
    compiled.use("wait" if (seed + number) % 2 else "off")  # each case runs with machine code and without
    arrangement = Arrangement(story, CLOCK_US, f"{seed}/{number}", harm=HARMS[number])
    try:
        outcome = asyncio.run(arrangement.run())
    except Exception as error:  # noqa: BLE001 - whatever it is, the engine has not come to an end
        place = traceback.extract_tb(error.__traceback__)[-1]
        return arrangement.counts, [f"{type(error).__name__}: {error} ({place.name}, line {place.lineno})"]
    return arrangement.counts, list(_differences(right, outcome))


def _differences(right: Outcome, found: Outcome) -> Iterator[str]:
    for name in Outcome._fields:
        expected_, given = getattr(right, name), getattr(found, name)
        what = name.replace("_", " ")
        if isinstance(expected_, set):
            lines = [f"missing {one}" for one in sorted(expected_ - given)]
            lines += [f"not expected {one}" for one in sorted(given - expected_)]
        else:
            lines = [
                f"{key}: {given.get(key)}, expected {expected_.get(key)}"
                for key in sorted(expected_.keys() | given.keys())
                if expected_.get(key) != given.get(key)
            ]
        yield from (f"{what}: {line}" for line in lines[:SHOWN])


def smallest(seed: int) -> History:
    """A part of a failing case's history that still fails: records are left out, then single versions."""
    story = history(seed)
    fails = _failing(seed)
    tries = 0
    for parts in (_without_records, _without_versions):
        shrunk = True
        while shrunk and tries < MOST_TRIES:
            shrunk = False
            for smaller in parts(story):
                tries += 1
                if tries > MOST_TRIES:
                    break
                if fails(smaller):
                    story, shrunk = smaller, True
                    break
    return story


def _failing(seed: int) -> Callable[[History], bool]:
    def fails(story: History) -> bool:
        right = expected(story, CLOCK_US)
        return any(arranged(story, right, seed, number)[1] for number in range(len(HARMS)))

    return fails


def _without_records(story: History) -> Iterator[History]:
    for record in dict.fromkeys((one.source, one.stream, one.key) for one in story.told):
        left = tuple(one for one in story.told if (one.source, one.stream, one.key) != record)
        if left:
            yield story._replace(told=left)
    if story.pressed:
        yield story._replace(pressed=())
    for one in story.overridden:
        yield story._replace(
            overridden=tuple(other for other in story.overridden if one.id not in (other.id, other.ends))
        )


def _without_versions(story: History) -> Iterator[History]:
    for number in range(len(story.told)):
        if len(story.told) > 1:
            yield story._replace(told=story.told[:number] + story.told[number + 1 :])
