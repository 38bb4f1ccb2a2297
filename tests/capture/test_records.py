"""Records made ready to travel: keys, times, JSON without noise."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flockiq.capture.protocols.removed import key_of_reference
from flockiq.capture.records import Reader, joined_key, source_time, value_of
from flockiq.shared.config.sources import Stream
from flockiq.shared.errors import BadRecord

EPOCH_US = 1_772_359_200_000_000  # 2026-03-01T10:00:00Z


def reader(nesting: int = 32, **stream: Any) -> Reader:
    """A reader of records with an ``id`` and a time ``at``."""
    config = {"primary_key": ["id"], "modified": "at", "entity": "company", "fields": {"name": "name"}} | stream
    return Reader(Stream.model_validate(config), nesting=nesting)


def record(text: str) -> dict[str, msgspec.Raw]:
    """A record as a page holds it."""
    return msgspec.json.decode(text, type=dict[str, msgspec.Raw])


@pytest.mark.parametrize(
    ("written", "us"),
    [
        ('"2026-03-01T10:00:00Z"', EPOCH_US),
        ('"2026-03-01T11:00:00.123456+01:00"', EPOCH_US + 123_456),
        ('"2026-03-01 10:00:00"', EPOCH_US),
        ('"2026-03-01T10:00:00"', EPOCH_US),
        ('"/Date(1772359200000)/"', EPOCH_US),
        (r'"\/Date(1772359200000+0060)\/"', EPOCH_US),
        ("1772359200000", EPOCH_US),
        ("1772359200", EPOCH_US),
        ('"1772359200000"', EPOCH_US),
        ("null", 0),
        ('""', 0),
    ],
)
def test_times_are_understood_as_business_systems_write_them(written: str, us: int) -> None:
    """RFC 3339, local ISO taken as UTC, SAP's dates, epoch in s and ms; nothing is no time."""
    assert source_time(msgspec.Raw(written.encode()), "at") == us


@pytest.mark.parametrize("written", ['"soon"', "true", "[]", "{}", '"2026-13-01T00:00:00Z"', "1e300", '"/Date(x)/"'])
def test_what_is_no_time_is_refused_by_field(written: str) -> None:
    """The error names the field."""
    with pytest.raises(BadRecord, match=r"at: .* is not a time"):
        source_time(msgspec.Raw(written.encode()), "at")


@given(
    st.dictionaries(st.text(max_size=8), st.none() | st.booleans() | st.integers() | st.text(max_size=8), max_size=6)
)
def test_a_record_travels_as_it_came(fields: dict[str, Any]) -> None:
    """Whatever the fields hold, what travels decodes to the same; only the protocol's own fields are gone."""
    fields = {name: value for name, value in fields.items() if name != "at"} | {"id": "1"}
    try:
        text = json.dumps(fields)
        taken = reader().take(record(text))
    except (msgspec.DecodeError, UnicodeEncodeError):
        return  # a lone surrogate is no JSON text
    kept = {name: value for name, value in fields.items() if "@" not in name and not name.startswith("__")}
    assert msgspec.json.decode(taken.after) == kept
    assert b"\n" not in taken.after


@given(st.permutations(["id", "at", "name", "amount"]), st.booleans())
def test_one_content_has_one_form(order: list[str], spaced: bool) -> None:  # noqa: FBT001 - hypothesis gives it
    """The order of fields and the white space between them do not make another version."""
    values = {"id": "1", "at": "2026-03-01T10:00:00Z", "name": "x", "amount": {"b": 1, "a": [1, 2]}}
    text = json.dumps({name: values[name] for name in order}, indent=2 if spaced else None)
    assert reader().take(record(text)).after == reader().take(record(json.dumps(values))).after


def test_noise_inside_a_record_is_taken_out() -> None:
    """Deferred links vanish; expanded objects and arrays lose their annotations."""
    text = """{"id": "1", "__metadata": {}, "ToOrders": {"__deferred": {"uri": "x"}}, "name@odata.type": "#String",
        "owner": {"@odata.etag": "1", "name": "A", "links": [{"__metadata": {"uri": "y"}, "n": 1.50}]}}"""
    after = reader().take(record(text)).after
    assert after == b'{"id":"1","owner":{"links":[{"n":1.50}],"name":"A"}}'


def test_nesting_has_a_limit_and_brackets_in_text_do_not_count() -> None:
    """limits.nesting levels are fine, one more is not."""
    fine = '{"id": "1", "a": [[[1]], "[[[[[\\"]"]}'
    assert reader(nesting=3).take(record(fine)).key == "1"
    with pytest.raises(BadRecord, match="nested deeper than the 2 levels"):
        reader(nesting=2).take(record(fine))


