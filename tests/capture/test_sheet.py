"""A page that is read at once gives what its records give one by one: keys, times, content, refusals, lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flockiq.capture.batch import Batch
from flockiq.capture.lines import Writer
from flockiq.capture.records import Reader, Record, Taken, source_time
from flockiq.capture.sheet import Shape, Sheet
from flockiq.capture.taking import taken_of
from flockiq.shared import wire
from flockiq.shared.config.sources import Stream
from flockiq.shared.errors import BadRecord
from flockiq.shared.instants import rfc3339
from flockiq.shared.positions import Position, bucket, event_id, record_key
from flockiq.shared.services import Services

from .conftest import World

NESTING = 3
_records = msgspec.json.Decoder(list[Record]).decode

TEXTS = st.text(alphabet='aüΩ😀 ,:@_{}[]/\\"', max_size=6) | st.sampled_from(
    ["a@b.de", "__x", "Lange Str. 5, Wien", ", "]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-5, 10**20)
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
    | TEXTS
)
NAMES = st.sampled_from(["a", "ab", "b", "ü", "x@odata.type", "__metadata", "__deferred", "note", "it's", "%b"])
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))
TIMES = st.sampled_from(
    [
        *(
            "2024-02-29T10:00:00.123Z",
            "2023-02-29T10:00:00.123Z",
            "2024-03-01T24:00:00.000Z",
            "1969-12-31T23:59:59.999Z",
        ),
        *("2024-01-01T10:00:00Z", "2024-01-01T10:00:60Z", "0000-01-01T10:00:00Z", "1970-01-01T00:00:00Z"),
        *(
            "2024-01-01T10:00:00.1234567Z",
            "2024-01-01T10:00:00+02:00",
            "2024-01-01T10:00:00+00:00",
            "0001-01-01T00:00:00Z",
        ),
        *("/Date(1700000000000)/", "1700000000", "", "soon", None, 1_700_000_000, {"at": "2024-01-01T10:00:00Z"}),
    ]
)
KEYS = st.sampled_from(
    ["K-1", "K-2", "Ä", "a/b", "50%", "", "x" * 513, "a\nb", 'q"', "b\\c", 7, 1.50, True, None, {"of": "K-3"}, [1]]
)
ROWS = st.builds(
    lambda rest, key, part, at, gone: rest | {"id": key, "part": part, "at": at, "gone": gone},
    *(st.dictionaries(NAMES, VALUES, max_size=4), KEYS, KEYS, TIMES, st.sampled_from(["no", "yes", 1, None, [1]])),
).flatmap(
    lambda row: st.sets(st.sampled_from(["part", "at", "gone"])).map(
        lambda left: {k: v for k, v in row.items() if k not in left}
    )
)
RAW = st.sampled_from(
    [
        '"a\\u00fcb"',
        '{"a" :1}',
        "[1, 2]",
        '{"a":{"b":{"c":{"d":1}}}}',
        "1E400",
        '{ "s":"x" }',
    ]
)
STYLES: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{"separators": (",", ":")}, {}, {"indent": 1}, {"separators": (",", ":"), "ensure_ascii": False}]
)


def stream(**more: Any) -> Stream:
    """A stream of such records."""
    given = {"path": "x", "primary_key": ["id"], "modified": "at", "entity": "company", "fields": {"name": "name"}}
    return Stream.model_validate(given | more)


STREAMS = [
    stream(),
    stream(primary_key=["id", "part"], deleted_when={"field": "gone", "values": ["y*"]}),
    stream(primary_key=["id.of"], modified="at.at"),
    stream(modified=""),
]


@st.composite
def pages(draw: st.DrawFn) -> bytes:
    """A list of records as some source may write it."""
    style = draw(STYLES)
    texts = [json.dumps(row, **style) for row in draw(st.lists(ROWS, min_size=1, max_size=6))]
    if draw(st.booleans()):
        odd = draw(RAW)
        texts = [text.replace('"part"', f'"odd":{odd},"part"') for text in texts]
    return ("[" + ", ".join(texts) + "]").encode()


def read_alone(record: Record, config: Stream) -> Taken | str:
    """What a reader makes of a record, or why it refuses it."""
    try:
        return Reader(config, nesting=NESTING).take(record)
    except BadRecord as error:
        return str(error)


def sheet_of(page: bytes) -> Sheet:
    """The page as one whose fields were met before."""
    shape = Shape()
    shape.read(page)
    sheet, _ = shape.read(page)
    assert isinstance(sheet, Sheet)
    return sheet


@given(pages(), st.sampled_from(STREAMS))
def test_a_page_gives_what_its_records_give_one_by_one(page: bytes, config: Stream) -> None:
    """Whatever a source writes, reading it by field changes nothing that is told of it."""
    sheet = sheet_of(page)
    expected = [read_alone(record, config) for record in _records(page)]
    found = taken_of(sheet, config, nesting=NESTING)
    for number, alone in enumerate(expected):
        taken = found[number] or read_alone(sheet[number], config)  # what is left to the reader is the same record
        if isinstance(taken, Taken):
            assert taken.time in (b"", rfc3339(taken.us).encode())
            taken = msgspec.structs.replace(taken, time=b"")
        assert taken == alone


def test_usual_records_are_not_left_to_the_reader() -> None:
    """Nested objects, escapes, e-mail addresses and any way of writing a time are read by the page."""
    usual = [
        {
            "id": f"K-{number}",
            "at": "2024-01-01T10:00:00Z",
            "mail": "a@b.de",
            "to": {"street": "Weg 5, Wien"},
            "tags": ["x"],
        }
        for number in range(5)
    ]
    for page in (
        json.dumps(usual, separators=(",", ":")),
        json.dumps([{"id": "a", "at": 1_700_000_000, "said": 'so "what"'}, {"id": "b", "at": None}]),
        json.dumps([{"id": 7, "at": "/Date(1700000000000)/", "@odata.etag": "x"}]),
    ):
        assert None not in taken_of(sheet_of(page.encode()), stream(), nesting=NESTING)


def test_a_field_that_was_never_met_is_not_lost() -> None:
    """A page with more fields than those before it has all of them; so has what follows it."""
    shape = Shape()
    shape.read(b'[{"id":"a"}]')
    assert isinstance(shape.read(b'[{"id":"b"}]')[0], Sheet)
    for _ in range(2):
        records, _ = shape.read(b'[{"id":"c","new":1},{"id":"d"}]')
        assert [{name: bytes(raw) for name, raw in record.items()} for record in records] == [
            {"id": b'"c"', "new": b"1"},
            {"id": b'"d"'},
        ]


def test_items_that_are_no_records_are_told_apart() -> None:
    """A page that was well-formed until now may hold anything."""
    shape = Shape()
    shape.read(b'[{"id":"a"}]')
    records, unreadable = shape.read(b'[{"id":"b"},7,"x",null]')
    assert [bytes(record["id"]) for record in records] == [b'"b"']
    assert unreadable == [b"7", b'"x"', b"null"]
    with pytest.raises(msgspec.DecodeError):
        shape.read(b'{"id":"a"}')


@pytest.mark.parametrize("text", [b'"\\q"', b'"\\ud800"', b'"a\tb"', b'"a\nb"', b"01", b"{'a':1}", b"[1 2]"])
def test_a_page_with_a_value_that_is_no_json_is_refused(text: bytes) -> None:
    """Values travel as they were written, so each must be valid when the page is read."""
    shape = Shape()
    shape.read(b'[{"id":"a","said":"x"}]')
    with pytest.raises(msgspec.DecodeError):
        shape.read(b'[{"id":"b","said":%b}]' % text)


def test_fields_that_are_data_are_read_one_by_one() -> None:
    """Records whose every field is new cost no more and more memory."""
    shape = Shape()
    for number in range(100):
        records, _ = shape.read(b'[{"id":"a","f%d":1}]' % number)
    assert not isinstance(records, Sheet)
    assert {*records[0]} == {"id", "f99"}


@given(
    st.sampled_from(["c", "r", "u", "d"]),
    st.text(min_size=1, max_size=8),
    st.sampled_from([b"{}", b'{"a":"100 %d"}', '{"ü":1}'.encode()]),
    st.sampled_from([0, 1_700_000_000_123_456, -1]),
    st.sampled_from(["default", 'a "quoted" 50% tenant']),
)
def test_a_line_is_what_the_wire_says(op: wire.Op, key: str, after: bytes, us: int, tenant: str) -> None:
    """The line, its id and its partition are those of the wire's own encoder and of positions."""
    captured_us = 1_700_000_000_000_001
    first = Position(1_600_000_000_000_000, 3, 9)
    records = [Taken(key, us, op, after), Taken("other", us, op, after)]
    written = list(Writer(tenant, "crm", "accounts", 7).write(op, records, first, captured_us))
    for number, (taken, (partition, line)) in enumerate(zip(records, written, strict=True)):
        position = Position(us or first.us, 3, 9 + number)
        change = wire.Change(
            id=event_id(tenant, "crm", "accounts", taken.key, position, after),
            source="crm",
            type=wire.CHANGE,
            subject=f"accounts/{taken.key}",
            time=rfc3339(position.us),
            tenant=tenant,
            data=wire.ChangeData(
                op=op,
                stream="accounts",
                key=taken.key,
                ts_us=position.us,
                run=3,
                row=9 + number,
                captured_us=captured_us,
                after=msgspec.Raw(after),
            ),
        )
        assert line == wire.encode(change)
        assert partition == bucket(record_key(tenant, "crm", "accounts", taken.key), 7)


