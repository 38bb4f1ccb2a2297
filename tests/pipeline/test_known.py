"""Lines that say again what their record said are known, not read; the rows are those that reading them gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flockiq.pipeline import compiled, parts
from flockiq.pipeline.decode import lines_of, rows_of
from flockiq.pipeline.forgetting import forget
from flockiq.pipeline.types import TypeState
from flockiq.pipeline.warm import LAYOUT
from flockiq.pipeline.world import Plan
from flockiq.shared import wire
from flockiq.shared.lanes import Texts
from flockiq.shared.positions import hash_id

WHOLE = (
    b'{"name":"N\xc3\xb6rd","about":"[1]","price":"1.50","count":7,"share":0.5,"open":true,"day":"2026-01-31",'
    b'"at":"2026-01-31T12:00:00Z"}'
)
SAID = (WHOLE, WHOLE.replace(b"1.50", b"2.50"), b'{"name":"S\\u00fcd","count":null}', b'{"price":"1.50"}', b"{}")


def line(number: int, said: bytes, *, entity: int = 0, key: str = "k", subject: bytes = b"thing/x") -> bytes:
    """A version of a record, the ``number``-th there is."""
    data = wire.ResolvedRaw(
        op="u",
        entity="thing",
        entity_id=hash_id(str(entity)),
        match_key="thing",
        group=hash_id(str(entity)),
        stream="things",
        key=key,
        ts_us=number,
        run=1,
        row=number,
        captured_us=1,
        fields=msgspec.Raw(said),
    )
    told = wire.RawResolved(
        id=hash_id("event", str(number)),
        source="source",
        type=wire.RESOLVED,
        subject="thing/x",
        time="1970-01-01T00:00:00.000001Z",
        tenant="default",
        data=data,
    )
    return wire.encode(told).replace(b'"subject":"thing/x"', b'"subject":"%b"' % subject)


class Read(NamedTuple):
    """What became of the last of some batches: rows as people would say them, letters, how many lines were known."""

    rows: list[tuple[Any, ...]]
    letters: int
    known: int


def read(mode: compiled.Mode, batches: Sequence[Sequence[bytes]], erased: Sequence[int] = ()) -> Read:
    """Fold batches of lines; of the last, the entities ``erased`` are forgotten between its lines and its rows."""
    compiled.use(mode)
    state, texts = TypeState(Plan(LAYOUT, ())), Texts()
    found = Read([], 0, 0)
    for number, batch in enumerate(batches):
        bodies = [event.body for event in wire.pack(0, wire.RESOLVED, batch)]
        lines = lines_of(bodies, {"thing": state}, 7)
        if erased and number == len(batches) - 1:
            forget(state, np.array(erased, np.int64))
        rows, letters = rows_of(lines, {"thing": state}, texts, 7)
        known = 0 if lines.scanned is None else int((lines.scanned.parts[:, parts.KNOWN] >= 0).sum())
        found = Read([], len(letters) + len(lines.letters), known)
        for mine in rows.values():
            told = zip(mine.event.tolist(), mine.entity.tolist(), mine.key.tolist(), mine.value.tolist(), strict=True)
            found.rows.extend((event, state.ids[entity], texts.text(key), value) for event, entity, key, value in told)
            state.process(mine, texts, 0)
    return found._replace(rows=sorted(found.rows))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(SAID)), max_size=6), min_size=2, max_size=4))
def test_what_is_known_is_as_if_it_were_read(told: list[list[tuple[int, bytes]]]) -> None:
    """Whatever each record said before, whole or in part, in this batch or an earlier one."""
    numbers = iter(range(1, 100))
    batches = [[line(next(numbers), said, entity=entity) for entity, said in batch] for batch in told]
    fast, plain = read("wait", batches), read("off", batches)
    assert fast.rows == plain.rows
    assert fast.letters == plain.letters == 0


@pytest.mark.parametrize("said", SAID)
def test_a_record_that_says_the_same_again_is_known(said: bytes) -> None:
    """From the second time on, however often it comes."""
    batches = [[line(number, said)] for number in range(1, 4)]
    assert [read("wait", batches[:upto]).known for upto in (1, 2, 3)] == [0, 1, 1]
    assert read("wait", batches).rows == read("off", batches).rows


def test_what_has_been_overtaken_is_read_anew() -> None:
    """A record that goes back to what it said before is not taken for what it is now."""
    batches = [[line(1, SAID[0])], [line(2, SAID[1])], [line(3, SAID[0])]]
    assert read("wait", batches).known == 0
    assert read("wait", batches).rows == read("off", batches).rows


def test_another_record_of_the_entity_that_says_the_same_is_read() -> None:
    """Its key is its own."""
    batches = [[line(1, WHOLE)], [line(2, WHOLE, key="other")]]
    assert read("wait", batches).known == 0
    (row,) = read("wait", batches).rows
    assert row[2] == "things/other"


def test_another_entity_that_says_the_same_is_read() -> None:
    """What is known is known of one record."""
    assert read("wait", [[line(1, WHOLE)], [line(2, WHOLE, entity=1)]]).known == 0


def test_a_known_line_that_is_no_utf8_elsewhere_is_a_dead_letter() -> None:
    """Only its key and fields have been seen before."""
    batches = [[line(1, WHOLE)], [line(2, WHOLE, subject=b"thing/\xff"), line(3, WHOLE)]]
    fast, plain = read("wait", batches), read("off", batches)
    assert (fast.letters, fast.known) == (1, 1)
    assert fast.rows == plain.rows
    assert plain.letters == 1


def test_an_entity_erased_in_the_batch_keeps_nothing_of_what_was_known() -> None:
    """Its line is of a new entity, with what it says."""
    batches = [[line(1, WHOLE)], [line(2, WHOLE)]]
    fast, plain = read("wait", batches, [0]), read("off", batches, [0])
    assert fast.known == 1
    assert fast.rows == plain.rows
    assert fast.rows[0][1] == hash_id("0")