@given(st.lists(st.text("ab/%2F", min_size=1, max_size=4), min_size=2, max_size=2, unique=True))
def test_different_composite_keys_stay_different(parts: list[str]) -> None:
    """Joining loses nothing, even when a part holds the separator."""
    first, second = parts
    names = ("a", "b")
    one = joined_key({"a": raw(first), "b": raw(second)}, names)
    other = joined_key({"a": raw(second), "b": raw(first)}, names)
    assert one != other
    assert one.count("/") == 1


def raw(value: object) -> msgspec.Raw:
    """A value as a record holds it."""
    return msgspec.Raw(msgspec.json.encode(value))


def test_a_key_is_the_same_as_number_and_as_text() -> None:
    """Sources are not consistent about it between pages and tombstones."""
    assert joined_key({"a": raw(42)}, ("a",)) == joined_key({"a": raw("42")}, ("a",)) == "42"


@pytest.mark.parametrize("value", ["", None, "x" * 513, "a\u001fb", "a\nb", {"a": 1}])
def test_what_can_be_no_key_is_refused(value: object) -> None:
    """Missing, too long, or with characters that keys are joined by."""
    with pytest.raises(BadRecord):
        joined_key({"a": raw(value)}, ("a",))


@pytest.mark.parametrize(
    ("reference", "key"),
    [
        ("0b8e", "0b8e"),
        ("accounts(0b8e)", "0b8e"),
        ("https://a.example/api/accounts(0b8e)", "0b8e"),
        ("Customers('O''Neil')", "O'Neil"),
        ("Customers(CustomerID='ALFKI')", "ALFKI"),
        ("Customers('a%2Fb')", "a/b"),
        ("Set(guid'0b8e')", "0b8e"),
    ],
)
def test_a_deleted_records_reference_holds_its_key(reference: str, key: str) -> None:
    """As Dataverse, OData V4 and V2 write references."""
    assert key_of_reference(reference, ("CustomerID",)) == key


def test_a_reference_with_several_keys_is_put_in_the_streams_order() -> None:
    """OData names them in any order."""
    assert key_of_reference("Items(Position=10,Order='A,1')", ("Order", "Position")) == "A,1/10"
    with pytest.raises(BadRecord):
        key_of_reference("Items(Position=10)", ("Order", "Position"))


def test_a_record_that_says_it_was_deleted_is_a_tombstone() -> None:
    """By the field and the values the config names."""
    rule = {"field": "status", "values": ["gone", "0*"]}
    read = reader(deleted_when=rule)
    assert read.take(record('{"id": "1", "status": "gone"}')).op == "d"
    assert read.take(record('{"id": "1", "status": 0}')).op == "d"
    assert read.take(record('{"id": "1", "status": "here"}')).op == "r"
    assert read.take(record('{"id": "1"}')).op == "r"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a", b"1"),
        ("b.c", b"2"),
        ("b.c.d", None),
        ("e.f.g", b"3"),
        ("x.y", b"4"),
        ("n.o", None),
        ("l.0", None),
        ("b.z", None),
    ],
)
def test_a_dotted_name_reaches_into_objects(name: str, value: bytes | None) -> None:
    """A field of that very name goes before; null, lists and what is not there hold nothing."""
    held = record('{"a":1,"b":{"c":2},"e":{"f":{"g":3}},"x.y":4,"x":{"y":5},"n":null,"l":[6]}')
    found = value_of(held, name)
    assert (None if found is None else bytes(found)) == value


def test_key_time_and_deletion_may_lie_inside_a_record() -> None:
    """As JSON:API has them; the error names the place."""
    inside = reader(primary_key=["data.id"], modified="meta.at", deleted_when={"field": "meta.gone", "values": ["*"]})
    taken = inside.take(record('{"data":{"id":7},"meta":{"at":"2026-03-01T05:00:00-05:00","gone":null}}'))
    assert (taken.key, taken.us, taken.op) == ("7", EPOCH_US, "r")
    assert inside.take(record('{"data":{"id":7},"meta":{"gone":"2026-03-01"}}')).op == "d"
    with pytest.raises(BadRecord, match=r"data\.id: is missing"):
        inside.take(record('{"data":{},"meta":{}}'))
    with pytest.raises(BadRecord, match=r"meta\.at: .* is not a time"):
        inside.take(record('{"data":{"id":7},"meta":{"at":"soon"}}'))
