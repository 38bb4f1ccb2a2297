"""Lines are packed into events of a bounded size, in order, and come out as they went in."""

from __future__ import annotations

import random

import pytest

from flockiq.shared import wire
from flockiq.shared.errors import BadRecord


def lines(count: int, size: int = 600) -> list[bytes]:
    """Lines as alike as records are."""
    rng = random.Random(count)
    common = b'{"specversion":"1.0","source":"crm","tenant":"default","data":{"value":"'
    return [common + (rng.randbytes(8).hex() * (size // 16)).encode() + b'"}}' for _ in range(count)]


def text_of(some: list[bytes]) -> tuple[bytes, list[int]]:
    """Lines as one text, and where each ends in it."""
    ends, at = [], 0
    for line in some:
        at += len(line) + 1
        ends.append(at)
    return b"".join(line + b"\n" for line in some), ends


def test_many_lines_make_events_of_about_the_size_that_is_billed_as_one() -> None:
    """No event of such lines is billed twice; each says how many lines it has, and all come out in order."""
    given = lines(5_000)
    events = list(wire.pack(3, wire.CHANGE, given))
    assert len(events) > 1
    assert all(len(event.body) <= 65_536 for event in events)
    assert {event.partition for event in events} == {3}
    unpacked = [wire.unpack(event.body).split(b"\n") for event in events]
    assert [len(some) for some in unpacked] == [int(event.properties["lines"]) for event in events]
    assert [line for some in unpacked for line in some] == given


@pytest.mark.parametrize(("count", "size"), [(2_000, 600), (30_000, 16), (12, 160_000), (3, 299_904)])
def test_lines_and_their_text_make_the_same_events(count: int, size: int) -> None:
    """It makes no difference whether lines come one by one or in a buffer, however many go into an event."""
    given = lines(count, size)
    text, ends = text_of(given)
    for buffer in (text, bytearray(text), memoryview(text)):
        assert list(wire.pack_text(1, wire.RESOLVED, buffer, ends)) == list(wire.pack(1, wire.RESOLVED, given))


def test_lines_that_do_not_compress_never_make_an_event_that_no_hub_takes() -> None:
    """The bound is on what goes in, so that the worst of it still fits a publication."""
    rng = random.Random(7)
    noise = [rng.randbytes(200_000).replace(b"\n", b" ") for _ in range(12)]
    assert max(len(event.body) for event in wire.pack(0, wire.CHANGE, noise)) < 1_000_000


def test_nothing_makes_no_event_and_one_line_makes_one() -> None:
    """There are no empty events."""
    assert list(wire.pack(0, wire.CHANGE, [])) == []
    (event,) = wire.pack(0, wire.CHANGE, iter([b"{}"]))
    assert (wire.unpack(event.body), event.properties["lines"]) == (b"{}", "1")


def test_a_line_over_the_limit_is_refused_after_those_before_it() -> None:
    """Whoever packs can set the one aside, and what came before it is not lost."""
    given = [*lines(10), b"x" * (wire.MAX_LINE_BYTES + 1), b"{}"]
    packed = wire.pack(0, wire.CHANGE, given)
    assert wire.unpack(next(packed).body).split(b"\n") == given[:10]
    with pytest.raises(BadRecord, match="over the limit"):
        next(packed)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_flipped_bit_is_found(share: float) -> None:
    """What was damaged on its way is refused, and never becomes a value."""
    (event,) = wire.pack(0, wire.CHANGE, lines(50))
    body = bytearray(event.body)
    body[int(len(body) * share)] ^= 0x10
    with pytest.raises(BadRecord):
        wire.unpack(bytes(body))
