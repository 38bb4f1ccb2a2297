"""Entities and groups in columns: ids as words, other names as they are, by numbers that stay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flockiq.pipeline.entities import Entities, Names
from flockiq.shared.positions import hash_id

WHOLE = [hash_id(str(number)) for number in range(50)]
ALIKE = [WHOLE[0][:16] + WHOLE[1][16:], WHOLE[0][:16] + WHOLE[2][16:]]  # their first words are that of another
NAMES = st.sampled_from([*WHOLE[:6], *ALIKE, WHOLE[0].upper(), "", "group/1", "group/2", "ü", "0" * 31])


@given(given_=st.lists(NAMES, max_size=30), at_once=st.integers(0, 30))
def test_names_are_numbered_as_they_come_whatever_they_are(given_: list[str], at_once: int) -> None:
    """One by one or many at once; a name that is known keeps its number, one that is not has none."""
    names = Names()
    names.extend(given_[:at_once])
    numbers = [names.number(name) for name in given_]
    first = list(dict.fromkeys(given_))
    assert numbers == [first.index(name) for name in given_]
    assert (names[:], list(names), names.many(np.arange(len(names)))) == (first, first, first)
    assert names.find_all(given_).tolist() == numbers
    assert names.find("nobody") is None
    assert len(names) == len(first)


def test_a_name_that_is_taken_away_is_new_again() -> None:
    """Its number stands for the name it was given instead; all others stay."""
    names = Names()
    names.extend([*WHOLE, "odd"])
    names.rename(np.array([3, 50]), ["~gone/3", "~gone/50"])
    assert (names[3], names[50], names[4]) == ("~gone/3", "~gone/50", WHOLE[4])
    assert [names.find(name) for name in (WHOLE[3], "odd", "~gone/3", WHOLE[49])] == [None, None, 3, 49]
    assert names.number(WHOLE[3]) == 51
    with pytest.raises(IndexError):
        names[52]


def test_an_entity_keeps_what_it_came_with() -> None:
    """Its match key, its group and the lane of its name, whether it is added or restored."""
    entities = Entities()
    assert [entities.add(WHOLE[0], "DE 1", WHOLE[0], 7), entities.add(WHOLE[1], "ü", "group", 8)] == [0, 1]
    assert entities.add(WHOLE[0], "another", "another", 9) == 0
    entities.restore([WHOLE[2]], [""], [1], [9], ["more"])
    assert entities.match_keys[:] == ["DE 1", "ü", ""]
    assert (entities.group_of.tolist(), entities.shown.tolist()) == ([0, 1, 1], [7, 8, 9])
    assert entities.groups[:] == [WHOLE[0], "group", "more"]


def test_of_an_entity_without_a_name_no_byte_is_left() -> None:
    """Neither of its id nor of its match key; the others' stay."""
    entities = Entities()
    for number, match_key in enumerate(["one", "secret", "three"]):
        entities.add(WHOLE[number], match_key, WHOLE[number], number)
    entities.unname(np.array([1]), np.array([1]))
    assert entities.match_keys[:] == ["one", "", "three"]
    assert b"secret" not in entities.utf8.tobytes()
    assert entities.ids.find(WHOLE[1]) is None
    assert entities.add(WHOLE[3], "four", WHOLE[3], 3) == 3
    assert entities.match_keys[:] == ["one", "", "three", "four"]