async def test_a_page_is_published_as_its_records_are(
    services: Services, accounts: Callable[..., dict[str, Any]]
) -> None:
    """The very bytes on the hub, dead letters and row numbers are the same, with bad records among the good."""
    world = World(services, accounts("http://127.0.0.1:1", columns=None, incremental={"kind": "delta"}))
    source = world.capture.sources["crm"]
    rows: list[dict[str, Any]] = [
        {"accountid": f"K-{number}", "name": f"Nr. {number}", "modifiedon": "2024-01-01T10:00:00Z"}
        for number in range(40)
    ]
    rows[7]["accountid"], rows[11]["modifiedon"], rows[20]["name"] = None, "soon", "x" * 4_000_000
    page = json.dumps(rows).encode()
    told: list[list[tuple[int, bytes]]] = []
    for records in (_records(page), sheet_of(page)):
        batch = Batch(services, source, "accounts", 4)
        batch.begin(1, 1_700_000_000_000_000)
        batch.take_page(records, 1_700_000_000_000_001, untold=list)
        assert (batch.records, batch.row) == (37, 37)
        batch.judge()
        told.append([])
        before = [(await services.events.bounds("changes", partition)).end for partition in range(4)]
        await batch.publish()
        for partition, start in enumerate(before):
            events = await services.events.read("changes", partition, start, 1_000)
            told[-1] += [(partition, wire.unpack(event.body)) for event in events]
    assert told[0] == told[1]
    assert len(await world.letters()) == 3  # the same letters, kept once
    await world.capture.close()


def test_a_time_is_read_alike_however_many_are_written_so() -> None:
    """Every second of a leap day and the days around it, in one column and alone."""
    texts = [f'"2024-02-{day:02d}T{hour:02d}:59:59.5Z"' for day in (28, 29) for hour in range(24)]
    page = ("[" + ",".join(f'{{"id":"{number}","at":{text}}}' for number, text in enumerate(texts)) + "]").encode()
    found = taken_of(sheet_of(page), stream(), nesting=NESTING)
    assert [taken.us for taken in found if taken] == [source_time(msgspec.Raw(text.encode()), "at") for text in texts]
