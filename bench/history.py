"""Who edits what, when, and in which order the two systems' events arrive: the workload as columns.

An edit changes an entity; both systems tell of it, one first, the other a few minutes later. Some
events come after a later one of the same entity (out of order), some come twice.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flockiq.bench.values import CHANGES, FIELDS, T0_US, Int64s

SPAN_US = 6 * 3_600_000_000  # of source time that the measured events cover: well within the lateness
LAG_US = 120_000_000  # mean, from one system's event to the other's
LATE_US = 1_800_000_000  # mean, that a late event comes after the one it should have preceded: batches later
AGAIN_US = 600_000_000  # mean, from an event to its repetition
IN_PART = 0.1  # of changes told as the changed fields alone (op u)
DELETED = 0.005  # of changes that delete the record; a later one brings it back

READ, UPDATED, GONE = 0, 1, 2


class Size(NamedTuple):
    """A workload. ``unchanged``: share of edits that change nothing, as polling sees them.

    ``warm``: every record is told once before the measured events begin.
    """

    events: int
    entities: int
    seed: int = 7
    unchanged: float = 0.0
    warm: bool = False
    late: float = 0.05
    duplicates: float = 0.05


class Story(NamedTuple):
    """n events in the order they arrive; the first ``warm`` of them come before what is measured.

    number, entity, us: int64 [n]; source, op: int8 [n]; version: int32 [n, 10]; said: bool [n, 10].
    """

    warm: int
    number: Int64s
    entity: Int64s
    us: Int64s
    source: npt.NDArray[np.int8]
    op: npt.NDArray[np.int8]
    version: npt.NDArray[np.int32]
    said: npt.NDArray[np.bool_]


def story(size: Size) -> Story:
    """The whole workload of a size; the same for the same size on every machine."""
    rng = np.random.default_rng([size.seed, size.events, size.entities])
    first = size.entities if size.warm else 0
    edits = max(1, round(size.events / (1 + size.duplicates) / 2))
    entity = np.concatenate([np.arange(first), rng.integers(size.entities, size=edits)])
    us = np.concatenate(
        [
            T0_US - 3_600_000_000 + np.arange(first) * 3_000_000_000 // max(first, 1),
            T0_US + np.sort(rng.integers(SPAN_US, size=edits)),
        ]
    )
    version, changed = _versions(rng, size, entity)
    op = np.zeros((len(entity), 2), np.int8)
    chance = rng.random(op.shape)
    may = np.repeat(changed.any(axis=1) & ~changed.all(axis=1), 2).reshape(-1, 2)
    op[may & (chance < IN_PART)] = UPDATED
    op[may & (chance > 1 - DELETED)] = GONE
    leads = rng.integers(2, size=len(entity))
    return _arrived(rng, size, first, entity, us, leads, op, version, changed)


def _versions(
    rng: np.random.Generator, size: Size, entity: Int64s
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """How often each field had changed by each edit, and which fields it changes."""
    changed = rng.random((len(entity), len(FIELDS)), np.float32) < np.array(CHANGES, np.float32)
    changed[~changed.any(axis=1), FIELDS.index("reviewed")] = True
    changed[rng.random(len(entity)) < size.unchanged] = False
    order = np.argsort(entity, kind="stable")
    begins = np.r_[True, entity[order][1:] != entity[order][:-1]]
    changed[order[begins]] = True
    running = np.cumsum(changed[order], axis=0, dtype=np.int32)
    segment = np.cumsum(begins) - 1
    before = running[begins] - 1
    version = np.empty_like(running)
    version[order] = running - before[segment]
    return version, changed


def _arrived(
    rng: np.random.Generator,
    size: Size,
    first: int,
    entity: Int64s,
    us: Int64s,
    leads: Int64s,
    op: npt.NDArray[np.int8],
    version: npt.NDArray[np.int32],
    changed: npt.NDArray[np.bool_],
) -> Story:
    """Both systems' events of every edit, put in the order of their arrival."""
    edits = len(entity)
    edit = np.repeat(np.arange(edits), 2)
    at = np.repeat(us, 2)
    at[1::2] += 1 + rng.exponential(LAG_US, edits).astype(np.int64)
    source = np.stack([leads, 1 - leads], axis=1).reshape(-1).astype(np.int8)
    arrival = at.astype(np.float64)

    order = np.lexsort((at, entity[edit]))
    follower = np.full(2 * edits, -1)
    same = entity[edit][order][1:] == entity[edit][order][:-1]
    follower[order[:-1][same]] = order[1:][same]
    late = np.flatnonzero((rng.random(2 * edits) < size.late) & (follower >= 0) & (edit >= first))
    arrival[late] = at[follower[late]] + rng.exponential(LATE_US, len(late)) + 1

    again = np.flatnonzero((rng.random(2 * edits) < size.duplicates) & (edit >= first))
    number = np.r_[np.arange(2 * edits), again]
    arrival = np.r_[arrival, arrival[again] + rng.exponential(AGAIN_US, len(again))]
    arrival[: 2 * first] = -1.0 / np.arange(1, 2 * first + 1)[::-1] - 1  # the warm ones come first, in their order
    number = number[np.argsort(arrival, kind="stable")]
    which = edit[number]
    ops = op.reshape(-1)[number]
    return Story(
        warm=2 * first,
        number=number,
        entity=entity[which],
        us=at[number],
        source=source[number],
        op=ops,
        version=version[which],
        said=changed[which] | (ops == READ)[:, None],
    )
