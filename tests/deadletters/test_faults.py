"""What a line that no decoder takes still says: never more than it does, and never an error."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flockiq.shared.faults import Whose, fault_of, whose
from tests.deadletters.world import change, resolved

WORDS = (b"{", b"}", b"[", b"]", b",", b":", b'"', b'"data"', b'"after"', b'"key"', b"NaN", b"\\ud800", b"\xff", b"01")
REFUSED = msgspec.DecodeError("it is refused")


@given(st.lists(st.sampled_from(WORDS) | st.binary(max_size=3)).map(b"".join))
def test_nothing_that_is_read_raises(line: bytes) -> None:
    """Whatever bytes there are, what is told of them can be written."""
    msgspec.json.encode(fault_of(line, REFUSED))


@pytest.mark.parametrize("line", [change("k" * 40, {"name": "n"}), resolved("k" * 40, {"name": "n"})])
def test_a_line_that_is_broken_off_says_what_stands_before_the_break(line: bytes) -> None:
    """Each of source, stream and key as soon as it is whole, and no part of one."""
    for end in range(len(line)):
        found = whose(line[:end])
        assert found.source == ("web" if b'"source":"web"' in line[:end] else "")
        assert found.stream == ("contacts" if b'"stream":"contacts"' in line[:end] else "")
        assert found.key == ("k" * 40 if b'"key":"' + b"k" * 40 + b'"' in line[:end] else "")


def test_a_name_that_holds_half_a_character_can_be_written() -> None:
    """Also where its value is no JSON either."""
    assert fault_of(change("7", b'{"n\\ud800": 01}'), REFUSED).field == "n\N{REPLACEMENT CHARACTER}"


def test_members_may_come_in_any_order() -> None:
    """An empty record before whose it is, with space between: JSON has no order."""
    line = b' { "data" : { "after" : { } , "key" : "7" , "stream" : "contacts" } , "source" : "web" , "time" : 01 } '
    assert fault_of(line, REFUSED) == ("time", "it is refused", Whose("web", "contacts", "7"))


def test_of_a_line_of_many_megabytes_only_the_beginning_is_read() -> None:
    """It says whose record it is; where it goes wrong beyond is not looked for, nor guessed."""
    line = change("7", b'{"name": "' + b"a" * 1_500_000 + b'", "limit": NaN}')
    assert fault_of(line, REFUSED) == ("", "it is refused", Whose("web", "contacts", "7"))
