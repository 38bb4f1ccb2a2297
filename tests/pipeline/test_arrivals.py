"""How rows came and what the late-data log keeps: machine code says and does the same as numpy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flockiq.pipeline import compiled
from flockiq.pipeline.arrivals import Arrived, arrived
from flockiq.pipeline.history import History
from flockiq.shared.lanes import Int64s
from flockiq.shared.rows import DELETE, UPSERT, VOID, Rows

FIELDS, GROUPS = 3, 6
EVERYTHING = np.arange(GROUPS)


def rows_of(n: int, rng: np.random.Generator) -> Rows:
    """Rows of a few groups, of two entities each, so that many are repeated, late or revise one another."""
    entity = rng.integers(0, 2 * GROUPS, n)
    us = rng.integers(-20, 20, n)
    columns = {name: rng.integers(-(1 << 62), 1 << 62, n) for name in ("key", "shown", "arrived_us")}
    return Rows(
        **columns,
        entity=entity,
        group=entity // 2,
        source=rng.integers(0, 127, n),
        op=rng.choice([UPSERT, UPSERT, DELETE, VOID], n).astype(np.int8),
        us=us,
        rr=us // 7,
        event=us * (1 << 40) + rng.integers(0, 2, n),
        value=rng.integers(-(1 << 62), 1 << 62, (n, FIELDS)),
        revision=rng.integers(0, 3, n) << 20,
    )


def columns(rows: Rows) -> dict[str, tuple[str, list[object]]]:
    """What rows say, with the types of it."""
    found = [np.asarray(getattr(rows, name)) for name in Rows.names]
    assert all(column.flags.c_contiguous for column in found)
    return {name: (column.dtype.str, column.tolist()) for name, column in zip(Rows.names, found, strict=True)}


class Kept(NamedTuple):
    """How batches came, and what was kept of them in the end."""

    came: list[tuple[object, ...]]
    found: list[list[int]]
    logged: list[dict[str, tuple[str, list[object]]]]
    marks: list[list[int]]


def kept(mode: compiled.Mode, seed: int) -> Kept:
    """A log that batches have gone through, some of it forgotten between them."""
    compiled.use(mode)
    rng = np.random.default_rng(seed)
    history = History(FIELDS)
    history.marks.grow(GROUPS)
    came, found = [], []
    for size in rng.integers(0, 40, 6).tolist():
        batch = arrived(history, rows_of(size, rng))
        came.append((columns(batch.rows), *(np.asarray(part).tolist() for part in batch[1:])))
        log(history, batch)
        found.append(history.find(rows_of(30, rng)).tolist())
        if rng.random() < 0.3:  # now and then
            rows, marks = history.live(), history.marks
            history.rebuild(rows.take(rng.random(len(rows)) < 0.5))
            marks.floor_us[:GROUPS], marks.clock_us[:GROUPS] = rng.integers(-25, 0, (2, GROUPS))
    logged = [
        columns(history.live()),
        columns(history.at(history.places(EVERYTHING))),
        columns(history.at(history.places(EVERYTHING[1:2]))),
    ]
    return Kept(came, found, logged, [getattr(history.marks, name)[:GROUPS].tolist() for name in history.marks.names])


def log(history: History, batch: Arrived) -> None:
    """Log what is not too late."""
    history.append(batch.rows.take(~batch.too_late & ~batch.revises))
    history.revise(batch.rows.take(batch.revises))


@settings(deadline=None)  # a first call loads machine code
@given(st.integers(0, 1 << 32))
def test_rows_are_sorted_out_and_logged_alike(seed: int) -> None:
    """Of any batches, with a log of which some was forgotten."""
    assert kept("wait", seed) == kept("off", seed)
    assert compiled.failure() is None


@pytest.mark.parametrize("mode", ["off", "wait"])
def test_a_log_gives_back_what_it_was_given(mode: compiled.Mode) -> None:
    """Every column, of every group, in its type; and knows where each row is."""
    compiled.use(mode)
    rng = np.random.default_rng(1)
    history = History(FIELDS)
    history.marks.grow(GROUPS)
    rows = arrived(history, rows_of(500, rng)).rows
    half = len(rows) // 2
    history.append(rows.take(np.arange(half)))
    history.append(rows.take(np.arange(half, len(rows))))
    assert columns(history.live()) == columns(rows)
    assert history.find(rows).tolist() == list(range(len(rows)))
    for group in range(GROUPS):
        its: Int64s = np.flatnonzero(rows.group == group)[::-1]
        assert columns(history.at(history.places(np.array([group])))) == columns(rows.take(its))
