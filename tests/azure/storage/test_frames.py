"""How a state log lies in a blob: read back as it was written, or found out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flockiq.shared.adapters.azure.storage.frames import HEADER_BYTES, Kind, blocks, parse, seed_of

SEED = seed_of("resolved/0", 0)
entries_of = st.lists(st.binary(max_size=300), max_size=6)


def blob(entries: list[bytes], *, block_bytes: int = HEADER_BYTES + 100) -> tuple[bytes, list[int]]:
    """A blob that holds entries, and where each ends."""
    body, ends = b"", []
    for entry in entries:
        at = len(body)
        body += b"".join(blocks(Kind.ENTRY, entry, seed=SEED, at=at, follows=at, block_bytes=block_bytes))
        ends.append(len(body))
    return body, ends


@given(entries_of)
def test_entries_are_read_as_they_were_written(entries: list[bytes]) -> None:
    """Whatever they hold, in however many blocks."""
    body, _ = blob(entries)
    assert parse(body, seed=SEED, at=0, committed=0) == (None, entries, None, len(body), 0, None)


@given(entries_of, st.data())
def test_a_cut_tail_is_not_an_entry_and_is_said(entries: list[bytes], data: st.DataObject) -> None:
    """Wherever it is cut: what was whole before it is there, what is left of the rest is counted."""
    body, ends = blob([*entries, b"last" * 50])
    cut = data.draw(st.integers(0, len(body) - 1))
    parsed = parse(body[:cut], seed=SEED, at=0, committed=0)
    whole = [entry for entry, end in zip(entries, ends, strict=False) if end <= cut]
    assert (parsed.entries, parsed.damaged) == (whole, None)
    assert parsed.committed + parsed.left == cut


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=6), st.data())
def test_a_changed_byte_is_found(entries: list[bytes], data: st.DataObject) -> None:
    """Whichever it is: nothing of the entry that holds it, nor of any after it, is given."""
    body, ends = blob(entries)
    at = data.draw(st.integers(0, len(body) - 1))
    changed = bytearray(body)
    changed[at] ^= data.draw(st.integers(1, 255))
    parsed = parse(bytes(changed), seed=SEED, at=0, committed=0)
    whole = [entry for entry, end in zip(entries, ends, strict=True) if end <= at]
    assert parsed.entries == whole
    assert parsed.damaged is not None


@given(entries_of, st.binary(min_size=150, max_size=300), st.lists(st.binary(max_size=200), min_size=1), st.data())
def test_what_was_never_finished_is_passed_over(
    entries: list[bytes], torn: bytes, more: list[bytes], data: st.DataObject
) -> None:
    """A later writer that knew where the log ended goes on after what another left torn."""
    body, _ = blob(entries)
    committed = len(body)
    left = b"".join(blocks(Kind.ENTRY, torn, seed=SEED, at=committed, follows=committed, block_bytes=200))
    body += left[: data.draw(st.integers(1, len(left) - 1))]
    for entry in more:
        body += b"".join(blocks(Kind.ENTRY, entry, seed=SEED, at=len(body), follows=committed, block_bytes=200))
        committed = len(body)
    parsed = parse(body, seed=SEED, at=0, committed=0)
    assert (parsed.entries, parsed.left, parsed.damaged) == ([*entries, *more], 0, None)


def test_a_lost_frame_in_the_middle_is_damage() -> None:
    """What comes after it follows something that isn't there."""
    body, ends = blob([b"one", b"two", b"three"])
    parsed = parse(body[: ends[0]] + body[ends[1] :], seed=SEED, at=0, committed=0)
    assert (parsed.entries, parsed.damaged) == ([b"one"], ends[0])


def test_another_log_s_frames_are_none_here() -> None:
    """Nor another generation's."""
    body, _ = blob([b"one"])
    for seed in (seed_of("resolved/1", 0), seed_of("resolved/0", 1)):
        assert parse(body, seed=seed, at=0, committed=0).damaged == 0


@given(st.binary(max_size=400))
def test_any_bytes_at_all_are_told_from_entries(hostile: bytes) -> None:
    """Nothing is made of them, and nothing breaks."""
    body, _ = blob([b"one"])
    parsed = parse(body + hostile, seed=SEED, at=0, committed=0)
    assert parsed.entries == [b"one"]
