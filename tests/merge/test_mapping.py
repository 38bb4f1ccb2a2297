"""Mapping: what a stream's records mean in an entity type's fields, and what is refused."""

from __future__ import annotations

import pytest

from flockiq.merge.changes import Changes
from tests.merge.feed import change, said, tell


def told(changes: Changes, record: dict[str, object], op: str = "r") -> dict[str, object]:
    """The canonical fields of one customer of the ERP."""
    ((_, _, _, fields),) = said(
        tell(changes, change(op, 1, record, key=str(len(changes.records.index)), source="erp", stream="customers"))
    )  # type: ignore[arg-type]
    return fields


@pytest.mark.parametrize(
    ("given", "meant"),
    [("NT30", "net 30"), (60, "net 60"), (True, "at once"), ("NT45", "NT45"), (None, None), ([], None)],
)
def test_codes_become_what_they_mean(changes: Changes, given: object, meant: object) -> None:
    """By the code's JSON text, a number's and a boolean's too; what config does not know stays as it is."""
    if given == []:
        folded = tell(changes, change("r", 1, {"Terms": given}, source="erp", stream="customers"))
        assert [letter.field for letter in folded.letters] == ["terms"]
    else:
        assert told(changes, {"Terms": given})["terms"] == meant


def test_a_default_stands_where_the_source_has_nothing(changes: Changes) -> None:
    """For a null and for what a whole record lacks; an update that lacks it says nothing."""
    assert told(changes, {"Limit": None})["limit"] == "0.00"
    assert told(changes, {"Name": "x"})["limit"] == "0.00"
    assert told(changes, {"Limit": 12.5})["limit"] == "12.50"
    ((_, _, _, fields),) = said(tell(changes, change("u", 9, {"Name": "y"}, source="erp", stream="customers")))
    assert fields == {"name": "y"}


@pytest.mark.parametrize(("given", "date"), [("31.01.2024", "2024-01-31"), ("2024-01-31", "2024-01-31"), (None, None)])
def test_a_declared_format_reads_what_it_fits(changes: Changes, given: object, date: object) -> None:
    """What does not fit it is still read if it is a date in a way everybody knows."""
    assert told(changes, {"Since": given})["since"] == date


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        ("2024-01-31T08:00:00", "2024-01-31T07:00:00.000000Z"),
        ("2024-07-31T08:00:00", "2024-07-31T06:00:00.000000Z"),
        ("2024-07-31T08:00:00Z", "2024-07-31T08:00:00.000000Z"),
        ("2024-07-31T08:00:00-05:00", "2024-07-31T13:00:00.000000Z"),
    ],
)
def test_a_time_without_a_zone_is_in_the_one_its_field_is_given(changes: Changes, given: str, moment: str) -> None:
    """Summer and winter alike; a time that names its own zone keeps it."""
    assert told(changes, {"Seen": given})["seen"] == moment


def test_a_dotted_path_reaches_into_objects(changes: Changes) -> None:
    """An object that is null is null; one that is no object holds nothing."""
    assert told(changes, {"address": {"tax": {"id": "DE1"}}})["tax_id"] == "DE1"
    assert told(changes, {"address": {"tax": None}})["tax_id"] is None
    assert "tax_id" not in told(changes, {"address": {"tax": {}}, "Name": "a"}, "u")
    assert "tax_id" not in told(changes, {"address": "Main Street", "Name": "b"}, "u")
    assert "tax_id" not in told(changes, {"address": [1], "Name": "c"}, "u")


@pytest.mark.parametrize(
    ("record", "field", "reason"),
    [
        ({"Staff": "many"}, "staff", "'many' is not a whole number"),
        ({"Staff": 1 << 70}, "staff", "is beyond"),
        ({"Limit": "1,5"}, "limit", "'1,5' is not a decimal number"),
        ({"Limit": {"a": 1}}, "limit", "a value of type object is not a decimal number"),
        ({"Since": "31/01/2024"}, "since", "is not a date or time"),
        ({"Active": "perhaps"}, "active", "is not true or false"),
        ({"Name": "a\u0000b"}, "name", "U+0000"),
        ({"Name": "x" * 100_001}, "name", "longer than 100,000 characters"),
    ],
)
def test_a_value_of_the_wrong_type_is_a_dead_letter(
    changes: Changes, record: dict[str, object], field: str, reason: str
) -> None:
    """The letter names the field and the reason; the records around it go on."""
    stream = {"source": "erp", "stream": "customers"}
    good = {"Name": "Acme", "address": {"tax": {"id": "DE1"}}}
    folded = tell(
        changes,
        change("r", 1, good, key="1", **stream),
        change("r", 1, record, key="2", **stream),
        change("r", 1, good, key="3", **stream),
    )
    (letter,) = folded.letters
    assert (letter.stage, letter.source, letter.stream, letter.key, letter.field) == (
        "merge",
        "erp",
        "customers",
        "2",
        field,
    )
    assert reason in letter.reason
    assert len(said(folded)) == 2
    assert all("2" not in name for name in changes.records.index)


def test_a_refused_version_leaves_the_record_as_it_was(changes: Changes) -> None:
    """The versions before and after a bad one of the same record are judged as if it were not there."""
    stream = {"source": "erp", "stream": "customers"}
    folded = tell(
        changes,
        change("r", 1, {"Staff": 1}, **stream),
        change("r", 2, {"Staff": "?"}, **stream),
        change("r", 3, {"Staff": 1}, **stream),
    )
    assert len(folded.letters) == 1
    assert len(said(folded)) == 1
    assert changes.unchanged == 1
