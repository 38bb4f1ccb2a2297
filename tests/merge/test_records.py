"""What is known of records: versions as columns, of which a record keeps the last ones."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flockiq.merge.book import Book
from flockiq.merge.chain import UNKNOWN, Version
from flockiq.merge.match import NOWHERE, Place
from flockiq.merge.records import Records
from flockiq.shared.positions import event_lane, hash_id

DEPTH = 3
NAMES = ("web/contacts/1", "web/contacts/2", "erp/customers/1")
TOLD = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from("crud"), st.integers(0, 2)), max_size=20)


def version(number: int, op: str, said: int) -> Version:
    """A version that came as the ``number``-th."""
    event = hash_id(str(number))
    fields = b'{"said":%d}' % said
    place = Place(f"entity {said}", str(said), "group") if said else NOWHERE
    return Version(number, 0, event_lane(event), event, op, number, fields, fields, place, op == "d")  # type: ignore[arg-type]


@given(told=TOLD, before_us=st.integers(0, 20), late=st.booleans())
def test_a_record_keeps_its_last_versions_whatever_is_tidied_up(
    told: list[tuple[str, str, int]], before_us: int, *, late: bool
) -> None:
    """Its newest, what they build on, and nothing that came before a time; read one by one or all at once."""
    book = Book("all")
    records = Records(lambda _: DEPTH, lambda _: book)
    expected: dict[str, list[Version]] = {name: [UNKNOWN] for name in NAMES}
    numbers = records.numbers(NAMES)
    for number, (name, op, said) in enumerate(told):
        made = version(number, op, said)
        expected[name] = [*expected[name], made][-DEPTH - 1 :]
        records.keep(records.index[name], made)
        if late and number % 4 == 0:
            records.put(records.index[name], expected[name])
        if number % 3 == 0:
            records.compact()
    assert records.chains(numbers) == [records.chain(number) for number in numbers.tolist()] == [*expected.values()]
    records.forget(lambda _: before_us)
    for name, chain in expected.items():
        while len(chain) > 1 and chain[1].arrived_us < before_us:
            del chain[0]
        assert records.chain(records.index[name]) == chain
    assert records.chains(numbers) == [*expected.values()]
